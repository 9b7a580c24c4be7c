use std::sync::{Arc, Mutex};

use crate::house::House;

#[tokio::test]
async fn each_failure_of_a_call_has_its_answer() {
    let house = House::open().await;
    for (path, status) in [
        ("/trap", 500),
        ("/late", 504),
        ("/busy", 503),
        ("/gone", 503),
        ("/lost", 504),
        ("/panic", 500),
        ("/nonsense", 500),
        ("/fat", 500),
    ] {
        let reply = house.ask(&format!("GET {path}")).await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        assert!(reply.header("x-request-id").is_some(), "{path}");
    }
    assert_eq!(house.figure("tessera_http_panics_total"), 1.0);
    assert_eq!(house.figure("tessera_http_running"), 0.0, "a panic leaks nothing");
    assert_eq!(house.ask("GET /rooms/a").await.status, 200);
}

#[tokio::test]
async fn a_quota_that_a_plug_in_ran_into_says_when_to_come_again() {
    let house = House::open().await;
    let reply = house.ask("GET /quota").await;
    assert_eq!((reply.status, reply.text().as_str()), (429, r#"{"wait":2500}"#));
    assert_eq!(reply.header("retry-after"), Some("3"));
}

#[tokio::test]
async fn the_hosts_trace_headers_reach_no_plug_in() {
    let house = House::open().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let reply = house.ask(&format!("GET /rooms/a\ntraceparent: {parent}\nx-b: c")).await.json();
    let headers = reply["headers"].to_string();
    assert!(headers.contains("x-b") && !headers.contains("traceparent"), "{headers}");
}

#[tokio::test]
async fn a_call_that_never_ends_is_given_up() {
    let house = House::open().await;
    assert_eq!(house.ask("GET /hang").await.status, 504);
}

#[tokio::test]
async fn a_preflight_needs_no_credentials() {
    let house = House::open().await;
    for path in ["/mine", "/nothing", "/rooms/%zz"] {
        let lines =
            format!("OPTIONS {path}\norigin: https://a\naccess-control-request-method: PUT");
        let reply = house.ask(&lines).await;
        assert_eq!(reply.status, 204, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert!(reply.header("access-control-allow-methods").unwrap().contains("PUT"));
        assert!(reply.header("access-control-allow-headers").unwrap().contains("Authorization"));
        assert_eq!(reply.header("access-control-max-age"), Some("86400"));
    }
    assert_eq!(house.ask("OPTIONS /mine").await.status, 204);
}

#[tokio::test]
async fn without_cors_nothing_is_said_of_it() {
    let house = House::with(|http| http.cors.enabled = false, |_| {}).await;
    assert_eq!(house.ask("GET /rooms/a").await.header("access-control-allow-origin"), None);
    assert_eq!(house.ask("OPTIONS /rooms/a").await.status, 405);
}

#[tokio::test]
async fn a_plug_in_sets_headers_but_not_the_hosts_own() {
    let house = House::open().await;
    let reply = house.ask("GET /headers").await;
    assert_eq!(reply.text(), "hello");
    assert_eq!(reply.header("content-length"), Some("5"));
    assert_eq!(reply.header("connection"), None);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://one.example"));
    let twice: Vec<_> = reply.headers.iter().filter(|(name, _)| name == "x-a").collect();
    assert_eq!(twice.len(), 2);
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_that_the_plug_in_sees() {
    let house = House::open().await;
    let first = house.ask("GET /rooms/a\nx-request-id: mine").await;
    let id = first.header("x-request-id").unwrap();
    assert_eq!(first.json()["request_id"], id);
    assert_ne!(id, "mine", "a client does not choose it");
    assert_ne!(house.ask("GET /rooms/a").await.header("x-request-id").unwrap(), id);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let house = House::with(|http| http.head_timeout = "50ms".parse().unwrap(), |_| {}).await;
    for sent in ["", "GET / HTT", "GET / HTTP/1.1\r\nhost: a\r\nx: "] {
        let mut client = house.connect().await;
        client.raw(sent).await;
        assert!(client.closed().await, "{sent:?}");
    }
    house
        .until("connections are gone", |house| house.figure("tessera_http_connections") == 0.0)
        .await;
}

#[tokio::test]
async fn a_connection_may_rest_between_requests_but_not_within_a_head() {
    let house = House::with(|http| http.head_timeout = "50ms".parse().unwrap(), |_| {}).await;
    let mut client = house.connect().await;
    for _ in 0..2 {
        client.send("GET /rooms/a", "").await;
        assert_eq!(client.reply(false).await.status, 200);
        // Time passes.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    // A body and a long wait have times of their own.
    client.raw("POST /rooms/a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na").await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    client.raw("b").await;
    assert_eq!(client.reply(false).await.json()["body"], "ab");
    client.send("GET /park?ms=150\nauthorization: Bearer token", "").await;
    assert_eq!(client.reply(false).await.text(), "first 1 WakeReason::Timeout alice");
    let begun = std::time::Instant::now();
    client.raw("GET /rooms/a HTTP/1.1\r\nx: ").await;
    assert!(client.closed().await);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let house = House::with(|http| http.body_timeout = "100ms".parse().unwrap(), |_| {}).await;
    let id = house.blobs.put(bytes::Bytes::from(vec![7; 64 << 20])).await.unwrap();
    *house.fake.blob.lock().unwrap() = id.to_string();
    let mut client = house.connect().await;
    client.send("GET /blob", "").await;
    house.until("let go", |house| house.figure("tessera_http_connections") == 0.0).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let house = House::open().await;
    let reply = house.ask(&format!("GET /rooms/a\nx-large: {}", "x".repeat(100_000))).await;
    assert_eq!(reply.status, 431);
}

#[tokio::test]
async fn more_requests_at_once_than_allowed_are_refused() {
    let house = House::with(|http| http.max_requests = 1.try_into().unwrap(), |_| {}).await;
    let mut first = house.connect().await;
    first.send("GET /gate", "").await;
    house.fake.begun.notified().await;
    assert_eq!(house.ask("GET /rooms/a").await.status, 503);
    house.fake.gate.add_permits(1);
    assert_eq!(first.reply(false).await.text(), "through");
    assert_eq!(house.ask("GET /rooms/a").await.status, 200);
}

#[tokio::test]
async fn the_native_route_is_there_only_if_it_is_switched_on() {
    let house = House::open().await;
    assert_eq!(house.ask("GET /_tessera/native").await.status, 200);
    let house = House::with(|http| http.native_route = false, |_| {}).await;
    assert_eq!(house.ask("GET /_tessera/native").await.status, 404);
}

#[tokio::test]
async fn http2_is_spoken_with_prior_knowledge() {
    let house = House::open().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let ask = |path: &str| client.get(format!("http://{}{path}", house.address)).send();
    let (first, second) = tokio::join!(ask("/rooms/a"), ask("/mine"));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.version(), reqwest::Version::HTTP_2);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 401));
}

#[tokio::test]
async fn the_routes_are_swapped_while_the_server_runs() {
    let house = House::open().await;
    let mut client = house.connect().await;
    client.send("GET /rooms/a", "").await;
    assert_eq!(client.reply(false).await.status, 200);
    let routes = crate::house::table(&[
        "name = 'app'\nversion = '0.2.0'\n[authenticators.token]\nreads = 'head'\n[http]\n
         routes = [{ id = 'new', methods = ['GET'], paths = ['/new'], auth = 'none' }]",
    ]);
    let mut site = crate::house::site(house.fake.clone(), &house.blobs);
    site.routes = Arc::new(routes.unwrap());
    house.sites.replace(site);
    client.send("GET /rooms/a", "").await;
    assert_eq!(client.reply(false).await.status, 404, "on the same connection");
    client.send("GET /new", "").await;
    assert_eq!(client.reply(false).await.json()["route"], "new");
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_reaches_the_log() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let house = House::open().await;
    house.ask("GET /mine?access_token=sesame&a=b").await;
    house.ask("GET /mine\nauthorization: Bearer sesame").await;
    house.ask("GET /trap?access_token=sesame").await;
    house.ask("GET /nothing?access_token=sesame").await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let own: Vec<_> = text.lines().filter(|line| line.contains("tessera_http")).collect();
    assert!(own.iter().any(|line| line.contains("access_token=<redacted>&a=b")), "{own:#?}");
    assert!(!own.iter().any(|line| line.contains("sesame")), "{own:#?}");
}
