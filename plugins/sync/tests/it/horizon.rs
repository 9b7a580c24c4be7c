//! Several writers: rows can be seen whose positions lie above the horizon. A token says nothing of them, so nothing of them may be
//! lost, and what is only ever told once must not be told twice.

use serde_json::{Value, json};
use tessera_sdk::http::WakeReason::Woken;

use crate::world::*;

/// A writer holds the horizon where it is now.
fn hold(world: &World) -> String {
    let at = world.host.horizon();
    world.host.hold_horizon(at);
    format!("s{at}")
}

fn timeline<'a>(body: &'a Value, room: &str) -> Vec<&'a str> {
    ids(&joined(body, room)["timeline"]["events"])
}

#[test]
fn events_above_the_horizon_are_told_when_it_has_come_there() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let below = world.say(ROOM, BOB, "below");
    let at = hold(&world);
    let above = world.say(ROOM, BOB, "above");
    let body = world.since(ALICE, &first);
    assert_eq!(token(&body), at);
    assert_eq!(timeline(&body, ROOM), [below]);
    let again = world.since(ALICE, &at);
    assert!(again.get("rooms").is_none(), "{again}");
    assert_eq!(token(&again), at);
    world.host.release_horizon();
    assert_eq!(timeline(&world.since(ALICE, &at), ROOM), [above]);
}

#[test]
fn a_client_waits_while_all_that_is_new_lies_above_the_horizon() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    hold(&world);
    let id = world.say(ROOM, BOB, "above");
    world.receipt(ROOM, BOB, "m.read", "", &id);
    world.typing(ROOM, BOB, world.host.now_ms() + 1000);
    world.account_data(ALICE, "", "org.above", &json!({}));
    world.counts(ALICE, ROOM, "", 1, 0);
    world.presence(BOB, "online");
    let query = [("since", first.as_str()), ("timeout", "30000")];
    let answer = world.get(ALICE, "sync", &[], &query);
    let watch = answer.parked().expect("nothing to tell yet").watch;
    assert!(!world.host.watch_fired(watch), "what is held back wakes nobody");
    world.host.release_horizon();
    assert!(world.host.watch_fired(watch));
    let body = world.resume(&answer, Woken).ok();
    assert_eq!(timeline(&body, ROOM), [id]);
    assert_eq!(types(&joined(&body, ROOM)["ephemeral"]["events"]), ["m.receipt", "m.typing"]);
    assert_eq!(types(&body["account_data"]["events"]), ["org.above"]);
    assert_eq!(types(&body["presence"]["events"]), ["m.presence"]);
    assert_eq!(joined(&body, ROOM)["unread_notifications"]["notification_count"], 1);
}

#[test]
fn an_initial_sync_ends_at_the_horizon() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "below" }));
    let at = hold(&world);
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "above" }));
    world.create("!above:hs1", ALICE);
    for query in [vec![], vec![("filter", r#"{"room":{"state":{"lazy_load_members":true}}}"#)]] {
        let body = world.sync(ALICE, &query);
        assert_eq!(token(&body), at);
        assert!(body.to_string().contains("below"));
        assert!(!body.to_string().contains("above"), "{body}");
    }
    world.host.release_horizon();
    let body = world.since(ALICE, &at);
    assert_eq!(types(&joined(&body, ROOM)["timeline"]["events"]), ["m.room.topic"]);
    assert_eq!(joined(&body, "!above:hs1")["timeline"]["events"].as_array().unwrap().len(), 3);
}

#[test]
fn a_small_timeline_is_not_crowded_out_by_what_lies_above() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let below: Vec<String> = (0..3).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    hold(&world);
    let above: Vec<String> = (0..12).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    let body = world.since(ALICE, &first);
    assert!(world.host.calls() <= 4);
    assert_eq!(timeline(&body, ROOM), below);
    assert_eq!(joined(&body, ROOM)["timeline"]["limited"], false);
    let whole = world.sync(ALICE, &[]);
    assert_eq!(timeline(&whole, ROOM).len(), 7, "with create, joins and power levels");
    world.host.release_horizon();
    let body = world.since(ALICE, &token(&body));
    assert_eq!(timeline(&body, ROOM), above[2..]);
    assert_eq!(joined(&body, ROOM)["timeline"]["limited"], true);
}

#[test]
fn a_join_below_is_told_whole_though_a_later_profile_has_its_row() {
    let world = world_with_room();
    let first = token(&world.sync(CAROL, &[]));
    let join = world.join(ROOM, CAROL);
    let at = hold(&world);
    let profile = world.state(
        ROOM,
        CAROL,
        "m.room.member",
        CAROL,
        json!({ "membership": "join", "displayname": "C" }),
    );
    let body = world.since(CAROL, &first);
    let room = joined(&body, ROOM);
    assert_eq!(*ids(&room["timeline"]["events"]).last().unwrap(), join);
    assert!(!body.to_string().contains("displayname"), "{body}");
    assert_eq!(types(&room["state"]["events"]).len() + timeline(&body, ROOM).len(), 5);
    assert_eq!(timeline(&world.sync(CAROL, &[]), ROOM).last(), Some(&join.as_str()));
    world.host.release_horizon();
    let body = world.since(CAROL, &at);
    assert_eq!(timeline(&body, ROOM), [profile]);
    assert_eq!(joined(&body, ROOM)["timeline"]["limited"], false, "not told whole again");
}

#[test]
fn a_join_above_is_no_news_yet() {
    let world = world_with_room();
    world.member(ROOM, ALICE, CAROL, "invite");
    let first = token(&world.sync(CAROL, &[]));
    world.say(ROOM, ALICE, "before");
    let at = hold(&world);
    let join = world.join(ROOM, CAROL);
    world.account_data(CAROL, ROOM, "m.tag", &json!({}));
    for body in [world.since(CAROL, &first), world.sync(CAROL, &[])] {
        assert!(body.get("rooms").is_none(), "{body}");
        assert_eq!(token(&body), at);
    }
    world.host.release_horizon();
    let body = world.since(CAROL, &at);
    let room = joined(&body, ROOM);
    assert_eq!(*ids(&room["timeline"]["events"]).last().unwrap(), join);
    assert_eq!(types(&room["account_data"]["events"]), ["m.tag"]);
}

#[test]
fn a_leave_above_leaves_the_user_in_the_room() {
    let world = world_with_room();
    let first = token(&world.sync(BOB, &[]));
    let below = world.say(ROOM, ALICE, "below");
    let at = hold(&world);
    let kick = world.member(ROOM, ALICE, BOB, "leave");
    world.say(ROOM, ALICE, "secret");
    let body = world.since(BOB, &first);
    assert_eq!(timeline(&body, ROOM), [below]);
    assert!(body["rooms"].get("leave").is_none());
    let whole = world.sync(BOB, &[("since", &first), ("full_state", "true")]);
    assert_eq!(joined(&whole, ROOM)["state"]["events"].as_array().unwrap().len(), 4);
    world.host.release_horizon();
    let body = world.since(BOB, &at);
    assert_eq!(ids(&body["rooms"]["leave"][ROOM]["timeline"]["events"]), [kick]);
    assert!(!body.to_string().contains("secret"));
}

#[test]
fn a_room_joined_below_and_left_above_is_told_as_joined() {
    let world = world_with_room();
    let first = token(&world.sync(CAROL, &[]));
    let join = world.join(ROOM, CAROL);
    let at = hold(&world);
    let leave = world.leave(ROOM, CAROL);
    let body = world.since(CAROL, &first);
    assert_eq!(timeline(&body, ROOM), [join]);
    assert_eq!(joined(&body, ROOM)["timeline"]["limited"], true);
    assert_eq!(joined(&body, ROOM)["state"]["events"].as_array().unwrap().len(), 4);
    world.host.release_horizon();
    let body = world.since(CAROL, &at);
    assert_eq!(ids(&body["rooms"]["leave"][ROOM]["timeline"]["events"]), [leave]);
}

#[test]
fn a_leave_below_ends_there_though_the_user_is_back_above() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "joined");
    let first = token(&world.sync(BOB, &[]));
    let last = world.say(ROOM, ALICE, "bye");
    let leave = world.leave(ROOM, BOB);
    world.say(ROOM, ALICE, "secret");
    let at = hold(&world);
    let back = world.join(ROOM, BOB);
    let body = world.since(BOB, &first);
    assert_eq!(ids(&body["rooms"]["leave"][ROOM]["timeline"]["events"]), [last, leave]);
    assert!(body["rooms"].get("join").is_none());
    assert!(!body.to_string().contains("secret"));
    world.host.release_horizon();
    let body = world.since(BOB, &at);
    assert_eq!(*timeline(&body, ROOM).last().unwrap(), back);
    assert!(!body.to_string().contains("secret"));
}

#[test]
fn an_invite_is_told_when_the_horizon_has_come_there() {
    let world = world_with_room();
    let first = token(&world.sync(CAROL, &[]));
    let at = hold(&world);
    world.member(ROOM, ALICE, CAROL, "invite");
    for body in [world.since(CAROL, &first), world.sync(CAROL, &[])] {
        assert!(body.get("rooms").is_none(), "{body}");
    }
    world.host.release_horizon();
    assert!(world.since(CAROL, &at)["rooms"]["invite"][ROOM].is_object());
}

#[test]
fn a_state_event_replaced_above_is_still_told() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let topic = world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "one" }));
    for n in 0..12 {
        world.say(ROOM, BOB, &n.to_string());
    }
    let at = hold(&world);
    let next = world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "two" }));
    for query in [vec![("since", first.as_str())], vec![]] {
        let body = world.sync(ALICE, &query);
        let state = &joined(&body, ROOM)["state"]["events"];
        assert!(ids(state).contains(&topic.as_str()), "{state}");
        assert!(!body.to_string().contains("two"));
    }
    let after = world.sync(ALICE, &[("since", &first), ("use_state_after", "true")]);
    assert_eq!(ids(&joined(&after, ROOM)["state_after"]["events"]), [topic]);
    world.host.release_horizon();
    assert_eq!(timeline(&world.since(ALICE, &at), ROOM), [next]);
}

#[test]
fn a_redaction_above_comes_with_its_own_event_later() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let id = world.say(ROOM, BOB, "oops");
    let at = hold(&world);
    let redaction = world.redact(ROOM, BOB, &id);
    let body = world.since(ALICE, &first);
    assert_eq!(timeline(&body, ROOM), [id]);
    world.host.release_horizon();
    assert_eq!(timeline(&world.since(ALICE, &at), ROOM), [redaction]);
}

#[test]
fn what_was_replaced_above_is_told_in_its_new_form() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    let read = world.say(ROOM, BOB, "read");
    world.receipt(ROOM, BOB, "m.read", "", "$old");
    world.typing(ROOM, BOB, world.host.now_ms() + 1000);
    world.account_data(ALICE, "", "org.a", &json!({ "n": 1 }));
    world.presence(BOB, "online");
    let at = hold(&world);
    world.receipt(ROOM, BOB, "m.read", "", &read);
    world.typing(ROOM, BOB, 0);
    world.account_data(ALICE, "", "org.a", &json!({ "n": 2 }));
    world.presence(BOB, "unavailable");
    let body = world.since(ALICE, &first);
    assert_eq!(timeline(&body, ROOM), [read.as_str()]);
    assert_eq!(joined(&body, ROOM)["ephemeral"]["events"], json!([]), "{body}");
    let whole = world.sync(ALICE, &[]);
    assert_eq!(whole["account_data"]["events"][0]["content"]["n"], 2, "told now and then: {whole}");
    world.host.release_horizon();
    for from in [&at, &token(&whole)] {
        let body = world.since(ALICE, from);
        let ephemeral = &joined(&body, ROOM)["ephemeral"]["events"];
        assert!(ephemeral[0]["content"][&read]["m.read"][BOB].is_object(), "{body}");
        assert_eq!(ephemeral[1]["content"]["user_ids"], json!([]));
        assert_eq!(body["account_data"]["events"][0]["content"]["n"], 2);
        assert_eq!(body["presence"]["events"][0]["content"]["presence"], "unavailable");
    }
}

#[test]
fn many_changes_above_hide_no_room_of_an_initial_sync() {
    let world = world_with_room();
    hold(&world);
    for n in 0..120 {
        world.member(&format!("!above{n}:hs1"), ALICE, ALICE, "join");
    }
    let body = world.sync(ALICE, &[]);
    let rooms: Vec<_> = body["rooms"]["join"].as_object().unwrap().keys().collect();
    assert_eq!(rooms, [ROOM]);
}

#[test]
fn a_token_ahead_of_the_horizon_loses_nothing() {
    let world = world_with_room();
    let at = hold(&world);
    world.say(ROOM, BOB, "one");
    // Another node has seen the horizon further on.
    let ahead = format!("s{}", world.host.horizon() + 1);
    let body = world.since(ALICE, &ahead);
    assert_eq!(token(&body), at);
    world.host.release_horizon();
    assert_eq!(timeline(&world.since(ALICE, &at), ROOM).len(), 1);
}

#[test]
fn pages_of_history_need_no_horizon() {
    let world = world_with_room();
    hold(&world);
    let sent: Vec<String> = (0..4).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    let page = world.room_get(ALICE, "messages", &[("dir", "b"), ("limit", "2")]).ok();
    assert_eq!(ids(&page["chunk"]), [sent[3].as_str(), sent[2].as_str()]);
    let end = page["end"].as_str().unwrap();
    let page =
        world.room_get(ALICE, "messages", &[("dir", "b"), ("limit", "2"), ("from", end)]).ok();
    assert_eq!(ids(&page["chunk"]), [sent[1].as_str(), sent[0].as_str()]);
}
