//! The process itself: folder, listeners, metrics, log, storage, bus.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    num::NonZeroU32,
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Duration, ListenAddr, Name, OrOff};

const fn loopback(port: u16) -> ListenAddr {
    ListenAddr::new(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))
}

/// A number that is not zero.
pub(crate) const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Server {
    /// The data folder; relative to the working directory. Nodes may share one.
    pub data: PathBuf,
    /// The folder of signing keys, which all nodes must see; absent: `keys` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<PathBuf>,
    /// The folder of blobs, which all nodes must see; absent: `blobs` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<PathBuf>,
    /// The folder of plug-in files; absent: `../plugins` beside the executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<PathBuf>,
    /// Lines shown at the start, such as how to make the first user. `{url}` stands for the first
    /// listener's, `{name}` for the server name.
    pub welcome: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            data: "./data".into(),
            keys: None,
            blobs: None,
            plugins: None,
            welcome: String::new(),
        }
    }
}

/// One of `[[listeners]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Listener {
    /// Where to listen.
    pub address: ListenAddr,
    /// Speak TLS, with this certificate where the client asks for no tenant that has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// A certificate and its key: PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tls {
    /// The certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Listener {
    fn default() -> Self {
        Self { address: loopback(8008), tls: None }
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Metrics {
    /// Where Prometheus may ask, or `"off"`.
    pub address: OrOff<ListenAddr>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { address: OrOff::On(loopback(9008)) }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Log {
    /// A level or a filter in tracing's notation: `"info"`, `"warn,tessera_http=debug"`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// `human` on a terminal, else `json`.
    Auto,
    /// For a person.
    Human,
    /// One JSON object each line.
    Json,
}

/// `[storage]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Storage {
    /// The database.
    pub engine: StorageEngine,
    /// PostgreSQL: `postgres://user:password@host:port/database?sslmode=verify-full`. The
    /// environment variable `TESSERA_STORAGE_URL` goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// PostgreSQL: a file that holds the URL, in place of `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// PostgreSQL: connections of this process, over all tenants; they are opened when needed.
    pub connections: NonZeroU32,
    /// SQLite: connections of a tenant that read; they are opened when needed.
    pub readers: NonZeroU32,
    /// Commits that may wait for the writer; more are refused as `busy`.
    pub write_queue: NonZeroU32,
    /// Queries that may wait for a reader; more are refused as `busy`.
    pub read_queue: NonZeroU32,
    /// Commits that share one durable transaction at most.
    pub group: NonZeroU32,
    /// SQLite's page cache for each connection.
    pub cache: ByteSize,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            engine: StorageEngine::Sqlite,
            url: None,
            url_file: None,
            connections: count(24),
            readers: count(4),
            write_queue: count(1024),
            read_queue: count(4096),
            group: count(128),
            cache: ByteSize::mib(16),
        }
    }
}

/// The database of tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StorageEngine {
    /// One SQLite file for each tenant, in the data folder.
    Sqlite,
    /// One PostgreSQL schema for each tenant, in the database of `url`.
    Postgres,
}

/// `[bus]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Bus {
    /// What carries messages and wake-ups.
    pub engine: BusEngine,
    /// NATS: its servers, such as `nats://127.0.0.1:4222`; user and password may stand in the URL.
    /// The environment variable `TESSERA_BUS_SERVERS` (separated by commas) goes before it.
    pub servers: Vec<String>,
    /// NATS: a credentials file (`.creds`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
    /// NATS: TLS, which a server that asks for it gets in any case.
    pub tls: BusTls,
    /// NATS: what all subjects and streams of this cluster begin with, so that clusters may share a
    /// server.
    pub prefix: Name,
    /// NATS: parts of the topics stream; order holds within a part, and parts are worked on side by
    /// side. The same in all nodes.
    pub partitions: NonZeroU32,
    /// NATS: copies of the topics stream.
    pub replicas: NonZeroU32,
    /// Subscriptions (topics of all watches) at once in this process.
    pub subscriptions: NonZeroU32,
    /// The first wait before a failed message is tried again; it doubles.
    pub retry_first: Duration,
    /// The longest wait between tries.
    pub retry_max: Duration,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            engine: BusEngine::Embedded,
            servers: Vec::new(),
            credentials: None,
            tls: BusTls::default(),
            prefix: tessera(),
            partitions: count(8),
            replicas: count(1),
            subscriptions: count(4_000_000),
            retry_first: Duration::secs(1),
            retry_max: Duration::secs(300),
        }
    }
}

/// What carries messages and wake-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BusEngine {
    /// In this process, out of the database.
    Embedded,
    /// Between processes, over NATS with JetStream.
    Nats,
}

/// `[bus.tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BusTls {
    /// Refuse servers that do not speak TLS.
    pub required: bool,
    /// PEM file of the authorities that are believed; absent: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// PEM file of this process' own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

#[expect(clippy::expect_used, reason = "a constant that fits the grammar")]
fn tessera() -> Name {
    "tessera".parse().expect("`tessera` is a name")
}

/// `[tracing]`: spans of requests, sent to an OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Tracing {
    /// Where the collector takes OTLP over HTTP, such as `http://127.0.0.1:4318`; absent: no tracing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
    /// The part of requests that is traced, from 0 to 1, where the request's own `traceparent` does
    /// not say.
    pub sample: f64,
    /// The name that the collector shows.
    pub service: String,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { otlp: None, sample: 0.01, service: "tessera".to_owned() }
    }
}
