use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tessera_blobs::{BlobConfig, BlobStore, Blobs};
use tessera_engine::{Fetch as _, FetchBody, FetchError, FetchGrants, FetchRequest, FetchResponse};
use tessera_http::FetchClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

struct World {
    client: FetchClient,
    grants: FetchGrants,
    blobs: Blobs,
    _dir: TempDir,
}

fn world(settings: &str, origins: &[&str]) -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
    let blobs = store.tenant("example.org").unwrap();
    let client = FetchClient::new(&toml::from_str(settings).unwrap()).unwrap();
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    World { client, grants: FetchGrants { origins }, blobs, _dir: dir }
}

/// Loopback is open, as in a test setting.
fn open() -> World {
    world("allow = ['127.0.0.0/8']", &["http://*"])
}

fn get(url: impl Into<String>) -> FetchRequest {
    FetchRequest {
        method: "GET".to_owned(),
        url: url.into(),
        headers: Vec::new(),
        body: FetchBody::None,
        timeout: Duration::from_secs(10),
        max_bytes: 1 << 20,
        connect_to: None,
        server_name: None,
        into_blob: false,
    }
}

impl World {
    async fn send(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        self.client.send(request, &self.grants, &self.blobs).await
    }
}

/// A server for one connection: gives `answer` and tells what it got.
async fn server(answer: &'static [u8]) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let length = stream.read(&mut chunk).await.unwrap();
            got.extend_from_slice(&chunk[..length]);
            let text = String::from_utf8_lossy(&got);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break;
            }
        }
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(got).unwrap()
    });
    (port, task)
}

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nX-Kind: plain\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let (port, server) = server(HELLO).await;
    let world = open();
    let mut request = get(format!("http://127.0.0.1:{port}/a?b"));
    request.method = "POST".to_owned();
    request.headers.push(("X-Mine".to_owned(), "1".to_owned()));
    request.body = FetchBody::Bytes(b"body".to_vec());
    let response = world.send(request).await.unwrap();
    assert_eq!((response.status, response.body), (200, FetchBody::Bytes(b"hello".to_vec())));
    assert!(response.headers.contains(&("x-kind".to_owned(), "plain".to_owned())));
    let got = server.await.unwrap();
    assert!(got.starts_with("POST /a?b HTTP/1.1\r\n"), "{got}");
    assert!(got.contains("x-mine: 1\r\n") && got.ends_with("\r\n\r\nbody"), "{got}");
}

#[tokio::test]
async fn bodies_go_to_and_come_from_blobs() {
    let (port, server) = server(HELLO).await;
    let world = open();
    let id = world.blobs.put(Bytes::from_static(b"from a blob")).await.unwrap();
    let mut request = get(format!("http://127.0.0.1:{port}/"));
    request.method = "PUT".to_owned();
    request.body = FetchBody::Blob(id.to_string());
    request.into_blob = true;
    let FetchBody::Blob(id) = world.send(request).await.unwrap().body else { panic!("no blob") };
    assert_eq!(world.blobs.read(id.parse().unwrap(), 0, 99).await.unwrap(), "hello");
    let got = server.await.unwrap();
    assert!(got.contains("content-length: 11\r\n") && got.ends_with("from a blob"), "{got}");
}

#[tokio::test]
async fn what_is_not_granted_is_refused() {
    let world = world("allow = ['127.0.0.0/8']", &["https://example.org", "http://127.0.0.1:9"]);
    for url in [
        "http://example.org/",
        "https://example.com/",
        "https://a.example.org",
        "http://127.0.0.1:10/",
    ] {
        let error = world.send(get(url)).await.unwrap_err();
        assert!(
            matches!(&error, FetchError::Refused(text) if text.contains("not granted")),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_named() {
    let world = world("", &["http://*", "https://*"]);
    for url in [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest",
    ] {
        let error = world.send(get(url)).await.unwrap_err();
        assert!(
            matches!(&error, FetchError::Refused(text) if text.contains("guard")),
            "{url}: {error}"
        );
    }
    for place in ["127.0.0.1:80", "localhost:80", "[::1]:80", "[::ffff:10.0.0.1]"] {
        let mut request = get("http://example.org/");
        request.connect_to = Some(place.to_owned());
        let error = world.send(request).await.unwrap_err();
        assert!(matches!(&error, FetchError::Refused(_)), "{place}: {error}");
    }
}

#[tokio::test]
async fn a_request_may_connect_elsewhere_and_keeps_its_host() {
    let (port, server) = server(HELLO).await;
    let mut request = get("http://server.example:8448/path");
    request.connect_to = Some(format!("127.0.0.1:{port}"));
    request.server_name = Some("of-no-use-without-tls.example".to_owned());
    assert_eq!(open().send(request).await.unwrap().status, 200);
    let got = server.await.unwrap();
    assert!(got.starts_with("GET /path HTTP/1.1\r\n"), "{got}");
    assert!(got.contains("host: server.example:8448\r\n"), "{got}");
}

#[tokio::test]
async fn a_detour_does_not_lead_past_the_grants() {
    let grants = ["https://granted.example", "http://granted.example"];
    let world = world("allow = ['127.0.0.0/8']", &grants);
    let ask = |url: &str, name: Option<&str>| {
        let mut request = get(url);
        request.connect_to = Some("127.0.0.1:1".to_owned());
        request.server_name = name.map(str::to_owned);
        world.send(request)
    };
    for (url, name) in [
        ("https://granted.example/", Some("other.example")),
        ("http://granted.example/", None),
        ("http://granted.example/", Some("granted.example")),
    ] {
        let error = ask(url, name).await.unwrap_err();
        assert!(matches!(&error, FetchError::Refused(text) if text.contains("granted")), "{error}");
    }
    // The certificate says who it is, wherever it stands.
    for name in [None, Some("granted.example")] {
        let error = ask("https://granted.example/", name).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable(_)), "{error}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let answer =
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
    let (port, _server) = server(answer).await;
    let response = open().send(get(format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(response.status, 302);
}

#[tokio::test]
async fn an_answer_over_the_cap_is_refused_announced_or_not() {
    for answer in [HELLO, b"HTTP/1.1 200 OK\r\n\r\nhello"] {
        for into_blob in [false, true] {
            let (port, _server) = server(answer).await;
            let mut request = get(format!("http://127.0.0.1:{port}/"));
            (request.max_bytes, request.into_blob) = (4, into_blob);
            assert_eq!(open().send(request).await.unwrap_err(), FetchError::TooLarge);
        }
    }
}

#[tokio::test]
async fn no_answer_in_time_and_no_server_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut request = get(format!("http://127.0.0.1:{port}/"));
    request.timeout = Duration::from_millis(50);
    assert_eq!(open().send(request.clone()).await.unwrap_err(), FetchError::Timeout);
    drop(listener);
    request.timeout = Duration::from_secs(10);
    let error = open().send(request).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn what_is_malformed_is_told() {
    let world = open();
    let change = |change: fn(&mut FetchRequest)| {
        let mut request = get("http://127.0.0.1:1/");
        change(&mut request);
        request
    };
    for request in [
        change(|request| request.url = "nonsense".to_owned()),
        change(|request| request.url = "ftp://127.0.0.1/".to_owned()),
        change(|request| request.url = "http://user:pass@127.0.0.1/".to_owned()),
        change(|request| request.method = "GET /".to_owned()),
        change(|request| request.headers.push(("a b".to_owned(), String::new()))),
        change(|request| request.headers.push(("a".to_owned(), "b\r\nc: d".to_owned()))),
        change(|request| request.headers.push(("Host".to_owned(), "other".to_owned()))),
        change(|request| request.headers.push(("a".to_owned(), "b\0".to_owned()))),
        change(|request| request.headers.push(("Keep-Alive".to_owned(), "timeout=9".to_owned()))),
        change(|request| request.headers = vec![("a".to_owned(), "b".to_owned()); 30_000]),
        change(|request| request.method = "CONNECT".to_owned()),
        change(|request| request.method = "TRACE".to_owned()),
        change(|request| request.body = FetchBody::Blob("none such".to_owned())),
        change(|request| request.connect_to = Some("127.0.0.1:port".to_owned())),
    ] {
        let error = world.send(request.clone()).await.unwrap_err();
        assert!(matches!(error, FetchError::Invalid(_)), "{request:?}: {error}");
    }
}

#[test]
fn a_file_of_authorities_that_is_not_there_is_named() {
    let settings = toml::from_str("ca-file = '/none/such.pem'").unwrap();
    let error = FetchClient::new(&settings).err().unwrap();
    assert!(error.to_string().starts_with("[fetch] ca-file /none/such.pem: "), "{error}");
}
