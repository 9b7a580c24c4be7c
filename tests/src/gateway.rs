//! A load balancer as it stands before nodes: each request goes to the next node that says it is ready.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::http;

/// How often nodes are asked whether they are ready.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The largest body that is passed on.
const BODY_MAX: usize = 64 << 20;

/// A node.
#[derive(Debug, Clone)]
pub struct Backend {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The page that answers 200 while it takes requests.
    pub ready: String,
}

/// A running load balancer; dropping it ends it.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<Node>,
    client: reqwest::Client,
    next: AtomicUsize,
    failures: AtomicU64,
}

#[derive(Debug)]
struct Node {
    backend: Backend,
    ready: AtomicBool,
    answered: AtomicU64,
}

impl Gateway {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(backends: Vec<Backend>) -> Result<Self> {
        let nodes = backends
            .into_iter()
            .map(|backend| Node {
                backend,
                ready: AtomicBool::new(true),
                answered: AtomicU64::new(0),
            })
            .collect();
        // A connection for each request: an idle one that a node closes as it stops would lose a request.
        let client = http::builder().pool_max_idle_per_host(0).build().context("HTTP client")?;
        let (next, failures) = (AtomicUsize::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { nodes, client, next, failures });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let asking = shared.clone();
        let tasks = vec![
            tokio::spawn(async move {
                let _ = axum::serve(listener, router).await;
            }),
            tokio::spawn(async move { asking.ask().await }),
        ];
        Ok(Self { address, shared, tasks })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests each node has answered.
    #[must_use]
    pub fn answered(&self) -> Vec<u64> {
        self.shared.nodes.iter().map(|node| node.answered.load(Ordering::Relaxed)).collect()
    }

    /// How many requests no node answered.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    async fn ask(&self) {
        loop {
            for node in &self.nodes {
                let ask = self.client.get(&node.backend.ready).timeout(Duration::from_secs(2));
                let ready = ask.send().await.is_ok_and(|answer| answer.status().as_u16() == 200);
                node.ready.store(ready, Ordering::Relaxed);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// All nodes in the order in which they are tried: those that are ready first.
    fn order(&self) -> Vec<&Node> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.nodes.len().max(1);
        let mut order: Vec<&Node> =
            self.nodes.iter().cycle().skip(first % count).take(count).collect();
        order.sort_by_key(|node| !node.ready.load(Ordering::Relaxed));
        order
    }
}

/// Passes a request on. Another node is tried only where the connection was refused: then nothing was sent.
async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return plain(StatusCode::BAD_REQUEST, "the body did not arrive".to_owned());
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let headers = end_to_end(&head.headers);
    let mut reason = String::from("no node");
    for node in shared.order() {
        let asked = shared
            .client
            .request(head.method.clone(), format!("{}{path}", node.backend.url))
            .headers(headers.clone())
            .body(body.clone())
            .send()
            .await;
        match asked {
            Ok(answer) => match answered(answer).await {
                Ok(response) => {
                    node.answered.fetch_add(1, Ordering::Relaxed);
                    return response;
                }
                Err(error) => reason = format!("{}: {error:#}", node.backend.url),
            },
            Err(error) => {
                let refused = error.is_connect();
                reason = format!("{}: {:#}", node.backend.url, anyhow::Error::from(error));
                if refused {
                    continue;
                }
            }
        }
        break;
    }
    shared.failures.fetch_add(1, Ordering::Relaxed);
    eprintln!("gateway: {} {path}: {reason}", head.method);
    plain(StatusCode::BAD_GATEWAY, reason)
}

async fn answered(answer: reqwest::Response) -> Result<Response> {
    let (status, headers) = (answer.status(), end_to_end(answer.headers()));
    let body: Bytes = answer.bytes().await.context("reading the answer")?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The headers that are not about one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP: [HeaderName; 4] =
        [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::TE];
    let mut kept = headers.clone();
    for name in HOP {
        kept.remove(name);
    }
    kept
}

fn plain(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
