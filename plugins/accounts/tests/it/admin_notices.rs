use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::{Guest, Proof, Proven};
use tessera_sdk::params;
use tessera_sdk::services::{KeysError, RoomsError};
use tessera_sdk::storage::{Batch, position, query};
use tessera_test_host::{TestAnswer, TestHost};

use crate::admin::{admin, member};
use crate::words::{ANN, register};

const SENDER: &str = "@notices:hs1";

/// A server that sends notices, and what `rooms` was asked.
struct World {
    host: TestHost,
    asked: Arc<Mutex<Vec<String>>>,
}

fn world() -> World {
    let notices =
        json!({ "localpart": "notices", "display-name": "The server", "room-topic": "News" });
    let host = TestHost::builder()
        .plugin_in(".")
        .plugin_in("../rooms")
        .config("accounts", &json!({ "server-notices": notices }))
        .start();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    host.services(|services| {
        let log = |asked: &Arc<Mutex<Vec<String>>>| {
            let asked = Arc::clone(asked);
            move |text: String| asked.lock().unwrap().push(text)
        };
        let (made, sent, set) = (log(&asked), log(&asked), log(&asked));
        let rooms = Mutex::new(0);
        services.create_room_as = Arc::new(move |host, user, body| {
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["power_level_content_override"]["users_default"], -10);
            *rooms.lock().unwrap() += 1;
            let room = format!("!{}:hs1", rooms.lock().unwrap());
            made(format!("create {user} {}", body["name"]));
            member(host, &room, user, "join");
            Ok(room)
        });
        services.set_membership = Arc::new(move |host, user, room, target, membership, _| {
            set(format!("{user} {membership} {target} {room}"));
            member(host, room, target, membership);
            Ok(())
        });
        services.room_state = Arc::new(|_, _, _| {
            Ok(vec![
                json!({ "type": "m.room.name", "content": { "name": "Server Notices" } })
                    .to_string(),
                json!({ "type": "m.room.topic", "content": { "topic": "News" } }).to_string(),
            ])
        });
        services.send_as = Arc::new(move |host, user, room, kind, _, content| {
            sent(format!("{user} {kind} {content}"));
            let id = format!("${}", store(host, user, room, kind, content));
            Ok(id)
        });
    });
    register(&host, "ann");
    World { host, asked }
}

/// The event as `rooms` would store it; its position.
fn store(host: &TestHost, user: &str, room: &str, kind: &str, content: &str) -> u64 {
    host.acting("rooms", || {
        let content: Value = serde_json::from_str(content).unwrap();
        let json = json!({ "content": content, "type": kind }).to_string();
        let mut batch = Batch::new();
        let at = batch.take_positions(1);
        let known: Vec<(i64,)> =
            query("SELECT position FROM rooms_events", params![]).unwrap().all().unwrap();
        let id = format!("${}", known.len());
        batch
            .run(
                "INSERT INTO rooms_events (position, event_id, room_id, type, sender, origin_ts, depth, json) \
                 VALUES ($1, $2, $3, $4, $5, $6, 1, $7)",
                params![position(at), &id, room, kind, user, host.now_ms(), json],
            )
            .commit()
            .unwrap();
        known.len() as u64
    })
}

impl World {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn send(&self) -> TestAnswer {
        admin(&self.host, "POST", "admin-notice", body())
    }

    fn put(&self, id: &str) -> TestAnswer {
        admin(&self.host, "PUT", &format!("admin-notice-put txnId={id}"), body())
    }
}

fn body() -> Value {
    json!({ "user_id": ANN, "content": { "msgtype": "m.text", "body": "hello" } })
}

const SENT: &str = "@notices:hs1 m.room.message {\"body\":\"hello\",\"msgtype\":\"m.text\"}";

#[test]
fn first_notice_makes_the_sender_the_room_the_tag_and_the_invite() {
    let world = world();
    assert_eq!(world.send().ok(), json!({ "event_id": "$0" }));
    let invite = "@notices:hs1 invite @ann:hs1 !1:hs1".to_owned();
    let create = "create @notices:hs1 \"Server Notices\"".to_owned();
    assert_eq!(world.asked(), [create, invite.clone(), SENT.to_owned()]);
    let data = admin(&world.host, "GET", "admin-account-data userId=@ann:hs1", Value::Null).ok();
    let tags = &data["account_data"]["rooms"]["!1:hs1"]["m.tag"]["tags"];
    assert_eq!(tags, &json!({ "m.server_notice": {} }));
    let path = format!("admin-user userId={SENDER}");
    assert_eq!(admin(&world.host, "GET", &path, Value::Null).ok()["displayname"], "The server");
    world.send().ok();
    assert_eq!(world.asked(), [SENT]);
    // Who left is asked in again: there is one room.
    member(&world.host, "!1:hs1", ANN, "leave");
    world.send().ok();
    assert_eq!(world.asked(), [invite, SENT.to_owned()]);
    // Where the room is deleted, there is a new one.
    member(&world.host, "!1:hs1", SENDER, "leave");
    world.send().ok();
    assert_eq!(world.asked()[1], "@notices:hs1 invite @ann:hs1 !2:hs1");
}

#[test]
fn notice_with_an_id_is_sent_once() {
    let world = world();
    assert_eq!(world.put("a").ok(), world.put("a").ok());
    assert_eq!(world.asked().iter().filter(|it| *it == SENT).count(), 1);
    assert_ne!(world.put("a").ok(), world.put("b").ok());
    let long = world.put(&"x".repeat(256));
    assert_eq!(long.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[test]
fn notice_that_may_have_been_sent_is_looked_for_before_it_is_sent_again() {
    let world = world();
    world.send().ok();
    // It is sent, but the answer is lost.
    world.host.services(|services| {
        services.send_as = Arc::new(|host, user, room, kind, _, content| {
            store(host, user, room, kind, content);
            Err(RoomsError::Unknown("gone".to_owned()))
        });
    });
    world.host.advance(1);
    assert_eq!(world.put("a").status(), 503);
    world.host.services(|services| {
        services.send_as = Arc::new(|_, _, _, _, _, _| panic!("it is there"));
    });
    assert_eq!(world.put("a").ok(), json!({ "event_id": "$1" }));
    // That one is known: the same notice under another id is another.
    world.host.services(|services| {
        services.send_as =
            Arc::new(|_, _, _, _, _, _| Err(RoomsError::Unavailable("busy".to_owned())));
    });
    assert_eq!(world.put("c").status(), 503);
    world.host.services(|services| {
        services.send_as = Arc::new(|_, _, _, _, _, _| Ok("$c".to_owned()));
    });
    assert_eq!(world.put("c").ok(), json!({ "event_id": "$c" }));
    // Refused: the id is free again.
    world.host.services(|services| {
        services.send_as = Arc::new(|_, _, _, _, _, _| {
            Err(RoomsError::Refused(("M_TOO_LARGE".to_owned(), "too large".to_owned())))
        });
    });
    for _ in 0..2 {
        assert_eq!(world.put("b").error(), (413, "M_TOO_LARGE".to_owned()));
    }
}

#[test]
fn notices_are_refused_where_they_cannot_be() {
    let off = TestHost::builder().plugin_in(".").start();
    let answer = admin(&off, "POST", "admin-notice", body());
    assert_eq!(answer.error(), (400, "M_UNKNOWN".to_owned()));
    let world = world();
    let post = |body: Value| admin(&world.host, "POST", "admin-notice", body).error();
    let wrong = |code: &str| (400, code.to_owned());
    assert_eq!(post(json!({ "content": {} })), wrong("M_MISSING_PARAM"));
    assert_eq!(post(json!({ "user_id": ANN })), wrong("M_MISSING_PARAM"));
    assert_eq!(post(json!({ "user_id": ANN, "content": "x" })), wrong("M_BAD_JSON"));
    assert_eq!(post(json!({ "user_id": "@a:hs2", "content": {} })), wrong("M_INVALID_PARAM"));
    assert_eq!(post(json!({ "user_id": "@bob:hs1", "content": {} })).0, 404);
}

#[test]
fn nobody_has_the_name_of_the_sender() {
    let world = world();
    let host = &world.host;
    let body =
        json!({ "username": "notices", "password": "x", "auth": { "type": "m.login.dummy" } });
    let taken = (400, "M_USER_IN_USE".to_owned());
    let answer = host.request("POST", "register").json(&body).send::<Plugin>();
    assert_eq!(answer.error(), taken);
    let made = admin(host, "PUT", "admin-user-put userId=@notices:hs1", json!({}));
    assert_eq!(made.error(), taken);
    world.send().ok();
    let login = admin(host, "POST", "admin-login userId=@notices:hs1", json!({}));
    assert_eq!(login.error(), (403, "M_FORBIDDEN".to_owned()));
    for (method, path, body) in [
        ("POST", "admin-reset-password", json!({ "new_password": "x" })),
        ("PUT", "admin-user-put", json!({ "password": "x", "displayname": "I" })),
    ] {
        let set = admin(host, method, &format!("{path} userId={SENDER}"), body);
        assert_eq!(set.error(), (403, "M_FORBIDDEN".to_owned()));
    }
    // Somebody who had it before sends nothing in the server's name.
    host.acting("accounts", || {
        let sql = "UPDATE accounts_users SET notices = FALSE WHERE user_id = $1";
        Batch::new().run(sql, params![SENDER]).commit().unwrap();
    });
    assert_eq!(world.send().error(), (409, "M_USER_IN_USE".to_owned()));
}

#[test]
fn cross_signing_keys_may_be_replaced_once_without_the_password() {
    let host = world().host;
    let path = "admin-cross-signing userId=@ann:hs1";
    let proof = || Proof {
        user: ANN.to_owned(),
        device: None,
        scope: "keys.device-signing".to_owned(),
        body: "{}".to_owned(),
        request: (String::new(), String::new(), String::new()),
    };
    host.services(|services| services.query_keys = Arc::new(|_, _, _| Ok("{}".to_owned())));
    let none = admin(&host, "POST", path, json!({}));
    assert_eq!(none.error(), (404, "M_NOT_FOUND".to_owned()));
    assert!(matches!(Plugin::prove(proof()), Ok(Proven::No(_))));
    host.services(|services| {
        services.query_keys =
            Arc::new(|_, _, _| Ok(json!({ "master_keys": { ANN: {} } }).to_string()));
    });
    let until = admin(&host, "POST", path, json!({})).ok();
    assert_eq!(until["updatable_without_uia_before_ms"], host.now_ms() + 600_000);
    let other = Proof { scope: "keys.backup".to_owned(), ..proof() };
    assert!(matches!(Plugin::prove(other), Ok(Proven::No(_))));
    assert!(matches!(Plugin::prove(proof()), Ok(Proven::Yes)));
    // For whom the first try went wrong elsewhere.
    host.advance(59_999);
    assert!(matches!(Plugin::prove(proof()), Ok(Proven::Yes)));
    host.advance(1);
    assert!(matches!(Plugin::prove(proof()), Ok(Proven::No(_))));
    admin(&host, "POST", path, json!({})).ok();
    host.advance(600_000);
    assert!(matches!(Plugin::prove(proof()), Ok(Proven::No(_))));
    host.services(|services| {
        services.query_keys = Arc::new(|_, _, _| Err(KeysError::Unavailable("busy".to_owned())));
    });
    assert_eq!(admin(&host, "POST", path, json!({})).status(), 503);
}

#[test]
fn events_of_a_user_are_redacted_newest_first_where_they_were_sent() {
    let World { host, asked } = world();
    let sent = Arc::clone(&asked);
    host.services(|services| {
        services.send_as = Arc::new(move |_, user, room, kind, _, content| {
            assert_eq!(kind, "m.room.redaction");
            let content: Value = serde_json::from_str(content).unwrap();
            assert_eq!(content["reason"], "spam");
            sent.lock().unwrap().push(format!("{user} {room} {}", content["redacts"]));
            match content["redacts"] == "$1" {
                true => Err(RoomsError::Refused(("M_FORBIDDEN".to_owned(), "no".to_owned()))),
                false => Ok("$redaction".to_owned()),
            }
        });
    });
    let text = r#"{"body":"x"}"#;
    for (room, membership) in [("!a:hs1", "join"), ("!b:hs1", "ban"), ("!c:hs1", "leave")] {
        member(&host, room, ANN, membership);
        store(&host, ANN, room, "m.room.message", text);
        store(&host, ANN, room, "m.room.message", text);
        store(&host, "@bob:hs1", room, "m.room.message", text);
        store(&host, ANN, room, "m.room.name", text);
        store(&host, ANN, room, "m.room.member", r#"{"membership":"leave"}"#);
    }
    let begin = |body: Value| admin(&host, "POST", "admin-redact userId=@ann:hs1", body);
    assert_eq!(begin(json!({})).error(), (400, "M_MISSING_PARAM".to_owned()));
    let zero = begin(json!({ "rooms": [], "limit": 0 }));
    assert_eq!(zero.error(), (400, "M_INVALID_PARAM".to_owned()));
    let id = begin(json!({ "rooms": [], "reason": "spam" })).ok()["redact_id"].clone();
    let again = begin(json!({ "rooms": [] }));
    assert_eq!(again.error(), (400, "M_UNKNOWN".to_owned()));
    let path = format!("admin-redact-status redactId={}", id.as_str().unwrap());
    let status = || admin(&host, "GET", &path, Value::Null);
    assert_eq!(status().ok(), json!({ "status": "active" }));
    host.fire_timers::<Plugin>("accounts");
    // In the room where the user is banned the administrator does it.
    let root = "@root:hs1";
    let expected = [
        format!("{ANN} !a:hs1 \"$1\""),
        format!("{ANN} !a:hs1 \"$0\""),
        format!("{root} !b:hs1 \"$6\""),
        format!("{root} !b:hs1 \"$5\""),
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
    let failed = json!({ "$1": "M_FORBIDDEN: no" });
    assert_eq!(status().ok(), json!({ "status": "complete", "failed_redactions": failed }));
    let none = admin(&host, "GET", "admin-redact-status redactId=x", Value::Null);
    assert_eq!(none.error(), (404, "M_NOT_FOUND".to_owned()));
    // One of each room, by the administrator.
    asked.lock().unwrap().clear();
    let body =
        json!({ "rooms": ["!c:hs1", "!a:hs1"], "reason": "spam", "limit": 1, "use_admin": true });
    begin(body).ok();
    host.fire_timers::<Plugin>("accounts");
    let expected = [format!("{root} !c:hs1 \"$11\""), format!("{root} !a:hs1 \"$1\"")];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[test]
fn redactions_go_on_where_they_stopped() {
    let World { host, .. } = world();
    member(&host, "!a:hs1", ANN, "join");
    for _ in 0..45 {
        store(&host, ANN, "!a:hs1", "m.room.message", r#"{"body":"x"}"#);
    }
    let sent = Arc::<Mutex<Vec<String>>>::default();
    let (log, busy) = (Arc::clone(&sent), Arc::new(Mutex::new(false)));
    let switch = Arc::clone(&busy);
    host.services(|services| {
        services.send_as = Arc::new(move |_, _, _, _, _, content| {
            let content: Value = serde_json::from_str(content).unwrap();
            let mut log = log.lock().unwrap();
            if log.len() == 30 && !*busy.lock().unwrap() {
                return Err(RoomsError::Unavailable("busy".to_owned()));
            }
            log.push(content["redacts"].as_str().unwrap().to_owned());
            Ok("$r".to_owned())
        });
    });
    let begun = admin(&host, "POST", "admin-redact userId=@ann:hs1", json!({ "rooms": [] })).ok();
    host.fire_timers::<Plugin>("accounts");
    assert_eq!(sent.lock().unwrap().len(), 30);
    *switch.lock().unwrap() = true;
    host.advance(2_000);
    host.fire_timers::<Plugin>("accounts");
    let sent = sent.lock().unwrap().clone();
    let all: Vec<_> = (0..45).rev().map(|n| format!("${n}")).collect();
    assert_eq!(sent, all);
    let path = format!("admin-redact-status redactId={}", begun["redact_id"].as_str().unwrap());
    assert_eq!(admin(&host, "GET", &path, Value::Null).ok()["status"], "complete");
}

#[test]
fn a_redaction_that_always_fails_is_passed_over_and_holds_up_nobody() {
    let World { host, .. } = world();
    register(&host, "bob");
    for user in [ANN, "@bob:hs1"] {
        member(&host, "!a:hs1", user, "join");
        store(&host, user, "!a:hs1", "m.room.message", r#"{"body":"x"}"#);
        store(&host, user, "!a:hs1", "m.room.message", r#"{"body":"x"}"#);
    }
    host.services(|services| {
        services.send_as = Arc::new(|_, _, _, _, _, content| {
            let content: Value = serde_json::from_str(content).unwrap();
            match content["redacts"] == "$1" {
                true => Err(RoomsError::Unavailable("too slow".to_owned())),
                false => Ok("$r".to_owned()),
            }
        });
    });
    let begin = |user: &str| {
        let path = format!("admin-redact userId={user}");
        admin(&host, "POST", &path, json!({ "rooms": [] }))
    };
    let status = |begun: Value| {
        let path = format!("admin-redact-status redactId={}", begun["redact_id"].as_str().unwrap());
        admin(&host, "GET", &path, Value::Null).ok()
    };
    let ann = begin(ANN).ok();
    host.advance(1);
    let bob = begin("@bob:hs1").ok();
    host.fire_timers::<Plugin>("accounts");
    assert_eq!(status(ann.clone())["status"], "active");
    assert_eq!(status(bob), json!({ "status": "complete", "failed_redactions": {} }));
    for _ in 0..10 {
        host.advance(60_000);
        host.fire_timers::<Plugin>("accounts");
    }
    let failed = json!({ "$1": "too slow" });
    assert_eq!(status(ann), json!({ "status": "complete", "failed_redactions": failed }));
    assert_eq!(host.fire_timers::<Plugin>("accounts"), 0);
}

#[test]
fn two_requests_at_once_begin_one_redaction() {
    let host = world().host;
    let begin = |host: &TestHost| {
        admin(host, "POST", "admin-redact userId=@ann:hs1", json!({ "rooms": [] }))
    };
    host.before_next_commit(move |host| {
        begin(host).ok();
    });
    assert_eq!(begin(&host).error(), (400, "M_UNKNOWN".to_owned()));
}
