//! The module on the native host, beside a stand-in for `rooms` that exposes the two views it reads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::sync::{Arc, Mutex};

use auto_accept_invites::AutoAcceptInvites;
use serde_json::json;
use tessera_sdk::params;
use tessera_sdk::services::RoomsError;
use tessera_sdk::storage::Batch;
use tessera_test_host::{PluginUnderTest, TestHost};

const ALICE: &str = "@alice:hs1";
const BOB: &str = "@bob:hs1";
const ROOM: &str = "!r:hs1";

const ROOMS: &str = r#"
name = "rooms"
version = "0.1.0"
[storage]
exposes = ["rooms_v1_events", "rooms_v1_memberships"]
[topics]
emits = ["rooms.events"]
"#;

const VIEWS: &str = "
CREATE TABLE rooms_e (event_id text NOT NULL PRIMARY KEY, room_id text NOT NULL, state_key text, json text NOT NULL);
CREATE TABLE rooms_m (room_id text NOT NULL, user_id text NOT NULL, membership text NOT NULL, event_id text NOT NULL, PRIMARY KEY (room_id, user_id));
CREATE VIEW rooms_v1_events AS SELECT event_id, room_id, state_key, json FROM rooms_e;
CREATE VIEW rooms_v1_memberships AS SELECT room_id, user_id, membership, event_id FROM rooms_m;
";

struct World {
    host: TestHost,
    joined: Arc<Mutex<Vec<(String, String)>>>,
}

fn world(config: serde_json::Value) -> World {
    let mut merged = json!({"only-direct": false, "only-local": false, "mark-direct": true});
    merged.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let host = TestHost::builder()
        .plugin_in(".")
        .plugin(PluginUnderTest {
            name: "rooms",
            manifest: ROOMS,
            migrations: &[("0001_views", VIEWS)],
        })
        .config("auto-accept-invites", &merged)
        .start();
    let joined = Arc::new(Mutex::new(Vec::new()));
    let kept = joined.clone();
    host.services(|services| {
        services.set_membership = Arc::new(move |_, user, room, target, membership, _| {
            assert_eq!((user, membership), (target, "join"));
            kept.lock().unwrap().push((user.to_owned(), room.to_owned()));
            Ok(())
        });
    });
    World { host, joined }
}

impl World {
    /// What `rooms` does with an invite; `membership` is what has become of it since.
    fn invite(&self, inviter: &str, user: &str, direct: bool, membership: &str) {
        let event_id = format!("${inviter}-{user}");
        let content = json!({"membership": "invite", "is_direct": direct});
        let event = json!({"type": "m.room.member", "sender": inviter, "state_key": user, "content": content});
        let told = json!({"event_id": event_id, "room_id": ROOM, "offset": 0, "type": "m.room.member",
            "state_key": user, "sender": inviter});
        self.host.acting("rooms", || {
            Batch::new()
                .run(
                    "INSERT INTO rooms_e (event_id, room_id, state_key, json) VALUES ($1, $2, $3, $4)",
                    params![event_id.as_str(), ROOM, user, event.to_string()],
                )
                .run(
                    "INSERT INTO rooms_m (room_id, user_id, membership, event_id) VALUES ($1, $2, $3, $4)",
                    params![ROOM, user, membership, event_id.as_str()],
                )
                .emit("rooms.events", ROOM, told.to_string())
                .commit()
                .unwrap()
        });
    }

    fn deliver(&self) -> Vec<(String, String)> {
        self.host.deliver::<AutoAcceptInvites>("auto-accept-invites", "rooms.events");
        self.joined.lock().unwrap().clone()
    }
}

fn pair(user: &str) -> (String, String) {
    (user.to_owned(), ROOM.to_owned())
}

#[test]
fn invited_user_of_this_server_joins() {
    let world = world(json!({}));
    world.invite(ALICE, BOB, false, "invite");
    world.invite(ALICE, "@carol:elsewhere", false, "invite");
    assert_eq!(world.deliver(), [pair(BOB)]);
}

#[test]
fn invite_that_was_taken_back_is_left_alone() {
    let world = world(json!({}));
    world.invite(ALICE, BOB, false, "leave");
    assert_eq!(world.deliver(), []);
}

#[test]
fn operator_says_which_invites() {
    for config in [json!({"only-direct": true}), json!({"only-local": true})] {
        let world = world(config);
        world.invite("@eve:elsewhere", BOB, false, "invite");
        assert_eq!(world.deliver(), []);
    }
    let world = world(json!({"only-direct": true, "only-local": true, "mark-direct": false}));
    world.invite(ALICE, BOB, true, "invite");
    assert_eq!(world.deliver(), [pair(BOB)]);
}

#[test]
fn direct_chat_is_noted() {
    let world = world(json!({}));
    let noted = Arc::new(Mutex::new(Vec::new()));
    let kept = noted.clone();
    world.host.services(|services| {
        services.account_data =
            Arc::new(|_, _, _, _| Ok(Some(json!({ALICE: ["!old:hs1"]}).to_string())));
        services.put_account_data = Arc::new(move |_, user, room, kind, content| {
            kept.lock().unwrap().push((
                user.to_owned(),
                room.is_some(),
                kind.to_owned(),
                content.to_owned(),
            ));
            Ok(())
        });
    });
    world.invite(ALICE, BOB, true, "invite");
    world.deliver();
    let content = json!({ALICE: ["!old:hs1", ROOM]}).to_string();
    assert_eq!(*noted.lock().unwrap(), [(BOB.to_owned(), false, "m.direct".to_owned(), content)]);
}

#[test]
fn what_cannot_be_done_now_is_tried_again() {
    let world = world(json!({}));
    let working = world.host.clone();
    working.services(|services| {
        services.set_membership =
            Arc::new(|_, _, _, _, _, _| Err(RoomsError::Unavailable("away".to_owned())));
    });
    world.invite(ALICE, BOB, false, "invite");
    let first = world.host.deliver_once::<AutoAcceptInvites>("auto-accept-invites", "rooms.events");
    assert_eq!(first, Err("away".to_owned()));
    let joined = world.joined.clone();
    working.services(|services| {
        services.set_membership = Arc::new(move |_, user, room, _, _, _| {
            joined.lock().unwrap().push((user.to_owned(), room.to_owned()));
            Ok(())
        });
    });
    assert_eq!(world.deliver(), [pair(BOB)]);
}

#[test]
fn refusal_is_final() {
    let world = world(json!({}));
    world.host.services(|services| {
        services.set_membership = Arc::new(|_, _, _, _, _, _| {
            Err(RoomsError::Refused(("M_FORBIDDEN".to_owned(), "banned".to_owned())))
        });
    });
    world.invite(ALICE, BOB, false, "invite");
    assert_eq!(world.deliver(), []);
    assert_eq!(world.deliver(), [], "it does not come again");
}
