//! Bodies that are no JSON, or not the JSON that is wanted.

use reqwest::Method;
use serde_json::json;

use crate::common::{World, assert_error};

const NOT_JSON: &[&str] = &["M_NOT_JSON"];
const BAD_JSON: &[&str] = &["M_BAD_JSON"];

#[tokio::test]
async fn broken_json_is_not_json() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("broken").await;
    let send = format!("/rooms/{room}/send/m.room.message/broken");
    for body in ["", "{", "{\"a\":", "not json", "{\"a\":1}trailing", "{'a':1}", "{\"a\":NaN}"] {
        for (method, path) in [(Method::PUT, send.as_str()), (Method::POST, "/createRoom")] {
            let answer =
                user.send_bytes(method, path, Some(body.as_bytes().to_vec())).await.unwrap();
            // A request for a room with no body at all is taken as {} by some servers; an event never is.
            if body.is_empty() && path == "/createRoom" {
                assert!([200, 400].contains(&answer.status), "{answer:?}");
            } else {
                assert_error(&answer, &[400], NOT_JSON);
            }
        }
    }
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn invalid_utf8_is_not_json() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("utf8").await;
    let path = format!("/rooms/{room}/send/m.room.message/utf8");
    for bytes in [
        &b"{\"body\":\"\xff\xfe\"}"[..],
        b"{\"body\":\"\xc3\x28\"}",
        b"\xed\xa0\x80",
        b"{\"\xf5\":1}",
    ] {
        let answer = user.send_bytes(Method::PUT, &path, Some(bytes.to_vec())).await.unwrap();
        assert_error(&answer, &[400], NOT_JSON);
    }
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn json_that_is_no_object_is_bad_json() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("object").await;
    let path = format!("/rooms/{room}/send/m.room.message/object");
    for body in ["[]", "1", "\"text\"", "null", "true"] {
        let answer = user.send_bytes(Method::PUT, &path, Some(body.into())).await.unwrap();
        assert_error(&answer, &[400], BAD_JSON);
    }
}

#[tokio::test]
async fn wrong_types_in_a_request_are_a_client_error() {
    let world = World::start().await;
    let user = world.user("types").await;
    for body in [
        json!({"invite": "not a list"}),
        json!({"initial_state": {"not": "a list"}}),
        json!({"name": ["not", "text"]}),
        json!({"power_level_content_override": []}),
        json!({"room_version": 12}),
        json!({"preset": "no_such_preset"}),
        json!({"creation_content": 7}),
    ] {
        let answer = user.call(Method::POST, "/createRoom", Some(&body)).await.unwrap();
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.errcode().starts_with("M_"), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn login_with_missing_or_unknown_fields_is_a_client_error() {
    let world = World::start().await;
    for body in [
        json!({}),
        json!({"type": "m.login.nonsense"}),
        json!({"type": "m.login.password"}),
        json!({"type": "m.login.password", "password": 1, "identifier": {"type": "m.id.user", "user": "x"}}),
        json!({"type": "m.login.password", "password": "x", "identifier": {"type": "m.id.user"}}),
    ] {
        let answer =
            world.request(Method::POST, "/_matrix/client/v3/login", None, Some(&body)).await;
        assert!([400, 403].contains(&answer.status), "{body}: {answer:?}");
        assert!(answer.errcode().starts_with("M_"), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn deep_nesting_neither_passes_nor_hurts() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("deep").await;
    for depth in [1_000, 30_000] {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let path = format!("/rooms/{room}/send/org.example.deep/deep-{depth}");
        let answer = user.send_bytes(Method::PUT, &path, Some(body.into_bytes())).await.unwrap();
        // Some servers accept what their stack holds; none may fall over.
        if depth == 30_000 {
            assert!([400, 413].contains(&answer.status), "{depth}: {answer:?}");
        }
        assert!(answer.status < 500, "{depth}: {answer:?}");
    }
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn lone_surrogates_and_nul_are_no_server_error() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("odd").await;
    for (i, body) in [r#"{"body":"\ud800"}"#, r#"{"body":"a\u0000b"}"#, r#"{"\u0000":1}"#]
        .into_iter()
        .enumerate()
    {
        let path = format!("/rooms/{room}/send/org.example.odd/odd-{i}");
        let answer = user.send_bytes(Method::PUT, &path, Some(body.into())).await.unwrap();
        assert!(answer.status < 500, "{body}: {answer:?}");
    }
    world.still_serves(&user, &room).await;
}
