//! What counts as unread.

use serde_json::json;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, position};

use crate::world::*;

#[test]
fn a_message_counts_for_all_but_its_sender() {
    let world = world_with_room();
    world.say(ALICE, "hello");
    world.deliver();
    assert_eq!(world.unread(ALICE), (0, 0));
    assert_eq!(world.unread(BOB), (1, 0));
    assert_eq!(world.unread(CAROL), (1, 0));
}

#[test]
fn a_mention_is_a_highlight_for_the_mentioned_only() {
    let world = world_with_room();
    world.send(ALICE, &mention(BOB));
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 1));
    assert_eq!(world.unread(CAROL), (1, 0));
}

#[test]
fn a_mention_in_a_type_that_does_not_notify_counts_for_the_mentioned() {
    let world = world_with_room();
    world.event(ROOM, ALICE, "org.example.poll", None, &mention(BOB));
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 1));
    assert_eq!(world.unread(CAROL), (0, 0));
}

#[test]
fn mentioning_the_room_needs_power() {
    let world = world_with_room();
    let content = json!({ "msgtype": "m.text", "body": "all", "m.mentions": { "room": true } });
    world.send(BOB, &content);
    world.deliver();
    assert_eq!(world.unread(CAROL), (1, 0));
    world.send(ALICE, &content);
    world.deliver();
    assert_eq!(world.unread(CAROL), (2, 1));
}

#[test]
fn notices_edits_reactions_and_state_do_not_count() {
    let world = world_with_room();
    let root = world.say(ALICE, "x");
    world.deliver();
    world.send(ALICE, &json!({ "msgtype": "m.notice", "body": "x" }));
    world.send(
        ALICE,
        &json!({ "msgtype": "m.text", "body": "* y",
            "m.relates_to": { "rel_type": "m.replace", "event_id": root.id } }),
    );
    let reaction =
        json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": root.id, "key": "x" } });
    world.event(ROOM, ALICE, "m.reaction", None, &reaction);
    world.state(ROOM, ALICE, "m.room.topic", "", &json!({ "topic": "t" }));
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
}

#[test]
fn a_tombstone_is_a_highlight_for_all() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.tombstone", "", &json!({ "body": "moved" }));
    world.deliver();
    assert_eq!(world.unread(ALICE), (0, 0));
    assert_eq!(world.unread(BOB), (1, 1));
}

#[test]
fn own_rules_decide_for_their_user_only() {
    let world = world_with_room();
    world.mute(BOB);
    let cake = json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "highlight" }] });
    world.rule(CAROL, "content", "cake", &cake).ok();
    world.say(ALICE, "tea");
    world.say(ALICE, "and cake!");
    world.deliver();
    assert_eq!(world.unread(BOB), (0, 0));
    assert_eq!(world.unread(CAROL), (2, 1));
    world.send(ALICE, &mention(BOB));
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 1), "a mention comes before the rule of the room");
}

#[test]
fn changed_rules_hold_from_the_next_event_on() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.deliver();
    world.mute(BOB);
    world.say(ALICE, "2");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
    let params = [("kind", "room"), ("ruleId", ROOM)];
    world.request(BOB, "DELETE", "rule", &params, None).ok();
    world.say(ALICE, "3");
    world.deliver();
    assert_eq!(world.unread(BOB), (2, 0));
}

#[test]
fn a_display_name_counts_where_a_rule_asks_for_it() {
    let world = world_with_room();
    let rule = json!({ "conditions": [{ "kind": "contains_display_name" }],
        "actions": ["notify", { "set_tweak": "highlight" }] });
    world.rule(BOB, "override", "name", &rule).ok();
    world.say(ALICE, "is some one here?");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 1));
    assert_eq!(world.unread(CAROL), (1, 0));
}

#[test]
fn own_messages_imply_read() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.send(ALICE, &mention(BOB));
    world.deliver();
    assert_eq!(world.unread(BOB), (2, 1));
    world.say(BOB, "answer");
    world.say(ALICE, "3");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
    assert_eq!(world.unread(ALICE), (0, 0), "alice wrote after bob");
    assert_eq!(world.unread(CAROL), (4, 0));
}

#[test]
fn a_reaction_of_ones_own_does_not_imply_read() {
    let world = world_with_room();
    let root = world.say(ALICE, "1");
    world.deliver();
    let reaction =
        json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": root.id, "key": "x" } });
    world.event(ROOM, BOB, "m.reaction", None, &reaction);
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
}

#[test]
fn threads_count_apart() {
    let world = world_with_room();
    let root = world.say(ALICE, "root");
    world.send(ALICE, &threaded(&root.id));
    world.send(ALICE, &threaded(&root.id));
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
    assert_eq!(world.unread_in(BOB, &root.id), (2, 0));
    world.send(BOB, &threaded(&root.id));
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0), "an answer in a thread reads that thread only");
    assert_eq!(world.unread_in(BOB, &root.id), (0, 0));
    assert_eq!(world.unread_in(ALICE, &root.id), (1, 0));
}

#[test]
fn a_thread_whose_root_is_nothing_is_none() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    let elsewhere = world.event("!other:hs1", ALICE, "m.room.message", None, &json!({}));
    for root in ["$invented", elsewhere.id.as_str()] {
        world.send(ALICE, &threaded(root));
        world.deliver();
        assert_eq!(world.count_row(BOB, root), None, "{root}");
    }
    assert_eq!(world.unread(BOB), (2, 0));
}

#[test]
fn redacted_events_do_not_count() {
    let world = world_with_room();
    let event = world.say(ALICE, "oops");
    world.host.acting("rooms", || {
        tessera_sdk::storage::Batch::new()
            .run(
                "UPDATE rooms_events SET redacted_by = '$r' WHERE event_id = $1",
                tessera_sdk::params![event.id],
            )
            .commit()
            .unwrap()
    });
    world.deliver();
    assert_eq!(world.unread(BOB), (0, 0));
}

#[test]
fn progress_and_wakes_tell_of_each_commit() {
    let world = world_with_room();
    let _ = world.host.wakes();
    let topic = world.state(ROOM, ALICE, "m.room.topic", "", &json!({ "topic": "t" }));
    world.deliver();
    assert_eq!(world.progress(), i64::try_from(topic.position).unwrap());
    assert_eq!(world.host.wakes(), ["push.progress"]);
    let event = world.say(ALICE, "hello");
    let _ = world.host.wakes();
    world.deliver();
    assert_eq!(world.progress(), i64::try_from(event.position).unwrap());
    let mut wakes = world.host.wakes();
    wakes.sort();
    assert_eq!(wakes, ["push.progress", &format!("room:{ROOM}"), &format!("user:{ALICE}")]);
}

#[test]
fn positions_move_only_for_those_whose_count_changes() {
    let world = world_with_room();
    world.mute(CAROL);
    world.say(ALICE, "1");
    world.deliver();
    let before = [ALICE, BOB, CAROL].map(|user| world.count_row(user, "").unwrap().2);
    world.say(ALICE, "2");
    world.deliver();
    let after = [ALICE, BOB, CAROL].map(|user| world.count_row(user, "").unwrap().2);
    assert_eq!(before[0], after[0], "the sender");
    assert!(before[1] < after[1]);
    assert_eq!(before[2], after[2], "who muted the room");
    world.send(ALICE, &mention(CAROL));
    world.deliver();
    assert!(world.count_row(CAROL, "").unwrap().2 > after[2]);
}

#[test]
fn a_count_that_is_none_and_was_none_has_no_position() {
    let world = world_with_room();
    world.mute(CAROL);
    let root = world.say(ALICE, "the first of the room");
    world.deliver();
    assert_eq!(world.count_row(ALICE, "").unwrap(), (0, 0, 0), "the sender");
    assert_eq!(world.count_row(CAROL, "").unwrap(), (0, 0, 0), "who muted the room");
    assert!(world.count_row(BOB, "").unwrap().2 > 0);
    world.send(ALICE, &threaded(&root.id));
    world.deliver();
    assert_eq!(world.count_row(ALICE, &root.id).unwrap(), (0, 0, 0));
    assert!(world.count_row(BOB, &root.id).unwrap().2 > 0);
    world.join(ROOM, "@dave:hs1");
    world.member(ROOM, ALICE, "@eve:hs1", "invite");
    world.deliver();
    assert_eq!(world.count_row("@dave:hs1", "").unwrap(), (0, 0, 0), "who came later");
}

#[test]
fn a_receipt_that_changes_no_count_moves_no_position() {
    let world = world_with_room();
    world.mute(CAROL);
    world.say(ALICE, "1");
    let read = world.say(ALICE, "2");
    world.say(ALICE, "3");
    world.deliver();
    let before = world.count_row(CAROL, "").unwrap();
    world.receipt(CAROL, "", &read);
    world.deliver();
    assert_eq!(world.count_row(CAROL, "").unwrap(), before);
    let before = world.count_row(BOB, "").unwrap().2;
    world.receipt(BOB, "", &read);
    world.deliver();
    assert!(world.count_row(BOB, "").unwrap().2 > before);
}

#[test]
fn positions_move_for_those_who_were_told_of_a_part_of_a_batch() {
    let world = world_with_room();
    let no_tea = json!({ "pattern": "tea", "actions": [] });
    world.rule(CAROL, "content", "tea", &no_tea).ok();
    world.say(ALICE, "x");
    world.deliver();
    let before = world.count_row(CAROL, "").unwrap().2;
    world.say(ALICE, "cake");
    world.say(ALICE, "tea");
    world.deliver();
    let (n, _, after) = world.count_row(CAROL, "").unwrap();
    assert_eq!(n, 2);
    assert!(after > before);
}

#[test]
fn a_redelivered_event_counts_once() {
    use tessera_plugin_push::Plugin;
    use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::{Guest, Message};
    let world = world_with_room();
    let event = world.say(ALICE, "1");
    let payload = json!({ "event_id": event.id, "room_id": ROOM, "offset": 0, "type": "m.room.message", "sender": ALICE });
    let message = Message {
        id: 1,
        topic: "rooms.events".to_owned(),
        key: ROOM.to_owned(),
        payload: payload.to_string(),
        position: event.position,
        attempt: 1,
    };
    for _ in 0..3 {
        assert_eq!(Plugin::handle(vec![message.clone(), message.clone()]), Ok(2));
    }
    assert_eq!(world.unread(BOB), (1, 0));
}

#[test]
fn malformed_messages_are_passed_over() {
    use tessera_plugin_push::Plugin;
    use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::{Guest, Message};
    let world = world_with_room();
    for topic in ["rooms.events", "presence.receipts"] {
        let message = Message {
            id: 1,
            topic: topic.to_owned(),
            key: ROOM.to_owned(),
            payload: "[]".to_owned(),
            position: 0,
            attempt: 1,
        };
        assert_eq!(Plugin::handle(vec![message]), Ok(1));
    }
    assert_eq!(world.host.logs().len(), 2);
}

#[test]
fn odd_contents_count_by_their_type() {
    let world = world_with_room();
    for content in [
        json!({ "m.relates_to": "x", "m.mentions": [] }),
        json!({ "m.relates_to": { "rel_type": "m.thread", "event_id": 7 }, "m.mentions": { "user_ids": [7, BOB] } }),
        json!({ "m.relates_to": { "rel_type": "m.thread", "event_id": "$".repeat(300) } }),
    ] {
        world.send(ALICE, &content);
    }
    world.deliver();
    assert_eq!(world.unread(CAROL), (3, 0));
    assert_eq!(world.unread(BOB), (3, 1));
}

#[test]
fn what_relates_to_a_message_of_a_thread_counts_in_it() {
    let world = world_with_room();
    let root = world.say(ALICE, "root");
    let reply = world.send(ALICE, &threaded(&root.id));
    let relation = |id: &str, to: &str, kind: &str| {
        let sql = "INSERT INTO rooms_relations (position, room_id, event_id, relates_to, rel_type, agg_key, type, sender) \
             VALUES ($1, $2, $3, $4, $5, '', 'm.room.message', $6)";
        let mut batch = Batch::new();
        let at = position(batch.take_positions(1));
        let batch = batch.run(sql, params![at, ROOM, id, to, kind, ALICE]);
        world.host.acting("rooms", || batch.commit()).unwrap();
    };
    relation(&reply.id, &root.id, "m.thread");
    let of = |id: &str| json!({ "body": "x", "m.relates_to": { "rel_type": "m.reference", "event_id": id } });
    let first = world.send(ALICE, &of(&reply.id));
    relation(&first.id, &reply.id, "m.reference");
    world.send(ALICE, &of(&first.id));
    world.send(ALICE, &of("$unknown"));
    world.deliver();
    assert_eq!(world.unread_in(BOB, &root.id), (3, 0));
    assert_eq!(world.unread(BOB), (2, 0));
}
