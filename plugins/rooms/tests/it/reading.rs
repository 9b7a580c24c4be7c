//! Who reads what: /state, /members, /joined_members, /event.

use serde_json::{Value, json};
use tessera_plugin_rooms::Plugin;

use crate::harness::{ALICE, BOB, CAROL, Server, server};

fn forbidden() -> (u16, String) {
    (403, "M_FORBIDDEN".to_owned())
}

fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}

fn room_with(server: &Server, visibility: &str) -> String {
    let state = json!([{"type": "m.room.history_visibility", "state_key": "",
        "content": {"history_visibility": visibility}}]);
    server.create(ALICE, &json!({"preset": "public_chat", "initial_state": state, "name": "N"}))
}

fn name(server: &Server, user: &str, room: &str) -> Value {
    let place = [("roomId", room), ("eventType", "m.room.name"), ("stateKey", "")];
    server.get(user, "get-state-event", &place).ok()["name"].clone()
}

#[test]
fn strangers_read_world_readable_rooms_only() {
    let server = server();
    for (visibility, open) in
        [("world_readable", true), ("shared", false), ("invited", false), ("joined", false)]
    {
        let room = room_with(&server, visibility);
        for route in ["get-state", "members"] {
            let answer = server.get(BOB, route, &[("roomId", &room)]);
            assert_eq!(answer.status() == 200, open, "{visibility} {route}");
        }
        assert_eq!(server.get(BOB, "joined-members", &[("roomId", &room)]).error(), forbidden());
    }
    for route in ["get-state", "members", "joined-members"] {
        assert_eq!(server.get(BOB, route, &[("roomId", "!none:hs1")]).error(), forbidden());
    }
}

#[test]
fn who_left_reads_the_state_in_which_they_left() {
    let server = server();
    let room = room_with(&server, "shared");
    let _ = server.join(BOB, &room).ok();
    let _ = server.put_state(ALICE, &room, "m.room.name", "", &json!({"name": "then"})).ok();
    let _ = server.leave(BOB, &room).ok();
    let _ = server.put_state(ALICE, &room, "m.room.name", "", &json!({"name": "later"})).ok();
    let _ = server.join(CAROL, &room).ok();
    assert_eq!(name(&server, ALICE, &room), "later");
    assert_eq!(name(&server, BOB, &room), "then");
    let members = server.get(BOB, "members", &[("roomId", &room)]).ok();
    let members: Vec<_> =
        members["chunk"].as_array().unwrap().iter().map(|m| m["state_key"].clone()).collect();
    assert!(!members.contains(&json!(CAROL)) && members.contains(&json!(ALICE)));
    let state = server.get(BOB, "get-state", &[("roomId", &room)]).ok();
    let bob = state.as_array().unwrap().iter().find(|event| event["state_key"] == BOB).unwrap();
    assert_eq!(bob["content"]["membership"], "leave");
    // A ban later on does not show more.
    let _ = server.about(ALICE, "ban", &room, BOB).ok();
    assert_eq!(name(&server, BOB, &room), "then");
}

#[test]
fn invited_users_read_no_state() {
    let server = server();
    let room = server.create(ALICE, &json!({"invite": [BOB]}));
    assert_eq!(server.get(BOB, "get-state", &[("roomId", &room)]).error(), forbidden());
    let _ = server.leave(BOB, &room).ok();
    assert_eq!(server.get(BOB, "get-state", &[("roomId", &room)]).error(), forbidden());
}

#[test]
fn members_are_filtered() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "invite": [CAROL]}));
    let _ = server.join(BOB, &room).ok();
    let position = server.host.horizon();
    let _ = server.leave(BOB, &room).ok();
    let list = |query: &[(&str, &str)]| {
        let mut request = server.host.request("GET", "members").user(ALICE).param("roomId", &room);
        for (name, value) in query {
            request = request.query(name, value);
        }
        let answer = request.send::<Plugin>();
        if answer.status() != 200 {
            return Err(answer.error());
        }
        let chunk = answer.ok()["chunk"].as_array().unwrap().clone();
        let mut users: Vec<_> =
            chunk.iter().map(|e| e["state_key"].as_str().unwrap().to_owned()).collect();
        users.sort();
        Ok(users)
    };
    let at = format!("s{position}");
    assert_eq!(list(&[]), Ok(vec![ALICE.into(), BOB.into(), CAROL.into()]));
    assert_eq!(list(&[("membership", "join")]), Ok(vec![ALICE.into()]));
    assert_eq!(list(&[("not_membership", "leave")]), Ok(vec![ALICE.into(), CAROL.into()]));
    assert_eq!(list(&[("membership", "join"), ("at", &at)]), Ok(vec![ALICE.into(), BOB.into()]));
    let more = format!("{at}_7");
    assert_eq!(list(&[("membership", "join"), ("at", &more)]), Ok(vec![ALICE.into(), BOB.into()]));
    for query in [("membership", "x"), ("at", "x"), ("at", "s-1"), ("not_membership", "")] {
        assert_eq!(list(&[query]), Err((400, "M_INVALID_PARAM".to_owned())), "{query:?}");
    }
}

#[test]
fn members_of_a_private_time_are_not_for_strangers() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let private = server.host.horizon();
    let open = json!({"history_visibility": "world_readable"});
    let _ = server.put_state(ALICE, &room, "m.room.history_visibility", "", &open).ok();
    let now = server.host.horizon();
    let ask = |at: String| {
        let request = server.host.request("GET", "members").user(BOB).param("roomId", &room);
        request.query("at", &at).send::<Plugin>()
    };
    assert_eq!(ask(format!("s{private}")).error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(ask(format!("s{now}")).ok()["chunk"].as_array().unwrap().len(), 1);
}

#[test]
fn joined_members_have_names() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "invite": [CAROL]}));
    let _ = server.join(BOB, &room).ok();
    let joined = server.get(BOB, "joined-members", &[("roomId", &room)]).ok();
    let alice = json!({"display_name": "Alice", "avatar_url": "mxc://hs1/alice"});
    let bob = json!({"display_name": null, "avatar_url": null});
    assert_eq!(joined, json!({"joined": {ALICE: alice, BOB: bob}}));
}

#[test]
fn events_are_seen_as_the_history_visibility_says() {
    let server = server();
    // For somebody who was invited, then joined, then left: events before the invite, after it, while there, after.
    for (visibility, expected) in [
        ("world_readable", [true, true, true, true]),
        ("shared", [true, true, true, false]),
        ("invited", [false, true, true, false]),
        ("joined", [false, false, true, false]),
    ] {
        let room = room_with(&server, visibility);
        let mut events = vec![server.text(ALICE, &room, "before")];
        let _ = server.about(ALICE, "invite", &room, BOB).ok();
        events.push(server.text(ALICE, &room, "invited"));
        let _ = server.join(BOB, &room).ok();
        events.push(server.text(ALICE, &room, "there"));
        let _ = server.leave(BOB, &room).ok();
        events.push(server.text(ALICE, &room, "after"));
        for (event, expected) in events.iter().zip(expected) {
            assert_eq!(server.read(BOB, &room, event).status() == 200, expected, "{visibility}");
            assert_eq!(
                server.read(CAROL, &room, event).status() == 200,
                visibility == "world_readable"
            );
        }
    }
}

#[test]
fn event_comes_with_what_belongs_to_it() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let message = server.text(ALICE, &room, "hi");
    server.host.advance(1000);
    let event = server.read(ALICE, &room, &message).ok();
    assert_eq!(
        event["unsigned"],
        json!({"age": 1000, "transaction_id": "hi", "membership": "join"})
    );
    assert_eq!(event["room_id"], room.as_str());
    let _ = server.join(BOB, &room).ok();
    assert!(server.read(BOB, &room, &message).ok()["unsigned"].get("transaction_id").is_none());
    let _ = server.put_state(ALICE, &room, "m.room.name", "", &json!({"name": "1"})).ok();
    let second = server.put_state(ALICE, &room, "m.room.name", "", &json!({"name": "2"})).ok();
    let event = server.read(ALICE, &room, second["event_id"].as_str().unwrap()).ok();
    assert_eq!(event["unsigned"]["prev_content"], json!({"name": "1"}));
    assert_eq!(server.read(ALICE, &room, "$none").error(), not_found());
    assert_eq!(server.read(ALICE, "!none:hs1", &message).error(), not_found());
}

#[test]
fn create_event_of_version_12_is_given_with_its_room_id() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let event = server.read(ALICE, &room, &room.replacen('!', "$", 1)).ok();
    assert_eq!((&event["type"], &event["room_id"]), (&json!("m.room.create"), &json!(room)));
}
