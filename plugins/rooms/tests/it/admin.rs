//! What administrators do with rooms.

use serde_json::{Value, json};
use tessera_plugin_rooms::Plugin;
use tessera_sdk::params;
use tessera_test_host::TestAnswer;

use crate::harness::{ALICE, BOB, CAROL, Server, server};

const ADMIN: &str = "@admin:hs1";

/// An administrator asks.
pub(crate) fn admin(
    server: &Server,
    method: &str,
    route: &str,
    placeholders: &[(&str, &str)],
    query: &[(&str, &str)],
    body: &Value,
) -> TestAnswer {
    let mut request = server.host.request(method, route).user(ADMIN).mark("admin");
    for (name, value) in placeholders {
        request = request.param(name, value);
    }
    for (name, value) in query {
        request = request.query(name, value);
    }
    if method != "GET" {
        request = request.json(body);
    }
    request.send::<Plugin>()
}

fn delete(server: &Server, version: &str, room: &str, body: &Value) -> TestAnswer {
    admin(server, "DELETE", version, &[("roomId", room)], &[], body)
}

fn public(server: &Server) -> String {
    let wish = json!({"preset": "public_chat", "visibility": "public", "room_alias_name": "here"});
    let room = server.create(ALICE, &wish);
    let _ = server.join(BOB, &room).ok();
    room
}

fn status(server: &Server, id: &str) -> Value {
    admin(server, "GET", "admin-delete-status", &[("deleteId", id)], &[], &json!({})).ok()
}

/// Tables that still hold something of a room.
fn left(server: &Server, room: &str) -> Vec<&'static str> {
    let tables = [
        "rooms_rooms",
        "rooms_events",
        "rooms_memberships",
        "rooms_membership_changes",
        "rooms_current_state",
        "rooms_state_deltas",
        "rooms_state_groups",
        "rooms_relations",
        "rooms_aliases",
        "rooms_delayed",
    ];
    let holds = |table: &&str| {
        let sql = format!("SELECT COUNT(room_id) AS n FROM {table} WHERE room_id = $1");
        server.rows::<(i64,)>(&sql, params![room])[0].0 > 0
    };
    tables.into_iter().filter(holds).collect()
}

#[test]
fn deleted_room_leaves_nothing_behind() {
    let server = server();
    let room = public(&server);
    let _ = server.about(ALICE, "invite", &room, CAROL).ok();
    let _ = server.text(ALICE, &room, "hello");
    let answer = delete(&server, "admin-delete-room", &room, &json!({})).ok();
    let expected = json!({"kicked_users": [ALICE, BOB, CAROL], "failed_to_kick_users": [], "local_aliases": [],
        "new_room_id": null});
    assert_eq!(answer, expected);
    assert!(left(&server, &room).is_empty(), "{:?}", left(&server, &room));
    let told = json!({"room_id": room, "gone": true, "before": 0});
    assert_eq!(server.host.messages("rooms.purged"), [told]);
    let again = delete(&server, "admin-delete-room", &room, &json!({}));
    assert_eq!(again.error(), (404, "M_NOT_FOUND".to_owned()));
}

#[test]
fn deletion_in_the_background_moves_users_and_tells_how_far_it_is() {
    let server = server();
    let room = public(&server);
    let body = json!({"new_room_user_id": "@janitor:hs1", "room_name": "Closed", "message": "So it is.",
        "block": true});
    let begun = delete(&server, "admin-delete-room-later", &room, &body).ok();
    let id = begun["delete_id"].as_str().unwrap();
    assert_eq!(status(&server, id)["status"], "scheduled");
    let twice = delete(&server, "admin-delete-room-later", &room, &body);
    assert_eq!(twice.error(), (400, "M_UNKNOWN".to_owned()));
    server.host.fire_timers::<Plugin>("rooms");
    let now = status(&server, id);
    assert_eq!(now["status"], "active");
    assert_eq!(now["room_id"], json!(room));
    let new = now["shutdown_room"]["new_room_id"].as_str().unwrap().to_owned();
    assert_eq!(now["shutdown_room"]["kicked_users"], json!([ALICE, BOB]));
    assert_eq!(now["shutdown_room"]["local_aliases"], json!(["#here:hs1"]));
    // Clients are to hear of it before all is gone.
    assert_eq!(server.membership(&room, BOB), "leave");
    assert_eq!(server.membership(&new, BOB), "join");
    let alias = server.get(ALICE, "get-alias", &[("roomAlias", "#here:hs1")]).ok();
    assert_eq!(alias["room_id"], json!(new));
    let said = server.events(&new);
    assert!(said.iter().any(|event| event["content"]["body"] == "So it is."));
    assert!(said.iter().any(|event| event["content"]["name"] == "Closed"));
    server.host.advance(5_000);
    server.host.fire_timers::<Plugin>("rooms");
    assert!(left(&server, &room).is_empty());
    let of_room =
        admin(&server, "GET", "admin-delete-status-of-room", &[("roomId", &room)], &[], &json!({}));
    assert_eq!(of_room.ok()["results"][0]["status"], "complete");
    assert_eq!(server.host.messages("rooms.purged").len(), 1);
    let block = admin(&server, "GET", "admin-get-block", &[("roomId", &room)], &[], &json!({}));
    assert_eq!(block.ok(), json!({"block": true, "user_id": ADMIN}), "it outlives the room");
}

#[test]
fn room_that_is_only_shut_down_stays() {
    let server = server();
    let room = public(&server);
    let _ = delete(&server, "admin-delete-room", &room, &json!({"purge": false})).ok();
    assert_eq!(server.membership(&room, ALICE), "leave");
    assert!(!server.events(&room).is_empty());
    assert!(server.host.messages("rooms.purged").is_empty());
}

#[test]
fn blocks_are_put_up_and_taken_down_for_rooms_known_and_unknown() {
    let server = server();
    let room = public(&server);
    let block = |room: &str, block: bool| {
        let placeholders = [("roomId", room)];
        admin(&server, "PUT", "admin-put-block", &placeholders, &[], &json!({"block": block})).ok()
    };
    assert_eq!(block(&room, true), json!({"block": true}));
    assert_eq!(server.join(CAROL, &room).error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(block(&room, false), json!({"block": false}));
    let _ = server.join(CAROL, &room).ok();
    let unknown = "!unknown:elsewhere";
    let answer = delete(&server, "admin-delete-room", unknown, &json!({"block": true})).ok();
    assert_eq!(answer["kicked_users"], json!([]));
    assert!(tessera_plugin_rooms::admin::closed(unknown).unwrap());
    assert!(!tessera_plugin_rooms::admin::closed("!other:elsewhere").unwrap());
}

#[test]
fn bad_wishes_are_refused() {
    let server = server();
    let room = public(&server);
    let refused = |body: Value| delete(&server, "admin-delete-room-later", &room, &body).error();
    assert_eq!(refused(json!({"block": "yes"})), (400, "M_BAD_JSON".to_owned()));
    assert_eq!(
        refused(json!({"new_room_user_id": "@bob:elsewhere"})),
        (400, "M_UNKNOWN".to_owned())
    );
    let request = server.host.request("DELETE", "admin-delete-room").user(ALICE);
    let request = request.param("roomId", &room).json(&json!({}));
    assert_eq!(request.send::<Plugin>().error(), (403, "M_FORBIDDEN".to_owned()));
    let none = admin(&server, "GET", "admin-delete-status", &[("deleteId", "x")], &[], &json!({}));
    assert_eq!(none.error(), (404, "M_NOT_FOUND".to_owned()));
}
