use serde_json::{Value, json};

use crate::words::{ask, ask_as, start};

const TAGS: &str = "tags userId=@ann:hs1 roomId=!r:hs1";
const SET: &str = "tag-set userId=@ann:hs1 roomId=!r:hs1 tag=";
const DELETE: &str = "tag-delete userId=@ann:hs1 roomId=!r:hs1 tag=";

#[test]
fn tags_are_set_and_removed() {
    let host = start();
    assert_eq!(ask(&host, "GET", TAGS, Value::Null).ok(), json!({ "tags": {} }));
    ask(&host, "PUT", &format!("{SET}m.favourite"), json!({ "order": 0.5 })).ok();
    ask(&host, "PUT", &format!("{SET}u.x"), json!({})).ok();
    let tags = json!({ "tags": { "m.favourite": { "order": 0.5 }, "u.x": {} } });
    assert_eq!(ask(&host, "GET", TAGS, Value::Null).ok(), tags);
    let data = "room-account-data userId=@ann:hs1 roomId=!r:hs1 type=m.tag";
    assert_eq!(ask(&host, "GET", data, Value::Null).ok(), tags);
    ask(&host, "DELETE", &format!("{DELETE}u.x"), Value::Null).ok();
    ask(&host, "DELETE", &format!("{DELETE}u.never"), Value::Null).ok();
    let tags = ask(&host, "GET", TAGS, Value::Null).ok();
    assert_eq!(tags["tags"], json!({ "m.favourite": { "order": 0.5 } }));
}

#[test]
fn two_devices_that_tag_at_once_both_win() {
    let host = start();
    ask(&host, "PUT", &format!("{SET}u.a"), json!({})).ok();
    host.before_next_commit(|host| {
        ask(host, "PUT", &format!("{SET}u.b"), json!({})).ok();
    });
    ask(&host, "PUT", &format!("{SET}u.c"), json!({})).ok();
    let tags = ask(&host, "GET", TAGS, Value::Null).ok();
    assert_eq!(tags["tags"], json!({ "u.a": {}, "u.b": {}, "u.c": {} }));
}

#[test]
fn bad_tags_are_refused() {
    let host = start();
    let put = |tag: &str, body: Value| ask(&host, "PUT", &format!("{SET}{tag}"), body).error();
    assert_eq!(put("u.x", json!({ "order": "high" })).1, "M_BAD_JSON");
    assert_eq!(put(&"x".repeat(256), json!({})).1, "M_INVALID_PARAM");
    let answer = ask_as(&host, "@bob:hs1", "B", "PUT", &format!("{SET}u.x"), json!({}));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn tag_says_little() {
    let host = start();
    let answer = ask(&host, "PUT", &format!("{SET}u.a"), json!({ "x": "y".repeat(5000) }));
    assert_eq!(answer.error(), (413, "M_TOO_LARGE".to_owned()));
}
