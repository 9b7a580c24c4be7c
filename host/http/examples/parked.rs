//! What a parked request costs this process: `cargo run --release -p tessera-http --example parked [CLIENTS [TOPICS]]`.
//!
//! Clients are bare sockets of the same process, which cost it next to nothing but a descriptor.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a measuring tool")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tessera_blobs::{BlobConfig, BlobStore};
use tessera_bus::Bus;
use tessera_engine::api::{
    Answer, BoxFuture, CallError, Credentials, Denial, Dispatch, Grant, Message, Parked, Principal,
    Request, Response, ResponseBody, WakeReason,
};
use tessera_http::{Edge, OneSite, PluginRoutes, RouteTable, Server, Site};

const MANIFEST: &str = "
name = 'app'
version = '0.1.0'
[authenticators.token]
reads = 'head'
[http]
routes = [{ id = 'park', methods = ['GET'], paths = ['/sync'], auth = 'token' }]
";

struct Parks {
    bus: Bus,
    topics: usize,
}

type Asked<T> = BoxFuture<'static, Result<T, CallError>>;

impl Dispatch for Parks {
    fn authenticate<'a>(
        &'a self,
        _: &'a str,
        credentials: Credentials,
    ) -> BoxFuture<'a, Result<Result<Option<Grant>, Denial>, CallError>> {
        let user =
            credentials.headers.iter().find(|(name, _)| name == "authorization").unwrap().1.clone();
        let topics = vec![format!("session:{user}"), format!("sessions:{user}")];
        let principal = Principal {
            user,
            device: Some("DEVICE".into()),
            service: None,
            marks: vec![],
            unlimited: false,
            rates: Vec::new(),
        };
        Box::pin(async move { Ok(Ok(Some(Grant { principal, cache_ms: 60_000, topics }))) })
    }

    fn handle<'a>(
        &'a self,
        _: &'a str,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, CallError>> {
        let user = request.principal.unwrap().user;
        // Half of the topics are a user's own, the other half are shared.
        let topics: Vec<String> = (0..self.topics)
            .map(|n| if n % 2 == 0 { format!("room:{user}:{n}") } else { format!("room:{n}") })
            .collect();
        let watch = self.bus.watch("t", &topics).unwrap();
        let parked = Parked { watch, timeout: Duration::from_secs(600), state: vec![1; 200] };
        Box::pin(async move { Ok(Answer::Park(parked)) })
    }

    fn resume<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a str,
        _: Vec<u8>,
        _: WakeReason,
        _: Option<Principal>,
    ) -> BoxFuture<'a, Result<Answer, CallError>> {
        let body = ResponseBody::Bytes(b"{}".to_vec());
        Box::pin(async move { Ok(Answer::Done(Response { status: 200, headers: vec![], body })) })
    }

    fn consume<'a>(
        &'a self,
        _: &'a str,
        _: Vec<Message>,
    ) -> BoxFuture<'a, Result<Result<u32, String>, CallError>> {
        none()
    }

    fn fire<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
        none()
    }

    fn start<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
        none()
    }
}

fn none<T: 'static>() -> Asked<T> {
    Box::pin(async { Err(CallError::Unavailable("not here".to_owned())) })
}

/// Resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let clients = arguments.next().unwrap_or(5_000);
    let topics = arguments.next().unwrap_or(100);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bus = Bus::default();
    let dir = tempfile::tempdir().unwrap();
    let manifest = toml::from_str(MANIFEST).unwrap();
    let settings = tessera_manifest::Http::default();
    let routes =
        RouteTable::build(&[PluginRoutes { manifest: &manifest }], &settings, &Default::default())
            .unwrap();
    let blobs = BlobStore::open(dir.path(), BlobConfig::default()).unwrap().tenant("t").unwrap();
    let site = Site {
        tenant: "t".into(),
        dispatch: Arc::new(Parks { bus: bus.clone(), topics }),
        blobs,
        routes: Arc::new(routes),
        quotas: Default::default(),
    };
    let sites = OneSite::new(site);
    let edge = Edge::new(settings, bus.clone(), sites, &prometheus::Registry::new()).unwrap();
    let server = runtime
        .block_on(Server::bind(
            edge,
            vec!["127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()],
        ))
        .unwrap();
    let address = server.addresses()[0];
    let _running = runtime.block_on(async { server.start() });

    let park = |n: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "GET /sync?since=s123456&timeout=30000 HTTP/1.1\r\nhost: example.org\r\nauthorization: Bearer {n:040}\r\n\
             user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0\r\n\
             accept: application/json\r\naccept-encoding: gzip, deflate, br\r\naccept-language: en\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    // The first ones pay for what is there once.
    let per_client = topics + 4;
    let mut held: Vec<TcpStream> = (0..200).map(park).collect();
    wait(&bus, held.len() * per_client);
    let before = resident();
    // In groups, so that the queue of connections to accept never overflows.
    for first in (200..200 + clients).step_by(200) {
        held.extend((first..(first + 200).min(200 + clients)).map(park));
        wait(&bus, held.len() * per_client);
    }
    let after = resident();
    println!(
        "{clients} parked requests with {topics} topics each: {:.1} KiB each ({} KiB in all)",
        (after - before) as f64 / clients as f64,
        after - before
    );

    if topics < 2 {
        return;
    }
    let began = Instant::now();
    bus.notify("t", &["room:1"]);
    let fired = began.elapsed();
    for stream in &mut held {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).unwrap();
    }
    println!(
        "one topic wakes all {}: notify {:.1} ms, last answer after {:.0} ms",
        held.len(),
        fired.as_secs_f64() * 1e3,
        began.elapsed().as_secs_f64() * 1e3
    );
}

fn wait(bus: &Bus, subscriptions: usize) {
    while bus.subscriptions() < subscriptions {
        std::thread::yield_now();
    }
}
