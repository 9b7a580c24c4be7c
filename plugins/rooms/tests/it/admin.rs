//! What administrators do with rooms.

use serde_json::{Value, json};
use tessera_plugin_rooms::Plugin;
use tessera_plugin_rooms::admin::jobs;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;
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

/// Goes on with a job by one slice.
fn slice(server: &Server, id: &str) -> jobs::Went {
    server.host.acting("rooms", || {
        let mut job = jobs::find(id).unwrap().unwrap();
        let went = jobs::advance(&mut job).unwrap();
        jobs::release(&job).unwrap();
        went
    })
}

/// One slice of a job, of which the job's row hears nothing: whoever did it vanished.
fn vanishes(server: &Server, id: &str) {
    let row = "SELECT status, progress, done, revision FROM rooms_purges WHERE purge_id = $1";
    let before = server.rows::<(String, String, bool, i64)>(row, params![id]).remove(0);
    let _ = slice(server, id);
    server.host.acting("rooms", || {
        Batch::new()
            .run(
                "UPDATE rooms_purges SET status = $2, progress = $3, done = $4, revision = $5 WHERE purge_id = $1",
                params![id, before.0, before.1, before.2, before.3],
            )
            .expect(1)
            .commit()
            .unwrap();
    });
}

#[test]
fn slices_of_a_deletion_can_be_done_twice() {
    let server = server();
    let room = public(&server);
    let body =
        json!({"new_room_user_id": "@janitor:hs1", "room_name": "Closed", "message": "So it is."});
    let begun = delete(&server, "admin-delete-room-later", &room, &body).ok();
    let id = begun["delete_id"].as_str().unwrap();
    loop {
        vanishes(&server, id);
        if slice(&server, id) == jobs::Went::Done {
            break;
        }
    }
    let told = status(&server, id)["shutdown_room"].clone();
    let new = told["new_room_id"].as_str().unwrap();
    let expected = json!({"kicked_users": [ALICE, BOB], "failed_to_kick_users": [],
        "local_aliases": ["#here:hs1"], "new_room_id": new});
    assert_eq!(told, expected);
    let rooms = server.rows::<(String,)>("SELECT room_id FROM rooms_rooms", params![]);
    assert_eq!(rooms, [(new.to_owned(),)], "one new room");
    let said =
        server.events(new).into_iter().filter(|event| event["content"]["body"] == "So it is.");
    assert_eq!(said.count(), 1);
    for user in [ALICE, BOB] {
        assert_eq!(server.membership(new, user), "join");
    }
    assert!(left(&server, &room).is_empty(), "{:?}", left(&server, &room));
}

#[test]
fn user_who_left_before_the_move_failed_is_moved_all_the_same() {
    let server = server();
    let room = public(&server);
    let body = json!({"new_room_user_id": "@janitor:hs1"});
    let begun = delete(&server, "admin-delete-room-later", &room, &body).ok();
    let id = begun["delete_id"].as_str().unwrap();
    for _ in 0..2 {
        assert_eq!(slice(&server, id), jobs::Went::On);
    }
    // As far as it comes where storage fails between leaving and joining.
    let _ = server.leave(BOB, &room).ok();
    server.host.fire_timers::<Plugin>("rooms");
    let told = status(&server, id)["shutdown_room"].clone();
    assert_eq!(told["kicked_users"], json!([ALICE, BOB]));
    assert_eq!(server.membership(told["new_room_id"].as_str().unwrap(), BOB), "join");
}

#[test]
fn nobody_goes_on_with_a_job_that_another_claimed() {
    let server = server();
    let room = public(&server);
    let begun = delete(&server, "admin-delete-room-later", &room, &json!({})).ok();
    let id = begun["delete_id"].as_str().unwrap();
    let find = || jobs::find(id).unwrap().unwrap();
    let mut mine = server.host.acting("rooms", || {
        let mut job = find();
        assert!(jobs::claim(&mut job).unwrap());
        assert!(!jobs::claim(&mut find()).unwrap());
        job
    });
    server.host.fire_timers::<Plugin>("rooms");
    assert_eq!(status(&server, id)["status"], "scheduled");
    // A claim that is not given back runs out; who had it finds the job in other hands.
    server.host.advance(30_000);
    server.host.fire_timers::<Plugin>("rooms");
    assert_eq!(status(&server, id)["status"], "active");
    let went = server.host.acting("rooms", || jobs::advance(&mut mine).unwrap());
    assert_eq!(went, jobs::Went::Lost);
    server.host.advance(5_000);
    server.host.fire_timers::<Plugin>("rooms");
    assert_eq!(status(&server, id)["status"], "complete");
    assert_eq!(server.host.messages("rooms.purged").len(), 1);
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
    // Of a room that nobody knows there is nothing to purge; a job says so by itself.
    let other = "!other:elsewhere";
    let nothing = delete(&server, "admin-delete-room", other, &json!({"purge": false})).ok();
    assert_eq!(nothing["failed_to_kick_users"], json!([]));
    let purge = delete(&server, "admin-delete-room", other, &json!({}));
    assert_eq!(purge.error(), (404, "M_NOT_FOUND".to_owned()));
    let body = json!({"new_room_user_id": "@janitor:hs1"});
    let begun = delete(&server, "admin-delete-room-later", other, &body).ok();
    server.host.fire_timers::<Plugin>("rooms");
    let now = status(&server, begun["delete_id"].as_str().unwrap());
    assert_eq!(
        (&now["status"], &now["shutdown_room"]["new_room_id"]),
        (&json!("complete"), &Value::Null)
    );
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

fn get(server: &Server, route: &str, room: &str, query: &[(&str, &str)]) -> TestAnswer {
    admin(server, "GET", route, &[("roomId", room)], query, &json!({}))
}

fn names(server: &Server, query: &[(&str, &str)]) -> Vec<String> {
    let list = admin(server, "GET", "admin-rooms", &[], query, &json!({})).ok();
    let rooms = list["rooms"].as_array().unwrap().iter();
    rooms.map(|room| room["name"].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn rooms_are_listed_in_any_order_and_by_a_part_of_the_name() {
    let server = server();
    let cats = server.create(
        ALICE,
        &json!({"name": "Cats", "preset": "public_chat", "visibility": "public", "room_alias_name": "meow"}),
    );
    let _ = server.create(BOB, &json!({"name": "Bats"}));
    let empty = server.create(CAROL, &json!({"name": "Ants"}));
    let _ = server.join(BOB, &cats).ok();
    let _ = server.leave(CAROL, &empty).ok();
    assert_eq!(names(&server, &[]), ["Ants", "Bats", "Cats"]);
    assert_eq!(names(&server, &[("dir", "b")]), ["Cats", "Bats", "Ants"]);
    assert_eq!(names(&server, &[("order_by", "joined_members")]), ["Cats", "Bats", "Ants"]);
    assert_eq!(names(&server, &[("order_by", "creator"), ("limit", "1")]), ["Cats"]);
    assert_eq!(names(&server, &[("search_term", "AT")]), ["Bats", "Cats"]);
    assert_eq!(names(&server, &[("search_term", "meow")]), ["Cats"]);
    assert_eq!(names(&server, &[("search_term", &empty)]), ["Ants"]);
    assert_eq!(names(&server, &[("public_rooms", "true")]), ["Cats"]);
    assert_eq!(names(&server, &[("empty_rooms", "true")]), ["Ants"]);
    let query = [("from", "1"), ("limit", "1")];
    let page = admin(&server, "GET", "admin-rooms", &[], &query, &json!({})).ok();
    assert_eq!(
        (&page["offset"], &page["total_rooms"], &page["next_batch"], &page["prev_batch"]),
        (&json!(1), &json!(3), &json!(2), &json!(0))
    );
    let none = admin(&server, "GET", "admin-rooms", &[], &[("limit", "0")], &json!({})).ok();
    assert!(none.get("next_batch").is_none(), "it would lead nowhere");
    let refused = |query: &[(&str, &str)]| {
        admin(&server, "GET", "admin-rooms", &[], query, &json!({})).error()
    };
    for query in [("order_by", "age"), ("dir", "x"), ("search_term", ""), ("from", "-1")] {
        assert_eq!(refused(&[query]), (400, "M_INVALID_PARAM".to_owned()));
    }
    let _ = server.put_state(ALICE, &cats, "m.room.topic", "", &json!({"topic": "Purr"})).ok();
    let room = get(&server, "admin-room", &cats, &[]).ok();
    let expected = [
        ("name", json!("Cats")),
        ("canonical_alias", json!("#meow:hs1")),
        ("joined_members", json!(2)),
        ("joined_local_members", json!(2)),
        ("creator", json!(ALICE)),
        ("public", json!(true)),
        ("join_rules", json!("public")),
        ("federatable", json!(true)),
        ("topic", json!("Purr")),
        ("tombstoned", json!(false)),
        ("version", json!("12")),
    ];
    for (key, value) in expected {
        assert_eq!(room[key], value, "{key}");
    }
    let counted = server.rows::<(i64,)>(
        "SELECT COUNT(event_id) AS n FROM rooms_current_state WHERE room_id = $1",
        params![&cats],
    );
    assert_eq!(room["state_events"], counted[0].0);
    assert_eq!(get(&server, "admin-room", "!none:hs1", &[]).error().0, 404);
}

#[test]
fn rooms_without_a_row_get_the_same_as_commits_would_have_written() {
    let server = server();
    let room = public(&server);
    let _ = server.about(ALICE, "invite", &room, CAROL).ok();
    let row = || {
        server.rows::<(i64, i64, i64, i64, Option<String>, Option<String>, bool)>(
            "SELECT joined, joined_local, invited, state_events, canonical_alias, join_rule, published
             FROM rooms_about WHERE room_id = $1",
            params![&room],
        )
    };
    let kept = row();
    assert_eq!((kept[0].0, kept[0].1, kept[0].2), (2, 2, 1));
    tessera_sdk::storage::Batch::new()
        .run("DELETE FROM rooms_about WHERE room_id = $1", params![&room])
        .commit()
        .unwrap();
    tessera_plugin_rooms::filling::soon().unwrap();
    server.host.fire_timers::<Plugin>("rooms");
    assert_eq!(row(), kept);
}

#[test]
fn insides_of_rooms_are_shown() {
    let server = server();
    let room = server.create(ALICE, &json!({"name": "Secret"}));
    let sent = server.text(ALICE, &room, "hello");
    let members = get(&server, "admin-room-members", &room, &[]).ok();
    assert_eq!(members, json!({"members": [ALICE], "total": 1}));
    let state = get(&server, "admin-room-state", &room, &[("type", "m.room.name")]).ok();
    assert_eq!(state["state"][0]["content"]["name"], "Secret");
    let last = get(&server, "admin-room-timestamp", &room, &[("ts", "0")]).ok();
    assert_eq!(
        last["event_id"],
        json!(
            server.rows::<(String,)>(
                "SELECT event_id FROM rooms_events WHERE room_id = $1 ORDER BY position LIMIT 1",
                params![&room]
            )[0]
            .0
        )
    );
    assert_eq!(get(&server, "admin-room-timestamp", &room, &[]).error().1, "M_MISSING_PARAM");
    let event = admin(&server, "GET", "admin-event", &[("eventId", &sent)], &[], &json!({})).ok();
    assert_eq!(event["event"]["content"]["body"], "hello");
    let ends = get(&server, "admin-get-extremities", &room, &[]).ok();
    assert_eq!((&ends["count"], &ends["results"][0]["event_id"]), (&json!(1), &json!(sent)));
    let deleted =
        admin(&server, "DELETE", "admin-delete-extremities", &[("roomId", &room)], &[], &json!({}));
    assert_eq!(deleted.ok(), json!({"deleted": 0}));
}

#[test]
fn users_are_brought_into_rooms_and_to_power() {
    let server = server();
    server.profile(BOB, None, None);
    let open = public(&server);
    let join = |room: &str, user: &str| {
        let body = json!({"user_id": user});
        admin(&server, "POST", "admin-join", &[("roomIdOrAlias", room)], &[], &body)
    };
    let _ = server.leave(BOB, &open).ok();
    assert_eq!(join("#here:hs1", BOB).ok(), json!({"room_id": open}));
    assert_eq!(server.membership(&open, BOB), "join");
    let closed = server.create(ALICE, &json!({}));
    assert_eq!(join(&closed, BOB).error().0, 403, "the administrator is not in it");
    let _ = server.about(ALICE, "invite", &closed, ADMIN).ok();
    let _ = server.join(ADMIN, &closed).ok();
    let _ = join(&closed, BOB).ok();
    assert_eq!(server.membership(&closed, BOB), "join");
    assert_eq!(join(&closed, "@nobody:hs1").error().0, 404);
    assert_eq!(join(&closed, "@bob:elsewhere").error(), (400, "M_UNKNOWN".to_owned()));
    let make = |room: &str, user: &str| {
        let body = json!({"user_id": user});
        admin(&server, "POST", "admin-make-room-admin", &[("roomId", room)], &[], &body)
    };
    let private = server.create(ALICE, &json!({}));
    let _ = make(&private, CAROL).ok();
    assert_eq!(server.membership(&private, CAROL), "invite");
    let levels = server.get(
        CAROL,
        "get-state-event",
        &[("roomId", &closed), ("eventType", "m.room.power_levels")],
    );
    assert_eq!(levels.error().0, 403);
    let _ = make(&closed, BOB).ok();
    let levels = server.get(
        BOB,
        "get-state-event",
        &[("roomId", &closed), ("eventType", "m.room.power_levels")],
    );
    assert_eq!(levels.ok()["users"][BOB], 100);
    let _ = server.leave(ALICE, &private).ok();
    assert_eq!(make(&private, BOB).error(), (400, "M_UNKNOWN".to_owned()));
}

#[test]
fn reports_are_listed_shown_and_forgotten() {
    let server = server();
    let room = public(&server);
    let event = server.text(ALICE, &room, "bad");
    for reason in ["first", "second"] {
        let placeholders = [("roomId", room.as_str()), ("eventId", event.as_str())];
        let body = json!({"reason": reason});
        let _ = server.ask(BOB, "POST", "report-event", &placeholders, &body).ok();
    }
    let _ =
        server.ask(BOB, "POST", "report-user", &[("userId", ALICE)], &json!({"reason": "x"})).ok();
    let list = |route: &str, query: &[(&str, &str)]| {
        admin(&server, "GET", route, &[], query, &json!({})).ok()
    };
    let reports = list("admin-list-reports-of-events", &[("limit", "1")]);
    assert_eq!((&reports["total"], &reports["next_token"]), (&json!(2), &json!(1)));
    let newest = &reports["event_reports"][0];
    assert_eq!(newest["reason"], "second");
    assert_eq!((&newest["user_id"], &newest["sender"]), (&json!(BOB), &json!(ALICE)));
    assert_eq!(newest["canonical_alias"], "#here:hs1");
    assert_eq!(list("admin-list-reports-of-events", &[("user_id", "carol")])["total"], 0);
    assert_eq!(
        list("admin-list-reports-of-users", &[])["user_reports"][0]["target_user_id"],
        ALICE
    );
    let id = newest["id"].to_string();
    let one = |method: &str, route: &str, id: &str| {
        admin(&server, method, route, &[("reportId", id)], &[], &json!({}))
    };
    let shown = one("GET", "admin-report-of-events", &id).ok();
    assert_eq!(shown["event_json"]["content"]["body"], "bad");
    let _ = one("DELETE", "admin-delete-report-of-events", &id).ok();
    assert_eq!(one("GET", "admin-report-of-events", &id).error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(one("GET", "admin-report-of-events", "x").error().1, "M_INVALID_PARAM");
}

#[test]
fn history_goes_by_a_job() {
    let server = server();
    let room = public(&server);
    let old = server.text(ALICE, &room, "old");
    let kept = server.text(ALICE, &room, "kept");
    for n in 0..3 {
        let _ = server.text(ALICE, &room, &format!("new {n}"));
    }
    let purge = |body: Value| {
        admin(&server, "POST", "admin-purge-history", &[("roomId", &room)], &[], &body)
    };
    let status = |id: &str| {
        admin(&server, "GET", "admin-purge-history-status", &[("purgeId", id)], &[], &json!({}))
    };
    let begun = purge(json!({"purge_up_to_event_id": kept, "delete_local_events": true})).ok();
    let id = begun["purge_id"].as_str().unwrap();
    assert_eq!(status(id).ok(), json!({"status": "active"}));
    server.host.fire_timers::<Plugin>("rooms");
    assert_eq!(status(id).ok(), json!({"status": "complete"}));
    assert_eq!(server.read(ALICE, &room, &old).error().0, 404);
    assert_eq!(server.read(ALICE, &room, &kept).ok()["content"]["body"], "kept");
    let told = &server.host.messages("rooms.purged")[0];
    assert_eq!((&told["room_id"], &told["gone"]), (&json!(room), &json!(false)));
    assert_eq!(purge(json!({})).error(), (400, "M_BAD_JSON".to_owned()));
    assert_eq!(purge(json!({"purge_up_to_ts": 0})).error(), (404, "M_NOT_FOUND".to_owned()));
    let other = server.create(BOB, &json!({}));
    let stray = server.text(BOB, &other, "stray");
    assert_eq!(purge(json!({"purge_up_to_event_id": stray})).error().0, 400);
    assert_eq!(status("none").error(), (404, "M_NOT_FOUND".to_owned()));
}

#[test]
fn notices_of_the_server_cannot_be_refused() {
    let server = server();
    let notices = server.create("@notices:hs1", &json!({"invite": [BOB]}));
    server.host.acting("accounts", || {
        tessera_sdk::storage::Batch::new()
            .run(
                "INSERT INTO accounts_notices (user_id, room_id) VALUES ($1, $2)",
                params![BOB, &notices],
            )
            .commit()
            .unwrap();
    });
    let refused = (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM".to_owned());
    assert_eq!(server.leave(BOB, &notices).error(), refused);
    let state = json!({"membership": "leave"});
    assert_eq!(server.put_state(BOB, &notices, "m.room.member", BOB, &state).error(), refused);
    let _ = server.join(BOB, &notices).ok();
    let _ = server.leave(BOB, &notices).ok();
}
