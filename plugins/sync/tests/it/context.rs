//! GET /context.

use serde_json::json;

use crate::world::*;

#[test]
fn context_surrounds_the_event_with_the_state_at_its_end() {
    let world = world_with_room();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "old" }));
    let sent: Vec<String> = (0..9).map(|n| world.say(ROOM, BOB, &n.to_string())).collect();
    world.state(ROOM, ALICE, "m.room.topic", "", json!({ "topic": "new" }));
    let get = |user: &str, event: &str, limit: &str| {
        world.get(user, "context", &[("roomId", ROOM), ("eventId", event)], &[("limit", limit)])
    };
    let body = get(ALICE, &sent[4], "4").ok();
    assert!(world.host.calls() <= 4);
    assert_eq!(body["event"]["event_id"], sent[4]);
    assert_eq!(ids(&body["events_before"]), [sent[3].as_str(), sent[2].as_str()]);
    assert_eq!(ids(&body["events_after"]), [sent[5].as_str(), sent[6].as_str()]);
    let topic = body["state"].as_array().unwrap().iter().find(|e| e["type"] == "m.room.topic");
    assert_eq!(topic.unwrap()["content"]["topic"], "old");

    let (start, end) = (body["start"].as_str().unwrap(), body["end"].as_str().unwrap());
    let page =
        world.room_get(ALICE, "messages", &[("dir", "b"), ("from", start), ("limit", "1")]).ok();
    assert_eq!(ids(&page["chunk"]), [sent[1].as_str()]);
    let page =
        world.room_get(ALICE, "messages", &[("dir", "f"), ("from", end), ("limit", "1")]).ok();
    assert_eq!(ids(&page["chunk"]), [sent[7].as_str()]);

    let body = get(ALICE, &sent[4], "0").ok();
    assert_eq!(body["events_before"], json!([]));
    assert_eq!(body["events_after"], json!([]));
    assert_eq!(get(ALICE, "$none", "4").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(get(CAROL, &sent[4], "4").error(), (403, "M_FORBIDDEN".to_owned()));
    world.leave(ROOM, BOB);
    let later = world.say(ROOM, ALICE, "secret");
    assert_eq!(get(BOB, &later, "4").error(), (404, "M_NOT_FOUND".to_owned()));
}

/// Kept, but no part of the timeline: soft-failed, or known as state only.
fn hide(world: &World, id: &str) {
    let sql = "UPDATE rooms_events SET stream = FALSE WHERE event_id = $1";
    world.run("rooms", sql, tessera_sdk::params![id], "");
}

#[test]
fn what_is_no_part_of_the_timeline_is_not_shown() {
    let world = world_with_room();
    let hidden = world.say(ROOM, BOB, "hidden");
    let root = world.say(ROOM, ALICE, "root");
    let relate = |rel_type: &str, to: &str, body: &str| {
        let relation = json!({ "rel_type": rel_type, "event_id": to });
        let new = json!({ "body": body });
        world.send(
            ROOM,
            BOB,
            json!({ "body": body, "m.new_content": new, "m.relates_to": relation }),
        )
    };
    relate("m.thread", &hidden, "a reply to what is hidden");
    let soft = relate("m.thread", &root, "soft");
    let reply = relate("m.thread", &root, "reply");
    let edit = relate("m.replace", &reply, "soft");
    for id in [&hidden, &soft, &edit] {
        hide(&world, id);
    }
    let of =
        |route: &str, id: &str| world.get(ALICE, route, &[("roomId", ROOM), ("eventId", id)], &[]);
    assert_eq!(of("context", &hidden).error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(of("relations", &hidden).error(), (404, "M_NOT_FOUND".to_owned()));
    let threads = world.room_get(ALICE, "threads", &[]).ok();
    assert_eq!(ids(&threads["chunk"]), [root.as_str()]);
    let body = of("context", &root).ok();
    assert_eq!(body["event"]["unsigned"]["m.relations"]["m.thread"]["count"], 1);
    assert!(!body.to_string().contains("soft"), "{body}");
}
