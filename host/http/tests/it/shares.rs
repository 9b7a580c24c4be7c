//! No tenant takes what others need.

use tessera_manifest::Quotas;

use crate::fake::Fake;
use crate::house::Client;
use crate::many::Town;

async fn begin(town: &Town, lines: &str) -> Client {
    let mut client = town.house.connect().await;
    client.send(lines, "").await;
    client
}

async fn gate(town: &Town, fake: &Fake, host: &str) -> Client {
    let client = begin(town, &format!("GET /gate\nhost: {host}")).await;
    fake.begun.notified().await;
    client
}

fn four() -> std::num::NonZeroU32 {
    4.try_into().unwrap()
}

#[tokio::test]
async fn running_requests_of_one_tenant_leave_room_for_others() {
    let town = Town::with(|http| http.max_requests = four(), None).await;
    let mut running = [gate(&town, &town.a, "a.org").await, gate(&town, &town.a, "a.org").await];
    assert_eq!(town.house.ask("GET /rooms/a\nhost: a.org").await.status, 503);
    assert_eq!(town.house.ask("GET /rooms/a\nhost: b.org").await.status, 200);
    town.a.gate.add_permits(2);
    for client in &mut running {
        assert_eq!(client.reply(false).await.text(), "through");
    }
    assert_eq!(town.house.ask("GET /rooms/a\nhost: a.org").await.status, 200);
}

#[tokio::test]
async fn parked_requests_of_one_tenant_leave_room_for_others() {
    let town = Town::with(|http| http.max_parked = four(), None).await;
    let park = |host| format!("GET /park\nhost: {host}\nauthorization: Bearer token");
    let _parked = [begin(&town, &park("a.org")).await, begin(&town, &park("a.org")).await];
    town.house
        .until("parked", |house| house.edge.usage("a.org").unwrap_or_default().parked == 2)
        .await;
    assert_eq!(town.house.ask(&park("a.org")).await.status, 503);
    let _other = begin(&town, &park("b.org")).await;
    town.house
        .until("parked", |house| house.edge.usage("b.org").unwrap_or_default().parked == 1)
        .await;
}

#[tokio::test]
async fn connections_of_one_tenant_leave_room_for_others() {
    let town = Town::with(|http| http.max_connections = four(), None).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = begin(&town, "GET /rooms/a\nhost: a.org").await;
        assert_eq!(client.reply(false).await.status, 200);
        held.push(client);
    }
    let mut third = begin(&town, "GET /rooms/a\nhost: a.org").await;
    let reply = third.reply(false).await;
    assert_eq!((reply.status, reply.header("connection")), (503, Some("close")));
    assert!(third.closed().await);
    let mut other = begin(&town, "GET /rooms/a\nhost: b.org").await;
    assert_eq!(other.reply(false).await.status, 200);
    other.send("GET /rooms/a\nhost: b.org", "").await;
    assert_eq!(other.reply(false).await.status, 200, "one connection has one place");
    drop(held);
    town.house.until("gone", |house| house.edge.usage("a.org").unwrap().connections == 0).await;
    let mut again = begin(&town, "GET /rooms/a\nhost: a.org").await;
    assert_eq!(again.reply(false).await.status, 200);
}

#[tokio::test]
async fn answers_of_authenticators_of_one_tenant_leave_room_for_others() {
    let town = Town::with(|http| http.auth_cache = four(), None).await;
    let ask = async |host: &str, token: &str| {
        let lines = format!("GET /mine\nhost: {host}\nauthorization: Bearer {token}");
        assert_eq!(town.house.ask(&lines).await.status, 200, "{host} {token}");
    };
    let asked = |fake: &Fake| fake.asked.load(std::sync::atomic::Ordering::SeqCst);
    for n in 0..20 {
        let who = crate::fake::principal("dave");
        town.a.sessions.lock().unwrap().insert(format!("t{n}"), who);
    }
    ask("b.org", "token").await;
    for n in 0..20 {
        ask("a.org", &format!("t{n}")).await;
    }
    assert_eq!(asked(&town.a), 20);
    ask("b.org", "token").await;
    assert_eq!(asked(&town.b), 1, "still kept");
    ask("a.org", "t19").await;
    assert_eq!(asked(&town.a), 20, "the last is kept");
    ask("a.org", "t0").await;
    assert_eq!(asked(&town.a), 21, "the first has made room");
}

#[tokio::test]
async fn over_its_quota_a_tenant_is_told_when_to_come_again() {
    let town = Town::open().await;
    town.limit("a.org", Quotas { requests_per_second: Some(0.001), ..Quotas::default() });
    let ask = |host| town.house.ask(host);
    assert_eq!(ask("GET /rooms/a\nhost: a.org").await.status, 200);
    let reply = ask("GET /rooms/a\nhost: a.org").await;
    assert_eq!(reply.status, 429);
    let wait = reply.json()["wait"].as_u64().unwrap();
    assert!((900_000..=1_000_000).contains(&wait), "{wait}");
    assert_eq!(reply.header("retry-after").unwrap().parse::<u64>().unwrap(), wait.div_ceil(1000));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(ask("OPTIONS /rooms/a\nhost: a.org").await.status, 429, "whatever it asks");
    assert_eq!(ask("GET /rooms/a\nhost: b.org").await.status, 200);
    assert_eq!(town.house.edge.usage("a.org").unwrap().limited, 2);
    assert_eq!(town.house.figure("tessera_http_tenant_limited_total"), 2.0);
}

#[tokio::test]
async fn several_nodes_share_rates_and_trust_no_older_answers() {
    let town = Town::open().await;
    let by_address = "GET /by-address\nhost: a.org";
    let mine = "GET /mine\nhost: a.org\nauthorization: Bearer token";
    town.house.ask(mine).await;
    town.house.edge.set_nodes(2);
    assert_eq!(town.house.ask(by_address).await.status, 200);
    assert_eq!(town.house.ask(by_address).await.status, 429, "the other one is another node's");
    town.house.ask(mine).await;
    town.house.ask(mine).await;
    let asked = town.a.asked.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(asked, 2, "once by itself, once with another");
}
