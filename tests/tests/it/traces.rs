//! Spans that reach an OpenTelemetry collector.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value,
};
use prost::Message;
use reqwest::Method;
use serde_json::json;
use tessera_tests::{
    api::Session,
    binary,
    cluster::{Cluster, Layout},
    http,
    server::{Options, Server},
};

/// A trace and a span that a client brings.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// How long spans may take to arrive: they are sent each second.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    /// `service.instance.id` of who sent it.
    node: String,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// A collector; its URL, and what it has got.
async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let router = Router::new().route("/v1/traces", post(collect)).with_state(Arc::clone(&spans));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, spans)
}

async fn collect(State(spans): State<Spans>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let text = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute.key == key);
            let value = found.and_then(|attribute| attribute.value.clone()?.value);
            match value {
                Some(Value::StringValue(text)) => text,
                _ => String::new(),
            }
        };
        assert_eq!(text("service.name"), "traced");
        let node = text("service.instance.id");
        let found = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.lock().unwrap().extend(found.map(|span| Span {
            trace: span.trace_id,
            id: span.span_id,
            parent: span.parent_span_id,
            name: span.name,
            node: node.clone(),
        }));
    }
}

fn settings(url: &str) -> String {
    format!(
        "\n[tracing]\notlp = {url:?}\nsample = 1.0\nservice = \"traced\"\n\
         \n[http]\ntrust-forwarded = true\n"
    )
}

async fn server(url: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tessera.toml");
    let testing = binary::testing_config().map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&config, testing.unwrap_or_default() + &settings(url)).unwrap();
    let options = Options { config: Some(config), ..Options::testing().unwrap() };
    (folder, Server::start_with(options).await.unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Names and nodes from the root of a span's trace to it.
fn path(spans: &[Span], of: &Span) -> Vec<(String, String)> {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (&span.id, span)).collect();
    let mut path = Vec::new();
    let mut next = Some(of);
    while let Some(span) = next {
        assert_eq!(span.trace, of.trace);
        path.push((span.name.clone(), span.node.clone()));
        next = by_id.get(&span.parent).copied();
    }
    path.reverse();
    path
}

/// Waits until a span with such a path has arrived; gives its trace.
async fn wait_for(spans: &Spans, fits: impl Fn(&[(String, String)]) -> bool) -> Vec<u8> {
    let until = Instant::now() + PATIENCE;
    loop {
        let got = spans.lock().unwrap().clone();
        if let Some(found) = got.iter().find(|span| fits(&path(&got, span))) {
            return found.trace.clone();
        }
        let names: Vec<_> = got.iter().map(|span| &span.name).collect();
        assert!(Instant::now() < until, "no such span among {}: {names:?}", names.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn names(path: &[(String, String)]) -> Vec<&str> {
    path.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn one_trace_holds_a_request_from_the_edge_to_sql() {
    let (url, spans) = collector().await;
    let (_folder, server) = server(&url).await;
    let http = http::client().unwrap();
    let user = Session::register(&http, &server.url(), "traced").await.unwrap();
    user.create_room(&json!({})).await.unwrap();
    wait_for(&spans, |path| names(path) == ["request", "call", "commit"]).await;
    // From one plug-in to another: the room is told of the new name.
    let name = format!("/profile/{}/displayname", user.user_id);
    user.put(&name, &json!({"displayname": "Traced"})).await.unwrap();
    wait_for(&spans, |path| names(path) == ["request", "call", "call", "commit"]).await;
}

#[tokio::test]
async fn a_request_keeps_the_trace_that_it_brings() {
    let (url, spans) = collector().await;
    let (_folder, server) = server(&url).await;
    let versions = format!("{}/_matrix/client/versions", server.url());
    let http = http::client().unwrap();
    let traced = |flags: &str| {
        let parent = format!("00-{TRACE}-{PARENT}-{flags}");
        http.request(Method::GET, &versions).header("traceparent", parent).send()
    };
    assert_eq!(traced("01").await.unwrap().status().as_u16(), 200);
    let until = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    while found.is_empty() {
        assert!(Instant::now() < until, "no span of the client's trace");
        tokio::time::sleep(Duration::from_millis(50)).await;
        found =
            spans.lock().unwrap().iter().filter(|span| span.trace == hex(TRACE)).cloned().collect();
    }
    let root = found.iter().find(|span| span.parent == hex(PARENT)).unwrap();
    assert_eq!(root.name, "request");
    // A client that says no is not traced; one asked later says when all before has been sent.
    spans.lock().unwrap().clear();
    assert_eq!(traced("00").await.unwrap().status().as_u16(), 200);
    let later = http.get(&versions).send().await.unwrap();
    assert_eq!(later.status().as_u16(), 200);
    let other = wait_for(&spans, |path| names(path).starts_with(&["request"])).await;
    assert_ne!(other, hex(TRACE));
    assert!(spans.lock().unwrap().iter().all(|span| span.trace != hex(TRACE)));
}

#[tokio::test]
async fn one_trace_goes_through_nodes() {
    let (url, spans) = collector().await;
    let mut layout = Layout::ring(3);
    layout.more = settings(&url);
    let cluster = Cluster::start(&layout).await.unwrap();
    let http = http::client().unwrap();
    // Whatever the plug-in, one of the three nodes does not run it.
    for (n, node) in cluster.urls().iter().enumerate() {
        let user = Session::register(&http, node, &format!("traced{n}")).await.unwrap();
        user.create_room(&json!({})).await.unwrap();
    }
    wait_for(&spans, |path| {
        let (Some((first, edge)), Some((last, end))) = (path.first(), path.last()) else {
            return false;
        };
        first == "request" && last == "commit" && edge != end && !edge.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_one_warning() {
    // Bound once, so that it was free; nobody listens there now.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (_folder, mut server) = server(&url).await;
    let http = http::client().unwrap();
    let versions = format!("{}/_matrix/client/versions", server.url());
    let said = || server.log().matches("spans cannot be sent").count();
    let until = Instant::now() + PATIENCE;
    // Over several tries of sending.
    let mut quiet = None;
    while quiet.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(3)) {
        assert!(Instant::now() < until, "no warning in:\n{}", server.log());
        assert_eq!(http.get(&versions).send().await.unwrap().status().as_u16(), 200);
        if said() > 0 && quiet.is_none() {
            quiet = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(said(), 1, "{}", server.log());
    assert!(server.stop(PATIENCE).await.unwrap().success());
}
