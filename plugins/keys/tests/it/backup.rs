//! /room_keys.

use serde_json::{Map, Value, json};
use tessera_test_host::{TestAnswer, TestHost};

use crate::server::*;

const WHO: (&str, &str) = (ALICE, "A1");

fn create(server: &Server) -> String {
    let body = json!({"algorithm": "m.megolm_backup.v1", "auth_data": {"public_key": "p"}});
    let answer = server.post(WHO, "backup-create", &body).ok();
    answer["version"].as_str().unwrap().to_owned()
}

fn session(verified: bool, first: u32, forwarded: u32, data: &str) -> Value {
    json!({
        "first_message_index": first, "forwarded_count": forwarded, "is_verified": verified,
        "session_data": {"ciphertext": data},
    })
}

fn put(server: &Server, version: &str, id: &str, session: &Value) -> TestAnswer {
    let place = [("roomId", ROOM), ("sessionId", id)];
    let query = format!("version={version}");
    server.ask(WHO, ("PUT", "backup-session-put"), &place, &query, session)
}

fn get(server: &Server, version: &str, place: &[(&str, &str)]) -> TestAnswer {
    let route = ["backup-keys", "backup-room", "backup-session"][place.len()];
    server.ask(WHO, ("GET", route), place, &format!("version={version}"), &Value::Null)
}

fn delete(server: &Server, version: &str, place: &[(&str, &str)]) -> TestAnswer {
    let route = ["backup-keys", "backup-room", "backup-session"][place.len()];
    server.ask(WHO, ("DELETE", route), place, &format!("version={version}"), &Value::Null)
}

fn current(server: &Server) -> TestAnswer {
    server.ask(WHO, ("GET", "backup-current"), &[], "", &Value::Null)
}

fn version(server: &Server, method: &str, version: &str) -> TestAnswer {
    server.ask(WHO, (method, "backup-version"), &[("version", version)], "", &Value::Null)
}

#[test]
fn the_newest_version_is_the_current_one() {
    let server = server();
    assert_eq!(current(&server).error(), (404, "M_NOT_FOUND".to_owned()));
    let first = create(&server);
    let expected = json!({
        "algorithm": "m.megolm_backup.v1", "auth_data": {"public_key": "p"}, "count": 0, "etag": "0", "version": first,
    });
    assert_eq!(current(&server).ok(), expected);
    assert_eq!(version(&server, "GET", &first).ok(), expected);
    let second = create(&server);
    assert_ne!(first, second);
    assert_eq!(current(&server).ok()["version"], second.as_str());
    version(&server, "DELETE", &second).ok();
    assert_eq!(current(&server).ok()["version"], first.as_str());
    assert_eq!(version(&server, "GET", &second).error(), (404, "M_NOT_FOUND".to_owned()));
    version(&server, "DELETE", &second).ok();
    for unknown in ["99", "x"] {
        assert_eq!(version(&server, "DELETE", unknown).error(), (404, "M_NOT_FOUND".to_owned()));
    }
    assert_ne!(create(&server), second, "a number is given out once");
}

#[test]
fn only_auth_data_of_a_version_changes() {
    let server = server();
    let first = create(&server);
    let update = |path: &str, body: &Value| {
        server.ask(WHO, ("PUT", "backup-update"), &[("version", path)], "", body)
    };
    let body = json!({"algorithm": "m.megolm_backup.v1", "auth_data": "any", "version": first});
    update(&first, &body).ok();
    assert_eq!(current(&server).ok()["auth_data"], "any");
    for (path, body, status, code) in [
        (&*first, json!({"algorithm": "m.other", "auth_data": {}}), 400, "M_INVALID_PARAM"),
        (
            &*first,
            json!({"algorithm": "m.megolm_backup.v1", "auth_data": {}, "version": "9"}),
            400,
            "M_INVALID_PARAM",
        ),
        ("9", json!({"algorithm": "m.megolm_backup.v1", "auth_data": {}}), 404, "M_NOT_FOUND"),
        (&*first, json!({"algorithm": "m.megolm_backup.v1"}), 400, "M_MISSING_PARAM"),
        (&*first, json!({"algorithm": 1, "auth_data": {}}), 400, "M_BAD_JSON"),
    ] {
        assert_eq!(update(path, &body).error(), (status, code.to_owned()), "{body}");
    }
    assert_eq!(server.post(WHO, "backup-create", &json!({})).error().1, "M_MISSING_PARAM");
}

#[test]
fn keys_come_back_in_each_form() {
    let server = server();
    let v = create(&server);
    assert_eq!(get(&server, &v, &[]).ok(), json!({"rooms": {}}));
    assert_eq!(get(&server, &v, &[("roomId", ROOM)]).ok(), json!({"sessions": {}}));
    let none = get(&server, &v, &[("roomId", ROOM), ("sessionId", "a")]);
    assert_eq!(none.error(), (404, "M_NOT_FOUND".to_owned()));
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|data| session(true, 1, 2, data));
    let text = json!({"first_message_index": 9, "forwarded_count": 0, "is_verified": false, "session_data": "opaque"});
    assert_eq!(put(&server, &v, "a", &text).ok(), json!({"etag": "1", "count": 1}));
    assert_eq!(get(&server, &v, &[("roomId", ROOM), ("sessionId", "a")]).ok(), text);
    assert_eq!(put(&server, &v, "a", &a).ok(), json!({"etag": "2", "count": 1}));
    let query = format!("version={v}");
    let room = json!({"sessions": {"b": b, "c": c}});
    let answer = server.ask(WHO, ("PUT", "backup-room-put"), &[("roomId", ROOM)], &query, &room);
    assert_eq!(answer.ok(), json!({"etag": "3", "count": 3}));
    let all =
        json!({"rooms": {"!z\"\\:hs1": {"sessions": {"d": d}}, "!empty:hs1": {"sessions": {}}}});
    let answer = server.ask(WHO, ("PUT", "backup-keys-put"), &[], &query, &all).ok();
    assert_eq!(answer, json!({"etag": "4", "count": 4}));
    let rooms = json!({"rooms": {ROOM: {"sessions": {"a": a, "b": b, "c": c}}, "!z\"\\:hs1": {"sessions": {"d": d}}}});
    assert_eq!(get(&server, &v, &[]).ok(), rooms);
    assert_eq!(get(&server, &v, &[("roomId", ROOM)]).ok(), rooms["rooms"][ROOM]);
    assert_eq!(get(&server, &v, &[("roomId", ROOM), ("sessionId", "b")]).ok(), b);
    assert_eq!(current(&server).ok()["count"], 4);
    let of_bob = server.ask((BOB, "B1"), ("GET", "backup-keys"), &[], &query, &Value::Null);
    assert_eq!(of_bob.error(), (404, "M_NOT_FOUND".to_owned()));
}

#[test]
fn the_better_key_stays() {
    let server = server();
    let v = create(&server);
    let stored = || {
        get(&server, &v, &[("roomId", ROOM), ("sessionId", "s")]).ok()["session_data"]["ciphertext"]
            .clone()
    };
    let mut etag = 0;
    for (key, replaces) in [
        (session(false, 5, 5, "1"), true),
        (session(false, 5, 5, "2"), false),
        (session(false, 6, 0, "3"), false),
        (session(false, 5, 4, "4"), true),
        (session(false, 4, 9, "5"), true),
        (session(true, 9, 9, "6"), true),
        (session(false, 0, 0, "7"), false),
        (session(true, 9, 8, "8"), true),
    ] {
        etag += u32::from(replaces);
        let answer = put(&server, &v, "s", &key).ok();
        assert_eq!(answer, json!({"etag": etag.to_string(), "count": 1}), "{key}");
        assert_eq!(stored() == key["session_data"]["ciphertext"], replaces, "{key}");
    }
}

#[test]
fn keys_go_into_the_current_version_only() {
    let server = server();
    let key = session(true, 1, 1, "x");
    assert_eq!(put(&server, "1", "s", &key).error(), (404, "M_NOT_FOUND".to_owned()));
    let old = create(&server);
    let new = create(&server);
    let answer = put(&server, &old, "s", &key);
    assert_eq!(answer.error(), (403, "M_WRONG_ROOM_KEYS_VERSION".to_owned()));
    assert_eq!(answer.json()["current_version"], new.as_str());
    assert_eq!(put(&server, "99", "s", &key).error(), (404, "M_NOT_FOUND".to_owned()));
    let place = [("roomId", ROOM), ("sessionId", "s")];
    let without = server.ask(WHO, ("PUT", "backup-session-put"), &place, "", &key);
    assert_eq!(without.error(), (400, "M_MISSING_PARAM".to_owned()));
    let without = server.ask(WHO, ("GET", "backup-keys"), &[], "", &Value::Null);
    assert_eq!(without.error(), (400, "M_MISSING_PARAM".to_owned()));
    for bad in [
        json!({}),
        json!({"first_message_index": "1", "forwarded_count": 0, "is_verified": true, "session_data": {}}),
        json!({"first_message_index": 1, "forwarded_count": 0, "is_verified": "yes", "session_data": {}}),
        json!({"first_message_index": -1, "forwarded_count": 0, "is_verified": true, "session_data": {}}),
        json!({"first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": 5}),
    ] {
        assert_eq!(put(&server, &new, "s", &bad).error(), (400, "M_BAD_JSON".to_owned()), "{bad}");
    }
}

#[test]
fn keys_are_deleted_in_each_form() {
    let server = server();
    let v = create(&server);
    for id in ["a", "b", "c"] {
        put(&server, &v, id, &session(true, 1, 1, id)).ok();
    }
    let query = format!("version={v}");
    let other = json!({"rooms": {"!o:hs1": {"sessions": {"d": session(true, 1, 1, "d")}}}});
    server.ask(WHO, ("PUT", "backup-keys-put"), &[], &query, &other).ok();
    let answer = delete(&server, &v, &[("roomId", ROOM), ("sessionId", "a")]).ok();
    assert_eq!(answer, json!({"etag": "5", "count": 3}));
    let answer = delete(&server, &v, &[("roomId", ROOM)]).ok();
    assert_eq!(answer, json!({"etag": "6", "count": 1}));
    assert_eq!(get(&server, &v, &[]).ok(), other);
    let answer = delete(&server, &v, &[]).ok();
    assert_eq!(answer, json!({"etag": "7", "count": 0}));
    assert_eq!(delete(&server, "99", &[]).error(), (404, "M_NOT_FOUND".to_owned()));
    let bytes: Vec<(i64,)> = server.rows("SELECT bytes FROM keys_backups");
    assert_eq!(bytes, [(0,)]);
    version(&server, "DELETE", &v).ok();
    assert_eq!(get(&server, &v, &[]).error(), (404, "M_NOT_FOUND".to_owned()));
}

#[test]
fn a_large_backup_comes_back_whole_and_goes_whole() {
    let server = server();
    let v = create(&server);
    let query = format!("version={v}");
    let mut rooms = Map::new();
    for room in 0..7 {
        let sessions: Map<String, Value> =
            (0..200).map(|n| (format!("s{n}"), session(false, n, 0, "x"))).collect();
        rooms.insert(format!("!{room}:hs1"), json!({ "sessions": sessions }));
    }
    let body = json!({ "rooms": rooms });
    let answer = server.ask(WHO, ("PUT", "backup-keys-put"), &[], &query, &body).ok();
    assert_eq!(answer["count"], 1400);
    assert_eq!(get(&server, &v, &[]).ok(), body);
    assert_eq!(get(&server, &v, &[("roomId", "!3:hs1")]).ok(), rooms["!3:hs1"]);
    let again = server.ask(WHO, ("PUT", "backup-keys-put"), &[], &query, &body).ok();
    assert_eq!(again, json!({"etag": "1", "count": 1400}), "nothing is better");
    version(&server, "DELETE", &v).ok();
    let left: Vec<(i64,)> = server.rows("SELECT COUNT(*) FROM keys_backup_keys");
    assert_eq!(left, [(0,)]);
}

#[test]
fn two_devices_at_once_both_back_up() {
    let server = server();
    let v = create(&server);
    let other = v.clone();
    server.host.before_next_commit(move |host: &TestHost| {
        put(&Server { host: host.clone() }, &other, "one", &session(true, 1, 1, "1")).ok();
    });
    let answer = put(&server, &v, "two", &session(true, 1, 1, "2")).ok();
    assert_eq!(answer, json!({"etag": "2", "count": 2}));
    // And the worse of two for one session loses, whoever comes last.
    let other = v.clone();
    server.host.before_next_commit(move |host: &TestHost| {
        put(&Server { host: host.clone() }, &other, "one", &session(true, 0, 0, "good")).ok();
    });
    put(&server, &v, "one", &session(true, 0, 1, "worse")).ok();
    let kept = get(&server, &v, &[("roomId", ROOM), ("sessionId", "one")]).ok();
    assert_eq!(kept["session_data"]["ciphertext"], "good");
}

#[test]
fn backups_have_a_cap_for_each_user() {
    let server = server_with(&json!({"backup-keys": 2, "backup-bytes": 1000}));
    let v = create(&server);
    put(&server, &v, "a", &session(true, 1, 1, "a")).ok();
    let large = session(true, 1, 1, &"x".repeat(2000));
    assert_eq!(put(&server, &v, "b", &large).error(), (413, "M_TOO_LARGE".to_owned()));
    put(&server, &v, "b", &session(true, 1, 1, "b")).ok();
    assert_eq!(put(&server, &v, "c", &session(true, 1, 1, "c")).error().1, "M_TOO_LARGE");
    put(&server, &v, "b", &session(true, 0, 1, "better")).ok();
    let huge = session(true, 1, 1, &"x".repeat(40_000));
    assert_eq!(put(&server, &v, "b", &huge).error(), (413, "M_TOO_LARGE".to_owned()));
}
