use std::sync::Arc;
use std::sync::atomic::Ordering;

use tessera_bus::{Bus, BusConfig};
use tessera_http::NoSite;

use crate::fake::{Fake, TENANT, principal};
use crate::house::{Client, House, site};
use crate::many::Town;

async fn asked(house: &House, states: &str) -> Client {
    asked_of(house, TENANT, states).await
}

async fn asked_of(house: &House, host: &str, states: &str) -> Client {
    let mut client = house.connect().await;
    let lines = format!("GET /pieces?{states}\nhost: {host}\nauthorization: Bearer token");
    client.send(&lines, "").await;
    client
}

/// A client whose first piece waits at the gate.
async fn gated(house: &House, fake: &Fake, host: &str, states: &str) -> Client {
    let before = fake.gated.load(Ordering::SeqCst);
    let client = asked_of(house, host, states).await;
    house.until("at the gate", |_| fake.gated.load(Ordering::SeqCst) > before).await;
    client
}

async fn whole(mut client: Client) -> Option<String> {
    Some(String::from_utf8(client.chunked().await?).unwrap())
}

/// The body of a whole answer; none if it was torn off.
async fn body(house: &House, states: &str) -> Option<String> {
    whole(asked(house, states).await).await
}

fn times_asked(house: &House) -> usize {
    house.fake.asked.load(Ordering::SeqCst)
}

#[tokio::test]
async fn pieces_follow_one_another_until_there_is_no_more() {
    let house = House::open().await;
    let whole = body(&house, "user+nothing+three").await;
    assert_eq!(whole.as_deref(), Some("one alicethree"));
    assert_eq!(times_asked(&house), 1, "what was granted holds");
    house.until("counted", |house| house.figure("tessera_http_running") == 0.0).await;
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
    for states in ["two+error", "two+trap", "two+panic"] {
        assert_eq!(body(&house, states).await, None, "{states}");
    }
    assert_eq!(house.figure("tessera_http_panics_total"), 1.0);
    house.until("counted", |house| house.figure("tessera_http_running") == 0.0).await;
}

#[tokio::test]
async fn who_is_logged_out_gets_no_further_piece() {
    let house = House::open().await;
    let client = gated(&house, &house.fake, TENANT, "gate+two").await;
    house.fake.log_out("token");
    house.fake.gate.add_permits(1);
    assert_eq!(whole(client).await, None);
}

#[tokio::test]
async fn a_session_that_still_holds_gets_its_answer_whole() {
    let house = House::open().await;
    let client = gated(&house, &house.fake, TENANT, "gate+user+three").await;
    house.bus.notify(TENANT, &["session:token"]);
    house.fake.gate.add_permits(1);
    assert_eq!(whole(client).await.as_deref(), Some("one throughalicethree"));
    assert_eq!(times_asked(&house), 2, "asked once more, and that holds again");
}

#[tokio::test]
async fn a_full_bus_tears_no_answer_off() {
    let bus = Bus::new(BusConfig { subscriptions: 0, ..BusConfig::default() });
    let house = House::on(bus, |_| {}, |_| {}, |lone| lone.clone(), None).await;
    let whole = body(&house, "user+two").await;
    assert_eq!(whole.as_deref(), Some("one alicetwo"));
    assert_eq!(times_asked(&house), 3, "before each piece: nobody tells of a logout");
    house.fake.sessions.lock().unwrap().remove("token");
    assert_eq!(asked(&house, "two").await.reply(false).await.status, 401);
}

#[tokio::test]
async fn credentials_that_changed_hands_end_the_answer() {
    let house = House::open().await;
    let client = gated(&house, &house.fake, TENANT, "gate+two").await;
    house.fake.sessions.lock().unwrap().insert("token".to_owned(), principal("mallory"));
    house.bus.notify(TENANT, &["session:token"]);
    house.fake.gate.add_permits(1);
    assert_eq!(whole(client).await, None);
}

#[tokio::test]
async fn a_suspended_tenant_gives_no_further_piece() {
    let town = Town::open().await;
    let clients = [
        gated(&town.house, &town.a, "a.org", "gate+two").await,
        gated(&town.house, &town.b, "b.org", "gate+two").await,
    ];
    town.many.set("a.org", Err(NoSite::Suspended));
    town.a.gate.add_permits(1);
    town.b.gate.add_permits(1);
    let [a, b] = clients;
    assert_eq!(whole(a).await, None);
    assert_eq!(whole(b).await.as_deref(), Some("one throughtwo"));
}

#[tokio::test]
async fn further_pieces_come_from_the_plug_in_that_is_there_now() {
    let house = House::open().await;
    let client = gated(&house, &house.fake, TENANT, "gate+name").await;
    let mut second = Fake::new(house.bus.clone());
    second.name = "second";
    house.sites.replace(site(Arc::new(second), &house.blobs));
    house.fake.gate.add_permits(1);
    assert_eq!(whole(client).await.as_deref(), Some("one throughsecond"));
}

#[tokio::test]
async fn pieces_take_turns() {
    let house = House::with(|http| http.max_resumes = 1.try_into().unwrap(), |_| {}).await;
    let first = gated(&house, &house.fake, TENANT, "gate+two").await;
    assert_eq!(house.figure("tessera_http_running"), 1.0);
    let second = asked(&house, "gate+three").await;
    house.until("begun", |house| house.figure("tessera_http_requests_total") == 2.0).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.fake.gated.load(Ordering::SeqCst), 1, "the only turn is taken");
    house.fake.gate.add_permits(2);
    assert_eq!(whole(first).await.as_deref(), Some("one throughtwo"));
    assert_eq!(whole(second).await.as_deref(), Some("one throughthree"));
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_turn_back() {
    let house = House::with(|http| http.max_resumes = 1.try_into().unwrap(), |_| {}).await;
    drop(gated(&house, &house.fake, TENANT, "gate+two").await);
    assert_eq!(body(&house, "two").await.as_deref(), Some("one two"));
    house.until("counted", |house| house.figure("tessera_http_running") == 0.0).await;
}
