//! Rooms that two users share.

use serde_json::json;

use crate::harness::{ALICE, BOB, server};

#[test]
fn shared_rooms_are_listed_in_pages() {
    let server = server();
    let mut shared = Vec::new();
    for _ in 0..101 {
        server.host.advance(1);
        let room = server.create(ALICE, &json!({"preset": "public_chat"}));
        server.join(BOB, &room);
        shared.push(room);
    }
    server.create(ALICE, &json!({"invite": [BOB]}));
    shared.sort();
    let first = server.get(Some(ALICE), "mutual-rooms", &[], &[("user_id", BOB)]).ok();
    assert_eq!(first["count"], 101);
    assert_eq!(first["joined"], json!(shared[..100]));
    let token = first["next_batch"].as_str().unwrap();
    let query = [("user_id", BOB), ("from", token)];
    let second = server.get(Some(ALICE), "mutual-rooms", &[], &query).ok();
    assert_eq!(second, json!({"joined": shared[100..], "count": 101}));
    let nobody = server.get(Some(ALICE), "mutual-rooms", &[], &[("user_id", "@x:elsewhere")]).ok();
    assert_eq!(nobody, json!({"joined": [], "count": 0}));
}

#[test]
fn one_asks_about_others() {
    let server = server();
    let ask = |query: &[(&str, &str)]| server.get(Some(ALICE), "mutual-rooms", &[], query).error();
    assert_eq!(ask(&[]), (400, "M_MISSING_PARAM".to_owned()));
    assert_eq!(ask(&[("user_id", ALICE)]), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(ask(&[("user_id", "bob")]), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(ask(&[("user_id", BOB), ("from", "x")]), (400, "M_INVALID_PARAM".to_owned()));
}
