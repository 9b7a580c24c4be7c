use std::sync::Arc;

use crate::fake::{Fake, TENANT, principal};
use crate::house::{Client, House, site};

const PARK: &str = "GET /park\nauthorization: Bearer token";

async fn parked(house: &House, lines: &str) -> Client {
    let before = house.figure("tessera_http_parked");
    let mut client = house.connect().await;
    client.send(lines, "").await;
    house.until("parked", |house| house.figure("tessera_http_parked") > before).await;
    client
}

#[tokio::test]
async fn a_parked_request_goes_on_when_its_topic_fires_and_may_park_again() {
    let house = House::open().await;
    let mut client = parked(&house, PARK).await;
    assert_eq!(house.figure("tessera_http_running"), 0.0, "it holds nothing");
    house.fake.begun.notified().await;
    house.bus.notify(TENANT, &["other"]);
    house.bus.notify(TENANT, &["news"]);
    // The second parking has begun; its watch stands before the call returns.
    house.fake.begun.notified().await;
    house.until("parked again", |house| house.bus.subscriptions() >= 3).await;
    house.bus.notify(TENANT, &["more"]);
    assert_eq!(client.reply(false).await.text(), "first 2 WakeReason::Woken alice");
    assert_eq!(house.figure("tessera_http_parked"), 0.0);
    assert_eq!(house.figure("tessera_http_resumed_total"), 2.0);
}

#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let house = House::open().await;
    let reply = house.ask("GET /park?ms=20\nauthorization: Bearer token").await;
    assert_eq!(reply.text(), "first 1 WakeReason::Timeout alice");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let house = House::open().await;
    let client = parked(&house, PARK).await;
    drop(client);
    house.until("forgotten", |house| house.figure("tessera_http_parked") == 0.0).await;
    // The cached answer of the authenticator keeps its own watch.
    house.until("unsubscribed", |house| house.bus.subscriptions() == 1).await;
    house.until("counted", |house| house.figure("tessera_http_requests_total") == 1.0).await;
}

#[tokio::test]
async fn a_logout_ends_a_parked_request_with_the_authenticators_words() {
    let house = House::open().await;
    let mut client = parked(&house, PARK).await;
    let mut other = parked(&house, "GET /park\nauthorization: Bearer other").await;
    house.fake.log_out("token");
    let reply = client.reply(false).await;
    assert_eq!((reply.status, reply.text().as_str()), (401, r#"{"e":"unknown"}"#));
    assert_eq!(house.figure("tessera_http_parked"), 1.0);
    house.fake.log_out("other");
    assert_eq!(other.reply(false).await.status, 401);
}

#[tokio::test]
async fn who_is_logged_out_gets_no_news_that_come_at_the_same_moment() {
    let house = House::open().await;
    let mut client = parked(&house, PARK).await;
    house.fake.sessions.lock().unwrap().remove("token");
    house.bus.notify(TENANT, &["news", "session:token"]);
    assert_eq!(client.reply(false).await.status, 401);
}

#[tokio::test]
async fn a_session_that_still_holds_stays_parked() {
    let house = House::open().await;
    let mut client = parked(&house, "GET /park?ms=300\nauthorization: Bearer token").await;
    let before = house.fake.asked.load(std::sync::atomic::Ordering::SeqCst);
    house.bus.notify(TENANT, &["session:token"]);
    house
        .until("asked again", |house| {
            house.fake.asked.load(std::sync::atomic::Ordering::SeqCst) > before
        })
        .await;
    assert_eq!(client.reply(false).await.text(), "first 1 WakeReason::Timeout alice");
}

#[tokio::test]
async fn credentials_that_changed_hands_end_the_wait() {
    let house = House::open().await;
    let mut client = parked(&house, PARK).await;
    house.fake.sessions.lock().unwrap().insert("token".to_owned(), principal("mallory"));
    house.bus.notify(TENANT, &["session:token"]);
    assert_eq!(client.reply(false).await.status, 503);
}

#[tokio::test]
async fn more_parked_requests_than_allowed_are_refused() {
    let house = House::with(|http| http.max_parked = 1.try_into().unwrap(), |_| {}).await;
    let client = parked(&house, PARK).await;
    assert_eq!(house.ask(PARK).await.status, 503);
    drop(client);
    house.until("room again", |house| house.figure("tessera_http_parked") == 0.0).await;
    parked(&house, PARK).await;
}

#[tokio::test]
async fn a_parked_request_outlives_a_swap_and_resumes_on_the_new_plug_in() {
    let house = House::open().await;
    let mut client = parked(&house, "GET /park?ms=200\nauthorization: Bearer token").await;
    let mut second = Fake::new(house.bus.clone());
    second.name = "second";
    house.sites.replace(site(Arc::new(second), &house.blobs));
    assert_eq!(client.reply(false).await.text(), "second 1 WakeReason::Timeout alice");
}

#[tokio::test]
async fn a_crowd_that_one_topic_wakes_is_answered_in_full() {
    let house = House::with(|http| http.max_resumes = 2.try_into().unwrap(), |_| {}).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(parked(&house, PARK).await);
    }
    house.bus.notify(TENANT, &["news"]);
    house
        .until("all parked again", |house| {
            house.figure("tessera_http_resumed_total") == 50.0
                && house.figure("tessera_http_parked") == 50.0
        })
        .await;
    house.bus.notify(TENANT, &["more"]);
    for mut client in clients {
        assert_eq!(client.reply(false).await.text(), "first 2 WakeReason::Woken alice");
    }
}

#[tokio::test]
async fn who_logs_out_while_waiting_for_a_turn_gets_no_news() {
    let house = House::with(|http| http.max_resumes = 1.try_into().unwrap(), |_| {}).await;
    let mut first = parked(&house, "GET /park\nauthorization: Bearer other").await;
    let mut second = parked(&house, PARK).await;
    house.bus.notify(TENANT, &["news"]);
    house
        .until("both parked again", |house| {
            house.figure("tessera_http_resumed_total") == 2.0
                && house.figure("tessera_http_parked") == 2.0
        })
        .await;
    house.fake.hold_resumes.store(true, std::sync::atomic::Ordering::SeqCst);
    house.bus.notify(TENANT, &["more"]);
    // One has the only turn; the other has left its place and waits for it.
    house.until("resuming", |house| house.figure("tessera_http_resumed_total") == 3.0).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    house.fake.log_out("token");
    house.fake.log_out("other");
    house.fake.gate.add_permits(2);
    let mut statuses = [first.reply(false).await.status, second.reply(false).await.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "only who had its turn before is answered");
}
