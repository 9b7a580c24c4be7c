//! PUT and GET of state.

use serde_json::json;

use crate::harness::{ALICE, BOB, event_id, server};

#[test]
fn state_is_set_and_read() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let id = event_id(&server.put_state(ALICE, &room, "m.room.name", "", &json!({"name": "N"})));
    let place = [("roomId", room.as_str()), ("eventType", "m.room.name"), ("stateKey", "")];
    assert_eq!(server.get(ALICE, "get-state-event", &place).ok(), json!({"name": "N"}));
    let request =
        server.host.request("GET", "get-state-event").user(ALICE).query("format", "event");
    let request = request.param("roomId", &room).param("eventType", "m.room.name");
    let event = request.clone().send::<tessera_plugin_rooms::Plugin>().ok();
    assert_eq!(
        (&event["event_id"], &event["state_key"], &event["room_id"]),
        (&json!(id), &json!(""), &json!(room))
    );
    assert!(event.get("auth_events").is_none());
    let wrong = server.host.request("GET", "get-state-event").user(ALICE).query("format", "x");
    let wrong = wrong.param("roomId", &room).param("eventType", "m.room.name");
    assert_eq!(
        wrong.send::<tessera_plugin_rooms::Plugin>().error(),
        (400, "M_INVALID_PARAM".to_owned())
    );
    let place = [("roomId", room.as_str()), ("eventType", "m.room.topic"), ("stateKey", "")];
    assert_eq!(
        server.get(ALICE, "get-state-event", &place).error(),
        (404, "M_NOT_FOUND".to_owned())
    );
}

#[test]
fn what_is_so_already_makes_no_event() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let first = event_id(&server.put_state(ALICE, &room, "org.example", "k", &json!({"a": 1})));
    let again = event_id(&server.put_state(ALICE, &room, "org.example", "k", &json!({"a": 1})));
    let other = event_id(&server.put_state(ALICE, &room, "org.example", "k", &json!({"a": 2})));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn deltas_name_what_they_replace() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let first = event_id(&server.put_state(ALICE, &room, "org.example", "k", &json!({"a": 1})));
    let second = event_id(&server.put_state(ALICE, &room, "org.example", "k", &json!({"a": 2})));
    let deltas: Vec<(Option<String>, Option<String>)> = server.rows(
        "SELECT event_id, prev_event_id FROM rooms_v1_state_deltas WHERE type = 'org.example' ORDER BY position",
        vec![],
    );
    assert_eq!(deltas, [(Some(first.clone()), None), (Some(second.clone()), Some(first))]);
    let current: Vec<(String, String)> = server.rows(
        "SELECT event_id, sender FROM rooms_v1_current_state WHERE type = 'org.example'",
        vec![],
    );
    assert_eq!(current, [(second, ALICE.to_owned())]);
}

#[test]
fn state_of_another_user_is_theirs() {
    let server = server();
    let room = server.create(
        ALICE,
        &json!({"preset": "public_chat", "power_level_content_override": {"state_default": 0}}),
    );
    let _ = server.join(BOB, &room).ok();
    let answer = server.put_state(BOB, &room, "org.example", ALICE, &json!({}));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
    let _ = server.put_state(BOB, &room, "org.example", BOB, &json!({})).ok();
}

#[test]
fn power_cannot_be_taken_from_above() {
    for version in ["6", "10", "11"] {
        let server = server();
        let levels = json!({"users": {ALICE: 100, BOB: 50}, "events": {"m.room.power_levels": 50}});
        let body = json!({"preset": "public_chat", "room_version": version, "power_level_content_override": levels});
        let room = server.create(ALICE, &body);
        let _ = server.join(BOB, &room).ok();
        for users in [json!({ALICE: 0, BOB: 50}), json!({ALICE: 100, BOB: 60})] {
            let content = json!({"users": users, "events": {"m.room.power_levels": 50}});
            let answer = server.put_state(BOB, &room, "m.room.power_levels", "", &content);
            assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()), "version {version}");
        }
    }
}

#[test]
fn levels_as_text_count_before_version_10() {
    for (version, status) in [("9", 200), ("10", 403)] {
        let server = server();
        let room = server.create(ALICE, &json!({"room_version": version}));
        let content = json!({"users": {ALICE: "100"}});
        let answer = server.put_state(ALICE, &room, "m.room.power_levels", "", &content);
        assert_eq!(answer.status(), status, "version {version}: {}", answer.json());
    }
}

#[test]
fn canonical_alias_must_lead_here() {
    let server = server();
    let room = server.create(ALICE, &json!({"room_alias_name": "mine"}));
    server.create(ALICE, &json!({"room_alias_name": "other"}));
    let put = |content| server.put_state(ALICE, &room, "m.room.canonical_alias", "", &content);
    let _ = put(json!({"alias": "#mine:hs1", "alt_aliases": []})).ok();
    for content in [
        json!({"alias": "#other:hs1"}),
        json!({"alias": "#none:hs1"}),
        json!({"alias": "#mine:hs1", "alt_aliases": ["#none:hs1"]}),
    ] {
        assert_eq!(put(content).error(), (400, "M_BAD_ALIAS".to_owned()));
    }
    assert_eq!(put(json!({"alias": "nonsense"})).error(), (400, "M_INVALID_PARAM".to_owned()));
    let _ = put(json!({})).ok();
}

#[test]
fn member_events_can_be_sent_as_state() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let nick = json!({"membership": "join", "displayname": "Nick"});
    let _ = server.put_state(ALICE, &room, "m.room.member", ALICE, &nick).ok();
    let names: Vec<(Option<String>,)> = server.rows(
        "SELECT display_name FROM rooms_v1_memberships WHERE user_id = $1",
        tessera_sdk::params![ALICE],
    );
    assert_eq!(names, [(Some("Nick".to_owned()),)]);
    let _ =
        server.put_state(ALICE, &room, "m.room.member", BOB, &json!({"membership": "invite"})).ok();
    assert_eq!(server.membership(&room, BOB), "invite");
    let answer =
        server.put_state(ALICE, &room, "m.room.member", BOB, &json!({"membership": "join"}));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}
