//! What the edge answers by itself: unknown paths, wrong methods, preflight, bodies over the cap.

use reqwest::Method;
use tessera_tests::{api::Answer, raw};

use crate::common::{World, assert_error};

#[track_caller]
fn assert_cors(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
        assert!(
            answer.header("access-control-allow-methods").contains(method),
            "{method}: {answer:?}"
        );
    }
    let headers = answer.header("access-control-allow-headers").to_lowercase();
    for header in ["x-requested-with", "content-type", "authorization"] {
        assert!(headers.contains(header), "{header}: {answer:?}");
    }
}

#[tokio::test]
async fn unknown_path_is_404_unrecognized_with_cors() {
    let world = World::start().await;
    for path in ["/_matrix/client/v3/no/such/path", "/_matrix/client/v99/sync", "/_matrix/nothing"]
    {
        for method in [Method::GET, Method::POST, Method::PUT] {
            let answer = world.request(method, path, None, None).await;
            assert_error(&answer, &[404], &["M_UNRECOGNIZED"]);
            assert_cors(&answer);
        }
    }
}

#[tokio::test]
async fn wrong_method_is_405_unrecognized_with_cors() {
    let world = World::start().await;
    let user = world.user("wrong-method").await;
    for (method, path) in [
        (Method::PUT, "/_matrix/client/versions"),
        (Method::DELETE, "/_matrix/client/v3/login"),
        (Method::POST, "/_matrix/client/v3/sync"),
        (Method::PATCH, "/_matrix/client/v3/account/whoami"),
    ] {
        let answer = world.request(method, path, Some(&user.token), None).await;
        assert_error(&answer, &[405], &["M_UNRECOGNIZED"]);
        assert_cors(&answer);
    }
}

#[tokio::test]
async fn preflight_needs_no_token() {
    let world = World::start().await;
    for path in
        ["/_matrix/client/v3/sync", "/_matrix/client/v3/createRoom", "/_matrix/client/versions"]
    {
        let answer = world.request(Method::OPTIONS, path, None, None).await;
        assert!([200, 204].contains(&answer.status), "{answer:?}");
        assert_cors(&answer);
    }
}

#[tokio::test]
async fn ordinary_answers_and_errors_carry_cors() {
    let world = World::start().await;
    let versions = world.request(Method::GET, "/_matrix/client/versions", None, None).await;
    assert_eq!(versions.status, 200);
    assert_cors(&versions);
    assert!(versions.header("content-type").starts_with("application/json"), "{versions:?}");
    let refused = world.request(Method::GET, "/_matrix/client/v3/account/whoami", None, None).await;
    assert_error(&refused, &[401], &["M_MISSING_TOKEN"]);
    assert_cors(&refused);
}

#[tokio::test]
async fn announced_body_over_the_cap_is_413_before_it_is_sent() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("large").await;
    let head = format!(
        "PUT /_matrix/client/v3/rooms/{room}/send/m.room.message/large HTTP/1.1\r\nHost: hs1\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 300000000\r\n\r\n{{",
        user.token
    );
    let answer = raw::exchange(world.server.address(), head.as_bytes()).await.unwrap();
    assert_eq!(raw::status(&answer), 413, "{answer}");
    assert!(answer.contains("M_TOO_LARGE"), "{answer}");
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn endless_chunked_body_is_cut_off() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("endless").await;
    let mut request = format!(
        "PUT /_matrix/client/v3/rooms/{room}/send/m.room.message/endless HTTP/1.1\r\nHost: hs1\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        user.token
    )
    .into_bytes();
    // 80 MiB without an end: more than any cap for an event, so the answer has to come before the last chunk.
    let chunk =
        [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    for _ in 0..80 {
        request.extend_from_slice(&chunk);
    }
    let answer = raw::exchange(world.server.address(), &request).await.unwrap();
    // The server may close the connection before we have read its answer; never may it accept.
    assert!([413, 400, 0].contains(&raw::status(&answer)), "{answer}");
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn garbage_instead_of_http_is_refused() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("garbage").await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello tls\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let answer = raw::exchange(world.server.address(), bytes).await.unwrap();
        assert!([400, 0].contains(&raw::status(&answer)), "{answer}");
    }
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn odd_bytes_in_the_path_are_no_server_error() {
    let world = World::start().await;
    let user = world.user("odd-path").await;
    for path in [
        "/rooms/%ff%fe/state",
        "/rooms/%00/state",
        "/profile/%F0%9F%A6%80",
        "/rooms/..%2f..%2f/state",
        "//",
        "/%",
    ] {
        let answer = user.call(Method::GET, path, None).await.unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn tokens_are_taken_from_header_and_query() {
    let world = World::start().await;
    let user = world.user("query").await;
    let path = format!("/_matrix/client/v3/account/whoami?access_token={}", user.token);
    let answer = world.request(Method::GET, &path, None, None).await;
    assert_eq!(answer.text("user_id"), &*user.user_id, "{answer:?}");
}
