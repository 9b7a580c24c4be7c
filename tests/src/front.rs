//! Servers that many tests share: the same tests on SQLite, on PostgreSQL and on several nodes.

use anyhow::{Result, bail};

use crate::{
    cluster::{Cluster, Layout},
    server::Server,
};

/// What holds the URLs of the servers to test, with commas between them: requests of one test go to all of them.
pub const VARIABLE: &str = "TESSERA_FRONT";

/// A running server, or several that are one.
#[derive(Debug)]
pub enum Running {
    /// One process on SQLite.
    One(Box<Server>),
    /// Nodes on PostgreSQL and NATS.
    Nodes(Box<Cluster>),
}

impl Running {
    /// Starts `sqlite`, `postgres` (one node that runs everything) or `nodes` (three nodes, each plug-in in two of them).
    ///
    /// # Errors
    /// There is no such kind, or it does not start.
    pub async fn start(kind: &str) -> Result<Self> {
        Ok(match kind {
            "sqlite" => Self::One(Box::new(Server::start().await?)),
            "postgres" => Self::Nodes(Box::new(Cluster::start(&Layout::replicas(1)).await?)),
            "nodes" => Self::Nodes(Box::new(Cluster::start(&Layout::ring(3)).await?)),
            other => bail!("`{other}` is none of sqlite, postgres, nodes"),
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        match self {
            Self::One(server) => vec![server.url()],
            Self::Nodes(cluster) => cluster.urls(),
        }
    }

    /// The end of what it logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        match self {
            Self::One(server) => server.log_tail(),
            Self::Nodes(cluster) => {
                cluster.nodes.iter().map(Server::log_tail).collect::<Vec<_>>().join("\n---\n")
            }
        }
    }
}
