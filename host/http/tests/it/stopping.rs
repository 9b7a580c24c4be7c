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
    let error = Server::bind(house.edge.clone(), &[house.address]).await.err().unwrap();
    assert!(error.to_string().contains(&house.address.to_string()), "{error}");
}
