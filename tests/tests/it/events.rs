//! Events at the borders of what canonical JSON and the size limits allow.

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api;

use crate::common::{World, assert_error};

#[tokio::test]
async fn floats_are_refused() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("floats").await;
    for (i, content) in
        [r#"{"a":1.5}"#, r#"{"a":[{"b":-0.1}]}"#, r#"{"a":1e-3}"#].into_iter().enumerate()
    {
        let path = format!("/rooms/{room}/send/org.example.float/{i}");
        let answer = user.send_bytes(Method::PUT, &path, Some(content.into())).await.unwrap();
        assert_error(&answer, &[400], &["M_BAD_JSON"]);
        let path = format!("/rooms/{room}/state/org.example.float/{i}");
        let answer = user.send_bytes(Method::PUT, &path, Some(content.into())).await.unwrap();
        assert_error(&answer, &[400], &["M_BAD_JSON"]);
    }
}

#[tokio::test]
async fn integers_beyond_53_bits_are_refused() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("integers").await;
    for (i, number) in [
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551616",
        "1", /* and 400 noughts */
    ]
    .iter()
    .enumerate()
    {
        let zeros = if *number == "1" { "0".repeat(400) } else { String::new() };
        let path = format!("/rooms/{room}/send/org.example.int/{i}");
        let content = format!("{{\"a\":{number}{zeros}}}").into_bytes();
        let answer = user.send_bytes(Method::PUT, &path, Some(content)).await.unwrap();
        assert_eq!(answer.status, 400, "{number}: {answer:?}");
        assert!(["M_BAD_JSON", "M_NOT_JSON"].contains(&answer.errcode()), "{number}: {answer:?}");
    }
}

#[tokio::test]
async fn integers_of_53_bits_come_back_unchanged() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("limits").await;
    let content =
        json!({"most": 9_007_199_254_740_991_i64, "least": -9_007_199_254_740_991_i64, "zero": 0});
    let sent = user.put(&format!("/rooms/{room}/send/org.example.int/1"), &content).await.unwrap();
    let event_id = api::string(&sent, "event_id").unwrap();
    let event = user.get(&format!("/rooms/{room}/event/{event_id}")).await.unwrap();
    assert_eq!(event["content"], content);
}

#[tokio::test]
async fn event_over_64_kib_is_too_large() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("kib64").await;
    let path = format!("/rooms/{room}/send/m.room.message/over");
    let body = json!({"msgtype": "m.text", "body": "x".repeat(65_536)});
    let answer = user.call(Method::PUT, &path, Some(&body)).await.unwrap();
    assert_error(&answer, &[413], &["M_TOO_LARGE"]);
    let state = format!("/rooms/{room}/state/org.example.large/key");
    let answer =
        user.call(Method::PUT, &state, Some(&json!({"body": "x".repeat(65_536)}))).await.unwrap();
    assert_error(&answer, &[413], &["M_TOO_LARGE"]);
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn event_of_nearly_64_kib_passes_whole() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("nearly").await;
    let text = "é".repeat(31_000);
    let event_id = user.text(&room, "nearly", &text).await.unwrap();
    let event = user.get(&format!("/rooms/{room}/event/{event_id}")).await.unwrap();
    assert_eq!(event["content"]["body"], text);
}

#[tokio::test]
async fn type_and_state_key_over_255_bytes_are_refused() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("long").await;
    let long = "x".repeat(256);
    for path in [
        format!("/rooms/{room}/send/{long}/1"),
        format!("/rooms/{room}/state/org.example.key/{long}"),
    ] {
        let method = Method::PUT;
        let answer = user.call(method, &path, Some(&json!({}))).await.unwrap();
        assert!([400, 413].contains(&answer.status), "{answer:?}");
    }
}

#[tokio::test]
async fn odd_but_legal_content_comes_back_unchanged() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("legal").await;
    let content = json!({
        "": "empty key", "\u{1F980}": ["crab", null, true, {"deep": {"er": []}}],
        "escapes": "\" \\ / \n \t \u{7f} \u{2028}", "emptys": [{}, [], ""],
        "body": "right \u{202e}left", "long key ".repeat(20): 1,
    });
    let sent =
        user.put(&format!("/rooms/{room}/send/org.example.legal/1"), &content).await.unwrap();
    let event_id = api::string(&sent, "event_id").unwrap();
    let event = user.get(&format!("/rooms/{room}/event/{event_id}")).await.unwrap();
    assert_eq!(event["content"], content);
    let sync = user.sync(None, std::time::Duration::ZERO, "").await.unwrap();
    let found = api::timeline(&sync, &room).iter().any(|e| e["content"] == content);
    assert!(found, "{sync}");
}

#[tokio::test]
async fn membership_and_power_levels_of_wrong_form_are_refused() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("forms").await;
    let me = &user.user_id;
    let cases: [(&str, &str, Value); 5] = [
        ("m.room.member", me, json!({"membership": 5})),
        ("m.room.member", me, json!({})),
        ("m.room.power_levels", "", json!({"users": {"not a user id": 50}})),
        ("m.room.power_levels", "", json!({"users_default": "text"})),
        ("m.room.create", "", json!({"room_version": "11"})),
    ];
    for (kind, key, content) in cases {
        let answer = user
            .call(Method::PUT, &format!("/rooms/{room}/state/{kind}/{key}"), Some(&content))
            .await
            .unwrap();
        assert!([400, 403].contains(&answer.status), "{kind} {content}: {answer:?}");
    }
    world.still_serves(&user, &room).await;
}
