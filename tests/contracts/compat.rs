//! Modules of earlier days (`tests/compat`): built against the contract as it was, run by the server as it is.

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::{
    api::{self, Answer, Session},
    binary,
};

use crate::world::{World, refused, syncs};

/// One module for each version of the contract.
const MODULE: &str = "compat-0.1.wasm";

async fn world() -> World {
    let file = binary::fixtures().unwrap().join(MODULE);
    World::with(&format!("[plugins.compat-v0-1]\nsource = {file:?}\ngrants = \"asked\"\n")).await
}

async fn ask(world: &World, method: Method, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = world.http.request(method, format!("{}{path}", world.server.url()));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
    Answer { status, headers, body }
}

#[tokio::test]
async fn every_function_of_version_0_1_is_there() {
    let world = world().await;
    let came = ask(&world, Method::POST, "/compat/everything", None).await.ok().unwrap();
    for (function, expected) in [
        ("storage.query", r#"Ok(["id", "note"])"#),
        ("storage.snapshot", "Ok(2)"),
        ("storage.lock", "true"),
        ("storage.commit", "Ok((true, false))"),
        ("storage.unlock", "called"),
        ("storage.search", r#"Ok(["k"])"#),
        ("bus.watch", "true"),
        ("bus.notify", "called"),
        ("blobs.put", "true"),
        ("blobs.read", r#"Ok("bytes")"#),
        ("blobs.stat", "Ok(10)"),
        ("blobs.delete", "Ok(())"),
        ("crypto.tenant-name", "hs1"),
        ("crypto.key", "true"),
        ("crypto.sign", "1"),
        ("crypto.verify", "[true]"),
        ("crypto.hash-password", "true"),
        ("crypto.verify-password", "true"),
        ("cache.put", "called"),
        ("cache.get", r#"Some("v")"#),
        ("cache.remove", "true"),
        ("timers.set", "Ok(())"),
        ("timers.cancel", "Ok(())"),
        ("timers.set now", "Ok(())"),
        ("limits.take", "Ok(())"),
        ("limits.cap", "None"),
        ("log.write", "called"),
        ("log.enabled", "true"),
        ("metrics", "called"),
        ("config.get", r#"{"greeting":"hello"}"#),
        ("fetch.send", "true"),
        ("accounts.profiles", "Ok(0)"),
        ("accounts.filter", "true"),
        ("accounts.account-data", "None"),
        ("accounts.put-account-data", "true"),
        ("rooms.state-at", "true"),
        ("rooms.send-as", "true"),
        ("rooms.profile-changed", "true"),
        ("push.rules", "true"),
        ("push.set-actions", "true"),
        ("presence.get", "Ok(0)"),
        ("presence.set", "true"),
        ("rooms.state", "true"),
        ("rooms.create-room", "true"),
        ("rooms.set-membership", "true"),
        ("rooms.delete-room", "true"),
        ("rooms.room-of-alias", "None"),
        ("rooms.set-listed", "true"),
        ("accounts.users", "Ok(0)"),
        ("accounts.active-users", "Ok(0)"),
        ("accounts.register", r#"Ok("@made-by-compat:hs1")"#),
        ("accounts.log-in", "true"),
        ("accounts.login-token", "true"),
        ("accounts.log-out", "true"),
    ] {
        assert_eq!(came[function], expected, "{function}: {came:#}");
    }
}

#[tokio::test]
async fn every_interface_that_version_0_1_may_export_is_called() {
    let world = world().await;
    let waiting = {
        let (http, url) = (world.http.clone(), format!("{}/compat/wait", world.server.url()));
        tokio::spawn(async move { http.get(url).send().await.unwrap().text().await.unwrap() })
    };
    ask(&world, Method::POST, "/compat/everything", None).await.ok().unwrap();
    // It parked and was woken, or it came when the message was handled already.
    let answer: Value = serde_json::from_str(&waiting.await.unwrap()).unwrap();
    let parked = json!({"route": "wait", "state": "v1", "woken": true});
    assert!(answer == parked || answer == json!({"notes": "Ok(1)"}), "{answer}");
    refused(&ask(&world, Method::GET, "/compat/who", None).await, 401, "M_FORBIDDEN");
    let who = ask(&world, Method::GET, "/compat/who", Some("Compat secret")).await.ok().unwrap();
    assert_eq!(who, json!({"user": "@compat:hs1"}));
}

async fn put(user: &Session, path: &str, body: &Value) -> Answer {
    user.call(Method::PUT, path, Some(body)).await.unwrap()
}

#[tokio::test]
async fn hooks_of_version_0_1_about_events_and_rooms_are_asked() {
    let world = world().await;
    let alice = world.user("alice").await;
    let no_room = alice
        .call(Method::POST, "/createRoom", Some(&json!({"name": "compat: no room"})))
        .await
        .unwrap();
    refused(&no_room, 403, "M_FORBIDDEN");
    let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    for (path, body) in [
        (format!("/rooms/{room}/send/m.room.message/1"), json!({"body": "compat: no"})),
        (format!("/rooms/{room}/send/m.room.message/2"), json!({"body": "compat: forbidden"})),
        (format!("/rooms/{room}/state/com.example.compat.no"), json!({})),
        ("/directory/room/%23compat-no:hs1".to_owned(), json!({"room_id": room})),
    ] {
        let answer = put(&alice, &path, &body).await;
        refused(&answer, 403, "M_FORBIDDEN");
        assert_eq!(answer.text("error"), "compat-v0-1 said no", "{path}");
    }
    let invite = json!({"user_id": "@compat-no:hs1"});
    let path = format!("/rooms/{room}/invite");
    let answer = alice.call(Method::POST, &path, Some(&invite)).await.unwrap();
    refused(&answer, 403, "M_FORBIDDEN");
    let since = alice.sync_token().await.unwrap();
    let body = json!({"msgtype": "m.text", "body": "compat: change, compat: field"});
    let path = format!("/rooms/{room}/send/m.room.message/3");
    let id = api::string(&put(&alice, &path, &body).await.ok().unwrap(), "event_id").unwrap();
    let told = |sync: &Value| {
        let events = sync["rooms"]["join"][&room]["timeline"]["events"].as_array()?;
        events.iter().find(|event| event["event_id"] == id.as_str()).cloned()
    };
    let (event, _) = syncs(&alice, &since, told).await;
    assert_eq!(event["content"]["body"], "compat: changed, compat: field");
    assert_eq!(event["unsigned"]["com.example.compat"], true, "{event:#}");
}

#[tokio::test]
async fn hooks_of_version_0_1_about_accounts_are_asked() {
    let world = world().await;
    let url = format!("{}/_matrix/client/v3", world.server.url());
    let post = async |path: &str, body: Value| {
        let body = Some(body.to_string().into_bytes());
        api::request(&world.http, Method::POST, &format!("{url}{path}"), None, body).await.unwrap()
    };
    let alice = world.user("alice").await;
    let name = alice.get(&format!("/profile/{}/displayname", alice.user_id)).await.unwrap();
    assert_eq!(name["displayname"], "Named by compat");
    let dummy = json!({"type": "m.login.dummy"});
    let body = json!({"username": "compat-no", "password": "a password", "auth": dummy});
    refused(&post("/register", body).await, 403, "M_FORBIDDEN");
    let types = ask(&world, Method::GET, "/_matrix/client/v3/login", None).await.ok().unwrap();
    let kinds: Vec<&Value> =
        types["flows"].as_array().unwrap().iter().map(|it| &it["type"]).collect();
    assert!(kinds.contains(&&json!("com.example.compat")), "{types}");
    let identifier = json!({"type": "m.id.user", "user": "carol"});
    let login = |secret: &str| json!({"type": "com.example.compat", "identifier": identifier, "compat": secret});
    let carol = post("/login", login("compat secret")).await.ok().unwrap();
    assert_eq!(
        (&carol["user_id"], &carol["com.example.compat"]),
        (&json!("@carol:hs1"), &json!(true))
    );
    refused(&post("/login", login("wrong")).await, 403, "M_FORBIDDEN");
    let body = json!({
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"},
        "password": "alice's password", "initial_device_display_name": "compat: no",
    });
    refused(&post("/login", body).await, 403, "M_FORBIDDEN");
    let expired = world.user("compat-expired").await;
    let answer = expired.call(Method::GET, "/account/whoami", None).await.unwrap();
    refused(&answer, 403, "ORG_MATRIX_EXPIRED_ACCOUNT");
    let stays = world.user("compat-stays").await;
    let auth = json!({
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "compat-stays"},
        "password": "compat-stays's password",
    });
    let body = json!({"auth": auth});
    let answer = stays.call(Method::POST, "/account/deactivate", Some(&body)).await.unwrap();
    refused(&answer, 403, "M_FORBIDDEN");
}
