//! What administrators do.

use serde_json::json;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use crate::world::*;

fn at(id: &str) -> [(&str, &str); 2] {
    [("serverName", "hs1"), ("mediaId", id)]
}

#[test]
fn nobody_else_does_it() {
    let server = server();
    for (method, route) in [
        ("POST", "admin-quarantine"),
        ("POST", "admin-unquarantine"),
        ("POST", "admin-protect"),
        ("POST", "admin-unprotect"),
        ("POST", "admin-user-quarantine"),
        ("POST", "admin-room-quarantine"),
        ("GET", "admin-room"),
        ("GET", "admin-user"),
        ("DELETE", "admin-user"),
        ("DELETE", "admin-file"),
        ("POST", "admin-delete"),
        ("POST", "admin-purge"),
    ] {
        let error = server.send(server.host.request(method, route).user(ALICE).build()).error();
        assert_eq!(error, (403, "M_FORBIDDEN".to_owned()), "{method} {route}");
    }
}

#[test]
fn quarantined_file_is_there_for_nobody_until_it_is_released() {
    let server = server_with(&json!({ "freeze-unauthenticated": "never" }));
    let id = server.upload(ALICE, b"bad", "image/png");
    server.admin("POST", "admin-quarantine", &at(&id)).answer.ok();
    assert_eq!(server.download(&id).error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(server.thumbnail(&id, 32, 32, "crop").status(), 404);
    assert_eq!(server.send(server.at("download-open", &id).build()).status(), 404);
    server.admin("POST", "admin-unquarantine", &at(&id)).answer.ok();
    assert_eq!(server.download(&id).status(), 200);
    assert_eq!(server.admin("POST", "admin-quarantine", &at("NOTTHERE")).status(), 404);
}

#[test]
fn all_of_a_user_is_quarantined_but_what_is_protected() {
    let server = server();
    let [one, two] = ["1", "2"].map(|text| server.upload(BOB, text.as_bytes(), "a/b"));
    let other = server.upload(ALICE, b"3", "a/b");
    server.admin("POST", "admin-protect", &[("mediaId", &two)]).answer.ok();
    let done = server.admin("POST", "admin-user-quarantine", &[("userId", BOB)]).answer.ok();
    assert_eq!(done, json!({ "num_quarantined": 1 }));
    let status = |id: &str| server.download(id).status();
    assert_eq!((status(&one), status(&two), status(&other)), (404, 200, 200));
    server.admin("POST", "admin-unprotect", &[("mediaId", &two)]).answer.ok();
    server.admin("POST", "admin-user-quarantine", &[("userId", BOB)]).answer.ok();
    assert_eq!(status(&two), 404);
}

#[test]
fn media_of_a_room_is_found_and_quarantined() {
    let server = server();
    let [file, thumbnail, avatar, other] =
        ["1", "2", "3", "4"].map(|text| server.upload(BOB, text.as_bytes(), "a/b"));
    let uri = |id: &str| format!("mxc://hs1/{id}");
    let events = [
        json!({ "type": "m.room.message", "content": { "url": uri(&file), "info": { "thumbnail_url": uri(&thumbnail) } } }),
        json!({ "type": "m.room.member", "content": { "avatar_url": uri(&avatar) } }),
        json!({ "type": "m.room.message", "content": { "body": uri(&other) } }),
        json!({ "type": "m.room.message", "content": { "url": "mxc://hs2/remote" } }),
    ];
    let rows = events.iter().zip(1..).map(|(event, n)| params![n, "!r:hs1", event.to_string()]);
    let rows = rows.collect();
    server.host.acting("rooms", || {
        let sql = "INSERT INTO rooms_events (position, room_id, json) VALUES ($1, $2, $3)";
        Batch::new().run_many(sql, rows).commit().unwrap();
    });
    let listed = server.admin("GET", "admin-room", &[("roomId", "!r:hs1")]).answer.ok();
    assert_eq!(listed["local"].as_array().unwrap().len(), 3);
    assert_eq!(listed["remote"], json!(["mxc://hs2/remote"]));
    let done = server.admin("POST", "admin-room-quarantine", &[("roomId", "!r:hs1")]).answer.ok();
    assert_eq!(done, json!({ "num_quarantined": 3 }));
    let statuses = [&file, &thumbnail, &avatar, &other].map(|id| server.download(id).status());
    assert_eq!(statuses, [404, 404, 404, 200]);
}

#[test]
fn files_of_a_user_are_listed_in_pages_and_deleted() {
    let server = server();
    for text in ["1", "2", "3"] {
        server.upload(BOB, text.as_bytes(), "a/b");
        server.host.advance(1);
    }
    let page = |from: &str| {
        let request = server.host.request("GET", "admin-user").user(ALICE).mark("admin");
        let request = request.param("userId", BOB).query("limit", "2").query("from", from);
        server.send(request.build()).answer.ok()
    };
    let first = page("0");
    assert_eq!((first["media"].as_array().unwrap().len(), &first["total"]), (2, &json!(3)));
    assert_eq!(first["next_token"], 2);
    assert_eq!(first["media"][0]["media_length"], 1);
    assert!(page("2").get("next_token").is_none());
    let gone = server.admin("DELETE", "admin-user", &[("userId", BOB)]).answer.ok();
    assert_eq!(gone["total"], 3);
    assert_eq!(page("0")["total"], 0);
    server.counts_hold();
}

#[test]
fn old_files_are_deleted_and_those_of_others_purged() {
    let server = server();
    let old = server.upload(BOB, b"old", "a/b");
    server.host.advance(1000);
    let new = server.upload(BOB, b"new", "a/b");
    let before = server.host.now_ms().to_string();
    let ask = |route: &str| {
        let request = server.host.request("POST", route).user(ALICE).mark("admin");
        server.send(request.query("before_ts", &before).build()).answer.ok()
    };
    assert_eq!(ask("admin-purge"), json!({ "deleted": 0 }));
    assert_eq!(ask("admin-delete"), json!({ "total": 1, "deleted_media": [old] }));
    assert_eq!(server.download(&new).status(), 200);
    assert_eq!(server.admin("POST", "admin-delete", &[]).error().1, "M_MISSING_PARAM");
}
