//! Settings of the bus between nodes, and why it could not be joined.

use std::path::PathBuf;
use std::time::Duration;

/// How a node joins its cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// NATS servers, `nats://[USER[:PASSWORD]@]HOST[:PORT]` or `tls://…`. User and password are taken from the
    /// first that has them.
    pub servers: Vec<String>,
    /// Who we are to NATS, if not told by the URL.
    pub credentials: Credentials,
    /// TLS to the servers.
    pub tls: ClusterTls,
    /// The first part of every subject, and of the stream's name: clusters with different ones may share NATS.
    /// Letters, digits, `-` and `_`.
    pub prefix: String,
    /// The node's name, for people; also letters, digits, `-`, `_` and `.`.
    pub node: String,
    /// Partitions of each durable topic: so many nodes can share its messages. The same on all nodes.
    pub partitions: u16,
    /// Copies that JetStream keeps.
    pub replicas: u8,
    /// The most that JetStream keeps of all topics together, in bytes. What it drops is sent again out of
    /// the database.
    pub stream_bytes: u64,
    /// How long [`crate::Cluster::connect`] tries.
    pub connect_timeout: Duration,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            credentials: Credentials::None,
            tls: ClusterTls::default(),
            prefix: "tessera".to_owned(),
            node: "node".to_owned(),
            partitions: 8,
            replicas: 1,
            stream_bytes: 256 << 20,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Who a node is to NATS.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Nobody, or what the URL says.
    #[default]
    None,
    /// A `.creds` file.
    File(PathBuf),
    /// A file that holds an nkey seed (`SU…`).
    NkeySeed(PathBuf),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::NkeySeed(path) => f.debug_tuple("NkeySeed").field(path).finish(),
        }
    }
}

/// TLS to the NATS servers. PEM files.
#[derive(Debug, Clone, Default)]
pub struct ClusterTls {
    /// Refuse servers without TLS. Implied by `tls://` and by any of the files.
    pub required: bool,
    /// Certificates that a server's must descend from, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Why the cluster could not be joined or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A setting that cannot work.
    #[error("{0}")]
    Setting(String),
    /// No server could be reached.
    #[error("cannot connect to NATS at {servers}: {reason}\n  {hint}")]
    Connect {
        /// The servers tried, without passwords.
        servers: String,
        /// What happened.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// The servers do not keep streams, or not ours.
    #[error("NATS at {servers} does not keep the stream {stream}: {reason}\n  {hint}")]
    Stream {
        /// The servers, without passwords.
        servers: String,
        /// The stream.
        stream: String,
        /// What happened.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// The client has ended.
    #[error("the connection to NATS was closed")]
    Closed,
}
