//! What administrators do with rooms, on the paths that their tools know.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::admin::Admin;

/// Asks until it says so.
async fn until(at: &Admin, path: &str, status: &str) -> Value {
    for _ in 0..300 {
        let answer = at.get(path).await;
        if answer["status"] == status {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{path} does not become {status}");
}

#[tokio::test]
async fn rooms_are_listed_looked_into_and_entered() {
    let at = Admin::new().await;
    let (alice, bob) = (at.front.user("alice").await, at.front.user("bob").await);
    let name = at.front.name("Seen");
    let body = json!({"name": name, "preset": "public_chat", "topic": "Purr"});
    let room = alice.create_room(&body).await.unwrap();
    let sent = alice.text(&room, "t1", "hello").await.unwrap();
    let paths = [
        format!("/v1/rooms/{room}"),
        format!("/v1/rooms/{room}/members"),
        format!("/v1/rooms/{room}/state"),
        format!("/v1/rooms/{room}/timestamp_to_event?ts=0"),
        format!("/v1/rooms/{room}/forward_extremities"),
        format!("/v1/fetch_event/{sent}"),
        "/v1/rooms".to_owned(),
        "/v1/event_reports".to_owned(),
    ];
    for path in &paths {
        at.is_closed(&alice, Method::GET, path).await;
    }
    let list = at.get(&format!("/v1/rooms?search_term={}", name.to_uppercase())).await;
    assert_eq!(list["total_rooms"], 1);
    assert_eq!(list["rooms"][0]["room_id"], json!(room));
    at.fails(Method::GET, "/v1/rooms?order_by=age", Value::Null, 400, "M_INVALID_PARAM").await;
    let seen = at.get(&format!("/v1/rooms/{room}")).await;
    assert_eq!((&seen["joined_members"], &seen["topic"]), (&json!(1), &json!("Purr")));
    assert!(seen["joined_local_devices"].as_i64().unwrap() >= 1);
    let none = "/v1/rooms/!none:hs";
    at.fails(Method::GET, none, Value::Null, 404, "M_NOT_FOUND").await;
    at.fails(Method::GET, &format!("{none}/members"), Value::Null, 404, "M_NOT_FOUND").await;
    let members = at.get(&format!("/v1/rooms/{room}/members")).await;
    assert_eq!(members, json!({"members": [alice.user_id], "total": 1}));
    let state = at.get(&format!("/v1/rooms/{room}/state?type=m.room.name")).await;
    assert_eq!(state["state"][0]["content"]["name"], json!(name));
    assert!(at.get(&paths[3]).await["event_id"].is_string());
    let event = at.get(&format!("/v1/fetch_event/{sent}")).await;
    assert_eq!(event["event"]["content"]["body"], "hello");
    let joined = at.post(&format!("/v1/join/{room}"), json!({"user_id": bob.user_id})).await;
    assert_eq!(joined, json!({"room_id": room}));
    let path = format!("/v1/rooms/{room}/make_room_admin");
    assert_eq!(at.post(&path, json!({"user_id": bob.user_id})).await, json!({}));
    let levels = format!("/rooms/{room}/state/m.room.power_levels");
    assert_eq!(bob.get(&levels).await.unwrap()["users"][&*bob.user_id], 100);
    let ends = at.get(&format!("/v1/rooms/{room}/forward_extremities")).await;
    assert_eq!(ends["count"], 1);

    let report = format!("/rooms/{room}/report/{sent}");
    bob.post(&report, &json!({"reason": "bad"})).await.unwrap();
    let path = format!("/v1/event_reports?room_id={}", room.replace('!', "%21"));
    let reports = at.get(&path).await;
    assert_eq!(reports["total"], 1);
    let report = format!("/v1/event_reports/{}", reports["event_reports"][0]["id"]);
    assert_eq!(at.get(&report).await["event_json"]["event_id"], json!(sent));
    assert_eq!(at.ask(Method::DELETE, &report, Value::Null).await.ok().unwrap(), json!({}));
    at.fails(Method::GET, &report, Value::Null, 404, "M_NOT_FOUND").await;
}

#[tokio::test]
async fn rooms_and_history_go() {
    let at = Admin::new().await;
    let (alice, bob) = (at.front.user("alice").await, at.front.user("bob").await);
    let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    bob.join(&room).await.unwrap();
    let old = alice.text(&room, "t1", "old").await.unwrap();
    let kept = alice.text(&room, "t2", "kept").await.unwrap();
    for n in 0..3 {
        alice.text(&room, &format!("n{n}"), "new").await.unwrap();
    }
    let path = format!("/v1/purge_history/{room}");
    at.is_closed(&alice, Method::POST, &path).await;
    at.fails(Method::POST, &path, json!({}), 400, "M_BAD_JSON").await;
    let begun = at.post(&format!("{path}/{kept}"), json!({"delete_local_events": true})).await;
    let id = begun["purge_id"].as_str().unwrap();
    until(&at, &format!("/v1/purge_history_status/{id}"), "complete").await;
    let gone = alice.call(Method::GET, &format!("/rooms/{room}/event/{old}"), None).await.unwrap();
    assert_eq!(gone.status, 404, "{}", gone.body);
    alice.get(&format!("/rooms/{room}/event/{kept}")).await.unwrap();
    let path = "/v1/purge_history_status/none";
    at.fails(Method::GET, path, Value::Null, 404, "M_NOT_FOUND").await;

    let path = format!("/v2/rooms/{room}");
    at.is_closed(&alice, Method::DELETE, &path).await;
    at.fails(Method::DELETE, &path, json!({"block": "x"}), 400, "M_BAD_JSON").await;
    let begun = at.ask(Method::DELETE, &path, json!({"block": true})).await.ok().unwrap();
    let status = format!("/v2/rooms/delete_status/{}", begun["delete_id"].as_str().unwrap());
    let done = until(&at, &status, "complete").await;
    let mut kicked: Vec<&str> = done["shutdown_room"]["kicked_users"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(Value::as_str)
        .collect();
    kicked.sort_unstable();
    let mut both: [&str; 2] = [&alice.user_id, &bob.user_id];
    both.sort_unstable();
    assert_eq!(kicked, both);
    let of_room = at.get(&format!("/v2/rooms/{room}/delete_status")).await;
    assert_eq!(of_room["results"][0]["status"], "complete");
    let status = "/v2/rooms/!none:hs/delete_status";
    at.fails(Method::GET, status, Value::Null, 404, "M_NOT_FOUND").await;
    at.fails(Method::GET, &format!("/v1/rooms/{room}"), Value::Null, 404, "M_NOT_FOUND").await;
    let block = format!("/v1/rooms/{room}/block");
    assert_eq!(at.get(&block).await["block"], true);
    assert_eq!(at.put(&block, json!({"block": false})).await, json!({"block": false}));
    at.fails(Method::PUT, &block, json!({}), 400, "M_MISSING_PARAM").await;

    let room = alice.create_room(&json!({})).await.unwrap();
    let answer =
        at.ask(Method::DELETE, &format!("/v1/rooms/{room}"), json!({})).await.ok().unwrap();
    assert_eq!(answer["kicked_users"], json!([alice.user_id]));
    at.fails(Method::DELETE, &format!("/v1/rooms/{room}"), json!({}), 404, "M_NOT_FOUND").await;
}
