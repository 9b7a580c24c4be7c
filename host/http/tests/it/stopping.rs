use tessera_http::{Drained, Server};

use crate::house::House;

#[tokio::test]
async fn a_stop_lets_requests_end_and_resumes_what_is_parked() {
    let house = House::open().await;
    let mut running = house.connect().await;
    running.send("GET /gate", "").await;
    house.fake.begun.notified().await;
    let mut parked = house.connect().await;
    parked.send("GET /park\nauthorization: Bearer token", "").await;
    let mut idle = house.connect().await;
    house.until("parked", |house| house.figure("tessera_http_parked") == 1.0).await;
    house.until("all there", |house| house.figure("tessera_http_connections") == 3.0).await;

    let House { server, fake, address, .. } = house;
    let stop = tokio::spawn(server.stop());
    assert_eq!(parked.reply(false).await.text(), "first 1 WakeReason::Timeout alice");
    assert!(idle.closed().await, "an idle connection is closed");
    assert!(!stop.is_finished(), "a running request is waited for");
    fake.gate.add_permits(1);
    let reply = running.reply(false).await;
    assert_eq!((reply.text().as_str(), reply.header("connection")), ("through", Some("close")));
    assert_eq!(stop.await.unwrap(), Drained { cut: 0 });
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut() {
    let house = House::with(|http| http.drain = "50ms".parse().unwrap(), |_| {}).await;
    let mut running = house.connect().await;
    running.send("GET /gate", "").await;
    house.fake.begun.notified().await;
    assert_eq!(house.server.stop().await, Drained { cut: 1 });
    assert!(running.closed().await);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let house = House::open().await;
    let error = Server::bind(house.edge.clone(), vec![house.address.into()]).await.err().unwrap();
    assert!(error.to_string().contains(&house.address.to_string()), "{error}");
}

#[tokio::test]
async fn a_drain_sends_clients_elsewhere_while_requests_are_still_answered() {
    let house = House::open().await;
    assert!(house.edge.readiness().is_ready());
    let mut parked = house.connect().await;
    parked.send("GET /park\nauthorization: Bearer token", "").await;
    house.until("parked", |house| house.figure("tessera_http_parked") == 1.0).await;
    house.edge.drain();
    let reply = parked.reply(false).await;
    assert_eq!(reply.text(), "first 1 WakeReason::Timeout alice");
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(parked.closed().await);
    let readiness = house.edge.readiness();
    assert_eq!(readiness.json(), r#"{"ready":false,"reasons":["draining"]}"#);
    assert_eq!(readiness.status(), 503);
    let reply = house.ask("GET /rooms/a").await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    let reply = house.ask("GET /park\nauthorization: Bearer token").await;
    assert_eq!(reply.text(), "first 1 WakeReason::Timeout alice", "nothing waits any more");
    house.fake.parks_always.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(house.ask("GET /park\nauthorization: Bearer token").await.status, 503);
    assert_eq!(house.server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_drain_closes_http2_connections_with_what_is_in_hand() {
    let house = House::open().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{}{path}", house.address);
    let running = tokio::spawn(client.get(url("/gate")).send());
    house.fake.begun.notified().await;
    house.edge.drain();
    house.fake.gate.add_permits(1);
    assert_eq!(running.await.unwrap().unwrap().text().await.unwrap(), "through");
    house.until("closed", |house| house.figure("tessera_http_connections") == 0.0).await;
    assert_eq!(client.get(url("/rooms/a")).send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn a_server_that_has_not_begun_is_not_ready() {
    let house = House::open().await;
    let edge = tessera_http::Edge::new(
        crate::house::settings(),
        house.bus.clone(),
        house.sites.clone(),
        &prometheus::Registry::new(),
    );
    let edge = edge.unwrap();
    assert_eq!(edge.readiness().reasons, ["starting"]);
    let server = Server::bind(
        edge.clone(),
        vec!["127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()],
    );
    let running = server.await.unwrap().start();
    assert!(edge.readiness().is_ready());
    running.stop().await;
    assert!(!edge.readiness().is_ready());
}
