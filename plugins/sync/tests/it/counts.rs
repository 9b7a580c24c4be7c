//! Unread counts.

use serde_json::json;

use crate::world::*;

#[test]
fn counts_come_with_the_room_and_when_they_change() {
    let world = world_with_room();
    let first = token(&world.sync(ALICE, &[]));
    world.counts(ALICE, ROOM, "", 3, 1);
    let body = world.since(ALICE, &first);
    let unread = json!({ "notification_count": 3, "highlight_count": 1 });
    assert_eq!(joined(&body, ROOM)["unread_notifications"], unread);
    assert!(world.since(ALICE, &token(&body)).get("rooms").is_none());
    assert_eq!(joined(&world.sync(ALICE, &[]), ROOM)["unread_notifications"], unread);
    world.say(ROOM, BOB, "x");
    let body = world.since(ALICE, &token(&body));
    assert_eq!(joined(&body, ROOM)["unread_notifications"], unread);
}

#[test]
fn threads_are_counted_apart_where_asked_for() {
    let world = world_with_room();
    world.counts(ALICE, ROOM, "", 2, 0);
    world.counts(ALICE, ROOM, "$thread", 3, 1);
    let room = joined(&world.sync(ALICE, &[]), ROOM).clone();
    assert_eq!(room["unread_notifications"]["notification_count"], 5);
    assert!(room.get("unread_thread_notifications").is_none());
    let filter = r#"{"room":{"timeline":{"unread_thread_notifications":true}}}"#;
    let room = joined(&world.sync(ALICE, &[("filter", filter)]), ROOM).clone();
    assert_eq!(room["unread_notifications"]["notification_count"], 2);
    assert_eq!(
        room["unread_thread_notifications"],
        json!({ "$thread": { "notification_count": 3, "highlight_count": 1 } })
    );
}
