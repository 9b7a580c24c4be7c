//! What users have said who asked to be erased.

use serde_json::json;
use tessera_sdk::params;

use crate::world::*;

#[test]
fn who_was_there_still_sees_it_who_came_later_does_not() {
    let world = world_with_room();
    let said = world.say(ROOM, BOB, "private");
    world.join(ROOM, CAROL);
    let read = |user: &str| -> serde_json::Value {
        let body = world.sync(user, &[]);
        let timeline = joined(&body, ROOM)["timeline"]["events"].as_array().unwrap().clone();
        timeline.into_iter().find(|event| event["event_id"] == said.as_str()).unwrap()
    };
    assert_eq!(read(CAROL)["content"]["body"], "private");
    world.run("accounts", "INSERT INTO accounts_erased (user_id) VALUES ($1)", params![BOB], "");
    assert_eq!(read(ALICE)["content"]["body"], "private");
    assert_eq!(read(CAROL)["content"], json!({}));
    let page = world.room_get(CAROL, "messages", &[("dir", "b")]).ok();
    assert!(!page.to_string().contains("private"), "{page}");
    let context = world.get(CAROL, "context", &[("roomId", ROOM), ("eventId", &said)], &[]).ok();
    assert_eq!(context["event"]["content"], json!({}));
    let filter = r#"{"event_format":"federation"}"#;
    let body = world.sync(CAROL, &[("filter", filter)]);
    assert!(!body.to_string().contains("private"), "{body}");
}
