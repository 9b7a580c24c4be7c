//! Aliases, and what is listed.

use serde_json::{Value, json};
use tessera_test_host::TestAnswer;

use crate::harness::{ALICE, BOB, Server, server};

fn alias(server: &Server, user: &str, method: &str, alias: &str, body: &Value) -> TestAnswer {
    let route = match method {
        "GET" => "get-alias",
        "PUT" => "put-alias",
        _ => "delete-alias",
    };
    server.ask(user, method, route, &[("roomAlias", alias)], body)
}

#[test]
fn aliases_come_and_go() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let body = json!({"room_id": room});
    assert_eq!(
        alias(&server, BOB, "PUT", "#a:hs1", &body).error(),
        (403, "M_FORBIDDEN".to_owned())
    );
    let _ = alias(&server, ALICE, "PUT", "#a:hs1", &body).ok();
    assert_eq!(
        alias(&server, ALICE, "PUT", "#a:hs1", &body).error(),
        (409, "M_UNKNOWN".to_owned())
    );
    assert_eq!(
        alias(&server, BOB, "GET", "#a:hs1", &Value::Null).ok(),
        json!({"room_id": room, "servers": ["hs1"]})
    );
    let listed = server.get(ALICE, "room-aliases", &[("roomId", &room)]).ok();
    assert_eq!(listed, json!({"aliases": ["#a:hs1"]}));
    assert_eq!(
        server.get(BOB, "room-aliases", &[("roomId", &room)]).error(),
        (403, "M_FORBIDDEN".to_owned())
    );
    assert_eq!(
        alias(&server, BOB, "DELETE", "#a:hs1", &Value::Null).error(),
        (403, "M_FORBIDDEN".to_owned())
    );
    let _ = alias(&server, ALICE, "DELETE", "#a:hs1", &Value::Null).ok();
    for method in ["GET", "DELETE"] {
        let answer = alias(&server, ALICE, method, "#a:hs1", &Value::Null);
        assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()));
    }
}

#[test]
fn wrong_aliases_are_refused() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let body = json!({"room_id": room});
    for name in ["a", "#a:other", "#a b:hs1"] {
        let answer = alias(&server, ALICE, "PUT", name, &body);
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()), "{name}");
    }
    let answer = alias(&server, ALICE, "PUT", "#a:hs1", &json!({}));
    assert_eq!(answer.error(), (400, "M_MISSING_PARAM".to_owned()));
}

#[test]
fn power_deletes_the_alias_of_another() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let _ = alias(&server, BOB, "PUT", "#a:hs1", &json!({"room_id": room})).ok();
    let _ = alias(&server, ALICE, "DELETE", "#a:hs1", &Value::Null).ok();
}

#[test]
fn listing_takes_power() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let put = |user: &str, body: Value| {
        server.ask(user, "PUT", "put-visibility", &[("roomId", &room)], &body)
    };
    let visible =
        || server.get(BOB, "get-visibility", &[("roomId", &room)]).ok()["visibility"].clone();
    assert_eq!(visible(), "private");
    assert_eq!(put(BOB, json!({"visibility": "public"})).error(), (403, "M_FORBIDDEN".to_owned()));
    let _ = put(ALICE, json!({"visibility": "public"})).ok();
    assert_eq!(visible(), "public");
    assert_eq!(put(ALICE, json!({"visibility": "x"})).error(), (400, "M_INVALID_PARAM".to_owned()));
    let answer = server.get(BOB, "get-visibility", &[("roomId", "!none:hs1")]);
    assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()));
}
