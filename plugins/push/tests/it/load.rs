//! What large rooms cost.

use serde_json::json;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::world::*;

fn large_room(world: &World, members: usize) {
    world.create(ROOM, ALICE);
    for n in 0..members {
        world.join(ROOM, &format!("@user{n}:hs1"));
    }
    world.deliver();
}

/// How long the plug-in takes for a message, deliveries of one: mean.
fn cost(world: &World, messages: u32) -> std::time::Duration {
    let mut spent = std::time::Duration::ZERO;
    for n in 0..messages {
        world.say(ALICE, &n.to_string());
        let started = std::time::Instant::now();
        world.deliver_events();
        spent += started.elapsed();
    }
    spent / messages
}

fn rows(table: &str) -> i64 {
    let row: Option<(i64,)> =
        storage::query(&format!("SELECT COUNT(*) AS n FROM {table}"), params![])
            .unwrap()
            .first()
            .unwrap();
    row.unwrap().0
}

#[test]
fn a_batch_of_events_takes_two_storage_calls() {
    let world = world_with_room();
    for n in 0..64 {
        world.say(ALICE, &n.to_string());
    }
    let _ = world.host.calls();
    assert_eq!(
        world.host.deliver_once::<tessera_plugin_push::Plugin>("push", "rooms.events"),
        Ok(64)
    );
    assert_eq!(world.host.calls(), 2);
    assert_eq!(world.unread(BOB), (64, 0));
}

#[test]
fn a_message_in_a_large_room_writes_one_row_and_counts_for_all() {
    let small = world_with_room();
    println!("3 members: {:?} for each message", cost(&small, 20));
    let world = world();
    large_room(&world, 1000);
    world.say(ALICE, "first");
    world.deliver();
    assert_eq!(world.unread("@user999:hs1"), (1, 0));
    let marks = rows("push_marks");
    println!("1,000 members, default rules: {:?} for each message", cost(&world, 20));
    assert_eq!(world.unread("@user0:hs1"), (21, 0));
    assert_eq!(world.unread("@user999:hs1"), (21, 0));
    assert_eq!((rows("push_marks"), rows("push_events"), rows("push_exceptions")), (marks, 21, 0));
    for n in 0..300 {
        world.mute(&format!("@user{n}:hs1"));
    }
    world.say(ALICE, "rules are read once");
    world.deliver_events();
    println!("300 of them with own rules: {:?} for each message", cost(&world, 10));
    assert_eq!(world.unread("@user0:hs1"), (21, 0));
    assert_eq!(world.unread("@user999:hs1"), (32, 0));
    let last = world.send(ALICE, &json!({ "body": "x" }));
    world.deliver_events();
    world.receipt("@user999:hs1", "", &last);
    world.deliver_receipts();
    assert_eq!(world.unread("@user999:hs1"), (0, 0));
}

#[test]
fn old_events_and_threads_are_cleared() {
    let world = world_with_room();
    let root = world.say(ALICE, "root");
    world.send(ALICE, &threaded(&root.id));
    world.mute(CAROL);
    let mut early = None;
    for n in 0..1100 {
        let event = world.say(ALICE, &n.to_string());
        if n == 20 {
            early = Some(event);
        }
    }
    world.deliver();
    assert_eq!(world.unread(BOB), (1101, 0));
    assert_eq!(world.count_row(BOB, &root.id), None);
    assert!(rows("push_events") < 1064, "{}", rows("push_events"));
    assert_eq!(rows("push_events"), rows("push_exceptions"));
    world.receipt(BOB, "", &early.unwrap());
    world.deliver();
    assert_eq!(world.unread(BOB).0, rows("push_events"), "what is kept counts");
    assert_eq!(world.unread(CAROL), (0, 0));
}

/// Members beyond a page of rules, each with a rule that does something else than the next one's.
#[test]
fn rules_of_more_members_than_a_page_are_all_applied() {
    let world = world();
    world.create(ROOM, ALICE);
    let user = |n: usize| format!("@user{n:04}:hs1");
    world.join_all(ROOM, (0..1200).map(user));
    world.deliver();
    world.rules_of((0..1200).map(|n| (user(n), if n % 3 == 0 { "[]" } else { "[\"notify\"]" })));
    for n in 0..9 {
        world.say(ALICE, &n.to_string());
    }
    world.send(ALICE, &mention(&user(1199)));
    world.deliver();
    for n in [0, 1, 501, 502, 1197, 1198] {
        let expected = if n % 3 == 0 { 0 } else { 10 };
        assert_eq!(world.unread(&user(n)), (expected, 0), "{n}");
    }
    assert_eq!(world.unread(&user(1199)), (10, 1));
}

/// What one message into a very large room costs, printed: no time is asserted.
#[test]
fn a_message_in_a_very_large_room_is_cheap() {
    let world = world();
    world.create(ROOM, ALICE);
    let user = |n: usize| format!("@user{n:05}:hs1");
    world.join_all(ROOM, (0..10_000).map(user));
    world.deliver();
    let _ = cost(&world, 1);
    let measure = |what: &str| {
        let _ = cost(&world, 1);
        let _ = (world.host.calls(), world.host.rows());
        let time = cost(&world, 5);
        println!(
            "{what}: {time:?}, {} calls, {} rows read in 5",
            world.host.calls(),
            world.host.rows()
        );
    };
    measure("10,000 members");
    world.rules_of((0..2_000).map(|n| (user(n), "[]")));
    measure("2,000 of them muted the room");
    assert_eq!(world.unread(&user(0)), (7, 0));
    assert_eq!(world.unread(&user(9_999)), (13, 0));
}

/// As many bytes of rules as one call may not have in memory, nor read at once.
#[test]
fn very_large_rules_of_many_members_are_applied() {
    let world = world();
    world.create(ROOM, ALICE);
    let user = |n: usize| format!("@user{n:03}:hs1");
    world.join_all(ROOM, (0..160).map(user));
    world.deliver();
    let pattern = "x".repeat(1000);
    let rule = |n: usize| json!({ "rule_id": n.to_string(), "default": false, "enabled": true, "pattern": pattern, "actions": [] });
    let content: Vec<_> = (0..220).map(rule).collect();
    let room = json!([{ "rule_id": ROOM, "default": false, "enabled": true, "actions": [] }]);
    let content = json!({ "global": { "content": content, "room": room } }).to_string();
    let rows = (0..160).map(|n| params![user(n), &content, 1]).collect();
    let sql = "INSERT INTO push_rules (user_id, content, position) VALUES ($1, $2, $3)";
    let batch = storage::Batch::new().run_many(sql, rows);
    world.host.acting("push", || batch.commit()).unwrap();
    world.join(ROOM, BOB);
    world.say(ALICE, "hello");
    world.deliver();
    assert_eq!(world.unread(&user(0)), (0, 0));
    assert_eq!(world.unread(&user(159)), (0, 0));
    assert_eq!(world.unread(BOB), (1, 0));
}
