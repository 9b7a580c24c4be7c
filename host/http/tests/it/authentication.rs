use std::sync::Arc;
use std::sync::atomic::Ordering;

use tessera_engine::api::RateOverride;

use crate::fake::TENANT;
use crate::house::House;

const MINE: &str = "GET /mine\nauthorization: Bearer token";

fn asked(house: &House) -> usize {
    house.fake.asked.load(Ordering::SeqCst)
}

#[tokio::test]
async fn routes_want_credentials_unless_they_say_otherwise() {
    let house = House::open().await;
    let reply = house.ask("GET /mine").await;
    assert_eq!((reply.status, reply.text().as_str()), (401, r#"{"e":"missing"}"#));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(house.ask("GET /rooms/a").await.json()["user"], serde_json::Value::Null);
    assert_eq!(house.ask("GET /optional").await.json()["user"], serde_json::Value::Null);
    assert_eq!(
        house.ask("GET /optional\nauthorization: Bearer token").await.json()["user"],
        "alice"
    );
    assert_eq!(house.ask("GET /optional\nauthorization: Bearer x").await.status, 401);
}

#[tokio::test]
async fn a_plug_in_gets_the_principal_and_not_the_credentials() {
    let house = House::open().await;
    let reply = house.ask("GET /mine\nauthorization: Bearer token\nx-other: y").await.json();
    assert_eq!(reply["user"], "alice");
    let headers = reply["headers"].to_string();
    assert!(headers.contains("x-other") && !headers.contains("authorization"), "{headers}");
}

#[tokio::test]
async fn an_answer_is_kept_for_the_same_credentials_only() {
    let house = House::open().await;
    for _ in 0..3 {
        assert_eq!(house.ask(MINE).await.json()["user"], "alice");
    }
    assert_eq!(asked(&house), 1);
    assert_eq!(house.ask("GET /mine\nauthorization: Bearer other").await.json()["user"], "bob");
    assert_eq!(house.ask("GET /mine?access_token=other").await.json()["user"], "bob");
    assert_eq!(house.ask("GET /mine?access_token=token").await.json()["user"], "alice");
    assert_eq!(asked(&house), 4);
    assert_eq!(house.figure("tessera_http_auth_cache_hits_total"), 2.0);
    assert_eq!(house.figure("tessera_http_auth_cache_misses_total"), 4.0);
}

#[tokio::test]
async fn denials_are_not_kept() {
    let house = House::open().await;
    for _ in 0..2 {
        assert_eq!(house.ask("GET /mine\nauthorization: Bearer no").await.status, 401);
    }
    assert_eq!(asked(&house), 2);
}

#[tokio::test]
async fn a_logout_empties_the_cache_before_it_returns() {
    let house = House::open().await;
    for _ in 0..50 {
        assert_eq!(house.ask(MINE).await.status, 200);
        let alice = house.fake.sessions.lock().unwrap().get("token").cloned().unwrap();
        house.fake.log_out("token");
        assert_eq!(house.ask(MINE).await.status, 401);
        house.fake.sessions.lock().unwrap().insert("token".to_owned(), alice);
    }
}

#[tokio::test]
async fn a_logout_while_the_authenticator_looks_is_not_missed() {
    let house = House::open().await;
    let fake = Arc::clone(&house.fake);
    *house.fake.after_look.lock().unwrap() = Some(Box::new(move || fake.log_out("token")));
    assert_eq!(house.ask(MINE).await.status, 200, "it began before the logout");
    assert_eq!(house.ask(MINE).await.status, 401, "nothing was kept");
}

#[tokio::test]
async fn other_topics_leave_the_cache_alone() {
    let house = House::open().await;
    house.ask(MINE).await;
    house.bus.notify(TENANT, &["session:other", "news"]);
    house.bus.notify("elsewhere.org", &["session:token"]);
    house.ask(MINE).await;
    assert_eq!(asked(&house), 1);
}

#[tokio::test]
async fn what_must_not_be_kept_is_asked_each_time() {
    let house = House::with(|_| {}, |fake| fake.cache_ms = 0).await;
    house.ask(MINE).await;
    house.ask(MINE).await;
    assert_eq!(asked(&house), 2);

    // Who acts for others names them outside of the credentials.
    let house = House::open().await;
    house.fake.sessions.lock().unwrap().get_mut("token").unwrap().service = Some("bridge".into());
    house.ask(MINE).await;
    house.ask(MINE).await;
    assert_eq!(asked(&house), 2);
}

#[tokio::test]
async fn an_authenticator_may_read_the_body() {
    let house = House::open().await;
    let lines = "POST /signed\nauthorization: Bearer hello";
    let reply = house.ask_with(lines, "hello").await.json();
    assert_eq!((&reply["user"], &reply["body"]), (&"server".into(), &"hello".into()));
    assert_eq!(
        house.ask_with(lines, "forged").await.status,
        401,
        "and is never answered from memory"
    );
}

#[tokio::test]
async fn rates_are_kept_by_user_and_by_address() {
    let house = House::open().await;
    let as_user = |token| format!("GET /by-user\nauthorization: Bearer {token}");
    for _ in 0..2 {
        assert_eq!(house.ask(&as_user("token")).await.status, 200);
        assert_eq!(house.ask("GET /by-address").await.status, 200);
    }
    let reply = house.ask(&as_user("token")).await;
    assert_eq!(reply.status, 429);
    let wait = reply.json()["wait"].as_u64().unwrap();
    assert!((900_000..=1_000_000).contains(&wait), "{wait}");
    assert_eq!(reply.header("retry-after").unwrap().parse::<u64>().unwrap(), wait.div_ceil(1000));
    assert_eq!(house.ask(&as_user("other")).await.status, 200, "another user");
    assert_eq!(house.ask("GET /by-address").await.status, 429);
    assert_eq!(house.figure("tessera_http_rate_limited_total"), 2.0);
}

#[tokio::test]
async fn no_rate_applies_to_the_unlimited() {
    let house = House::open().await;
    house.fake.sessions.lock().unwrap().get_mut("token").unwrap().unlimited = true;
    for _ in 0..5 {
        assert_eq!(house.ask("GET /by-user\nauthorization: Bearer token").await.status, 200);
    }
}

#[tokio::test]
async fn a_rate_of_a_users_own_is_in_place_of_the_classes() {
    let house = House::open().await;
    let own =
        |class: &str, burst| RateOverride { class: class.to_owned(), per_second: 0.001, burst };
    {
        let mut sessions = house.fake.sessions.lock().unwrap();
        sessions.get_mut("token").unwrap().rates = vec![own("another", 1), own("user", 5)];
    }
    let mut allowed = 0;
    while allowed < 20 && house.ask("GET /by-user\nauthorization: Bearer token").await.status == 200
    {
        allowed += 1;
    }
    assert_eq!(allowed, 5);
}

#[tokio::test]
async fn a_forwarded_address_counts_behind_a_proxy_only() {
    let lines = "GET /rooms/a\nx-forwarded-for: 192.0.2.1, 192.0.2.7";
    let house = House::open().await;
    assert_eq!(house.ask(lines).await.json()["remote"], "127.0.0.1");
    let house = House::with(|http| http.trust_forwarded = true, |_| {}).await;
    assert_eq!(house.ask(lines).await.json()["remote"], "192.0.2.7");
}
