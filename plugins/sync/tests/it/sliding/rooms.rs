//! What is told of a room.

use serde_json::json;

use super::*;

#[test]
fn names_avatars_heroes_and_counts() {
    let world = world_with_room();
    world.member(ROOM, ALICE, CAROL, "invite");
    let first = next(&world, ALICE, &all(), None);
    let room = &first["rooms"][ROOM];
    assert!(room.get("name").is_none());
    let heroes: Vec<_> = room["heroes"].as_array().unwrap().iter().map(|h| &h["user_id"]).collect();
    assert_eq!(heroes, [BOB, CAROL]);
    assert_eq!((room["joined_count"].as_i64(), room["invited_count"].as_i64()), (Some(2), Some(1)));
    assert_eq!(room["membership"], "join");
    world.state(ROOM, ALICE, "m.room.name", "", json!({ "name": "N" }));
    world.state(ROOM, ALICE, "m.room.avatar", "", json!({ "url": "mxc://h/a" }));
    let body = next(&world, ALICE, &all(), Some(&first));
    let room = &body["rooms"][ROOM];
    assert_eq!((room["name"].as_str(), room["avatar"].as_str()), (Some("N"), Some("mxc://h/a")));
    assert!(room.get("heroes").is_none() && room.get("joined_count").is_none());
    let whole = next(&world, ALICE, &all(), None);
    assert_eq!(whole["rooms"][ROOM]["name"], "N");
    assert!(whole["rooms"][ROOM].get("heroes").is_none());
    world.state(ROOM, ALICE, "m.room.name", "", json!({}));
    let body = next(&world, ALICE, &all(), Some(&whole));
    assert!(body["rooms"][ROOM].get("name").unwrap().is_null(), "taken away");
    assert_eq!(body["rooms"][ROOM]["heroes"].as_array().unwrap().len(), 2);
    world.join(ROOM, CAROL);
    let body = next(&world, ALICE, &all(), Some(&body));
    assert_eq!(body["rooms"][ROOM]["joined_count"], 3);
}

#[test]
fn the_bump_stamp_follows_messages_only() {
    let world = world_with_room();
    let stamp = |body: &Value| body["rooms"][ROOM]["bump_stamp"].as_i64();
    let first = next(&world, ALICE, &all(), None);
    let created = stamp(&first).unwrap();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "t" }));
    let body = next(&world, ALICE, &all(), Some(&first));
    assert_eq!(stamp(&body), None, "unchanged");
    world.say(ROOM, BOB, "hi");
    let body = next(&world, ALICE, &all(), Some(&body));
    assert!(stamp(&body).unwrap() > created);
    let again = next(&world, ALICE, &all(), None);
    assert_eq!(stamp(&again), stamp(&body));
}

#[test]
fn gaps_are_limited_and_pages_lead_back() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    let sent: Vec<String> = (0..14).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    let body = next(&world, ALICE, &all(), Some(&first));
    let room = &body["rooms"][ROOM];
    assert_eq!(timeline(&body, ROOM), sent[4..]);
    assert_eq!((room["limited"].as_bool(), room["num_live"].as_i64()), (Some(true), Some(10)));
    let (from, to) = (room["prev_batch"].as_str().unwrap(), pos(&first));
    let page = world.room_get(ALICE, "messages", &[("dir", "b"), ("from", from), ("to", &to)]).ok();
    assert_eq!(page["chunk"].as_array().unwrap().len(), 4, "just the gap, by the tokens of both");
}

#[test]
fn a_longer_timeline_is_told_from_its_beginning() {
    let world = world_with_room();
    let body =
        |limit: u64| json!({ "lists": { "l": { "range": [0, 9], "timeline_limit": limit } } });
    for n in 0..5 {
        world.say(ROOM, BOB, &n.to_string());
    }
    let first = next(&world, ALICE, &body(1), None);
    assert_eq!(timeline(&first, ROOM).len(), 1);
    let more = next(&world, ALICE, &body(4), Some(&first));
    assert_eq!(timeline(&more, ROOM).len(), 4);
    let room = &more["rooms"][ROOM];
    assert_eq!(room["expanded_timeline"], true);
    assert!(room.get("initial").is_none() && room.get("required_state").is_none());
    assert_eq!(room["num_live"], 0);
    assert!(told(&next(&world, ALICE, &body(4), Some(&more))).is_empty());
    assert!(
        told(&next(&world, ALICE, &body(2), Some(&more))).is_empty(),
        "a shorter one is no news"
    );
    let old = json!({ "lists": { "l": { "ranges": [[0, 9]], "timeline_limit": 3 } } });
    let first = ask_old(&world, BOB, &[], &body(1)).ok();
    let more = ask_old(&world, BOB, &[("pos", &pos(&first))], &old).ok();
    assert_eq!(more["rooms"][ROOM]["unstable_expanded_timeline"], true);
}

#[test]
fn a_join_tells_the_room_whole_and_a_leave_ends_it() {
    let world = world_with_room();
    world.member(ROOM, ALICE, CAROL, "invite");
    let first = next(&world, CAROL, &all(), None);
    assert_eq!(first["rooms"][ROOM]["membership"], "invite");
    world.join(ROOM, CAROL);
    let body = next(&world, CAROL, &all(), Some(&first));
    let room = &body["rooms"][ROOM];
    assert_eq!(
        (room["initial"].as_bool(), room["membership"].as_str()),
        (Some(true), Some("join"))
    );
    assert_eq!(room["num_live"], 1);
    assert_eq!(state(&body, ROOM), ["m.room.create"]);
    let bye = world.say(ROOM, CAROL, "bye");
    let left = world.leave(ROOM, CAROL);
    world.say(ROOM, ALICE, "secret");
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "secret" }));
    let body = next(&world, CAROL, &all(), Some(&body));
    assert_eq!(body["rooms"][ROOM]["membership"], "leave");
    assert_eq!(timeline(&body, ROOM), [bye, left]);
    assert!(!body.to_string().contains("secret"), "{body}");
    let body = next(&world, CAROL, &all(), Some(&body));
    assert_eq!((body["lists"]["all"]["count"].as_i64(), told(&body).len()), (Some(0), 0));
    world.join(ROOM, CAROL);
    let body = next(&world, CAROL, &all(), Some(&body));
    assert_eq!(body["rooms"][ROOM]["initial"], true, "back again");
}

#[test]
fn who_was_thrown_out_still_finds_the_room() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "joined");
    world.member(ROOM, ALICE, BOB, "ban");
    world.say(ROOM, ALICE, "secret");
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "secret" }));
    let body = next(&world, BOB, &all(), None);
    assert_eq!(body["rooms"][ROOM]["membership"], "ban");
    assert_eq!(state(&body, ROOM), ["m.room.create"]);
    assert!(!body.to_string().contains("secret"), "{body}");
    assert!(told(&next(&world, BOB, &all(), Some(&body))).is_empty());
    // Somebody who never was in a room finds nothing of it.
    world.member(ROOM, ALICE, CAROL, "ban");
    let subscribed = json!({ "room_subscriptions": { ROOM: { "timeline_limit": 5 } } });
    for wish in [all(), subscribed] {
        assert!(told(&next(&world, CAROL, &wish, None)).is_empty());
    }
}

#[test]
fn a_declined_invite_is_told_and_forgotten() {
    let world = world_with_room();
    world.member(ROOM, ALICE, CAROL, "invite");
    let first = next(&world, CAROL, &all(), None);
    world.say(ROOM, ALICE, "secret");
    let declined = world.leave(ROOM, CAROL);
    let body = next(&world, CAROL, &all(), Some(&first));
    assert_eq!(body["rooms"][ROOM]["membership"], "leave");
    assert_eq!(timeline(&body, ROOM), [declined]);
    assert!(!body.to_string().contains("secret"), "{body}");
    assert!(told(&next(&world, CAROL, &all(), Some(&body))).is_empty());
}

#[test]
fn history_that_is_shut_stays_shut() {
    let world = world_with_room();
    world.visibility(ROOM, ALICE, "joined");
    let before = world.say(ROOM, ALICE, "before");
    world.join(ROOM, CAROL);
    let after = world.say(ROOM, ALICE, "after");
    let body = next(&world, CAROL, &all(), None);
    assert!(!timeline(&body, ROOM).contains(&before.as_str()));
    assert!(timeline(&body, ROOM).contains(&after.as_str()));
}

#[test]
fn unread_counts_are_told_in_the_older_form() {
    let world = world_with_room();
    let list = json!({ "lists": { "l": { "ranges": [[0, 9]], "timeline_limit": 1 } } });
    world.counts(ALICE, ROOM, "", 2, 1);
    world.counts(ALICE, ROOM, "$thread", 1, 0);
    let first = ask_old(&world, ALICE, &[], &list).ok();
    let room = &first["rooms"][ROOM];
    assert_eq!(
        (room["notification_count"].as_i64(), room["highlight_count"].as_i64()),
        (Some(3), Some(1))
    );
    world.counts(ALICE, ROOM, "", 0, 0);
    let body = ask_old(&world, ALICE, &[("pos", &pos(&first))], &list).ok();
    assert_eq!(body["rooms"][ROOM]["notification_count"], 1);
    let body = ask_old(&world, ALICE, &[("pos", &pos(&body))], &list).ok();
    assert!(told(&body).is_empty());
    let first = next(&world, ALICE, &all(), None);
    assert!(first["rooms"][ROOM].get("notification_count").is_none());
    world.counts(ALICE, ROOM, "", 5, 0);
    assert!(told(&next(&world, ALICE, &all(), Some(&first))).is_empty());
}

#[test]
fn events_carry_what_clients_need() {
    let world = world_with_room();
    world.account_data(
        ALICE,
        "",
        "m.ignored_user_list",
        &json!({ "ignored_users": { CAROL: {} } }),
    );
    world.join(ROOM, CAROL);
    world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "one" }));
    let first = next(&world, ALICE, &all(), None);
    world.state(ROOM, BOB, "m.room.topic", "", json!({ "topic": "two" }));
    let id = world.say(ROOM, BOB, "oops");
    world.say(ROOM, CAROL, "ignored");
    world.redact(ROOM, BOB, &id);
    let asked = world.send(ROOM, BOB, json!({ "body": "first" }));
    world.send(
        ROOM,
        BOB,
        json!({ "body": "* edited", "m.new_content": { "body": "edited" },
            "m.relates_to": { "rel_type": "m.replace", "event_id": asked } }),
    );
    let body = next(&world, ALICE, &all(), Some(&first));
    let events = body["rooms"][ROOM]["timeline"].as_array().unwrap();
    assert_eq!(events.len(), 5, "without the one who is ignored");
    assert_eq!(events[0]["unsigned"]["prev_content"]["topic"], "one");
    assert_eq!(events[0]["unsigned"]["membership"], "join");
    assert_eq!(events[1]["unsigned"]["redacted_because"]["type"], "m.room.redaction");
    assert_eq!(events[3]["unsigned"]["m.relations"]["m.replace"]["sender"], BOB);
    assert!(events[0].get("room_id").is_none());
    assert!(events.iter().all(|event| event.get("event_id").is_some()));
}
