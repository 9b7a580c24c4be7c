//! Bundled aggregations.

use serde_json::{Value, json};

use crate::world::*;

fn edit(world: &World, sender: &str, of: &str, text: &str) -> String {
    let content = json!({
        "body": format!("* {text}"),
        "m.new_content": { "body": text, "msgtype": "m.text" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": of },
    });
    world.send(ROOM, sender, content)
}

fn bundle(body: &Value, id: &str) -> Value {
    let events = joined(body, ROOM)["timeline"]["events"].as_array().unwrap();
    let event = events.iter().find(|event| event["event_id"] == id).unwrap();
    event["unsigned"]["m.relations"].clone()
}

#[test]
fn the_latest_edit_by_the_sender_is_bundled_everywhere() {
    let world = world_with_room();
    let first = token(&world.sync(BOB, &[]));
    let id = world.say(ROOM, ALICE, "tyop");
    edit(&world, ALICE, &id, "typo?");
    world.host.advance(1);
    let newest = edit(&world, ALICE, &id, "typo");
    edit(&world, BOB, &id, "not his");
    // No new content: no edit.
    let invalid = json!({ "m.relates_to": { "rel_type": "m.replace", "event_id": id } });
    world.send(ROOM, ALICE, invalid);
    for body in [world.sync(BOB, &[]), world.since(BOB, &first)] {
        assert_eq!(bundle(&body, &id)["m.replace"]["event_id"], newest);
        assert_eq!(bundle(&body, &id)["m.replace"]["content"]["m.new_content"]["body"], "typo");
    }
    assert!(world.host.calls() <= 3);
    let page =
        world.room_get(BOB, "messages", &[("dir", "f"), ("from", &first), ("limit", "1")]).ok();
    assert_eq!(page["chunk"][0]["unsigned"]["m.relations"]["m.replace"]["event_id"], newest);
    let context = world.get(BOB, "context", &[("roomId", ROOM), ("eventId", &id)], &[]).ok();
    assert_eq!(context["event"]["unsigned"]["m.relations"]["m.replace"]["event_id"], newest);
}

#[test]
fn threads_and_references_are_summed_up() {
    let world = world_with_room();
    let root = world.say(ROOM, ALICE, "root");
    let relate = |sender: &str, rel_type: &str| {
        world.send(
            ROOM,
            sender,
            json!({ "m.relates_to": { "rel_type": rel_type, "event_id": root } }),
        )
    };
    relate(BOB, "m.thread");
    let latest = relate(BOB, "m.thread");
    let reference = relate(BOB, "m.reference");
    let bundled = bundle(&world.sync(BOB, &[]), &root);
    assert_eq!(bundled["m.reference"], json!({ "chunk": [{ "event_id": reference }] }));
    assert_eq!(bundled["m.thread"]["count"], 2);
    assert_eq!(bundled["m.thread"]["latest_event"]["event_id"], latest);
    assert_eq!(bundled["m.thread"]["current_user_participated"], true);
}

#[test]
fn what_came_after_a_leave_is_not_bundled() {
    let world = world_with_room();
    let id = world.say(ROOM, ALICE, "before");
    world.leave(ROOM, BOB);
    edit(&world, ALICE, &id, "secret");
    let page = world.room_get(BOB, "messages", &[("dir", "b")]).ok();
    assert!(!page.to_string().contains("secret"));
    let body = world.sync(BOB, &[("filter", r#"{"room":{"include_leave":true}}"#)]);
    assert!(!body.to_string().contains("secret"));
}

#[test]
fn threads_leave_out_ignored_users_and_show_edits_of_their_latest_event() {
    let world = world_with_room();
    world.join(ROOM, CAROL);
    let root = world.say(ROOM, ALICE, "root");
    let reply = |sender: &str| {
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        world.send(ROOM, sender, json!({ "body": "reply", "m.relates_to": relation }))
    };
    let latest = reply(BOB);
    let edit = json!({
        "body": "* better", "m.new_content": { "body": "better" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": latest },
    });
    let edit = world.send(ROOM, BOB, edit);
    reply(CAROL);
    world.account_data(
        ALICE,
        "",
        "m.ignored_user_list",
        &json!({ "ignored_users": { CAROL: {} } }),
    );
    for body in [
        world.sync(ALICE, &[])["rooms"]["join"][ROOM]["timeline"]["events"].clone(),
        world.room_get(ALICE, "messages", &[("dir", "f")]).ok()["chunk"].clone(),
    ] {
        let event =
            body.as_array().unwrap().iter().find(|e| e["event_id"] == root.as_str()).unwrap();
        let thread = &event["unsigned"]["m.relations"]["m.thread"];
        assert_eq!(thread["count"], 1);
        assert_eq!(thread["latest_event"]["event_id"], latest);
        let replaced = &thread["latest_event"]["unsigned"]["m.relations"]["m.replace"];
        assert_eq!(replaced["event_id"], edit);
    }
}
