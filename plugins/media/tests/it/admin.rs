//! What administrators do.

use serde_json::{Value, json};
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
        ("GET", "admin-file"),
        ("GET", "admin-statistics"),
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
    let message = |content: Value| server.event("!r:hs1", BOB, "m.room.message", None, &content);
    message(json!({ "url": uri(&file), "info": { "thumbnail_url": uri(&thumbnail) } }));
    server.event("!r:hs1", BOB, "m.room.member", Some(BOB), &json!({ "avatar_url": uri(&avatar) }));
    message(json!({ "body": uri(&other) }));
    message(json!({ "url": "mxc://hs2/remote" }));
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
fn files_of_a_user_are_ordered_as_wished() {
    let server = server();
    for (text, name) in [("22", "b"), ("1", "c"), ("333", "a")] {
        server.try_upload(BOB, text.as_bytes(), "a/b", Some(name)).answer.ok();
        server.host.advance(1);
    }
    let ask = |user: &str, query: &[(&str, &str)]| {
        let mut request = server.host.request("GET", "admin-user").user(ALICE).mark("admin");
        for (name, value) in query {
            request = request.query(name, value);
        }
        server.send(request.param("userId", user).build())
    };
    let names = |query: &[(&str, &str)]| {
        let body = ask(BOB, query).answer.ok();
        let media = body["media"].as_array().unwrap();
        media
            .iter()
            .map(|file| file["upload_name"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(names(&[]), "acb", "the newest first");
    assert_eq!(names(&[("dir", "f")]), "bca");
    assert_eq!(names(&[("order_by", "upload_name")]), "abc");
    assert_eq!(names(&[("order_by", "media_length"), ("dir", "b")]), "abc");
    for column in [
        "media_id",
        "created_ts",
        "last_access_ts",
        "media_type",
        "quarantined_by",
        "safe_from_quarantine",
    ] {
        assert_eq!(names(&[("order_by", column)]).len(), 3, "{column}");
    }
    for wrong in [("order_by", "size"), ("dir", "up"), ("limit", "-1")] {
        assert_eq!(ask(BOB, &[wrong]).error(), (400, "M_INVALID_PARAM".to_owned()), "{wrong:?}");
    }
    assert_eq!(ask("@nobody:hs1", &[]).error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(ask("@bob:hs2", &[]).error(), (400, "M_UNKNOWN".to_owned()));
}

#[test]
fn one_file_is_described() {
    let server = server();
    let id = id_of(&server.try_upload(BOB, b"hello", "text/plain", Some("a.txt")).answer.ok());
    let told = server.admin("GET", "admin-file", &at(&id)).answer.ok();
    let info = &told["media_info"];
    assert_eq!((&info["user_id"], &info["media_length"]), (&json!(BOB), &json!(5)));
    assert_eq!((&info["upload_name"], &info["authenticated"]), (&json!("a.txt"), &json!(true)));
    assert!(info["media_origin"].is_null() && info["quarantined_by"].is_null());
    let none = server.admin("GET", "admin-file", &at("NOTTHERE"));
    assert_eq!(none.error(), (404, "M_NOT_FOUND".to_owned()));
}

#[test]
fn users_are_told_with_what_they_keep() {
    let server = server();
    server.host.acting("accounts", || {
        let sql = "INSERT INTO accounts_profiles (user_id, displayname) VALUES ($1, 'Zoe')";
        Batch::new().run(sql, params![ALICE]).commit().unwrap();
    });
    for (user, size) in [(ALICE, 5), (BOB, 1), (BOB, 2)] {
        server.upload(user, &vec![7; size], "a/b");
        server.host.advance(10);
    }
    server.create(ALICE);
    let ask = |query: &[(&str, &str)]| {
        let mut request = server.host.request("GET", "admin-statistics").user(ALICE).mark("admin");
        for (name, value) in query {
            request = request.query(name, value);
        }
        server.send(request.build())
    };
    let users = |query: &[(&str, &str)]| {
        let body = ask(query).answer.ok();
        let users = body["users"].as_array().unwrap();
        users.iter().map(|user| user["user_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        ask(&[]).answer.ok(),
        json!({ "total": 2, "users": [
            { "user_id": ALICE, "displayname": "Zoe", "media_count": 1, "media_length": 5 },
            { "user_id": BOB, "displayname": null, "media_count": 2, "media_length": 3 },
        ] })
    );
    assert_eq!(users(&[("order_by", "media_count"), ("dir", "b")]), [BOB, ALICE]);
    assert_eq!(users(&[("order_by", "media_length")]), [BOB, ALICE]);
    assert_eq!(users(&[("order_by", "displayname"), ("dir", "b")]), [ALICE, BOB]);
    assert_eq!(users(&[("search_term", "zO")]), [ALICE]);
    assert_eq!(users(&[("search_term", "bob")]), [BOB]);
    let page = ask(&[("limit", "1")]).answer.ok();
    assert_eq!((&page["next_token"], &page["total"]), (&json!(1), &json!(2)));
    let since = (server.host.now_ms() - 25).to_string();
    assert_eq!(users(&[("from_ts", &since)]), [BOB]);
    for wrong in [
        ("order_by", "size"),
        ("dir", "x"),
        ("search_term", ""),
        ("from_ts", "-1"),
        ("until_ts", "0"),
    ] {
        assert_eq!(ask(&[wrong]).error(), (400, "M_INVALID_PARAM".to_owned()), "{wrong:?}");
    }
}

#[test]
fn all_of_a_large_room_is_quarantined_at_once() {
    let server = server();
    let ids: Vec<String> = (0..10_000).map(|n| format!("file{n:05}")).collect();
    let rows = ids.iter().map(|id| params!["hs1", id]).collect();
    Batch::new()
        .run_many(
            "INSERT INTO media_files (origin, media_id, created_ms, expires_ms, uploaded_ms, size, content_type, \
             checked, preview, protected, seen_ms) VALUES ($1, $2, 1, 0, 1, 1, 'a/b', FALSE, FALSE, FALSE, 1)",
            rows,
        )
        .commit()
        .unwrap();
    let events = ids.iter().zip(1_i64..).map(|(id, n)| {
        let event =
            json!({ "content": { "url": format!("mxc://hs1/{id}"), "body": "x".repeat(100) } });
        params![n, n.to_string(), "!r:hs1", BOB, event.to_string()]
    });
    let events = events.collect();
    server.host.acting("rooms", || {
        let sql = "INSERT INTO rooms_events (position, event_id, room_id, type, sender, origin_ts, json, rejected) \
                   VALUES ($1, $2, $3, 'm.room.message', $4, 1, $5, FALSE)";
        Batch::new().run_many(sql, events).commit().unwrap();
    });
    let _ = server.host.calls();
    let done = server.admin("POST", "admin-room-quarantine", &[("roomId", "!r:hs1")]).answer.ok();
    assert_eq!(done, json!({ "num_quarantined": 10_000 }));
    let calls = server.host.calls();
    assert!(calls < 50, "{calls}");
}

#[test]
fn old_files_are_deleted_and_those_of_others_purged() {
    let server = server();
    let old = server.upload(BOB, b"old", "a/b");
    let avatar = server.upload(BOB, b"avatar", "a/b");
    server.host.acting("accounts", || {
        let sql = "INSERT INTO accounts_profiles (user_id, avatar_url) VALUES ($1, $2)";
        let uri = format!("mxc://hs1/{avatar}");
        Batch::new().run(sql, params![BOB, uri]).commit().unwrap();
    });
    let room = server.upload(ALICE, b"room", "a/b");
    let picture = json!({ "url": format!("mxc://hs1/{room}") });
    server.event("!r:hs1", ALICE, "m.room.avatar", Some(""), &picture);
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
    let wrong = |query: &[(&str, &str)]| {
        let mut request = server.host.request("POST", "admin-delete").user(ALICE).mark("admin");
        for (name, value) in query {
            request = request.query(name, value);
        }
        server.send(request.build())
    };
    assert_eq!(wrong(&[("before_ts", "1700000000")]).error().1, "M_INVALID_PARAM", "seconds");
    let all = wrong(&[("before_ts", &before), ("keep_profiles", "false")]).answer.ok();
    assert_eq!(all["total"], 2);
}

#[test]
fn long_deletion_goes_on_after_the_answer() {
    let server = server();
    for n in 0..700 {
        server.upload(BOB, format!("{n}").as_bytes(), "a/b");
    }
    server.host.advance(1);
    let before = server.host.now_ms().to_string();
    let request = server.host.request("POST", "admin-delete").user(ALICE).mark("admin");
    let first = server.send(request.query("before_ts", &before).build()).answer.ok();
    assert_eq!(first["total"], 300);
    server.host.advance(1_000);
    server.timers();
    let left: Vec<(String,)> = server.rows("SELECT media_id FROM media_files");
    assert!(left.is_empty());
    server.counts_hold();
}

#[test]
fn pictures_stay_whoever_uploaded_them() {
    let server = server();
    let [profile, member, old] =
        ["1", "2", "3"].map(|text| server.upload(BOB, text.as_bytes(), "a/b"));
    let uri = |id: &str| format!("mxc://hs1/{id}");
    server.host.acting("accounts", || {
        let sql = "INSERT INTO accounts_profiles (user_id, avatar_url) VALUES ($1, $2)";
        Batch::new().run(sql, params!["@ghost:hs1", uri(&profile)]).commit().unwrap();
    });
    server.host.acting("rooms", || {
        let sql =
            "INSERT INTO rooms_members (room_id, user_id, avatar_url) VALUES ('!r:hs1', $1, $2)";
        Batch::new().run(sql, params!["@ghost:hs1", uri(&member)]).commit().unwrap();
    });
    server.host.advance(1);
    let before = server.host.now_ms().to_string();
    let ask = |name: &str| {
        let request = server.host.request("POST", "admin-delete").user(ALICE).mark("admin");
        let request = request.param("serverName", name).query("before_ts", &before);
        server.send(request.build())
    };
    assert_eq!(ask("hs2").error(), (400, "M_UNKNOWN".to_owned()));
    assert_eq!(ask("hs1").answer.ok(), json!({ "total": 1, "deleted_media": [old] }));
}
