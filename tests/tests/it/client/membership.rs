//! Who is in a room, and how they come and go.

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session};
use tokio::net::TcpListener;

use super::Front;
use crate::common::World;

fn assert_error(answer: &Answer, status: u16, errcode: &str) {
    assert_eq!((answer.status, answer.errcode()), (status, errcode), "{}", answer.body);
}

async fn act(session: &Session, act: &str, room: &str, body: &Value) -> Answer {
    session.call(Method::POST, &format!("/rooms/{room}/{act}"), Some(body)).await.unwrap()
}

async fn membership(session: &Session, room: &str, user: &str) -> Value {
    session.get(&format!("/rooms/{room}/state/m.room.member/{user}")).await.unwrap()
}

fn whom(session: &Session) -> Value {
    json!({"user_id": &*session.user_id, "reason": "because"})
}

#[tokio::test]
async fn invited_users_join_leave_and_forget() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({})).await.unwrap();
    assert_error(&act(&bob, "join", &room, &json!({})).await, 403, "M_FORBIDDEN");
    assert_error(&act(&bob, "invite", &room, &whom(&bob)).await, 403, "M_FORBIDDEN");
    assert_error(&act(&alice, "invite", &room, &json!({})).await, 400, "M_MISSING_PARAM");
    act(&alice, "invite", &room, &whom(&bob)).await.ok().unwrap();
    let event = membership(&alice, &room, &bob.user_id).await;
    assert_eq!((&event["membership"], &event["reason"]), (&json!("invite"), &json!("because")));
    let sync = bob.sync(None, std::time::Duration::ZERO, "").await.unwrap();
    let shown = sync["rooms"]["invite"][&room]["invite_state"]["events"].as_array().unwrap();
    assert!(shown.iter().any(|event| event["type"] == "m.room.create"));
    assert_eq!(act(&bob, "join", &room, &json!({})).await.ok().unwrap()["room_id"], room.as_str());
    let again = act(&bob, "join", &room, &json!({})).await.ok().unwrap();
    assert_eq!(again["room_id"], room.as_str());
    let joined = bob.get("/joined_rooms").await.unwrap();
    assert_eq!(joined["joined_rooms"], json!([room]));
    let nobody = front.request(Method::GET, "/_matrix/client/v3/joined_rooms", None, None).await;
    assert_error(&nobody, 401, "M_MISSING_TOKEN");
    assert_error(&act(&bob, "forget", &room, &json!({})).await, 400, "M_UNKNOWN");
    act(&bob, "leave", &room, &json!({"reason": "bye"})).await.ok().unwrap();
    assert_eq!(membership(&alice, &room, &bob.user_id).await["reason"], "bye");
    act(&bob, "leave", &room, &json!({})).await.ok().unwrap();
    act(&bob, "forget", &room, &json!({})).await.ok().unwrap();
    let gone = bob.call(Method::GET, &format!("/rooms/{room}/state"), None).await.unwrap();
    assert_error(&gone, 403, "M_FORBIDDEN");
    let carol = front.user("carol").await;
    assert_error(&act(&carol, "leave", &room, &json!({})).await, 403, "M_FORBIDDEN");
    assert_error(&act(&carol, "forget", &room, &json!({})).await, 404, "M_NOT_FOUND");
}

#[tokio::test]
async fn users_are_kicked_banned_and_let_in_again() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    assert_error(&act(&alice, "kick", &room, &whom(&bob)).await, 403, "M_FORBIDDEN");
    bob.join(&room).await.unwrap();
    assert_error(&act(&bob, "kick", &room, &whom(&alice)).await, 403, "M_FORBIDDEN");
    act(&alice, "kick", &room, &whom(&bob)).await.ok().unwrap();
    assert_eq!(membership(&alice, &room, &bob.user_id).await["reason"], "because");
    bob.join(&room).await.unwrap();
    assert_error(&act(&bob, "ban", &room, &whom(&alice)).await, 403, "M_FORBIDDEN");
    act(&alice, "ban", &room, &whom(&bob)).await.ok().unwrap();
    assert_error(&act(&bob, "join", &room, &json!({})).await, 403, "M_FORBIDDEN");
    act(&alice, "unban", &room, &whom(&bob)).await.ok().unwrap();
    assert_error(&act(&alice, "unban", &room, &whom(&bob)).await, 403, "M_BAD_STATE");
    bob.join(&room).await.unwrap();
}

#[tokio::test]
async fn rooms_are_joined_by_alias_and_knocked_on() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let alias = front.name("by-alias");
    let body = json!({"preset": "public_chat", "room_alias_name": alias});
    let room = alice.create_room(&body).await.unwrap();
    let server = alice.user_id.split_once(':').unwrap().1;
    let join = |name: String| format!("/join/%23{name}:{server}");
    let joined = bob.post(&join(alias), &json!({})).await.unwrap();
    assert_eq!(joined["room_id"], room.as_str());
    let none = bob.call(Method::POST, &join(front.name("none")), Some(&json!({}))).await.unwrap();
    assert_error(&none, 404, "M_NOT_FOUND");

    let state = json!([{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]);
    let closed = alice.create_room(&json!({"initial_state": state})).await.unwrap();
    let knocked =
        bob.post(&format!("/knock/{closed}"), &json!({"reason": "please"})).await.unwrap();
    assert_eq!(knocked["room_id"], closed.as_str());
    assert_eq!(membership(&alice, &closed, &bob.user_id).await["reason"], "please");
    let open = bob.call(Method::POST, &format!("/knock/{room}"), Some(&json!({}))).await.unwrap();
    assert_error(&open, 403, "M_FORBIDDEN");
    act(&alice, "invite", &closed, &whom(&bob)).await.ok().unwrap();
    bob.join(&closed).await.unwrap();
}

#[tokio::test]
async fn restricted_rooms_let_members_of_others_in() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let club = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    for rule in ["restricted", "knock_restricted"] {
        let allow = json!([{"type": "m.room_membership", "room_id": club}]);
        let content = json!({"join_rule": rule, "allow": allow});
        let state = json!([{"type": "m.room.join_rules", "content": content}]);
        let room = alice
            .create_room(&json!({"room_version": "10", "initial_state": state}))
            .await
            .unwrap();
        assert_error(&act(&bob, "join", &room, &json!({})).await, 403, "M_FORBIDDEN");
        bob.join(&club).await.unwrap();
        act(&bob, "join", &room, &json!({})).await.ok().unwrap();
        let event = membership(&alice, &room, &bob.user_id).await;
        assert_eq!(event["join_authorised_via_users_server"], &*alice.user_id);
        act(&bob, "leave", &club, &json!({})).await.ok().unwrap();
    }
}

#[tokio::test]
async fn who_blocks_invites_gets_none() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let path = format!("/user/{}/account_data/m.invite_permission_config", bob.user_id);
    bob.put(&path, &json!({"default_action": "block"})).await.unwrap();
    let room = alice.create_room(&json!({})).await.unwrap();
    assert_error(&act(&alice, "invite", &room, &whom(&bob)).await, 403, "M_INVITE_BLOCKED");
    bob.put(&path, &json!({})).await.unwrap();
    act(&alice, "invite", &room, &whom(&bob)).await.ok().unwrap();
}

/// An identity server that knows one user, `bob@example.org`, and keeps invites for everybody else; `host:port`.
async fn identity_server(user: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let (user, host) = (user.to_owned(), name.clone());
    let details = json!({"algorithms": ["none"], "lookup_pepper": "salt"}).to_string();
    let lookup = move |body: Bytes| async move {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let asked = body["addresses"][0].as_str().unwrap_or_default().to_owned();
        let known = asked == "bob@example.org email";
        let mappings = if known { json!({asked: user}) } else { json!({}) };
        json!({"mappings": mappings}).to_string()
    };
    let store = move |body: Bytes| async move {
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["medium"], "email");
        let url = format!("http://{host}/_matrix/identity/v2/pubkey/isvalid");
        let key = json!({"public_key": "MCowBQYDK2VwAyEA", "key_validity_url": url});
        json!({"token": "abc", "public_keys": [key], "display_name": "c...@e..."}).to_string()
    };
    let router = Router::new()
        .route("/_matrix/identity/v2/hash_details", get(move || async { details }))
        .route("/_matrix/identity/v2/lookup", post(lookup))
        .route("/_matrix/identity/v2/store-invite", post(store));
    tokio::spawn(async move { axum::serve(listener, router).await });
    name
}

#[tokio::test]
async fn invites_by_address_go_through_an_identity_server_of_the_operators_choice() {
    let name = identity_server("@bob:hs1").await;
    let world = World::start_with_config(&format!(
        "[plugins.rooms.config]\nidentity-servers = [\"http://{name}\"]\n"
    ))
    .await;
    let alice = world.user("alice").await;
    assert_eq!(&*alice.user_id, "@alice:hs1");
    let room = alice.create_room(&json!({})).await.unwrap();
    let invite = async |server: &str, address: &str| {
        let body = json!({
            "id_server": server, "id_access_token": "t", "medium": "email", "address": address,
        });
        act(&alice, "invite", &room, &body).await
    };
    invite(&name, "bob@example.org").await.ok().unwrap();
    assert_eq!(membership(&alice, &room, "@bob:hs1").await["membership"], "invite");
    invite(&name, "carol@example.org").await.ok().unwrap();
    let pending = format!("/rooms/{room}/state/m.room.third_party_invite/abc");
    assert_eq!(alice.get(&pending).await.unwrap()["display_name"], "c...@e...");
    let other = invite("elsewhere.example", "bob@example.org").await;
    assert_error(&other, 403, "M_SERVER_NOT_TRUSTED");
    let proof = json!({"mxid": "@alice:hs1", "sender": "@bob:hs1", "token": "x", "signatures": {}});
    let bob = world.user("bob").await;
    let answer = act(&bob, "join", &room, &json!({"third_party_signed": proof})).await;
    assert_error(&answer, 403, "M_FORBIDDEN");
    bob.join(&room).await.unwrap();
}
