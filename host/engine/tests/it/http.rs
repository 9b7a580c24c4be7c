//! Requests, and requests that wait.

use std::time::Duration;

use tessera_engine::api::{Answer, Body, CallError, Dispatch, Request, ResponseBody, WakeReason};

use crate::support::{House, packed};

const ROUTES: &str = r#"
[[http.routes]]
id = "answer"
methods = ["GET"]
paths = ["/answer"]
auth = "none"

[[http.routes]]
id = "slow"
methods = ["GET"]
paths = ["/slow"]
auth = "none"
timeout = "50ms"
"#;

/// The route's name decides: `answer` is 201 with the body `hello`, `park` waits for the topic `room`,
/// `slow` loops, `lie` parks on a watch that it does not hold, `big` parks with too much.
pub const WEB: &str = r#"
    (import "tessera:host/bus@0.1.0" "watch" (func $watch (param i32 i32) (result i64)))
    (data (i32.const 2048) "hello")
    (data (i32.const 2064) "room")
    (func $done (param $status i32) (result i32)
        (i32.store8 (i32.const 256) (i32.const 0))
        (i32.store16 (i32.const 264) (local.get $status))
        (i32.store (i32.const 268) (i32.const 0))
        (i32.store (i32.const 272) (i32.const 0))
        (i32.store8 (i32.const 276) (i32.const 1))
        (i32.store (i32.const 280) (i32.const 2048))
        (i32.store (i32.const 284) (i32.const 5))
        (global.set $next (i32.const 65536))
        (i32.const 256))
    (func $park (param $watch i64) (param $length i32) (result i32)
        (i32.store8 (i32.const 256) (i32.const 1))
        (i64.store (i32.const 264) (local.get $watch))
        (i32.store (i32.const 272) (i32.const 1234))
        (i32.store (i32.const 276) (i32.const 2048))
        (i32.store (i32.const 280) (local.get $length))
        (global.set $next (i32.const 65536))
        (i32.const 256))
    (func (export "tessera:plugin/http@0.1.0#handle") (param i32) (result i32)
        (local $route i32)
        (local.set $route (i32.load8_u (i32.load (local.get 0))))
        (if (i32.eq (local.get $route) (i32.const 97)) (then (return (call $done (i32.const 201)))))
        (if (i32.eq (local.get $route) (i32.const 115)) (then (loop $again (br $again))))
        (if (i32.eq (local.get $route) (i32.const 108)) (then (return (call $park (i64.const 77) (i32.const 2)))))
        (i32.store (i32.const 400) (i32.const 2064))
        (i32.store (i32.const 404) (i32.const 4))
        (call $park
            (call $watch (i32.const 400) (i32.const 1))
            (select (i32.const 20000) (i32.const 2) (i32.eq (local.get $route) (i32.const 98)))))
    (func (export "tessera:plugin/http@0.1.0#resume") (param i32) (result i32)
        ;; 200 + the state's length
        (call $done (i32.add (i32.const 200) (i32.load offset=12 (local.get 0)))))
"#;

pub fn request(route: &str) -> Request {
    Request {
        route: route.to_owned(),
        method: "GET".to_owned(),
        path: format!("/{route}"),
        params: vec![],
        query: String::new(),
        headers: vec![("accept".to_owned(), "*/*".to_owned())],
        body: Body::None,
        principal: None,
        remote: "127.0.0.1".to_owned(),
        request_id: "r1".to_owned(),
    }
}

async fn house() -> House {
    let house = House::new().await;
    house.install(&[packed("web", ROUTES, "web", WEB)]);
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered() {
    let house = house().await;
    let answer = house.tenant.handle("web", request("answer")).await.unwrap();
    let Answer::Done(response) = answer else { panic!("parked") };
    assert_eq!(response.status, 201);
    let ResponseBody::Bytes(bytes) = response.body else { panic!("no bytes") };
    assert_eq!(bytes, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_request_holds_its_watch_and_no_instance() {
    let house = house().await;
    let answer = house.tenant.handle("web", request("park")).await.unwrap();
    let Answer::Park(parked) = answer else { panic!("answered") };
    assert_eq!(parked.timeout, Duration::from_millis(1234));
    assert_eq!(parked.state, b"he");
    assert!(!parked.watch.is_fired());
    let status = house.tenant.status();
    assert_eq!((status[0].instances, status[0].idle), (1, 1));

    house.bus.notify("other", &["room"]);
    assert!(!parked.watch.is_fired(), "another tenant's topic");
    house.bus.notify("t", &["room"]);
    parked.watch.fired().await;

    let answer = house
        .tenant
        .resume("web", "r1", "park", parked.state, WakeReason::Woken, None)
        .await
        .unwrap();
    let Answer::Done(response) = answer else { panic!("parked") };
    assert_eq!(response.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_are_not_parked_end_with_the_call() {
    let house = house().await;
    let before = house.bus.subscriptions();
    let answer = house.tenant.handle("web", request("park")).await.unwrap();
    assert_eq!(house.bus.subscriptions(), before + 1);
    drop(answer);
    assert_eq!(house.bus.subscriptions(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn parking_on_anothers_watch_is_a_trap() {
    let house = house().await;
    let trapped = house.tenant.handle("web", request("lie")).await.unwrap_err();
    assert!(matches!(&trapped, CallError::Trapped(text) if text.contains("watch")), "{trapped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parking_with_too_much_state_is_a_trap() {
    let house = house().await;
    let trapped = house.tenant.handle("web", request("big")).await.unwrap_err();
    assert!(matches!(&trapped, CallError::Trapped(text) if text.contains("16384")), "{trapped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routes_own_timeout_is_kept() {
    let house = house().await;
    let start = std::time::Instant::now();
    let ended = house.tenant.handle("web", request("slow")).await.unwrap_err();
    assert_eq!(ended, CallError::Timeout);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
