//! Messages of users whom the reader ignores.

use serde_json::json;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, position};

use crate::world::*;

fn ignore(world: &World, user: &str, ignored: &[&str]) {
    let users: serde_json::Map<_, _> =
        ignored.iter().map(|user| ((*user).to_owned(), json!({}))).collect();
    let content = json!({ "ignored_users": users }).to_string();
    let mut batch = Batch::new();
    let at = position(batch.take_positions(1));
    world
        .host
        .acting("accounts", || {
            batch
                .run(
                    "INSERT INTO accounts_account_data (user_id, room_id, type, content, position) \
                     VALUES ($1, '', 'm.ignored_user_list', $2, $3) ON CONFLICT (user_id, room_id, type) \
                     DO UPDATE SET content = excluded.content, position = excluded.position",
                    params![user, content, at],
                )
                .commit()
        })
        .unwrap();
}

fn notified(world: &World, user: &str) -> usize {
    let body = world.request(user, "GET", "notifications", &[], None).ok();
    body["notifications"].as_array().unwrap().len()
}

#[test]
fn messages_of_ignored_users_count_for_the_others_only() {
    let world = world_with_room();
    ignore(&world, BOB, &[ALICE, "@somebody:else"]);
    let before = world.count_row(BOB, "");
    world.say(ALICE, "hello");
    world.send(ALICE, &mention(BOB));
    world.deliver();
    assert_eq!(world.unread(BOB), (0, 0));
    assert_eq!(world.unread(CAROL), (2, 0));
    assert_eq!(notified(&world, BOB), 0);
    assert_eq!(
        before.map_or(0, |row| row.2),
        world.count_row(BOB, "").unwrap().2,
        "nothing to tell"
    );
    world.say(CAROL, "and who counts?");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
    assert_eq!(notified(&world, BOB), 1);
}

#[test]
fn rules_of_ones_own_do_not_bring_ignored_users_back() {
    let world = world_with_room();
    let cake = json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "highlight" }] });
    world.rule(BOB, "content", "cake", &cake).ok();
    ignore(&world, BOB, &[ALICE]);
    world.say(ALICE, "cake!");
    world.say(CAROL, "cake?");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 1));
}

#[test]
fn invites_of_ignored_users_do_not_notify() {
    let world = world_with_room();
    ignore(&world, "@dave:hs1", &[ALICE]);
    world.member(ROOM, ALICE, "@dave:hs1", "invite");
    world.deliver();
    assert_eq!(notified(&world, "@dave:hs1"), 0);
}

#[test]
fn a_changed_list_holds_from_the_next_event_on() {
    let world = world_with_room();
    world.say(ALICE, "1");
    world.deliver();
    ignore(&world, BOB, &[ALICE]);
    world.say(ALICE, "2");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
    ignore(&world, BOB, &[CAROL]);
    world.say(ALICE, "3");
    world.say(CAROL, "4");
    world.deliver();
    assert_eq!(world.unread(BOB), (2, 0));
}

#[test]
fn names_that_only_look_alike_are_not_ignored() {
    let world = world_with_room();
    ignore(&world, BOB, &["@alice:hs10", "@malice:hs1", "@Alice:hs1", "@alice_hs1"]);
    world.say(ALICE, "hello");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
}

#[test]
fn gateways_hear_nothing_of_ignored_users() {
    let world = world_with_room();
    world.device(BOB);
    let pusher = json!({ "app_id": "a", "pushkey": "k", "kind": "http", "app_display_name": "A",
        "device_display_name": "D", "lang": "en",
        "data": { "url": "https://push.example/_matrix/push/v1/notify" } });
    world.request(BOB, "POST", "pushers-set", &[], Some(&pusher)).ok();
    ignore(&world, BOB, &[ALICE]);
    let queued = || {
        let rows = tessera_sdk::storage::query("SELECT COUNT(*) FROM push_queue", params![]);
        rows.unwrap().first::<(i64,)>().unwrap().unwrap().0
    };
    world.say(ALICE, "hello");
    world.deliver();
    assert_eq!(queued(), 0);
    world.say(CAROL, "hello");
    world.deliver();
    assert_eq!(queued(), 1);
}
