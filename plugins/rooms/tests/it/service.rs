//! What other plug-ins ask: `tessera:services/rooms` and the topic `accounts.profiles`.

use serde_json::{Value, json};
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

#[test]
fn state_of_a_room_is_told_in_client_format() {
    let server = server();
    let room = server.create(ALICE, &json!({"name": "N"}));
    let parse = |events: Vec<String>| -> Vec<Value> {
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    };
    let kinds = vec!["m.room.name".to_owned(), "m.room.create".to_owned()];
    let some = parse(Plugin::state(room.clone(), kinds).unwrap());
    assert_eq!(some.len(), 2);
    assert_eq!((&some[0]["type"], &some[0]["room_id"]), (&json!("m.room.create"), &json!(room)));
    assert_eq!((&some[1]["content"]["name"], &some[1]["sender"]), (&json!("N"), &json!(ALICE)));
    assert!(some[1]["event_id"].as_str().unwrap().starts_with('$'));
    assert_eq!(Plugin::state(room, Vec::new()).unwrap().len(), 7);
    assert!(matches!(Plugin::state("!none:hs1".to_owned(), Vec::new()), Err(Error::NotFound)));
}

#[test]
fn rooms_are_made_on_behalf_of_a_user() {
    let server = server();
    let make = |user: &str, request: &str| Plugin::create_room(user.to_owned(), request.to_owned());
    let room = make(ALICE, r#"{"name":"N"}"#).unwrap();
    assert_eq!(server.membership(&room, ALICE), "join");
    for (user, request, code) in [
        (ALICE, "[]", "M_BAD_JSON"),
        (ALICE, r#"{"preset":"x"}"#, "M_INVALID_PARAM"),
        ("alice", "{}", "M_INVALID_PARAM"),
        ("@alice:other", "{}", "M_FORBIDDEN"),
    ] {
        let result = make(user, request);
        assert!(matches!(&result, Err(Error::Refused((c, _))) if c == code), "{result:?}");
    }
}

#[test]
fn memberships_are_changed_on_behalf_of_a_user() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let set = |user: &str, target: &str, membership: &str| {
        let reason = Some("because".to_owned());
        let [user, target, membership] = [user, target, membership].map(str::to_owned);
        Plugin::set_membership(user, room.clone(), target, membership, reason)
    };
    let refused = |code: &str, result: Result<(), Error>| {
        assert!(matches!(&result, Err(Error::Refused((c, _))) if c == code), "{result:?}");
    };
    refused("M_FORBIDDEN", set(BOB, BOB, "join"));
    set(ALICE, BOB, "invite").unwrap();
    set(BOB, BOB, "join").unwrap();
    let count = server.events(&room).len();
    set(BOB, BOB, "join").unwrap();
    assert_eq!(server.events(&room).len(), count, "it is so already");
    assert_eq!(server.membership(&room, BOB), "join");
    refused("M_FORBIDDEN", set(BOB, ALICE, "ban"));
    for membership in ["leave", "ban", "leave"] {
        set(ALICE, BOB, membership).unwrap();
        assert_eq!(server.membership(&room, BOB), membership);
    }
    assert_eq!(server.events(&room).pop().unwrap()["content"]["reason"], "because");
    refused("M_INVALID_PARAM", set(ALICE, BOB, "join"));
    refused("M_INVALID_PARAM", set(ALICE, BOB, "gone"));
    refused("M_FORBIDDEN", set(ALICE, "@nobody:hs1", "leave"));
}

#[test]
fn aliases_are_looked_up_and_rooms_listed() {
    let server = server();
    let room = server.create(ALICE, &json!({"room_alias_name": "here"}));
    let of = |alias: &str| Plugin::room_of_alias(alias.to_owned());
    assert_eq!(of("#here:hs1").unwrap(), Some(room.clone()));
    assert_eq!(of("#there:hs1").unwrap(), None);
    assert!(matches!(of("here"), Err(Error::Refused(_))));
    for (listed, visibility) in [(true, "public"), (false, "private")] {
        Plugin::set_listed(room.clone(), listed).unwrap();
        let answer = server.get(ALICE, "get-visibility", &[("roomId", &room)]).ok();
        assert_eq!(answer["visibility"], visibility);
    }
    assert!(matches!(Plugin::set_listed("!none:hs1".to_owned(), true), Err(Error::NotFound)));
}
