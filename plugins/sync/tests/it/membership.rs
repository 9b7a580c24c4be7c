//! Invites, joins, leaves and bans.

use serde_json::json;

use crate::world::*;

#[test]
fn invites_come_with_stripped_state_once() {
    let world = world_with_room();
    let first = token(&world.sync(CAROL, &[]));
    world.member(ROOM, ALICE, CAROL, "invite");
    let body = world.since(CAROL, &first);
    let state = &body["rooms"]["invite"][ROOM]["invite_state"]["events"];
    assert_eq!(state[0]["type"], "m.room.name");
    assert!(body["rooms"].get("join").is_none() && body["rooms"].get("leave").is_none());
    assert!(world.since(CAROL, &token(&body)).get("rooms").is_none());
    assert!(
        world.sync(CAROL, &[])["rooms"]["invite"][ROOM].is_object(),
        "initial syncs tell it again"
    );
    // What happens in the room stays in the room.
    let again = token(&body);
    world.say(ROOM, ALICE, "secret");
    assert!(world.since(CAROL, &again).get("rooms").is_none());
}

#[test]
fn knocks_have_a_section_of_their_own() {
    let world = world_with_room();
    world.member(ROOM, CAROL, CAROL, "knock");
    let body = world.sync(CAROL, &[]);
    assert!(body["rooms"]["knock"][ROOM]["knock_state"]["events"].is_array());
}

#[test]
fn rooms_joined_since_the_token_start_anew() {
    let world = world_with_room();
    for n in 0..15 {
        world.say(ROOM, ALICE, &n.to_string());
    }
    let read = world.say(ROOM, ALICE, "read");
    world.receipt(ROOM, ALICE, "m.read", "", &read);
    let first = token(&world.sync(CAROL, &[]));
    let own = world.join(ROOM, CAROL);
    let body = world.since(CAROL, &first);
    assert!(world.host.calls() <= 3);
    let room = joined(&body, ROOM);
    assert_eq!(room["timeline"]["limited"], true);
    let events = ids(&room["timeline"]["events"]);
    assert_eq!(events.len(), 10);
    assert_eq!(*events.last().unwrap(), own);
    let state = types(&room["state"]["events"]);
    assert_eq!(state.len(), 4, "create, power levels and two members: {state:?}");
    assert_eq!(room["summary"]["m.joined_member_count"], 3);
    let receipts = &room["ephemeral"]["events"][0];
    assert!(
        receipts["content"][&read]["m.read"][ALICE].is_object(),
        "older than the token: {room}"
    );
    assert!(world.since(CAROL, &token(&body)).get("rooms").is_none());
}

#[test]
fn history_before_the_join_is_hidden_where_only_members_see_it() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "joined");
    world.say(ROOM, ALICE, "secret");
    let first = token(&world.sync(CAROL, &[]));
    let own = world.join(ROOM, CAROL);
    let seen = world.say(ROOM, ALICE, "welcome");
    for body in [world.since(CAROL, &first), world.sync(CAROL, &[])] {
        let room = joined(&body, ROOM);
        let events = room["timeline"]["events"].as_array().unwrap();
        let [before @ .., first, second] = events.as_slice() else { panic!("{room}") };
        assert_eq!(first["event_id"], own);
        assert_eq!(second["event_id"], seen);
        assert_eq!(before.len(), 5, "from the time when history was shared");
        assert!(!body.to_string().contains("secret"));
        assert_eq!(first["unsigned"]["membership"], "join");
        assert_eq!(before[4]["unsigned"]["membership"], "leave");
    }
    let page = world.room_get(CAROL, "messages", &[("dir", "b")]).ok();
    assert!(!page.to_string().contains("secret"));
}

#[test]
fn rooms_left_since_the_token_end_with_the_leave() {
    let world = world_with_room();
    let first = token(&world.sync(BOB, &[]));
    let last = world.say(ROOM, ALICE, "bye");
    let kick = world.member(ROOM, ALICE, BOB, "leave");
    world.say(ROOM, ALICE, "secret");
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "secret" }));
    let body = world.since(BOB, &first);
    let room = &body["rooms"]["leave"][ROOM];
    assert_eq!(ids(&room["timeline"]["events"]), [last, kick]);
    assert_eq!(room["timeline"]["events"][1]["unsigned"]["membership"], "leave");
    assert_eq!(room["timeline"]["events"][0]["unsigned"]["membership"], "join");
    assert!(!body.to_string().contains("secret"), "{body}");
    assert!(body["rooms"].get("join").is_none());
    assert!(world.since(BOB, &token(&body)).get("rooms").is_none());
}

#[test]
fn bans_after_a_leave_are_told_without_what_lies_between() {
    let world = world_with_room();
    let first = token(&world.sync(BOB, &[]));
    let left = world.leave(ROOM, BOB);
    world.say(ROOM, ALICE, "secret");
    let ban = world.member(ROOM, ALICE, BOB, "ban");
    let body = world.since(BOB, &first);
    let room = &body["rooms"]["leave"][ROOM];
    assert_eq!(ids(&room["timeline"]["events"]), [left, ban]);
}

#[test]
fn declining_an_invite_tells_the_leave_only() {
    let world = world_with_room();
    world.member(ROOM, ALICE, CAROL, "invite");
    let first = token(&world.sync(CAROL, &[]));
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "secret" }));
    let own = world.leave(ROOM, CAROL);
    let body = world.since(CAROL, &first);
    let room = &body["rooms"]["leave"][ROOM];
    assert_eq!(ids(&room["timeline"]["events"]), [own.as_str()]);
    assert!(!body.to_string().contains("secret"), "{body}");
    // A client that reads state only from `state_after` would keep the invitation otherwise.
    let body = world.sync(CAROL, &[("since", &first), ("use_state_after", "true")]);
    let room = &body["rooms"]["leave"][ROOM];
    assert_eq!(ids(&room["state_after"]["events"]), [own.as_str()]);
    assert!(!body.to_string().contains("secret"), "{body}");
}

#[test]
fn rejoining_between_two_syncs_hides_the_time_away() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "joined");
    let first = token(&world.sync(BOB, &[]));
    world.leave(ROOM, BOB);
    world.say(ROOM, ALICE, "secret");
    world.join(ROOM, BOB);
    let body = world.since(BOB, &first);
    assert!(!body.to_string().contains("secret"));
    let state = joined(&body, ROOM)["state"]["events"].as_array().unwrap().len();
    let shown = joined(&body, ROOM)["timeline"]["events"].as_array().unwrap().len();
    assert!(state + shown >= 6, "the whole room again: {body}");
}

#[test]
fn forgotten_rooms_are_gone() {
    let world = world_with_room();
    let first = token(&world.sync(BOB, &[]));
    world.leave(ROOM, BOB);
    world.run(
        "rooms",
        "UPDATE rooms_memberships SET forgotten = TRUE WHERE room_id = $1 AND user_id = $2",
        tessera_sdk::params![ROOM, BOB],
        "",
    );
    assert!(world.since(BOB, &first).get("rooms").is_none());
    assert_eq!(world.room_get(BOB, "messages", &[("dir", "b")]).error().1, "M_FORBIDDEN");
}

#[test]
fn summaries_come_with_changes_of_members() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.join(ROOM, CAROL);
    world.member(ROOM, ALICE, "@dave:hs1", "invite");
    let body = world.since(ALICE, &first);
    let summary = &joined(&body, ROOM)["summary"];
    assert_eq!(summary["m.joined_member_count"], 3);
    assert_eq!(summary["m.invited_member_count"], 1);
    assert_eq!(summary["m.heroes"], json!([BOB, CAROL, "@dave:hs1"]));
}

#[test]
fn summaries_name_nobody_where_the_room_has_a_name_and_those_who_left_where_nobody_is_left() {
    let world = world_with_room();
    world.leave(ROOM, BOB);
    let body = world.sync(ALICE, &[]);
    assert_eq!(joined(&body, ROOM)["summary"]["m.heroes"], json!([BOB]), "they have left");
    world.join(ROOM, CAROL);
    let body = world.since(ALICE, &token(&body));
    assert_eq!(joined(&body, ROOM)["summary"]["m.heroes"], json!([CAROL]));
    world.state(ROOM, ALICE, "m.room.name", "", json!({ "name": "Here" }));
    let lazy = r#"{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}"#;
    let body = world.sync(ALICE, &[("since", &token(&body)), ("filter", lazy)]);
    assert!(joined(&body, ROOM)["summary"].get("m.heroes").is_none(), "{body}");
    let body = world.sync(ALICE, &[("filter", lazy)]);
    let members = joined(&body, ROOM)["state"]["events"].as_array().unwrap();
    let members = members.iter().filter(|e| e["type"] == "m.room.member").count();
    assert_eq!(members, 1, "only who speaks: {body}");
}

#[test]
fn state_in_force_is_told_though_it_was_set_while_the_user_was_away() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "joined");
    let first = token(&world.sync(BOB, &[]));
    world.leave(ROOM, BOB);
    let join = world.join(ROOM, CAROL);
    for n in 0..30 {
        world.say(ROOM, ALICE, &format!("secret {n}"));
    }
    world.join(ROOM, BOB);
    for body in [world.since(BOB, &first), world.sync(BOB, &[])] {
        assert!(!body.to_string().contains("secret"));
        let room = joined(&body, ROOM);
        let told = ids(&room["timeline"]["events"]);
        let state = ids(&room["state"]["events"]);
        assert!(told.contains(&join.as_str()) || state.contains(&join.as_str()), "{room}");
    }
    let timeline = joined(&world.since(BOB, &first), ROOM)["timeline"].clone();
    assert!(ids(&timeline["events"]).contains(&join.as_str()), "{timeline}");
}

#[test]
fn rooms_that_were_left_come_with_their_account_data() {
    let world = world_with_room();
    world.account_data(BOB, ROOM, "m.tag", &json!({ "tags": {} }));
    let first = token(&world.sync(BOB, &[]));
    world.leave(ROOM, BOB);
    let body = world.since(BOB, &first);
    let data = &body["rooms"]["leave"][ROOM]["account_data"]["events"];
    assert_eq!(data[0]["type"], "m.tag");
}

#[test]
fn a_room_joined_and_left_since_the_token_is_told_with_its_whole_state() {
    let world = world_with_room();
    let first = token(&world.sync(CAROL, &[]));
    world.join(ROOM, CAROL);
    world.leave(ROOM, CAROL);
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "secret" }));
    let filter = r#"{"room":{"timeline":{"types":[]},"include_leave":true}}"#;
    let body = world.sync(CAROL, &[("since", &first), ("filter", filter)]);
    let state = types(&body["rooms"]["leave"][ROOM]["state"]["events"]).len();
    assert_eq!(state, 5, "create, power levels and three members: {body}");
    assert!(!body.to_string().contains("secret"));
}

#[test]
fn a_room_joined_since_the_token_has_a_gap_unless_its_beginning_is_shown() {
    let world = world_with_room();
    let first = token(&world.sync(CAROL, &[]));
    world.join(ROOM, CAROL);
    let limited = |filter: &str| -> serde_json::Value {
        let body = world.sync(CAROL, &[("since", &first), ("filter", filter)]);
        joined(&body, ROOM)["timeline"]["limited"].clone()
    };
    assert_eq!(limited("{}"), false);
    assert_eq!(limited(r#"{"room":{"timeline":{"types":["m.room.member"]}}}"#), true);
}

#[test]
fn invites_of_ignored_users_and_those_that_are_refused_are_not_told() {
    let world = world_with_room();
    world.member(ROOM, BOB, CAROL, "invite");
    let invited = |world: &World| {
        let told = world.sync(CAROL, &[])["rooms"]["invite"].get(ROOM).is_some();
        let list = json!({ "lists": { "l": { "range": [0, 9], "timeline_limit": 1 } } });
        let sliding = world.post(CAROL, "sliding", &[], &list).ok();
        assert_eq!(sliding["rooms"].get(ROOM).is_some(), told);
        told
    };
    assert!(invited(&world));
    let ignore = |users: serde_json::Value| {
        world.account_data(CAROL, "", "m.ignored_user_list", &json!({ "ignored_users": users }));
    };
    ignore(json!({ BOB: {} }));
    assert!(!invited(&world));
    ignore(json!({}));
    let config = |action: &str| {
        let content = json!({ "default_action": action });
        world.account_data(CAROL, "", "m.invite_permission_config", &content);
    };
    config("block");
    assert!(!invited(&world));
    config("allow");
    assert!(invited(&world));
}

#[test]
fn lazy_members_of_a_left_room_are_told_as_they_were() {
    let world = world_with_room();
    let lazy = r#"{"room":{"state":{"lazy_load_members":true}}}"#;
    let list = json!({ "lists": { "l": { "range": [0, 9], "timeline_limit": 9, "required_state": {
        "include": [], "lazy_members": true } } } });
    let name = |name: &str| {
        let content = json!({ "membership": "join", "displayname": name });
        world.state(ROOM, ALICE, "m.room.member", ALICE, content);
    };
    name("before");
    for n in 0..12 {
        world.say(ROOM, BOB, &n.to_string());
    }
    let first = token(&world.sync(BOB, &[("filter", lazy), ("full_state", "true")]));
    world.say(ROOM, ALICE, "hi");
    world.member(ROOM, ALICE, BOB, "ban");
    name("secret");
    let body = world.sync(BOB, &[("filter", lazy), ("since", &first)]);
    assert!(body["rooms"]["leave"].get(ROOM).is_some(), "{body}");
    assert!(!body.to_string().contains("secret"), "{body}");
    let body = world.post(BOB, "sliding", &[], &list).ok();
    assert!(!body.to_string().contains("secret"), "{body}");
}

#[test]
fn after_very_many_changes_the_state_is_told_whole() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "old" }));
    let first = token(&world.sync(ALICE, &[]));
    let change = Event {
        room: ROOM,
        sender: ALICE,
        kind: "org.changing",
        state_key: Some(""),
        content: json!({ "a": 1 }),
    };
    for _ in 0..51 {
        world.events_of(&vec![change.clone(); 200]);
    }
    let _ = world.host.rows();
    let body = world.since(ALICE, &first);
    assert!(world.host.rows() < 25_000);
    let room = joined(&body, ROOM);
    assert_eq!(room["timeline"]["limited"], true);
    let state = types(&room["state"]["events"]);
    assert!(state.contains(&"m.room.topic") && state.contains(&"org.changing"), "{state:?}");
}
