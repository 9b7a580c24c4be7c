//! Several nodes under test: processes of one descriptor, with PostgreSQL and NATS of their own.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;
use tessera_test_services::{Nats, Postgres, TestDatabase, first_party};

use crate::{
    binary,
    gateway::{Backend, Gateway},
    http,
    server::{Options, Server, free_address},
};

/// The plug-ins of the embedded descriptor.
///
/// # Panics
/// The repository is not where it was built.
#[must_use]
#[expect(clippy::expect_used, reason = "tests of a repository that is not there cannot go on")]
pub fn plugins() -> Vec<String> {
    first_party(&binary::workspace()).expect("config/default.toml")
}

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Name and plug-ins of each node.
    pub nodes: Vec<(String, Vec<String>)>,
    /// More lines of the descriptor, for tables that nothing else here has.
    pub more: String,
    /// In place of the testing descriptor.
    pub testing: Option<String>,
    /// The Host with which nodes are asked whether they answer, where no tenant takes any host.
    pub host: Option<String>,
    /// The release build instead of the debug build.
    pub release: bool,
    /// PostgreSQL and NATS of this cluster alone, which may be killed, with commits that are synced. Otherwise those
    /// that `TESSERA_TEST_POSTGRES` and `TESSERA_TEST_NATS` name serve where they are set.
    pub own_services: bool,
}

impl Layout {
    /// `count` nodes named `n1`, `n2`, …; every plug-in runs in two of them, so that no node has all of them and none
    /// is needed.
    #[must_use]
    pub fn ring(count: usize) -> Self {
        let mut nodes: Vec<(String, Vec<String>)> =
            (1..=count).map(|number| (format!("n{number}"), Vec::new())).collect();
        for (index, plugin) in plugins().into_iter().enumerate() {
            for step in 0..count.min(2) {
                if let Some((_, run)) = nodes.get_mut((index + step) % count) {
                    run.push(plugin.clone());
                }
            }
        }
        Self::of(nodes)
    }

    /// Any nodes.
    #[must_use]
    pub fn of(nodes: Vec<(String, Vec<String>)>) -> Self {
        Self {
            nodes,
            more: String::new(),
            testing: None,
            host: None,
            release: false,
            own_services: false,
        }
    }

    /// `count` nodes that run every plug-in.
    #[must_use]
    pub fn replicas(count: usize) -> Self {
        let all = plugins();
        let nodes = (1..=count).map(|number| (format!("n{number}"), all.clone())).collect();
        Self::of(nodes)
    }

    /// The same, with services that may be killed.
    #[must_use]
    pub fn with_own_services(mut self) -> Self {
        self.own_services = true;
        self
    }
}

/// PostgreSQL and NATS of a cluster.
#[derive(Debug)]
pub struct Services {
    /// The database; it goes with this.
    pub database: TestDatabase,
    /// The server, where it is this cluster's own.
    pub postgres: Option<Arc<Postgres>>,
    /// The server, where it is this cluster's own.
    pub nats: Option<Nats>,
    nats_url: String,
    prefix: String,
}

impl Services {
    /// Servers that nobody else uses.
    ///
    /// # Errors
    /// A program is missing or does not come up.
    pub fn own() -> Result<Self> {
        let postgres = Arc::new(Postgres::durable().map_err(missing)?);
        let database = TestDatabase::on(&postgres).map_err(missing)?;
        let nats = Nats::start().map_err(missing)?;
        let nats_url = nats.url();
        Ok(Self {
            database,
            postgres: Some(postgres),
            nats: Some(nats),
            nats_url,
            prefix: prefix(),
        })
    }

    /// Servers that others may use too, with a database and a bus prefix of our own.
    ///
    /// # Errors
    /// A program is missing or does not come up.
    pub fn shared() -> Result<Self> {
        let database = TestDatabase::new().map_err(missing)?;
        let (nats, nats_url) = match std::env::var("TESSERA_TEST_NATS") {
            Ok(url) => (None, url),
            Err(_) => {
                let nats = Nats::start().map_err(missing)?;
                let url = nats.url();
                (Some(nats), url)
            }
        };
        Ok(Self { database, postgres: None, nats, nats_url, prefix: prefix() })
    }

    /// `[storage]` of the descriptor.
    #[must_use]
    pub fn storage(&self) -> String {
        format!("[storage]\nengine = \"postgres\"\nurl = {:?}\n", self.database.url())
    }

    /// `[bus]` of the descriptor.
    #[must_use]
    pub fn bus(&self) -> String {
        format!(
            "[bus]\nengine = \"nats\"\nservers = [{:?}]\nprefix = {:?}\n",
            self.nats_url, self.prefix
        )
    }
}

/// What clusters on one NATS server are told apart by.
fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn missing(failure: String) -> anyhow::Error {
    anyhow!("{failure}; `cargo xtask doctor` says how to install what is missing")
}

/// Running nodes. Dropping it kills them and their servers and removes the folder.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in the order of the layout.
    pub nodes: Vec<Server>,
    /// What they need.
    pub services: Services,
    metrics: Vec<SocketAddr>,
    names: Vec<String>,
    folder: TempDir,
}

impl Cluster {
    /// Starts everything and waits until each node answers.
    ///
    /// # Errors
    /// A server or node does not start; the message carries the end of its log.
    pub async fn start(layout: &Layout) -> Result<Self> {
        let mut cluster = Self::prepare(layout)?;
        cluster.boot().await?;
        Ok(cluster)
    }

    /// Starts PostgreSQL and NATS and writes the descriptor; the nodes are not started yet.
    ///
    /// # Errors
    /// A server does not start.
    pub fn prepare(layout: &Layout) -> Result<Self> {
        let services = if layout.own_services { Services::own()? } else { Services::shared()? };
        let folder = tempfile::Builder::new().prefix("tessera-cluster-").tempdir()?;
        let testing = match &layout.testing {
            Some(text) => Some(text.clone()),
            None => binary::testing_config().map(fs::read_to_string).transpose()?,
        };
        let mut text = testing.unwrap_or_default();
        let data = folder.path().join("data");
        let plugins = binary::plugins()?;
        let (storage, bus) = (services.storage(), services.bus());
        write!(
            text,
            "\n[server]\ndata = {data:?}\nplugins = {plugins:?}\n\n{storage}\n{bus}\n{}\n",
            layout.more
        )?;
        if !layout.more.contains("[tenant") {
            text.push_str("\n[tenant]\nname = \"hs1\"\n");
        }
        let config = folder.path().join("tessera.toml");
        let (mut nodes, mut metrics, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (name, run) in &layout.nodes {
            let (listen, metric) = (free_address()?, free_address()?);
            write!(
                text,
                "\n[nodes.{name}]\nrun = {run:?}\nlisteners = [{{ address = \"{listen}\" }}]\nmetrics = \"{metric}\"\n"
            )?;
            let options = if layout.release { Options::release()? } else { Options::testing()? };
            nodes.push(Server::prepare(Options {
                config: Some(config.clone()),
                node: Some(name.clone()),
                listen: Some(listen),
                host: layout.host.clone(),
                plugins: None,
                ..options
            })?);
            metrics.push(metric);
            names.push(name.clone());
        }
        fs::write(&config, text)?;
        Ok(Self { nodes, services, metrics, names, folder })
    }

    /// Starts the nodes that do not run and waits until each answers.
    ///
    /// # Errors
    /// A node does not answer; the message carries the end of its log.
    pub async fn boot(&mut self) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|node| node.pid().is_none()) {
            node.spawn()?;
        }
        for (node, name) in self.nodes.iter_mut().zip(&self.names) {
            node.answers().await.with_context(|| format!("node {name}"))?;
        }
        Ok(())
    }

    /// Kills all nodes with SIGKILL.
    ///
    /// # Errors
    /// One does not run.
    pub async fn kill9(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.kill9().await?;
        }
        Ok(())
    }

    /// `http://127.0.0.1:PORT` of each node.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The URL of a page on a node's metrics listener, such as `/ready`.
    #[must_use]
    pub fn metrics_url(&self, node: usize, path: &str) -> String {
        self.metrics.get(node).map(|address| format!("http://{address}{path}")).unwrap_or_default()
    }

    /// The descriptor.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("tessera.toml")
    }

    /// The folder that the nodes share.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A load balancer before the nodes that gives each request to another one.
    ///
    /// # Errors
    /// No port is free.
    pub async fn gateway(&self) -> Result<Gateway> {
        let backends = self.nodes.iter().enumerate().map(|(index, node)| Backend {
            url: node.url(),
            ready: self.metrics_url(index, "/ready"),
        });
        Gateway::start(backends.collect()).await
    }

    /// Waits until each node says that it is ready.
    ///
    /// # Errors
    /// One is not within a minute.
    pub async fn ready(&self) -> Result<()> {
        for index in 0..self.nodes.len() {
            http::wait_for_200(&self.metrics_url(index, "/ready")).await?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Each node prints the end of its own log.
            eprintln!(
                "the descriptor was:\n{}",
                fs::read_to_string(self.config()).unwrap_or_default()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, plugins};

    #[test]
    fn every_plugin_of_a_ring_runs_in_two_nodes() {
        let ring = Layout::ring(3);
        for plugin in plugins() {
            let nodes = ring.nodes.iter().filter(|(_, run)| run.contains(&plugin));
            assert_eq!(nodes.count(), 2, "{ring:?}");
        }
        assert!(ring.nodes.iter().all(|(_, run)| run.len() < plugins().len()), "{ring:?}");
        assert_eq!(Layout::ring(1).nodes[0].1, plugins());
    }
}
