//! Lists: ranges, order and filters; subscriptions.

use serde_json::json;

use super::*;

fn list(filters: &Value) -> Value {
    json!({ "lists": { "l": { "range": [0, 99], "timeline_limit": 0, "filters": filters } } })
}

fn passing(world: &World, filters: &Value) -> Vec<String> {
    let body = next(world, ALICE, &list(filters), None);
    assert_eq!(body["lists"]["l"]["count"], told(&body).len());
    told(&body).into_iter().map(str::to_owned).collect()
}

#[test]
fn ranges_take_the_most_active_rooms() {
    let world = world();
    for n in 0..5 {
        world.create(&format!("!r{n}:hs1"), ALICE);
    }
    world.say("!r1:hs1", ALICE, "newest");
    let ranges = json!({ "lists": { "l": { "ranges": [[0, 1], [4, 4]], "timeline_limit": 1 } } });
    let body = ask_old(&world, ALICE, &[], &ranges).ok();
    assert_eq!(told(&body), ["!r0:hs1", "!r1:hs1", "!r4:hs1"]);
    let list = &body["lists"]["l"];
    assert_eq!(list["count"], 5);
    assert_eq!(
        list["ops"],
        json!([
            { "op": "SYNC", "range": [0, 1], "room_ids": ["!r1:hs1", "!r4:hs1"] },
            { "op": "SYNC", "range": [4, 4], "room_ids": ["!r0:hs1"] },
        ])
    );
    let whole = json!({ "lists": { "l": { "timeline_limit": 1 } } });
    let body = next(&world, ALICE, &whole, None);
    assert_eq!(told(&body).len(), 5, "without a range all are shown");
    assert!(body["lists"]["l"].get("ops").is_none());
    assert_eq!(body["rooms"]["!r1:hs1"]["lists"], json!(["l"]));
}

#[test]
fn filters_look_at_encryption_types_and_names() {
    let world = world();
    for (room, content) in [("!space:hs1", json!({ "type": "m.space" })), ("!chat:hs1", json!({}))]
    {
        world.progress(room, i64::MAX);
        world.state(room, ALICE, "m.room.create", "", content);
        world.join(room, ALICE);
    }
    world.state("!chat:hs1", ALICE, "m.room.encryption", "", json!({}));
    world.state("!chat:hs1", ALICE, "m.room.name", "", json!({ "name": "The Café" }));
    assert_eq!(passing(&world, &json!({ "room_types": ["m.space"] })), ["!space:hs1"]);
    assert_eq!(passing(&world, &json!({ "room_types": [null] })), ["!chat:hs1"]);
    assert_eq!(passing(&world, &json!({ "not_room_types": ["m.space"] })), ["!chat:hs1"]);
    assert_eq!(
        passing(&world, &json!({ "not_room_types": ["m.space"], "room_types": ["m.space"] })),
        [""; 0]
    );
    assert_eq!(passing(&world, &json!({ "is_encrypted": true })), ["!chat:hs1"]);
    assert_eq!(passing(&world, &json!({ "is_encrypted": false })), ["!space:hs1"]);
    assert_eq!(passing(&world, &json!({ "room_name_like": "CAF" })), ["!chat:hs1"]);
}

#[test]
fn filters_look_at_direct_chats_tags_and_spaces() {
    let world = world_with_room();
    world.create("!dm:hs1", ALICE);
    world.create("!space:hs1", ALICE);
    world.account_data(ALICE, "", "m.direct", &json!({ BOB: ["!dm:hs1"] }));
    world.account_data(ALICE, "!dm:hs1", "m.tag", &json!({ "tags": { "u.a": {}, "u.b": {} } }));
    world.state("!space:hs1", ALICE, "m.space.child", ROOM, json!({ "via": ["hs1"] }));
    world.state("!space:hs1", ALICE, "m.space.child", "!dm:hs1", json!({}));
    assert_eq!(passing(&world, &json!({ "is_dm": true })), ["!dm:hs1"]);
    assert_eq!(passing(&world, &json!({ "is_dm": false })), [ROOM, "!space:hs1"]);
    assert_eq!(passing(&world, &json!({ "tags": ["u.a"] })), ["!dm:hs1"]);
    assert_eq!(passing(&world, &json!({ "tags": ["u.a"], "not_tags": ["u.b"] })), [""; 0]);
    assert_eq!(passing(&world, &json!({ "not_tags": ["u.b"] })), [ROOM, "!space:hs1"]);
    assert_eq!(passing(&world, &json!({ "spaces": ["!space:hs1", "!none:hs1"] })), [ROOM]);
    let body = next(&world, ALICE, &all(), None);
    assert_eq!(body["rooms"]["!dm:hs1"]["is_dm"], true);
    assert!(body["rooms"][ROOM].get("is_dm").is_none());
}

#[test]
fn invites_are_shown_with_what_they_came_with() {
    let world = world_with_room();
    world.create("!invite:hs1", BOB);
    world.member("!invite:hs1", BOB, ALICE, "invite");
    assert_eq!(passing(&world, &json!({ "is_invited": true })), ["!invite:hs1"]);
    assert_eq!(passing(&world, &json!({ "is_invite": false })), [ROOM]);
    let body = next(&world, ALICE, &all(), None);
    let room = &body["rooms"]["!invite:hs1"];
    assert_eq!(room["membership"], "invite");
    assert_eq!(room["stripped_state"][0]["type"], "m.room.name");
    assert!(room.get("timeline").is_none() && room.get("required_state").is_none());
    let old = json!({ "lists": { "l": { "ranges": [[0, 9]], "timeline_limit": 1 } } });
    let body = ask_old(&world, ALICE, &[], &old).ok();
    assert_eq!(body["rooms"]["!invite:hs1"]["invite_state"][0]["type"], "m.room.name");
    world.account_data(ALICE, "", "m.ignored_user_list", &json!({ "ignored_users": { BOB: {} } }));
    assert_eq!(
        told(&next(&world, ALICE, &all(), None)),
        [ROOM],
        "nobody is invited by whom they ignore"
    );
}

#[test]
fn subscriptions_show_rooms_that_no_list_does() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    world.create("!secret:hs1", BOB);
    let wish = json!({ "timeline_limit": 3, "required_state": { "include": [{ "type": "m.room.create" }] } });
    let body = json!({
        "lists": { "l": { "range": [0, 0], "timeline_limit": 1 } },
        "room_subscriptions": { ROOM: wish, "!secret:hs1": wish, "!none:hs1": wish },
    });
    let first = next(&world, ALICE, &body, None);
    assert_eq!(told(&first), ["!other:hs1", ROOM]);
    assert_eq!(timeline(&first, ROOM).len(), 3);
    assert_eq!(state(&first, ROOM), ["m.room.create"]);
    assert!(first["rooms"][ROOM].get("lists").is_none());
    let id = world.say(ROOM, BOB, "hi");
    let body = next(&world, ALICE, &body, Some(&first));
    assert_eq!(timeline(&body, ROOM), [id]);
    assert_eq!(body["rooms"][ROOM]["lists"], json!(["l"]), "now it is the newest");
}

#[test]
fn a_change_of_direct_chats_is_told() {
    let world = world_with_room();
    let first = next(&world, ALICE, &all(), None);
    world.account_data(ALICE, "", "m.direct", &json!({ BOB: [ROOM] }));
    let body = next(&world, ALICE, &all(), Some(&first));
    assert_eq!(body["rooms"][ROOM]["is_dm"], true);
    assert!(told(&next(&world, ALICE, &all(), Some(&body))).is_empty());
    world.account_data(ALICE, "", "m.direct", &json!({}));
    let body = next(&world, ALICE, &all(), Some(&body));
    assert_eq!(body["rooms"][ROOM]["is_dm"], false);
}

#[test]
fn malformed_requests_are_refused() {
    let world = world_with_room();
    let refused = |body: &Value| ask(&world, ALICE, body).error();
    let code = |code: &str| (400, code.to_owned());
    assert_eq!(refused(&json!({ "lists": { "l": { "range": [0, 1] } } })), code("M_BAD_JSON"));
    assert_eq!(
        refused(&json!({ "lists": { "l": { "range": [2, 1], "timeline_limit": 1 } } })),
        code("M_INVALID_PARAM")
    );
    assert_eq!(refused(&json!({ "set_presence": "asleep" })), code("M_INVALID_PARAM"));
    let raw = world.host.request("POST", "sliding").user(ALICE).device("D").bytes(b"{");
    assert_eq!(raw.send::<Plugin>().error(), code("M_NOT_JSON"));
}
