use std::sync::Arc;
use std::sync::atomic::Ordering;

use tessera_http::NoSite;

use crate::house::{Client, House};
use crate::many::Town;

async fn raw(house: &House, text: &str) -> u16 {
    let mut client = house.connect().await;
    client.raw(text).await;
    client.reply(false).await.status
}

#[tokio::test]
async fn the_host_chooses_the_tenant() {
    let town = Town::open().await;
    for (host, user) in [
        ("a.org", "alice@a.org"),
        ("A.Org:8448", "alice@a.org"),
        ("a.org.", "alice@a.org"),
        ("b.org:80", "alice@b.org"),
    ] {
        let lines = format!("GET /mine\nhost: {host}\nauthorization: Bearer token");
        assert_eq!(town.house.ask(&lines).await.json()["user"], user, "{host}");
    }
    let absolute =
        "GET http://b.org/mine HTTP/1.1\r\nhost: a.org\r\nauthorization: Bearer token\r\n\r\n";
    let mut client = town.house.connect().await;
    client.raw(absolute).await;
    assert_eq!(client.reply(false).await.json()["user"], "alice@b.org", "the target goes first");
}

#[tokio::test]
async fn an_unknown_host_has_an_answer_of_its_own_whatever_is_asked() {
    let town = Town::open().await;
    let reply = town.house.ask("GET /rooms/a\nhost: c.org").await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "no such host here"));
    let preflight = "OPTIONS /mine\nhost: c.org\naccess-control-request-method: PUT";
    assert_eq!(town.house.ask(preflight).await.status, 404);
    assert_eq!(town.house.ask("GET /_tessera/native\nhost: c.org").await.status, 404);
    assert_eq!(raw(&town.house, "GET /rooms/a HTTP/1.0\r\n\r\n").await, 404);
    assert_eq!(town.many.found.load(Ordering::SeqCst), 0, "nobody is woken");
    assert_eq!(town.house.ask("OPTIONS /mine\nhost: a.org").await.status, 204);
}

#[tokio::test]
async fn a_host_that_is_none_is_a_bad_request() {
    let house = House::open().await;
    let long = "a".repeat(300);
    for host in
        ["user@a.org", "a b", "a..org", "a.org:99999", "a.org:x", "[::1", "\u{e4}.org", &long]
    {
        assert_eq!(house.ask(&format!("GET /rooms/a\nhost: {host}")).await.status, 400, "{host}");
    }
    assert_eq!(house.ask("GET /rooms/a\nhost: a.org\nhost: a.org").await.status, 400, "two");
    assert_eq!(raw(&house, "GET /rooms/a HTTP/1.1\r\n\r\n").await, 400, "none");
    assert_eq!(raw(&house, "GET http://a@b/rooms/a HTTP/1.1\r\nhost: b\r\n\r\n").await, 400);
    assert_eq!(raw(&house, "GET /rooms/a HTTP/1.0\r\n\r\n").await, 200, "older clients name none");
    assert_eq!(raw(&house, "GET /rooms/a HTTP/1.1\r\nhost:\r\n\r\n").await, 200, "an empty one");
}

#[tokio::test]
async fn http2_names_the_host_by_its_authority() {
    let town = Town::open().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .resolve("a.org", town.house.address)
        .build()
        .unwrap();
    let port = town.house.address.port();
    let ask = |host: Option<&'static str>| {
        let url = format!("http://a.org:{port}/rooms/a");
        let request = client.get(url);
        let request = host.iter().fold(request, |request, host| request.header("host", *host));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(ask(None).await, 200);
    assert_eq!(ask(Some("b.org")).await, 400, "not both");
}

#[tokio::test]
async fn a_forwarded_host_counts_behind_a_proxy_only() {
    let lines =
        "GET /mine\nhost: a.org\nx-forwarded-host: c.org, B.org\nauthorization: Bearer token";
    let town = Town::open().await;
    assert_eq!(town.house.ask(lines).await.json()["user"], "alice@a.org");
    let town = Town::with(|http| http.trust_forwarded = true, None).await;
    assert_eq!(town.house.ask(lines).await.json()["user"], "alice@b.org");
    let bad = "GET /mine\nhost: a.org\nx-forwarded-host: a@b";
    assert_eq!(town.house.ask(bad).await.status, 400);
}

#[tokio::test]
async fn a_suspended_tenant_and_one_that_does_not_wake_say_so() {
    let town = Town::open().await;
    town.many.set("a.org", Err(NoSite::Suspended));
    town.many.set("b.org", Err(NoSite::Unavailable("does not wake".to_owned())));
    let reply = town.house.ask("GET /rooms/a\nhost: a.org").await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "suspended"));
    let reply = town.house.ask("GET /rooms/a\nhost: b.org").await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "unavailable"));
}

#[tokio::test]
async fn requests_wait_for_a_tenant_that_wakes_and_hold_others_up_in_nothing() {
    let town = Town::open().await;
    let house = &town.house;
    let gate = town.many.gate.acquire().await.unwrap();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..3 {
        let mut client = house.connect().await;
        client.send("GET /rooms/a\nhost: a.org", "").await;
        clients.push(client);
    }
    house.until("all ask", |_| town.many.found.load(Ordering::SeqCst) == 3).await;
    drop(clients.pop());
    house.until("one left", |house| house.edge.usage("a.org").unwrap().running == 2).await;
    drop(gate);
    for mut client in clients {
        assert_eq!(client.reply(false).await.status, 200);
    }
    house.until("all done", |house| house.edge.usage("a.org").unwrap().running == 0).await;
}

#[tokio::test]
async fn two_tenants_with_the_same_tokens_never_meet() {
    let town = Town::open().await;
    let mine = |host| format!("GET /mine\nhost: {host}\nauthorization: Bearer token");
    for _ in 0..2 {
        for host in ["a.org", "b.org"] {
            let user = town.house.ask(&mine(host)).await.json()["user"].clone();
            assert_eq!(user, format!("alice@{host}"));
        }
    }
    let asked = |fake: &crate::fake::Fake| fake.asked.load(Ordering::SeqCst);
    assert_eq!((asked(&town.a), asked(&town.b)), (1, 1), "each is kept");
    town.a.log_out("token");
    assert_eq!(town.house.ask(&mine("a.org")).await.status, 401);
    assert_eq!(town.house.ask(&mine("b.org")).await.status, 200);
    assert_eq!(asked(&town.b), 1);
    town.house.edge.forget_authentications_of("b.org");
    assert_eq!(town.house.ask(&mine("b.org")).await.status, 200);
    assert_eq!(asked(&town.b), 2);

    // The same user name, too.
    for fake in [&town.a, &town.b] {
        fake.sessions.lock().unwrap().insert("same".to_owned(), crate::fake::principal("carol"));
    }
    let limited = |host| format!("GET /by-user\nhost: {host}\nauthorization: Bearer same");
    let by_address = |host| format!("GET /by-address\nhost: {host}");
    for host in ["a.org", "b.org"] {
        for lines in [limited(host), by_address(host)] {
            for status in [200, 200, 429] {
                assert_eq!(town.house.ask(&lines).await.status, status, "{lines}");
            }
        }
    }
}

#[tokio::test]
async fn a_parked_request_keeps_its_tenant_and_resumes_on_what_took_its_place() {
    let town = Town::open().await;
    let house = &town.house;
    let park = "GET /park\nhost: a.org\nauthorization: Bearer token";
    let mut client = house.connect().await;
    client.send(park, "").await;
    house.until("parked", |house| house.figure("tessera_http_tenant_parked") == 1.0).await;
    // The table's, ours, and the request's.
    let site = town.many.get("a.org");
    assert_eq!(Arc::strong_count(&site), 3);
    town.limit("a.org", Default::default());
    drop(site);
    house.bus.notify("b.org", &["news"]);
    house.bus.notify("a.org", &["news"]);
    town.a.begun.notified().await;
    house
        .until("parked again", |house| {
            house.figure("tessera_http_resumed_total") == 1.0
                && house.figure("tessera_http_tenant_parked") == 1.0
        })
        .await;
    house.bus.notify("a.org", &["more"]);
    assert_eq!(client.reply(false).await.text(), "first 2 WakeReason::Woken alice@a.org");
    let site = town.many.get("a.org");
    assert_eq!(Arc::strong_count(&site), 2, "nobody asks anything");
}

#[tokio::test]
async fn what_is_parked_goes_on_when_its_tenant_is_suspended() {
    let town = Town::open().await;
    let house = &town.house;
    let mut clients = Vec::new();
    for host in ["a.org", "b.org"] {
        let mut client = house.connect().await;
        client.send(&format!("GET /park\nhost: {host}\nauthorization: Bearer token"), "").await;
        clients.push(client);
    }
    house.until("parked", |house| house.figure("tessera_http_parked") == 2.0).await;
    town.many.set("a.org", Err(NoSite::Suspended));
    house.edge.forget("a.org");
    assert_eq!(clients[0].reply(false).await.text(), "suspended");
    assert_eq!(house.figure("tessera_http_parked"), 1.0, "the other waits on");
    house.edge.forget("b.org");
    let text = clients[1].reply(false).await.text();
    assert_eq!(text, "first 1 WakeReason::Timeout alice@b.org", "it was not suspended");
}

#[tokio::test]
async fn figures_of_a_tenant_go_when_it_does() {
    let town = Town::open().await;
    let house = &town.house;
    for host in ["a.org", "b.org"] {
        house.ask(&format!("GET /rooms/a\nhost: {host}")).await;
        house.ask(&format!("GET /nothing\nhost: {host}")).await;
    }
    house.until("counted", |house| house.figure("tessera_http_tenant_requests_total") == 4.0).await;
    let usage = house.edge.usage("a.org").unwrap();
    assert_eq!((usage.requests, usage.running, usage.parked), (2, 0, 0));
    house.edge.forget("a.org");
    assert_eq!(house.figure("tessera_http_tenant_requests_total"), 2.0);
    assert_eq!(house.edge.usage("a.org"), None);
    house.ask("GET /rooms/a\nhost: a.org").await;
    house.until("counted", |house| house.figure("tessera_http_tenant_requests_total") == 3.0).await;
}
