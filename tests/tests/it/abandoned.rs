//! Clients that go away: in a long poll, in the middle of a body, before the answer.

use tessera_tests::{proc, raw};

use crate::common::World;

const CLIENTS: usize = 200;

#[tokio::test]
async fn clients_that_leave_their_long_poll_cost_nothing() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("leaver").await;
    let since = user.sync_token().await.unwrap();
    let poll = format!(
        "GET /_matrix/client/v3/sync?timeout=600000&since={since} HTTP/1.1\r\nHost: hs1\r\nAuthorization: Bearer {}\r\n\r\n",
        user.token
    );
    let pid = world.server.pid().unwrap();
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let mut polls = Vec::new();
        for _ in 0..CLIENTS {
            polls.push(raw::open(world.server.address(), poll.as_bytes()).await.unwrap());
        }
        // A request behind them all on another connection: by its answer the server has taken them in.
        user.get("/account/whoami").await.unwrap();
        drop(polls);
        world.still_serves(&user, &room).await;
        sizes.push(proc::rss(pid).unwrap());
    }
    // 200 more polls left behind each round would cost megabytes; what is seen is the allocator's noise.
    let growth = sizes[3].saturating_sub(sizes[1]) / (2 * CLIENTS as u64);
    assert!(growth < 64 * 1024, "{growth} bytes for each abandoned poll: {sizes:?}");
}

#[tokio::test]
async fn half_a_body_changes_nothing() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("half").await;
    let body = r#"{"msgtype":"m.text","body":"half"}"#;
    for i in 0..50 {
        let head = format!(
            "PUT /_matrix/client/v3/rooms/{room}/send/m.room.message/half-{i} HTTP/1.1\r\nHost: hs1\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
            user.token,
            body.len(),
            &body[..20],
        );
        drop(raw::open(world.server.address(), head.as_bytes()).await.unwrap());
    }
    world.still_serves(&user, &room).await;
    let page = user.get(&format!("/rooms/{room}/messages?dir=b&limit=100")).await.unwrap();
    let halves =
        page["chunk"].as_array().unwrap().iter().filter(|e| e["content"]["body"] == "half").count();
    assert_eq!(halves, 0);
}

#[tokio::test]
async fn sender_that_leaves_before_the_answer_may_ask_again() {
    let world = World::start().await;
    let (user, room) = world.user_in_room("impatient").await;
    let body = r#"{"msgtype":"m.text","body":"impatient"}"#;
    for i in 0..30 {
        let request = format!(
            "PUT /_matrix/client/v3/rooms/{room}/send/m.room.message/txn-{i} HTTP/1.1\r\nHost: hs1\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            user.token,
            body.len(),
        );
        drop(raw::open(world.server.address(), request.as_bytes()).await.unwrap());
        user.text(&room, &format!("txn-{i}"), "impatient").await.unwrap();
    }
    let page = user.get(&format!("/rooms/{room}/messages?dir=b&limit=100")).await.unwrap();
    let sent = page["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["content"]["body"] == "impatient")
        .count();
    assert_eq!(sent, 30);
}
