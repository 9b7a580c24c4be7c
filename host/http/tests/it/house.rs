//! A server on a free port, and a client that sends bytes as told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::Registry;
use tempfile::TempDir;
use tessera_blobs::{BlobConfig, BlobStore, Blobs};
use tessera_bus::Bus;
use tessera_engine::api::Dispatch;
use tessera_http::{
    Certificates, Edge, Listen, OneSite, PluginRoutes, RouteError, RouteTable, Running, Server,
    Site, Sites,
};
use tessera_manifest::{Http, Name, PluginManifest, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fake::{Fake, TENANT};

const MANIFEST: &str = r#"
name = "app"
version = "0.1.0"

[authenticators.token]
reads = "head"
[authenticators.signature]
reads = "head+body"

[http]
secret-query = ["access_token"]
routes = [
  { id = "room", methods = ["GET", "POST"], paths = ["/rooms/{id}"], auth = "none" },
  { id = "known", methods = ["GET"], paths = ["/rooms/known"], auth = "none" },
  { id = "send", methods = ["PUT"], paths = ["/rooms/{id}/send/{type}/{txn}", "/old/{id}/{type}/{txn}"], auth = "none" },
  { id = "file", methods = ["GET"], paths = ["/files/{*path}"], auth = "none" },
  { id = "mine", methods = ["GET", "DELETE"], paths = ["/mine"] },
  { id = "maybe", methods = ["GET"], paths = ["/optional"], auth-optional = true },
  { id = "signed", methods = ["POST"], paths = ["/signed"], auth = "signature" },
  { id = "small", methods = ["POST"], paths = ["/small"], auth = "none", body-max = "10B" },
  { id = "configured", methods = ["POST"], paths = ["/configured"], auth = "none", body = "blob", body-max = "1KiB", body-max-config = "max" },
  { id = "upload", methods = ["POST"], paths = ["/upload"], auth = "none", body = "blob", body-max = "3MiB" },
  { id = "by-user", methods = ["GET"], paths = ["/by-user"], rate = "user" },
  { id = "by-address", methods = ["GET"], paths = ["/by-address"], auth = "none", rate = "address" },
  { id = "park", methods = ["GET"], paths = ["/park"] },
  { id = "fat", methods = ["GET"], paths = ["/fat"], auth = "none" },
  { id = "trap", methods = ["GET"], paths = ["/trap"], auth = "none" },
  { id = "quota", methods = ["GET"], paths = ["/quota"], auth = "none" },
  { id = "lost", methods = ["GET"], paths = ["/lost"], auth = "none" },
  { id = "late", methods = ["GET"], paths = ["/late"], auth = "none" },
  { id = "busy", methods = ["GET"], paths = ["/busy"], auth = "none" },
  { id = "gone", methods = ["GET"], paths = ["/gone"], auth = "none" },
  { id = "panic", methods = ["GET"], paths = ["/panic"], auth = "none" },
  { id = "hang", methods = ["GET"], paths = ["/hang"], auth = "none", timeout = "10ms" },
  { id = "gate", methods = ["GET"], paths = ["/gate"], auth = "none" },
  { id = "blob", methods = ["GET"], paths = ["/blob"], auth = "none" },
  { id = "parts", methods = ["GET"], paths = ["/parts"], auth = "none" },
  { id = "pieces", methods = ["GET"], paths = ["/pieces"] },
  { id = "nonsense", methods = ["GET"], paths = ["/nonsense"], auth = "none" },
  { id = "headers", methods = ["GET"], paths = ["/headers"], auth = "none" },
]
"#;

const SETTINGS: &str = r#"
default-authenticator = "token"
native-route = true
[answers]
too-many = { status = 429, body = '{"wait":{retry-after-ms}}', headers = { content-type = "application/json" } }
"#;

pub(crate) fn manifest(text: &str) -> PluginManifest {
    toml::from_str(text).unwrap()
}

pub(crate) fn rates() -> BTreeMap<Name, Rate> {
    toml::from_str(
        "user = { per-second = 0.001, burst = 2 }
         address = { per-second = 0.001, burst = 2, by = 'address' }",
    )
    .unwrap()
}

pub(crate) fn settings() -> Http {
    toml::from_str(SETTINGS).unwrap()
}

pub(crate) fn table(texts: &[&str]) -> Result<RouteTable, RouteError> {
    let manifests: Vec<PluginManifest> = texts.iter().map(|text| manifest(text)).collect();
    let plugins: Vec<_> = manifests.iter().map(|manifest| PluginRoutes { manifest }).collect();
    RouteTable::build(&plugins, &settings(), &rates())
}

pub(crate) struct House {
    pub(crate) fake: Arc<Fake>,
    pub(crate) bus: Bus,
    pub(crate) blobs: Blobs,
    pub(crate) sites: Arc<OneSite>,
    pub(crate) edge: Arc<Edge>,
    pub(crate) address: SocketAddr,
    pub(crate) registry: Registry,
    pub(crate) server: Running,
    _dir: TempDir,
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    pub(crate) async fn with(
        change: impl FnOnce(&mut Http),
        change_fake: impl FnOnce(&mut Fake),
    ) -> Self {
        Self::make(change, change_fake, |lone| lone.clone(), None).await
    }

    /// A house whose edge serves what `sites` makes of the lone tenant's site.
    pub(crate) async fn make(
        change: impl FnOnce(&mut Http),
        change_fake: impl FnOnce(&mut Fake),
        sites: impl FnOnce(&Arc<OneSite>) -> Arc<dyn Sites>,
        tls: Option<Arc<dyn Certificates>>,
    ) -> Self {
        Self::on(Bus::default(), change, change_fake, sites, tls).await
    }

    /// The same on this bus.
    pub(crate) async fn on(
        bus: Bus,
        change: impl FnOnce(&mut Http),
        change_fake: impl FnOnce(&mut Fake),
        sites: impl FnOnce(&Arc<OneSite>) -> Arc<dyn Sites>,
        tls: Option<Arc<dyn Certificates>>,
    ) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
        let blobs = store.tenant(TENANT).unwrap();
        let mut fake = Fake::new(bus.clone());
        change_fake(&mut fake);
        let fake = Arc::new(fake);
        let registry = Registry::new();
        let lone = OneSite::new(site(fake.clone(), &blobs));
        let edge = Edge::new(settings, bus.clone(), sites(&lone), &registry).unwrap();
        let listen = Listen { address: "127.0.0.1:0".parse().unwrap(), tls };
        let server = Server::bind(Arc::clone(&edge), vec![listen]).await.unwrap();
        let address = server.addresses()[0];
        let server = server.start();
        Self { fake, bus, blobs, sites: lone, edge, address, registry, server, _dir: dir }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends a request of these lines (the first, then headers) and reads the answer.
    pub(crate) async fn ask(&self, lines: &str) -> Reply {
        self.ask_with(lines, "").await
    }

    pub(crate) async fn ask_with(&self, lines: &str, body: &str) -> Reply {
        let mut client = self.connect().await;
        client.send(lines, body).await;
        client.reply(lines.starts_with("HEAD")).await
    }

    /// A gauge's or counter's value, over all its labels.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        metrics
            .iter()
            .map(|metric| metric.get_gauge().get_value() + metric.get_counter().get_value())
            .sum()
    }

    /// Waits until something holds that has no event of its own.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        while !holds(self) {
            assert!(tokio::time::Instant::now() < patience, "never: {what}");
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn site(dispatch: Arc<dyn Dispatch>, blobs: &Blobs) -> Site {
    let routes = Arc::new(table(&[MANIFEST]).unwrap());
    let (blobs, quotas) = (blobs.clone(), Default::default());
    Site { tenant: TENANT.into(), dispatch, blobs, routes, quotas }
}

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) async fn raw(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn send(&mut self, lines: &str, body: &str) {
        let mut lines = lines.trim().lines().map(str::trim);
        let mut text = format!("{} HTTP/1.1\r\n", lines.next().unwrap());
        if !lines.clone().any(|line| line.starts_with("host:")) {
            text.push_str("host: example.org\r\n");
        }
        for line in lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        self.raw(&format!("{text}\r\n{body}")).await;
    }

    pub(crate) async fn reply(&mut self, head_only: bool) -> Reply {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let mut chunk = [0; 4096];
            let length = self.0.read(&mut chunk).await.unwrap();
            assert!(length > 0, "closed before an answer: {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&chunk[..length]);
        };
        let body = bytes.split_off(head + 4);
        let head = String::from_utf8(bytes).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        let mut reply = Reply { status, headers: headers.collect(), body };
        let length: usize = reply.header("content-length").map_or(0, |text| text.parse().unwrap());
        assert_eq!(reply.header("transfer-encoding"), None, "every length is known");
        while !head_only && reply.body.len() < length {
            let mut chunk = vec![0; length - reply.body.len()];
            let read = self.0.read(&mut chunk).await.unwrap();
            assert!(read > 0, "closed within a body");
            reply.body.extend_from_slice(&chunk[..read]);
        }
        reply
    }

    /// The body of a 200 of unknown length; none if the connection ends before it does.
    pub(crate) async fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n0\r\n\r\n") {
            let mut chunk = [0; 4096];
            match self.0.read(&mut chunk).await.unwrap_or(0) {
                0 => return None,
                read => bytes.extend_from_slice(&chunk[..read]),
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        let (head, mut rest) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut body = Vec::new();
        loop {
            let (length, after) = rest.split_once("\r\n").unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            if length == 0 {
                return Some(body);
            }
            body.extend_from_slice(&after.as_bytes()[..length]);
            rest = after[length..].strip_prefix("\r\n").unwrap();
        }
    }

    pub(crate) async fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.is_err() || rest.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
