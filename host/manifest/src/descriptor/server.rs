//! The process itself: folder, listeners, metrics, log, storage, bus.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    num::NonZeroU32,
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Duration, ListenAddr, OrOff};

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
    /// The data folder; relative to the working directory.
    pub data: PathBuf,
    /// The folder of plug-in files; absent: `../plugins` beside the executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<PathBuf>,
    /// Lines shown at the start, such as how to make the first user. `{url}` stands for the first
    /// listener's, `{name}` for the server name.
    pub welcome: String,
}

impl Default for Server {
    fn default() -> Self {
        Self { data: "./data".into(), plugins: None, welcome: String::new() }
    }
}

/// One of `[[listeners]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Listener {
    /// Where to listen.
    pub address: ListenAddr,
}

impl Default for Listener {
    fn default() -> Self {
        Self { address: loopback(8008) }
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
    /// Connections that read; they are opened when needed.
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
}

/// `[bus]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Bus {
    /// What carries messages and wake-ups.
    pub engine: BusEngine,
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
}
