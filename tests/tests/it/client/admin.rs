//! What administrators do to users, on the paths that their tools know, and what the server tells users.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session};

use super::Front;
use super::accounts::admin;
use crate::common::assert_error;

pub(super) struct Admin {
    pub(super) front: Front,
    root: Session,
}

impl Admin {
    pub(super) async fn new() -> Self {
        let front = Front::get().await;
        let root = admin(&front).await;
        Self { front, root }
    }

    /// `path` without `/_synapse/admin`.
    async fn by(&self, token: Option<&str>, method: Method, path: &str, body: Value) -> Answer {
        let body = (!body.is_null()).then_some(&body);
        self.front.request(method, &format!("/_synapse/admin{path}"), token, body).await
    }

    pub(super) async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        self.by(Some(&self.root.token), method, path, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, Value::Null).await.ok().unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, body).await.ok().unwrap()
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Value {
        self.ask(Method::PUT, path, body).await.ok().unwrap()
    }

    async fn delete(&self, path: &str) -> Value {
        self.ask(Method::DELETE, path, Value::Null).await.ok().unwrap()
    }

    pub(super) async fn fails(
        &self,
        method: Method,
        path: &str,
        body: Value,
        status: u16,
        code: &str,
    ) {
        assert_error(&self.ask(method, path, body).await, &[status], &[code]);
    }

    /// Somebody else may not, and without a token nobody may.
    pub(super) async fn is_closed(&self, other: &Session, method: Method, path: &str) {
        let answer = self.by(Some(&other.token), method.clone(), path, json!({})).await;
        assert_error(&answer, &[403], &["M_FORBIDDEN"]);
        let answer = self.by(None, method, path, json!({})).await;
        assert_error(&answer, &[401], &["M_MISSING_TOKEN"]);
    }
}

#[tokio::test]
async fn administrators_list_make_and_change_users() {
    let at = Admin::new().await;
    let alice = at.front.user("alice").await;
    for path in ["/v2/users", "/v3/users", "/v1/username_available?username=x"] {
        at.is_closed(&alice, Method::GET, path).await;
    }
    let version = at.by(None, Method::GET, "/v1/server_version", Value::Null).await.ok().unwrap();
    assert!(version["server_version"].as_str().unwrap().starts_with("Tessera"));
    let name = at.front.name("dora");
    let free = format!("/v1/username_available?username={name}");
    assert_eq!(at.get(&free).await["available"], true);
    let server = alice.user_id.split_once(':').unwrap().1;
    let dora = format!("@{name}:{server}");
    let user = format!("/v2/users/{dora}");
    at.fails(Method::GET, &user, Value::Null, 404, "M_NOT_FOUND").await;
    at.fails(Method::PUT, &user, json!({"admin": "x"}), 400, "M_BAD_JSON").await;
    let mail = format!("{name}@example.org");
    let body = json!({
        "password": "first", "displayname": "Dora", "user_type": "bot",
        "threepids": [{"medium": "email", "address": mail}],
    });
    let made = at.ask(Method::PUT, &user, body).await;
    assert_eq!((made.status, &made.body["displayname"]), (201, &json!("Dora")), "{made:?}");
    at.fails(Method::GET, &free, Value::Null, 400, "M_USER_IN_USE").await;
    assert_eq!(at.get(&format!("/v1/threepid/email/users/{mail}")).await["user_id"], *dora);
    let nobody = format!("/v1/threepid/email/users/x{mail}");
    at.fails(Method::GET, &nobody, Value::Null, 404, "M_NOT_FOUND").await;
    let changed = at.put(&user, json!({"displayname": "Dora the Second", "threepids": []})).await;
    assert_eq!(changed["displayname"], "Dora the Second");
    let word = at.front.name("").to_owned();
    let listed = at.get(&format!("/v2/users?name={word}&limit=1&dir=b&order_by=name")).await;
    assert_eq!((&listed["total"], &listed["next_token"]), (&json!(3), &json!("1")));
    let listed = at.get(&format!("/v3/users?user_id={name}&deactivated=false")).await;
    assert_eq!((&listed["total"], &listed["users"][0]["user_type"]), (&json!(1), &json!("bot")));
    for path in ["/v2/users?limit=x", "/v3/users?order_by=x"] {
        at.fails(Method::GET, path, Value::Null, 400, "M_INVALID_PARAM").await;
    }

    let login = |password: &str| {
        json!({
            "type": "m.login.password", "password": password,
            "identifier": {"type": "m.id.user", "user": name},
        })
    };
    let enter = |password: &str| {
        let body = login(password);
        let front = &at.front;
        async move {
            let path = "/_matrix/client/v3/login";
            front.request(Method::POST, path, None, Some(&body)).await
        }
    };
    let reset = format!("/v1/reset_password/{dora}");
    at.fails(Method::POST, &reset, json!({}), 400, "M_MISSING_PARAM").await;
    at.post(&reset, json!({"new_password": "second"})).await;
    assert_eq!(enter("first").await.status, 403);
    enter("second").await.ok().unwrap();
    let end = format!("/v1/deactivate/{dora}");
    at.fails(Method::POST, &end, json!({"erase": 1}), 400, "M_BAD_JSON").await;
    let ended = at.post(&end, json!({"erase": true})).await;
    assert_eq!(ended["id_server_unbind_result"], "success");
    assert_eq!(at.get(&user).await["erased"], true);
    assert_error(&enter("second").await, &[403], &["M_USER_DEACTIVATED"]);
    at.put(&user, json!({"deactivated": false, "password": "third"})).await;
    enter("third").await.ok().unwrap();
}

#[tokio::test]
async fn administrators_see_what_a_user_has_and_act_for_them() {
    let at = Admin::new().await;
    let alice = at.front.user("alice").await;
    let (one, two) =
        (format!("/v1/users/{}", alice.user_id), format!("/v2/users/{}", alice.user_id));
    let nobody = "/v1/users/@nobody:elsewhere.example";
    for what in ["admin", "accountdata", "pushers", "override_ratelimit"] {
        let path = format!("{nobody}/{what}");
        at.fails(Method::GET, &path, Value::Null, 400, "M_INVALID_PARAM").await;
    }
    for what in ["joined_rooms", "memberships"] {
        let path = format!("/v1/users/x/{what}");
        at.fails(Method::GET, &path, Value::Null, 400, "M_INVALID_PARAM").await;
    }
    let room = alice.create_room(&json!({})).await.unwrap();
    let joined = at.get(&format!("{one}/joined_rooms")).await;
    assert_eq!(joined, json!({"joined_rooms": [room], "total": 1}));
    assert_eq!(at.get(&format!("{one}/memberships")).await["memberships"][&room], "join");
    let path = format!("/user/{}/account_data/org.example", alice.user_id);
    alice.put(&path, &json!({"x": 1})).await.unwrap();
    let data = at.get(&format!("{one}/accountdata")).await;
    assert_eq!(data["account_data"]["global"]["org.example"]["x"], 1);
    let pusher = json!({
        "kind": "http", "app_id": "a", "pushkey": "k", "app_display_name": "A", "lang": "en",
        "device_display_name": "D", "data": {"url": "https://push.example.org/_matrix/push/v1/notify"},
    });
    alice.post("/pushers/set", &pusher).await.unwrap();
    let pushers = at.get(&format!("{one}/pushers")).await;
    assert_eq!((&pushers["total"], &pushers["pushers"][0]["pushkey"]), (&json!(1), &json!("k")));

    let rate = format!("{one}/override_ratelimit");
    let body = json!({"messages_per_second": 5, "burst_count": 50});
    assert_eq!(at.post(&rate, body.clone()).await, body);
    assert_eq!(at.get(&rate).await, body);
    let wrong = json!({"burst_count": -1});
    at.fails(Method::POST, &rate, wrong, 400, "M_INVALID_PARAM").await;
    at.delete(&rate).await;
    assert_eq!(at.get(&rate).await, json!({}));
    let ban = format!("{one}/shadow_ban");
    at.post(&ban, json!({})).await;
    assert_eq!(at.get(&two).await["shadow_banned"], true);
    at.delete(&ban).await;
    let suspend = format!("/v1/suspend/{}", alice.user_id);
    at.put(&suspend, json!({"suspend": true})).await;
    assert_eq!(at.get(&two).await["suspended"], true);
    at.fails(Method::PUT, &suspend, json!({}), 400, "M_MISSING_PARAM").await;
    at.put(&suspend, json!({"suspend": false})).await;
    let flag = format!("{one}/admin");
    at.put(&flag, json!({"admin": true})).await;
    assert_eq!(at.get(&flag).await, json!({"admin": true}));
    at.fails(Method::PUT, &flag, json!({}), 400, "M_MISSING_PARAM").await;
    at.put(&flag, json!({"admin": false})).await;
    let own = format!("/v1/users/{}/admin", at.root.user_id);
    at.fails(Method::PUT, &own, json!({"admin": false}), 400, "M_INVALID_PARAM").await;

    let devices = format!("{two}/devices");
    let made = at.ask(Method::POST, &devices, json!({"device_id": "MADE"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    at.fails(Method::POST, &devices, json!({}), 400, "M_MISSING_PARAM").await;
    let device = format!("{devices}/MADE");
    at.put(&device, json!({"display_name": "desk"})).await;
    assert_eq!(at.get(&device).await["display_name"], "desk");
    assert_eq!(at.get(&devices).await["total"], 2);
    at.delete(&device).await;
    at.fails(Method::GET, &device, Value::Null, 404, "M_NOT_FOUND").await;
    at.fails(Method::PUT, &device, json!({"display_name": "x"}), 404, "M_NOT_FOUND").await;
    let gone = format!("/v2/users/{}/devices/MADE", alice.user_id.replace('@', "@x"));
    at.fails(Method::DELETE, &gone, Value::Null, 404, "M_NOT_FOUND").await;
    let several = format!("{two}/delete_devices");
    at.fails(Method::POST, &several, json!({}), 400, "M_MISSING_PARAM").await;
    at.post(&several, json!({"devices": ["MADE"]})).await;

    let redact = format!("/v1/user/{}/redact", alice.user_id);
    at.fails(Method::POST, &redact, json!({}), 400, "M_MISSING_PARAM").await;
    let event = alice.text(&room, "1", "spam").await.unwrap();
    let mut since = alice.sync_token().await.unwrap();
    let begun = at.post(&redact, json!({"rooms": [room]})).await;
    let status = format!("/v1/user/redact_status/{}", begun["redact_id"].as_str().unwrap());
    let mut redacted = false;
    for _ in 0..20 {
        let sync = alice.sync(Some(&since), Duration::from_secs(10), "").await.unwrap();
        since = sync["next_batch"].as_str().unwrap().to_owned();
        let news = sync["rooms"]["join"][&room]["timeline"]["events"].as_array();
        redacted = news.into_iter().flatten().any(|it| it["content"]["redacts"] == *event);
        if redacted {
            break;
        }
    }
    assert!(redacted, "the message is not redacted");
    let told = at.get(&status).await;
    assert!(told["status"] == "active" || told["failed_redactions"] == json!({}), "{told}");
    let event = alice.get(&format!("/rooms/{room}/event/{event}")).await.unwrap();
    assert_eq!(event["content"], json!({}));
    let none = "/v1/user/redact_status/none";
    at.fails(Method::GET, none, Value::Null, 404, "M_NOT_FOUND").await;

    let whois = format!("/v1/whois/{}", alice.user_id);
    assert_eq!(at.get(&whois).await["user_id"], *alice.user_id);
    let enter = format!("{one}/login");
    at.fails(Method::POST, &enter, json!({"valid_until_ms": "x"}), 400, "M_BAD_JSON").await;
    let token = at.post(&enter, json!({})).await["access_token"].as_str().unwrap().to_owned();
    let path = "/_matrix/client/v3/account/whoami";
    let me = at.front.request(Method::GET, path, Some(&token), None).await.ok().unwrap();
    assert_eq!((&me["user_id"], me.get("device_id")), (&json!(*alice.user_id), None));
    let path = "/_matrix/client/v3/logout";
    at.front.request(Method::POST, path, Some(&token), None).await.ok().unwrap();
    let again = at.front.request(Method::POST, path, Some(&token), None).await;
    assert_error(&again, &[401], &["M_UNKNOWN_TOKEN"]);
    let replace = format!("{one}/_allow_cross_signing_replacement_without_uia");
    at.fails(Method::POST, &replace, json!({}), 404, "M_NOT_FOUND").await;
    alice.get("/account/whoami").await.unwrap();
}

#[tokio::test]
async fn server_notices_come_in_a_tagged_room_that_cannot_be_refused() {
    let at = Admin::new().await;
    let alice = at.front.user("alice").await;
    let path = "/v1/send_server_notice";
    let body = json!({
        "user_id": alice.user_id, "content": {"msgtype": "m.text", "body": "mind the gap"},
    });
    at.is_closed(&alice, Method::POST, path).await;
    at.fails(Method::POST, path, json!({"content": {}}), 400, "M_MISSING_PARAM").await;
    let once = format!("{path}/{}", at.front.name("once"));
    at.fails(Method::PUT, &once, json!({}), 400, "M_MISSING_PARAM").await;
    let sent = at.put(&once, body.clone()).await;
    assert_eq!(at.put(&once, body.clone()).await, sent);
    assert_ne!(at.post(path, body).await, sent);
    let sync = alice.sync(None, Duration::ZERO, "").await.unwrap();
    let invites = sync["rooms"]["invite"].as_object().unwrap();
    let room = invites.keys().next().unwrap().clone();
    assert_eq!(invites.len(), 1);
    let leave = alice.call(Method::POST, &format!("/rooms/{room}/leave"), Some(&json!({}))).await;
    assert_error(&leave.unwrap(), &[403], &["M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"]);
    alice.join(&room).await.unwrap();
    let sync = alice.sync(None, Duration::ZERO, "").await.unwrap();
    let joined = &sync["rooms"]["join"][&room];
    let events = joined["timeline"]["events"].as_array().unwrap();
    let notices = events.iter().filter(|event| event["content"]["body"] == "mind the gap");
    assert_eq!(notices.count(), 2);
    let tags = joined["account_data"]["events"].as_array().unwrap();
    assert!(tags.iter().any(|event| event["content"]["tags"]["m.server_notice"].is_object()));
    let text = json!({"msgtype": "m.text", "body": "why?"});
    let path = format!("/rooms/{room}/send/m.room.message/1");
    let answer = alice.call(Method::PUT, &path, Some(&text)).await.unwrap();
    assert_error(&answer, &[403], &["M_FORBIDDEN"]);
    alice.post(&format!("/rooms/{room}/leave"), &json!({})).await.unwrap();
}
