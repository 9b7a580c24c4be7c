//! Rooms: made, upgraded, read, written to, reported.

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session};

use super::Front;

fn assert_error(answer: &Answer, status: u16, errcode: &str) {
    assert_eq!((answer.status, answer.errcode()), (status, errcode), "{}", answer.body);
}

async fn call(session: &Session, method: Method, path: &str, body: &Value) -> Answer {
    session.call(method, path, Some(body)).await.unwrap()
}

async fn read(session: &Session, path: &str) -> Answer {
    session.call(Method::GET, path, None).await.unwrap()
}

const NOWHERE: &str = "!nowhere:localhost";

#[tokio::test]
async fn room_is_made_as_wished() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let alias = front.name("made");
    let body = json!({
        "name": "Cats", "topic": "Purr", "preset": "public_chat", "room_alias_name": alias,
        "room_version": "10", "invite": [&*bob.user_id], "is_direct": true,
        "creation_content": {"type": "org.example.kind"},
        "initial_state": [{"type": "org.example.mood", "state_key": "a", "content": {"good": true}}],
        "power_level_content_override": {"events_default": 5},
    });
    let room = alice.create_room(&body).await.unwrap();
    let state = alice.get(&format!("/rooms/{room}/state")).await.unwrap();
    let content = |kind: &str| {
        let events = state.as_array().unwrap();
        events
            .iter()
            .find(|event| event["type"] == kind)
            .map(|event| event["content"].clone())
            .unwrap()
    };
    assert_eq!(content("m.room.create")["room_version"], "10");
    assert_eq!(content("m.room.create")["type"], "org.example.kind");
    assert_eq!(content("m.room.name"), json!({"name": "Cats"}));
    assert_eq!(content("m.room.topic")["topic"], "Purr");
    assert_eq!(content("m.room.join_rules")["join_rule"], "public");
    assert_eq!(content("org.example.mood"), json!({"good": true}));
    assert_eq!(content("m.room.power_levels")["events_default"], 5);
    let canonical = content("m.room.canonical_alias")["alias"].as_str().unwrap().to_owned();
    assert!(canonical.starts_with(&format!("#{alias}:")));

    for (body, errcode) in [
        (json!({"room_version": "99"}), "M_UNSUPPORTED_ROOM_VERSION"),
        (json!({"room_version": 1}), "M_BAD_JSON"),
        (json!({"preset": "none"}), "M_INVALID_PARAM"),
        (json!({"room_alias_name": alias}), "M_ROOM_IN_USE"),
        (json!({"invite": ["bob"]}), "M_INVALID_PARAM"),
        (json!({"power_level_content_override": {"users": {"x": 100}}}), "M_INVALID_ROOM_STATE"),
    ] {
        assert_error(&call(&alice, Method::POST, "/createRoom", &body).await, 400, errcode);
    }
}

#[tokio::test]
async fn every_room_version_can_be_made_and_upgraded() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    for version in 1..=12 {
        let body = json!({"room_version": version.to_string(), "name": "Old"});
        let room = alice.create_room(&body).await.unwrap();
        alice.text(&room, "t", "hello").await.unwrap();
        let body = json!({"new_version": if version == 12 { "11" } else { "12" }});
        let upgraded = alice.post(&format!("/rooms/{room}/upgrade"), &body).await.unwrap();
        let new = upgraded["replacement_room"].as_str().unwrap();
        let name = alice.get(&format!("/rooms/{new}/state/m.room.name")).await.unwrap();
        assert_eq!(name["name"], "Old");
        let create = alice.get(&format!("/rooms/{new}/state/m.room.create")).await.unwrap();
        assert_eq!(create["predecessor"]["room_id"], room.as_str());
        let end = alice.get(&format!("/rooms/{room}/state/m.room.tombstone")).await.unwrap();
        assert_eq!(end["replacement_room"], new);
    }
    let room = alice.create_room(&json!({})).await.unwrap();
    let path = format!("/rooms/{room}/upgrade");
    let bad = call(&alice, Method::POST, &path, &json!({"new_version": "x"})).await;
    assert_error(&bad, 400, "M_UNSUPPORTED_ROOM_VERSION");
    let bob = front.user("bob").await;
    let wish = json!({"new_version": "12"});
    let other = call(&bob, Method::POST, &format!("/rooms/{room}/upgrade"), &wish).await;
    assert_error(&other, 403, "M_FORBIDDEN");
}

#[tokio::test]
async fn events_are_sent_redacted_and_read() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({})).await.unwrap();
    let content = json!({"msgtype": "m.text", "body": "hello"});
    let path = format!("/rooms/{room}/send/m.room.message/txn1");
    let sent = alice.put(&path, &content).await.unwrap();
    assert_eq!(alice.put(&path, &content).await.unwrap(), sent, "the same request");
    let event_id = sent["event_id"].as_str().unwrap();
    let event = alice.get(&format!("/rooms/{room}/event/{event_id}")).await.unwrap();
    assert_eq!(event["content"], content);
    assert_eq!(event["sender"], &*alice.user_id);
    assert_eq!(event["unsigned"]["transaction_id"], "txn1");
    assert_error(&call(&bob, Method::PUT, &path, &content).await, 403, "M_FORBIDDEN");
    let bad =
        call(&alice, Method::PUT, &format!("/rooms/{room}/send/m.room.message/x"), &json!([]))
            .await;
    assert_error(&bad, 400, "M_BAD_JSON");
    let hidden = read(&bob, &format!("/rooms/{room}/event/{event_id}")).await;
    assert_error(&hidden, 404, "M_NOT_FOUND");

    let redact = format!("/rooms/{room}/redact/{event_id}/txn2");
    assert_error(&call(&bob, Method::PUT, &redact, &json!({})).await, 403, "M_FORBIDDEN");
    let redaction = alice.put(&redact, &json!({"reason": "typo"})).await.unwrap();
    let event = alice.get(&format!("/rooms/{room}/event/{event_id}")).await.unwrap();
    assert_eq!(event["content"], json!({}));
    assert_eq!(event["unsigned"]["redacted_because"]["event_id"], redaction["event_id"]);
    // As older clients do it.
    let plain = alice.post(&format!("/rooms/{room}/send/m.room.message"), &content).await.unwrap();
    let plain = plain["event_id"].as_str().unwrap();
    alice.post(&format!("/rooms/{room}/redact/{plain}"), &json!({})).await.unwrap();
}

#[tokio::test]
async fn state_is_set_and_read() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let path = format!("/rooms/{room}/state/org.example.mood/a");
    let set = alice.put(&path, &json!({"good": true})).await.unwrap();
    assert_eq!(alice.get(&path).await.unwrap(), json!({"good": true}));
    let whole = alice.get(&format!("{path}?format=event")).await.unwrap();
    assert_eq!(whole["event_id"], set["event_id"]);
    assert_error(&call(&bob, Method::PUT, &path, &json!({})).await, 403, "M_FORBIDDEN");
    assert_error(&read(&bob, &path).await, 403, "M_FORBIDDEN");
    assert_error(
        &read(&alice, &format!("/rooms/{room}/state/org.example.none")).await,
        404,
        "M_NOT_FOUND",
    );
    assert_error(&read(&bob, &format!("/rooms/{room}/state")).await, 403, "M_FORBIDDEN");
    let canonical = format!("/rooms/{room}/state/m.room.canonical_alias");
    let stray = json!({"alias": format!("#{}:localhost", front.name("stray"))});
    assert_error(&call(&alice, Method::PUT, &canonical, &stray).await, 400, "M_BAD_ALIAS");

    bob.join(&room).await.unwrap();
    let members = bob.get(&format!("/rooms/{room}/members?membership=join")).await.unwrap();
    assert_eq!(members["chunk"].as_array().unwrap().len(), 2);
    let joined = bob.get(&format!("/rooms/{room}/joined_members")).await.unwrap();
    assert!(joined["joined"].get(&*alice.user_id).is_some());
    bob.post(&format!("/rooms/{room}/leave"), &json!({})).await.unwrap();
    alice.put(&path, &json!({"good": false})).await.unwrap();
    assert_eq!(bob.get(&path).await.unwrap(), json!({"good": true}), "as it was when he left");
    let members = bob.get(&format!("/rooms/{room}/members?not_membership=leave")).await.unwrap();
    assert_eq!(members["chunk"].as_array().unwrap().len(), 1);
    let carol = front.user("carol").await;
    assert_error(&read(&carol, &format!("/rooms/{room}/members")).await, 403, "M_FORBIDDEN");
    assert_error(&read(&carol, &format!("/rooms/{room}/joined_members")).await, 403, "M_FORBIDDEN");

    let readable = json!({"history_visibility": "world_readable"});
    alice.put(&format!("/rooms/{room}/state/m.room.history_visibility"), &readable).await.unwrap();
    assert_eq!(carol.get(&path).await.unwrap(), json!({"good": false}));
    assert!(carol.get(&format!("/rooms/{room}/state")).await.unwrap().is_array());
}

#[tokio::test]
async fn rooms_events_and_users_are_reported() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let event = alice.text(&room, "t", "buy").await.unwrap();
    let why = json!({"reason": "spam"});
    bob.post(&format!("/rooms/{room}/report"), &why).await.unwrap();
    let path = format!("/rooms/{room}/report/{event}");
    assert_error(&call(&bob, Method::POST, &path, &why).await, 404, "M_NOT_FOUND");
    bob.join(&room).await.unwrap();
    bob.post(&path, &why).await.unwrap();
    bob.post(&format!("/users/{}/report", alice.user_id), &why).await.unwrap();
    let nobody = format!("/users/{}x/report", alice.user_id);
    assert_error(
        &call(&bob, Method::POST, "/users/nobody/report", &why).await,
        400,
        "M_INVALID_PARAM",
    );
    assert_error(&call(&bob, Method::POST, &nobody, &why).await, 404, "M_NOT_FOUND");
    let nowhere = call(&bob, Method::POST, &format!("/rooms/{NOWHERE}/report"), &why).await;
    assert_error(&nowhere, 404, "M_NOT_FOUND");
}

#[tokio::test]
async fn delayed_events_are_sent_in_time_or_not_at_all() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let room = alice.create_room(&json!({})).await.unwrap();
    let token = alice.sync_token().await.unwrap();
    let base = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
    let delay = async |txn: &str, ms: u32| {
        let path = format!("/rooms/{room}/send/m.room.message/{txn}?org.matrix.msc4140.delay={ms}");
        let answer = alice.put(&path, &json!({"msgtype": "m.text", "body": txn})).await.unwrap();
        answer["delay_id"].as_str().unwrap().to_owned()
    };
    let cancelled = delay("cancelled", 600_000).await;
    delay("timed", 1).await;
    let forced = delay("forced", 600_000).await;
    let list = front.request(Method::GET, base, Some(&alice.token), None).await.ok().unwrap();
    let waiting = |list: &Value, id: &str| {
        list["delayed_events"].as_array().unwrap().iter().any(|delayed| delayed["delay_id"] == id)
    };
    assert!(waiting(&list, &cancelled) && waiting(&list, &forced));
    let act = async |id: &str, action: &str| {
        let body = json!({"action": action});
        front.request(Method::POST, &format!("{base}/{id}"), Some(&alice.token), Some(&body)).await
    };
    act(&cancelled, "restart").await.ok().unwrap();
    act(&cancelled, "cancel").await.ok().unwrap();
    act(&forced, "send").await.ok().unwrap();
    assert_error(&act(&cancelled, "cancel").await, 404, "M_NOT_FOUND");
    assert_error(&act(&forced, "eat").await, 400, "M_INVALID_PARAM");
    let mut bodies = Vec::new();
    let mut since = token;
    while bodies.len() < 2 {
        let timeout = std::time::Duration::from_secs(20);
        let answer = alice.sync(Some(&since), timeout, "").await.unwrap();
        let events = answer["rooms"]["join"][&room]["timeline"]["events"].as_array().cloned();
        let texts = events.into_iter().flatten().map(|event| event["content"]["body"].clone());
        bodies.extend(texts.filter(Value::is_string));
        answer["next_batch"].as_str().unwrap().clone_into(&mut since);
    }
    bodies.sort_by_key(Value::to_string);
    assert_eq!(bodies, [json!("forced"), json!("timed")]);
}
