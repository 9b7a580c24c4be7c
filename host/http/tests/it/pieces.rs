use std::sync::atomic::Ordering;

use crate::house::{Client, House};

async fn asked(house: &House, states: &str) -> Client {
    let mut client = house.connect().await;
    client.send(&format!("GET /pieces?{states}\nauthorization: Bearer token"), "").await;
    client
}

/// The body of a whole answer; none if it was torn off.
async fn body(house: &House, states: &str) -> Option<String> {
    let mut client = asked(house, states).await;
    let raw = client.chunked().await?;
    Some(String::from_utf8(raw).unwrap())
}

#[tokio::test]
async fn pieces_follow_one_another_until_there_is_no_more() {
    let house = House::open().await;
    let whole = body(&house, "user+nothing+three").await;
    assert_eq!(whole.as_deref(), Some("one alicethree"));
    assert_eq!(house.figure("tessera_http_running"), 0.0);
}

#[tokio::test]
async fn a_piece_for_which_there_is_no_room_is_asked_for_again() {
    let house = House::open().await;
    let whole = body(&house, "two+busy+three").await;
    assert!(house.fake.was_busy.load(Ordering::SeqCst));
    assert_eq!(whole.as_deref(), Some("one twobusythree"));
}

#[tokio::test]
async fn an_answer_without_its_end_is_torn_off() {
    let house = House::open().await;
    for states in ["two+error", "two+trap"] {
        assert_eq!(body(&house, states).await, None, "{states}");
    }
}

#[tokio::test]
async fn who_is_logged_out_gets_no_further_piece() {
    let house = House::open().await;
    let mut client = asked(&house, "gate+two").await;
    // Of `handle`, then of `next`.
    house.fake.begun.notified().await;
    house.fake.begun.notified().await;
    house.fake.log_out("token");
    house.fake.gate.add_permits(1);
    assert_eq!(client.chunked().await, None);
}
