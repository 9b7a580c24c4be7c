//! push

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::{api::Session, push::PushGateway};

use super::Front;
use crate::common::assert_error;

/// Alice, and bob in a room of hers.
async fn pair(front: &Front) -> (Session, Session, String) {
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await.unwrap();
    bob.join(&room).await.unwrap();
    (alice, bob, room)
}

async fn say(user: &Session, room: &str, content: &Value) -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let txn = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = format!("/rooms/{room}/send/m.room.message/t{txn}");
    user.put(&path, content).await.unwrap()["event_id"].as_str().unwrap().to_owned()
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

/// Asks until the answer is as wanted: counting follows sending.
async fn until(user: &Session, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let body = user.get(path).await.unwrap();
            if wanted(&body) {
                return body;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap()
}

#[tokio::test]
async fn rules_are_made_ordered_changed_and_deleted() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let rules = alice.get("/pushrules/").await.unwrap();
    let ids = |list: &Value| -> Vec<String> {
        let ids = list.as_array().unwrap().iter().map(|rule| rule["rule_id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    };
    let overrides = ids(&rules["global"]["override"]);
    assert_eq!(overrides[0], ".m.rule.master");
    for id in [
        ".m.rule.suppress_notices",
        ".m.rule.invite_for_me",
        ".m.rule.member_event",
        ".m.rule.is_user_mention",
        ".m.rule.is_room_mention",
        ".m.rule.tombstone",
        ".m.rule.reaction",
        ".m.rule.room.server_acl",
        ".m.rule.suppress_edits",
    ] {
        assert!(overrides.iter().any(|known| known == id), "{id} in {overrides:?}");
    }
    let underrides = ids(&rules["global"]["underride"]);
    for id in [
        ".m.rule.call",
        ".m.rule.encrypted_room_one_to_one",
        ".m.rule.room_one_to_one",
        ".m.rule.message",
        ".m.rule.encrypted",
    ] {
        assert!(underrides.iter().any(|known| known == id), "{id} in {underrides:?}");
    }
    assert_eq!(alice.get("/pushrules/global/").await.unwrap(), rules["global"]);

    let body = json!({ "pattern": "cake", "actions": ["notify"] });
    for (id, query) in [("one", ""), ("two", "?after=one"), ("three", "?before=two")] {
        alice.put(&format!("/pushrules/global/content/{id}{query}"), &body).await.unwrap();
    }
    let list = alice.get("/pushrules/").await.unwrap()["global"]["content"].clone();
    assert_eq!(ids(&list)[..3], ["one", "three", "two"]);
    let rule = alice.get("/pushrules/global/content/one").await.unwrap();
    let expected = json!({ "rule_id": "one", "pattern": "cake", "actions": ["notify"], "default": false, "enabled": true });
    assert_eq!(rule, expected);

    let path = "/pushrules/global/content/one";
    alice.put(&format!("{path}/enabled"), &json!({ "enabled": false })).await.unwrap();
    let enabled = alice.get(&format!("{path}/enabled")).await.unwrap();
    assert_eq!(enabled, json!({ "enabled": false }));
    let loud = json!({ "actions": ["notify", { "set_tweak": "sound", "value": "default" }] });
    alice.put(&format!("{path}/actions"), &loud).await.unwrap();
    assert_eq!(alice.get(&format!("{path}/actions")).await.unwrap(), loud);
    // A default rule can be changed, too.
    let master = "/pushrules/global/override/.m.rule.master";
    alice.put(&format!("{master}/enabled"), &json!({ "enabled": true })).await.unwrap();
    assert_eq!(alice.get(master).await.unwrap()["enabled"], true);
    let gone = alice.call(Method::DELETE, path, None).await.unwrap();
    assert_eq!((gone.status, gone.body), (200, json!({})));
    let again = alice.call(Method::DELETE, path, None).await.unwrap();
    assert_error(&again, &[404], &["M_NOT_FOUND"]);
    // It is account data for clients.
    let since = alice.sync_token().await.unwrap();
    alice.put(&format!("{master}/enabled"), &json!({ "enabled": false })).await.unwrap();
    let sync = alice.sync(Some(&since), Duration::from_secs(10), "").await.unwrap();
    let told = sync["account_data"]["events"].as_array().unwrap();
    assert!(told.iter().any(|event| event["type"] == "m.push_rules"), "{sync}");
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let put = |path: &'static str, body: Value| {
        let alice = &alice;
        async move { alice.call(Method::PUT, path, Some(&body)).await.unwrap() }
    };
    let cake = || json!({ "pattern": "cake", "actions": ["notify"] });
    let answer = put("/pushrules/global/content/.mine", cake()).await;
    assert_error(&answer, &[400], &["M_INVALID_PARAM"]);
    let answer = put("/pushrules/global/nothing/x", cake()).await;
    assert_error(&answer, &[400], &["M_INVALID_PARAM"]);
    let answer = put("/pushrules/global/content/x?before=nobody", cake()).await;
    assert_error(&answer, &[400, 404], &["M_UNKNOWN", "M_NOT_FOUND"]);
    let answer = put("/pushrules/global/content/x", json!({ "pattern": "cake" })).await;
    assert_error(&answer, &[400], &["M_MISSING_PARAM"]);
    let answer =
        put("/pushrules/global/content/x", json!({ "pattern": "x", "actions": ["dance"] }));
    assert_error(&answer.await, &[400], &["M_INVALID_PARAM"]);
    let unknown = "/pushrules/global/content/nobody";
    for path in [unknown.to_owned(), format!("{unknown}/enabled"), format!("{unknown}/actions")] {
        let answer = alice.call(Method::GET, &path, None).await.unwrap();
        assert_error(&answer, &[404], &["M_NOT_FOUND"]);
    }
    let answer = put("/pushrules/global/content/nobody/enabled", json!({ "enabled": true })).await;
    assert_error(&answer, &[404], &["M_NOT_FOUND"]);
    for path in ["/pushrules/global/room", "/pushrules/elsewhere/room/x", "/pushrules/"] {
        assert_error(&put(path, cake()).await, &[400], &["M_UNRECOGNIZED"]);
    }
    let answer = put("/pushrules/global/content/nobody/actions", json!({ "actions": [] })).await;
    assert_error(&answer, &[404], &["M_NOT_FOUND"]);
    for path in ["pushrules/", "pushrules/global/"] {
        let path = format!("/_matrix/client/v3/{path}");
        let answer = front.request(Method::GET, &path, None, None).await;
        assert_error(&answer, &[401], &["M_MISSING_TOKEN"]);
    }
}

#[tokio::test]
async fn unread_counts_follow_messages_mentions_and_receipts() {
    let front = Front::get().await;
    let (alice, bob, room) = pair(&front).await;
    say(&alice, &room, &text("hello")).await;
    let mention = json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [bob.user_id.as_ref()] } });
    let last = say(&alice, &room, &mention).await;
    let filter = r#"{"room":{"timeline":{"limit":1}}}"#;
    let query =
        format!("&filter={}", filter.replace('{', "%7B").replace('}', "%7D").replace('"', "%22"));
    let counts = |sync: &Value| sync["rooms"]["join"][&room]["unread_notifications"].clone();
    let mut waited = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        loop {
            let sync = bob.sync(None, Duration::ZERO, &query).await.unwrap();
            if counts(&sync) == json!({ "notification_count": 2, "highlight_count": 1 }) {
                return;
            }
            waited.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
    bob.post(&format!("/rooms/{room}/receipt/m.read/{last}"), &json!({})).await.unwrap();
    let wait = async {
        loop {
            let sync = bob.sync(None, Duration::ZERO, &query).await.unwrap();
            if counts(&sync) == json!({ "notification_count": 0, "highlight_count": 0 }) {
                return;
            }
            waited.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}

#[tokio::test]
async fn notifications_are_listed_newest_first_in_pages() {
    let front = Front::get().await;
    let (alice, bob, room) = pair(&front).await;
    let mut sent = Vec::new();
    for n in 0..3 {
        sent.push(say(&alice, &room, &text(&format!("message {n}"))).await);
    }
    let mention = json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [bob.user_id.as_ref()] } });
    sent.push(say(&alice, &room, &mention).await);
    let listed = |body: &Value| -> Vec<String> {
        let list = body["notifications"].as_array().unwrap().iter();
        list.map(|one| one["event"]["event_id"].as_str().unwrap().to_owned()).collect()
    };
    let all = until(&bob, "/notifications", |body| listed(body).len() == 4).await;
    sent.reverse();
    assert_eq!(listed(&all), sent);
    let first = &all["notifications"][0];
    assert_eq!((&first["room_id"], &first["read"]), (&json!(room), &json!(false)));
    assert!(
        first["ts"].is_u64() && first["actions"].as_array().unwrap().contains(&json!("notify"))
    );
    let page = bob.get("/notifications?limit=3").await.unwrap();
    assert_eq!(listed(&page), sent[..3]);
    let next = page["next_token"].as_str().unwrap();
    let rest = bob.get(&format!("/notifications?limit=3&from={next}")).await.unwrap();
    assert_eq!(listed(&rest), sent[3..]);
    let loud = bob.get("/notifications?only=highlight").await.unwrap();
    assert_eq!(listed(&loud), sent[..1]);
    for bad in ["from=nowhere", "limit=-1", "only=loud"] {
        let answer = bob.call(Method::GET, &format!("/notifications?{bad}"), None).await.unwrap();
        assert_error(&answer, &[400], &["M_INVALID_PARAM"]);
    }
}

fn pusher(key: &str, url: &str) -> Value {
    json!({
        "app_id": "org.example.app", "pushkey": key, "kind": "http", "app_display_name": "App",
        "device_display_name": "Phone", "lang": "en", "data": { "url": url, "format": "event_id_only" },
    })
}

#[tokio::test]
async fn a_gateway_is_told_of_messages_and_of_what_was_read() {
    let front = Front::get().await;
    let (alice, bob, room) = pair(&front).await;
    let gateway = PushGateway::start().await.unwrap();
    let key = front.name("key");
    bob.post("/pushers/set", &pusher(&key, &gateway.url())).await.unwrap();
    let listed = bob.get("/pushers").await.unwrap()["pushers"][0].clone();
    assert_eq!((&listed["pushkey"], &listed["kind"]), (&json!(key), &json!("http")));
    // A gateway that fails at first is asked again.
    gateway.fail(1);
    let sent = say(&alice, &room, &text("hello")).await;
    let told = gateway.wait(|told| told["event_id"] == sent.as_str()).await.unwrap();
    assert_eq!((&told["room_id"], &told["counts"]["unread"]), (&json!(room), &json!(1)));
    assert_eq!(told["devices"][0]["pushkey"], key.as_str());
    assert!(told["devices"][0]["data"].get("url").is_none());
    assert!(told.get("content").is_none(), "only ids were asked for");
    bob.post(&format!("/rooms/{room}/receipt/m.read/{sent}"), &json!({})).await.unwrap();
    gateway.wait(|told| told["counts"]["unread"] == 0).await.unwrap();
    // A rejected key is gone.
    gateway.reject(&key);
    say(&alice, &room, &text("again")).await;
    until(&bob, "/pushers", |body| body["pushers"] == json!([])).await;
}

#[tokio::test]
async fn pushers_are_deleted_and_bad_ones_refused() {
    let front = Front::get().await;
    let bob = front.user("bob").await;
    let gateway = PushGateway::start().await.unwrap();
    let key = front.name("key");
    bob.post("/pushers/set", &pusher(&key, &gateway.url())).await.unwrap();
    // Somebody else with the same key takes it over, unless they say `append`.
    let carol = front.user("carol").await;
    carol.post("/pushers/set", &pusher(&key, &gateway.url())).await.unwrap();
    assert_eq!(bob.get("/pushers").await.unwrap(), json!({ "pushers": [] }));
    let none = json!({ "app_id": "org.example.app", "pushkey": key, "kind": null });
    carol.post("/pushers/set", &none).await.unwrap();
    assert_eq!(carol.get("/pushers").await.unwrap(), json!({ "pushers": [] }));
    for (name, value, errcode) in [
        ("app_id", json!("x".repeat(65)), "M_INVALID_PARAM"),
        ("pushkey", json!("x".repeat(513)), "M_INVALID_PARAM"),
        ("data", json!({ "url": "https://example.org/elsewhere" }), "M_INVALID_PARAM"),
        ("lang", Value::Null, "M_MISSING_PARAM"),
        ("kind", json!("email"), "M_THREEPID_NOT_FOUND"),
    ] {
        let mut body = pusher(&key, &gateway.url());
        body[name] = value;
        let answer = bob.call(Method::POST, "/pushers/set", Some(&body)).await.unwrap();
        assert_error(&answer, &[400], &[errcode]);
    }
    let answer = front.request(Method::GET, "/_matrix/client/v3/pushers", None, None).await;
    assert_error(&answer, &[401], &["M_MISSING_TOKEN"]);
    // A pusher ends with its device.
    let phone = front.device("bob").await;
    phone.post("/pushers/set", &pusher(&key, &gateway.url())).await.unwrap();
    phone.post("/logout", &json!({})).await.unwrap();
    until(&bob, "/pushers", |body| body["pushers"] == json!([])).await;
}

#[tokio::test]
async fn missed_messages_are_mailed_until_the_link_in_them_is_pressed() {
    let config =
        "[plugins.push.config]\nmail-after-ms = 1\nbase-url = \"https://matrix.example.org\"\n";
    let post = super::threepids::Post::start_with(config).await;
    let (alice, bob) = (post.world.user("alice").await, post.world.user("bob").await);
    let pusher = json!({
        "app_id": "m.email", "pushkey": "bob@example.org", "kind": "email", "lang": "en",
        "app_display_name": "Email Notifications", "device_display_name": "bob@example.org",
        "data": { "brand": "Teahouse" },
    });
    let set = async || bob.call(Method::POST, "/pushers/set", Some(&pusher)).await.unwrap();
    assert_error(&set().await, &[400], &["M_THREEPID_NOT_FOUND"]);
    let sid = post.prove("/account/3pid", "bob@example.org", 1).await;
    let creds = json!({ "three_pid_creds": { "sid": sid, "client_secret": "s3cr3t" } });
    bob.call(Method::POST, "/account/3pid", Some(&creds)).await.unwrap().ok().unwrap();
    set().await.ok().unwrap();

    let room = alice.create_room(&json!({ "preset": "public_chat", "name": "Tea" })).await.unwrap();
    bob.join(&room).await.unwrap();
    say(&alice, &room, &text("the kettle is on")).await;
    let mail = post.mail("bob@example.org", 2).await;
    assert_eq!(mail.header("subject").unwrap(), "[Teahouse] You have messages in Tea");
    let body = mail.text();
    assert!(body.contains("the kettle is on"), "{body}");
    let link = body.split_whitespace().find(|word| word.contains("/unsubscribe?token=")).unwrap();
    let (_, link) = link.split_once("/_tessera/").unwrap();
    let url = format!("{}/_tessera/{link}", post.world.base);
    assert_eq!(post.world.http.post(&url).send().await.unwrap().status().as_u16(), 200);
    assert_eq!(bob.get("/pushers").await.unwrap()["pushers"], json!([]));
}
