//! Backups of room keys.

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session, string};

use super::Front;
use super::keys::refused;

async fn call(user: &Session, method: Method, path: &str) -> Answer {
    user.call(method, path, None).await.unwrap()
}

async fn put(user: &Session, path: &str, body: &Value) -> Answer {
    user.call(Method::PUT, path, Some(body)).await.unwrap()
}

async fn create(user: &Session) -> String {
    let body = json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "p", "signatures": {}},
    });
    string(&user.post("/room_keys/version", &body).await.unwrap(), "version").unwrap()
}

fn session(data: &str) -> Value {
    json!({
        "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": {"ciphertext": data},
    })
}

#[tokio::test]
async fn versions_come_and_go() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    refused(&call(&alice, Method::GET, "/room_keys/version").await, 404, "M_NOT_FOUND");
    let body = json!({"auth_data": {}});
    let incomplete = alice.call(Method::POST, "/room_keys/version", Some(&body)).await.unwrap();
    refused(&incomplete, 400, "M_MISSING_PARAM");
    let version = create(&alice).await;
    let path = format!("/room_keys/version/{version}");
    let current = alice.get("/room_keys/version").await.unwrap();
    assert_eq!((&current["version"], &current["count"]), (&json!(version), &json!(0)));
    assert_eq!(current["auth_data"]["public_key"], "p");
    assert_eq!(alice.get(&path).await.unwrap(), current);
    let mut update = json!({
        "algorithm": current["algorithm"], "auth_data": {"public_key": "q"}, "version": version,
    });
    alice.put(&path, &update).await.unwrap();
    assert_eq!(alice.get(&path).await.unwrap()["auth_data"], json!({"public_key": "q"}));
    update["algorithm"] = json!("m.other");
    refused(&put(&alice, &path, &update).await, 400, "M_INVALID_PARAM");
    assert_eq!(call(&alice, Method::DELETE, &path).await.ok().unwrap(), json!({}));
    assert_eq!(call(&alice, Method::DELETE, &path).await.ok().unwrap(), json!({}));
    refused(&call(&alice, Method::GET, &path).await, 404, "M_NOT_FOUND");
    refused(&call(&alice, Method::DELETE, "/room_keys/version/999").await, 404, "M_NOT_FOUND");
}

#[tokio::test]
async fn keys_are_stored_restored_and_deleted_in_each_form() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let version = create(&alice).await;
    let room = "!room:example.org";
    let all = format!("/room_keys/keys?version={version}");
    let of_room = format!("/room_keys/keys/{room}?version={version}");
    let one = |id: &str| format!("/room_keys/keys/{room}/{id}?version={version}");
    refused(&call(&alice, Method::GET, &one("a")).await, 404, "M_NOT_FOUND");
    assert_eq!(alice.get(&of_room).await.unwrap(), json!({"sessions": {}}));
    let stored = alice.put(&one("a"), &session("a")).await.unwrap();
    assert_eq!(stored["count"], 1);
    let again = alice.put(&one("a"), &session("worse")).await.unwrap();
    assert_eq!(again, stored, "not better, no change");
    alice.put(&of_room, &json!({"sessions": {"b": session("b")}})).await.unwrap();
    let other = json!({"rooms": {"!other:example.org": {"sessions": {"c": session("c")}}}});
    assert_eq!(alice.put(&all, &other).await.unwrap()["count"], 3);
    // Another device restores.
    let second = front.device("alice").await;
    assert_eq!(second.get(&one("a")).await.unwrap(), session("a"));
    let sessions = json!({"sessions": {"a": session("a"), "b": session("b")}});
    assert_eq!(second.get(&of_room).await.unwrap(), sessions);
    let mut everything = other.clone();
    everything["rooms"][room] = sessions;
    assert_eq!(second.get(&all).await.unwrap(), everything);
    assert_eq!(call(&second, Method::DELETE, &one("a")).await.ok().unwrap()["count"], 2);
    assert_eq!(call(&second, Method::DELETE, &of_room).await.ok().unwrap()["count"], 1);
    assert_eq!(second.get(&all).await.unwrap(), other);
    let gone = call(&second, Method::DELETE, &all).await.ok().unwrap();
    assert_eq!(gone["count"], 0);
    assert_eq!(alice.get("/room_keys/version").await.unwrap()["etag"], gone["etag"]);
}

#[tokio::test]
async fn keys_of_no_backup_or_an_old_one_are_refused() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let old = create(&alice).await;
    let new = create(&alice).await;
    let room = "!room:example.org";
    let bodies = [
        (String::new(), json!({"rooms": {}})),
        (format!("/{room}"), json!({"sessions": {}})),
        (format!("/{room}/s"), session("x")),
    ];
    for (place, body) in bodies {
        let path = |version: &str| format!("/room_keys/keys{place}?version={version}");
        let wrong = put(&alice, &path(&old), &body).await;
        refused(&wrong, 403, "M_WRONG_ROOM_KEYS_VERSION");
        assert_eq!(wrong.text("current_version"), new);
        refused(&put(&alice, &path("999"), &body).await, 404, "M_NOT_FOUND");
        refused(&put(&alice, &path(&new), &json!({"rooms": 1})).await, 400, "M_BAD_JSON");
        for method in [Method::GET, Method::DELETE] {
            refused(&call(&alice, method.clone(), &path("999")).await, 404, "M_NOT_FOUND");
            let without = format!("/room_keys/keys{place}");
            refused(&call(&alice, method, &without).await, 400, "M_MISSING_PARAM");
        }
    }
}
