//! Ids that are none, or name nothing.

use reqwest::Method;
use serde_json::json;

use crate::common::World;

#[tokio::test]
async fn bad_room_ids_are_a_client_error() {
    let world = World::start().await;
    let user = world.user("rooms").await;
    let long = format!("!{}:hs1", "x".repeat(300));
    for room in ["not-a-room", "!", "!:hs1", "!nothing:hs1", "@user:hs1", "!x:bad%20name", &long] {
        for (method, path) in [
            (Method::GET, format!("/rooms/{room}/state")),
            (Method::GET, format!("/rooms/{room}/messages?dir=b")),
            (Method::GET, format!("/rooms/{room}/members")),
            (Method::PUT, format!("/rooms/{room}/send/m.room.message/1")),
            (Method::POST, format!("/rooms/{room}/leave")),
        ] {
            let body = (method != Method::GET).then(|| json!({}));
            let answer = user.call(method, &path, body.as_ref()).await.unwrap();
            assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
            assert!(answer.errcode().starts_with("M_"), "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn bad_user_ids_are_a_client_error() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("users").await;
    let long = format!("@{}:hs1", "x".repeat(300));
    for id in ["nobody", "@", "@nobody", "!room:hs1", "", &long] {
        for action in ["invite", "kick", "ban"] {
            let path = format!("/rooms/{room}/{action}");
            let answer =
                user.call(Method::POST, &path, Some(&json!({"user_id": id}))).await.unwrap();
            assert!((400..500).contains(&answer.status), "{action} {id:?}: {answer:?}");
        }
    }
    for body in [json!({}), json!({"user_id": 1}), json!({"user_id": null})] {
        let answer =
            user.call(Method::POST, &format!("/rooms/{room}/invite"), Some(&body)).await.unwrap();
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn bad_event_ids_and_tokens_are_a_client_error() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("tokens").await;
    for path in [
        format!("/rooms/{room}/event/nonsense"),
        format!("/rooms/{room}/event/$nothing"),
        format!("/rooms/{room}/messages?dir=b&from=nonsense"),
        format!("/rooms/{room}/messages?dir=sideways"),
        format!("/rooms/{room}/messages?dir=b&limit=many"),
        "/sync?since=nonsense".to_owned(),
        "/sync?timeout=soon".to_owned(),
        "/sync?filter=no-such-filter".to_owned(),
        "/sync?filter=%7Bnot%20json".to_owned(),
    ] {
        let answer = user.call(Method::GET, &path, None).await.unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        assert!(answer.errcode().starts_with("M_"), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn unknown_users_have_no_profile() {
    let world = World::start().await;
    let user = world.user("profiles").await;
    let answer = user.call(Method::GET, "/profile/@nobody-at-all:hs1", None).await.unwrap();
    assert_eq!((answer.status, answer.errcode()), (404, "M_NOT_FOUND"), "{answer:?}");
}

#[tokio::test]
async fn odd_user_names_are_refused_at_registration() {
    let world = World::start().await;
    let long = "x".repeat(256);
    for name in
        ["UPPER CASE", "with space", "sl\u{e4}sh", "a:b", "@sigil", long.as_str(), "nul\u{0}"]
    {
        let body = json!({"username": name, "password": "p", "auth": {"type": "m.login.dummy"}});
        let answer =
            world.request(Method::POST, "/_matrix/client/v3/register", None, Some(&body)).await;
        assert_eq!(answer.status, 400, "{name:?}: {answer:?}");
        assert_eq!(answer.errcode(), "M_INVALID_USERNAME", "{name:?}: {answer:?}");
    }
}

#[tokio::test]
async fn another_users_account_data_and_filters_are_forbidden() {
    let world = World::start().await;
    let (mallory, alice) = (world.user("mallory").await, world.user("alice").await);
    let id = &alice.user_id;
    for (method, path) in [
        (Method::PUT, format!("/user/{id}/account_data/org.example")),
        (Method::GET, format!("/user/{id}/account_data/org.example")),
        (Method::POST, format!("/user/{id}/filter")),
    ] {
        let body = (method != Method::GET).then(|| json!({}));
        let answer = mallory.call(method, &path, body.as_ref()).await.unwrap();
        assert_eq!((answer.status, answer.errcode()), (403, "M_FORBIDDEN"), "{path}: {answer:?}");
    }
}
