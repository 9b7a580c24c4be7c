//! What other plug-ins ask: `tessera:services/rooms` and the topic `accounts.profiles`.

use serde_json::json;
use tessera_plugin_rooms::Plugin;
use tessera_sdk::bindings::rooms::exports::tessera::services::rooms::{Error, Guest};
use tessera_sdk::params;

use crate::harness::{ALICE, BOB, Server, server};

fn names(server: &Server) -> Vec<(Option<String>, Option<String>)> {
    server.rows(
        "SELECT display_name, avatar_url FROM rooms_v1_memberships WHERE user_id = $1 ORDER BY room_id",
        params![ALICE],
    )
}

#[test]
fn state_at_an_event_is_told() {
    let server = server();
    let room = server.create(ALICE, &json!({"name": "1"}));
    let changed = server.put_state(ALICE, &room, "m.room.name", "", &json!({"name": "2"})).ok();
    let changed = changed["event_id"].as_str().unwrap().to_owned();
    let kinds = vec!["m.room.name".to_owned()];
    let before = Plugin::state_at(changed.clone(), false, kinds.clone()).unwrap();
    let after = Plugin::state_at(changed.clone(), true, kinds).unwrap();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_eq!(server.event(&before[0].event_id)["content"]["name"], "1");
    assert_eq!(after[0].event_id, changed);
    let whole = Plugin::state_at(changed, true, Vec::new()).unwrap();
    assert_eq!(whole.len(), 7);
    let create = room.replacen('!', "$", 1);
    assert!(Plugin::state_at(create, false, Vec::new()).unwrap().is_empty());
    assert!(matches!(Plugin::state_at("$none".to_owned(), true, Vec::new()), Err(Error::NotFound)));
}

#[test]
fn events_are_sent_on_behalf_of_a_user() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let send = |user: &str, kind: &str, key: Option<&str>, content: &str| {
        Plugin::send_as(
            user.to_owned(),
            room.clone(),
            kind.to_owned(),
            key.map(str::to_owned),
            content.to_owned(),
        )
    };
    let id = send(ALICE, "m.room.message", None, r#"{"body":"x"}"#).unwrap();
    assert_eq!(server.event(&id)["sender"], ALICE);
    let id = send(ALICE, "m.room.topic", Some(""), r#"{"topic":"x"}"#).unwrap();
    assert_eq!(server.event(&id)["state_key"], "");
    let refused = |code: &str, result: Result<String, Error>| {
        assert!(matches!(&result, Err(Error::Refused((c, _))) if c == code), "{result:?}");
    };
    refused("M_FORBIDDEN", send(BOB, "m.room.message", None, "{}"));
    refused("M_BAD_JSON", send(ALICE, "m.room.message", None, "[]"));
    refused("M_INVALID_PARAM", send("alice", "m.room.message", None, "{}"));
}

#[test]
fn changed_profile_reaches_every_room_once() {
    let server = server();
    let rooms = [server.create(ALICE, &json!({})), server.create(ALICE, &json!({}))];
    let count = || rooms.iter().map(|room| server.events(room).len()).sum::<usize>();
    let before = count();
    Plugin::profile_changed(ALICE.to_owned(), Some("Al".to_owned()), None).unwrap();
    assert_eq!(names(&server), vec![(Some("Al".to_owned()), None); 2]);
    Plugin::profile_changed(ALICE.to_owned(), Some("Al".to_owned()), None).unwrap();
    assert_eq!(count(), before + 2);
    let last = server.events(&rooms[0]).pop().unwrap();
    assert_eq!(last["content"], json!({"membership": "join", "displayname": "Al"}));
}

#[test]
fn profile_topic_brings_what_the_call_missed() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    server.profile(ALICE, Some("A1"), None);
    server.profile(ALICE, Some("A2"), Some("mxc://hs1/2"));
    let before = server.events(&room).len();
    // The first was emitted before the room was there.
    assert_eq!(server.host.deliver::<Plugin>("rooms", "accounts.profiles"), 3);
    assert_eq!(names(&server), [(Some("A2".to_owned()), Some("mxc://hs1/2".to_owned()))]);
    assert_eq!(server.events(&room).len(), before + 1, "the newest profile counts");
}

#[test]
fn left_rooms_keep_the_old_profile() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let _ = server.leave(ALICE, &room).ok();
    let before = server.events(&room).len();
    Plugin::profile_changed(ALICE.to_owned(), Some("Al".to_owned()), None).unwrap();
    assert_eq!(server.events(&room).len(), before);
}
