//! /sync, and what clients asked before it was there.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Session, timeline};

use super::Front;
use crate::common::World;

const SOON: Duration = Duration::from_secs(10);

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_id"].as_str().unwrap_or_default()).collect()
}

/// Syncs on until `found` says so; the last answer. Another node may be a moment behind.
pub(super) async fn until(
    user: &Session,
    since: &str,
    query: &str,
    found: impl Fn(&Value) -> bool,
) -> Value {
    let mut since = since.to_owned();
    for _ in 0..20 {
        let body = user.sync(Some(&since), SOON, query).await.unwrap();
        if found(&body) {
            return body;
        }
        since = body["next_batch"].as_str().unwrap().to_owned();
    }
    panic!("never told");
}

async fn room(alice: &Session, bob: &Session) -> String {
    let room =
        alice.create_room(&json!({ "preset": "public_chat", "name": "Here" })).await.unwrap();
    bob.join(&room).await.unwrap();
    room
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_state_reach_another_user() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = room(&alice, &bob).await;
    let first = bob.sync_token().await.unwrap();
    let id = alice.text(&room, "1", "hello").await.unwrap();
    let body =
        until(&bob, &first, "", |body| ids(timeline(body, &room)).contains(&id.as_str())).await;
    let event =
        timeline(&body, &room).iter().find(|event| event["event_id"] == id.as_str()).unwrap();
    assert_eq!(event["content"]["body"], "hello");
    assert!(event.get("room_id").is_none());
    assert!(event["unsigned"]["age"].is_number());
    assert_eq!(body["device_one_time_keys_count"]["signed_curve25519"], 0);

    let whole = bob.sync(None, Duration::ZERO, "").await.unwrap();
    let joined = &whole["rooms"]["join"][&room];
    assert_eq!(joined["summary"]["m.joined_member_count"], 2);
    assert!(joined["summary"].get("m.heroes").is_none(), "the room has a name");
    let bad = bob.call(Method::GET, "/sync?since=garbage", None).await.unwrap();
    assert_eq!((bad.status, bad.errcode()), (400, "M_INVALID_PARAM"));
    let bad = front.request(Method::GET, "/_matrix/client/v3/sync", None, None).await;
    assert_eq!((bad.status, bad.errcode()), (401, "M_MISSING_TOKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_leaves_and_account_data_are_told() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({ "preset": "private_chat" })).await.unwrap();
    let first = bob.sync_token().await.unwrap();
    let body = json!({ "user_id": &*bob.user_id });
    alice.post(&format!("/rooms/{room}/invite"), &body).await.unwrap();
    let body = until(&bob, &first, "", |body| body["rooms"]["invite"][&room].is_object()).await;
    let state = body["rooms"]["invite"][&room]["invite_state"]["events"].as_array().unwrap();
    assert!(state.iter().any(|event| event["type"] == "m.room.create"), "{state:?}");
    let since = body["next_batch"].as_str().unwrap();
    bob.post(&format!("/rooms/{room}/leave"), &json!({})).await.unwrap();
    let body = until(&bob, since, "", |body| body["rooms"]["leave"][&room].is_object()).await;
    let since = body["next_batch"].as_str().unwrap();
    let path = format!("/user/{}/account_data/org.test", bob.user_id);
    bob.put(&path, &json!({ "n": 1 })).await.unwrap();
    let body = until(&bob, since, "", |body| body["account_data"].is_object()).await;
    assert_eq!(body["account_data"]["events"][0]["content"]["n"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_hold_for_rooms_types_and_lazy_members() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = room(&alice, &bob).await;
    for n in 0..5 {
        alice.text(&room, &n.to_string(), "x").await.unwrap();
    }
    let filter = json!({ "room": {
        "timeline": { "limit": 2, "types": ["m.room.message"] },
        "state": { "lazy_load_members": true },
    } });
    let path = format!("/user/{}/filter", bob.user_id);
    let id = bob.post(&path, &filter).await.unwrap()["filter_id"].as_str().unwrap().to_owned();
    let first = bob.sync_token().await.unwrap();
    until(&bob, &first, "&full_state=true", |body| body["rooms"]["join"][&room].is_object()).await;
    let body = bob.sync(None, Duration::ZERO, &format!("&filter={id}")).await.unwrap();
    let told = &body["rooms"]["join"][&room];
    assert_eq!(told["timeline"]["events"].as_array().unwrap().len(), 2);
    assert_eq!(told["timeline"]["limited"], true);
    let members = told["state"]["events"].as_array().unwrap();
    let members = members.iter().filter(|event| event["type"] == "m.room.member").count();
    assert_eq!(members, 2, "the speaker and oneself");
    let none = bob.call(Method::GET, "/sync?filter=nosuch", None).await.unwrap();
    assert_eq!((none.status, none.errcode()), (404, "M_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_initial_sync_and_event_stream_still_serve() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = room(&alice, &bob).await;
    let stream = bob.get("/events?timeout=0").await.unwrap();
    let mut from = stream["end"].as_str().unwrap().to_owned();
    let id = alice.text(&room, "1", "streamed").await.unwrap();
    let mut told = false;
    for _ in 0..20 {
        let body = bob.get(&format!("/events?timeout=5000&from={from}")).await.unwrap();
        from = body["end"].as_str().unwrap().to_owned();
        let chunk = body["chunk"].as_array().unwrap();
        if let Some(event) = chunk.iter().find(|event| event["event_id"] == id.as_str()) {
            assert_eq!(
                (&event["room_id"], &event["user_id"]),
                (&json!(room), &json!(&*alice.user_id))
            );
            told = true;
            break;
        }
    }
    assert!(told);
    let body = bob.get("/initialSync?limit=3").await.unwrap();
    let rooms = body["rooms"].as_array().unwrap();
    let one = rooms.iter().find(|one| one["room_id"] == room.as_str()).unwrap();
    assert_eq!(one["messages"]["chunk"].as_array().unwrap().len(), 3);
    assert_eq!(one["membership"], "join");
    let body = bob.get(&format!("/rooms/{room}/initialSync?limit=1")).await.unwrap();
    assert_eq!(body["messages"]["chunk"][0]["event_id"], id);
    assert_eq!(body["membership"], "join");
    let event = bob.get(&format!("/events/{id}")).await.unwrap();
    assert_eq!(event["content"]["body"], "streamed");

    let carol = front.user("carol").await;
    for (path, status, code) in [
        (format!("/events?room_id={room}"), 403, "M_FORBIDDEN"),
        ("/events?from=x".to_owned(), 400, "M_INVALID_PARAM"),
        ("/initialSync?limit=x".to_owned(), 400, "M_INVALID_PARAM"),
        (format!("/rooms/{room}/initialSync"), 403, "M_FORBIDDEN"),
        (format!("/events/{id}"), 404, "M_NOT_FOUND"),
    ] {
        let answer = carol.call(Method::GET, &path, None).await.unwrap();
        assert_eq!((answer.status, answer.errcode()), (status, code), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_first_sync_comes_in_pieces_and_reads_as_one() {
    let world = World::start_with_config("[plugins.sync.config]\nmembers-at-once = 3\n").await;
    let alice = world.user("alice").await;
    let mut rooms = Vec::new();
    for n in 0..4 {
        let name = format!("Room {n}");
        let options = json!({ "preset": "public_chat", "name": name });
        rooms.push(alice.create_room(&options).await.unwrap());
    }
    for n in 0..8 {
        let user = world.user(&format!("user{n}")).await;
        // Rooms of two, four, six and nine.
        for room in rooms.iter().skip([3, 3, 3, 2, 2, 1, 1, 0][n]) {
            user.join(room).await.unwrap();
        }
    }
    for n in 0..6 {
        alice.text(&rooms[3], &n.to_string(), "hello").await.unwrap();
    }
    let body = alice.sync(None, Duration::ZERO, "").await.unwrap();
    for room in &rooms {
        let told = &body["rooms"]["join"][room];
        let there = alice.get(&format!("/rooms/{room}/members?membership=join")).await.unwrap();
        let there = there["chunk"].as_array().unwrap().len();
        assert_eq!(told["summary"]["m.joined_member_count"], there);
        let state = told["state"]["events"].as_array().unwrap();
        let events = state.iter().chain(timeline(&body, room));
        let members = events.filter(|event| event["type"] == "m.room.member");
        let members: std::collections::BTreeSet<_> =
            members.map(|event| event["state_key"].as_str().unwrap()).collect();
        assert_eq!(members.len(), there, "{room}");
    }
    let id = alice.text(&rooms[0], "next", "next").await.unwrap();
    let since = body["next_batch"].as_str().unwrap();
    let body = alice.sync(Some(since), SOON, "").await.unwrap();
    assert_eq!(ids(timeline(&body, &rooms[0])), [id]);
}
