//! Many server names in one process, on SQLite and on PostgreSQL, and in several nodes.

mod isolation;
mod lifecycle;
mod separation;

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tessera_test_services::TestDatabase;
use tessera_tests::{
    api::Session,
    binary,
    cluster::{self, Cluster, Layout, Services},
    http,
    server::{Options, Server},
};

/// Where the tenants are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One process, a file for each.
    Sqlite,
    /// One process, a schema for each.
    Postgres,
    /// Two nodes, of which the first takes the requests and the second runs what the first does not.
    Nodes,
}

/// A server with the tenants `alpha.example` and `beta.example`.
pub(crate) struct Hosted {
    processes: Processes,
    pub(crate) http: reqwest::Client,
    _folder: TempDir,
}

enum Processes {
    One {
        server: Box<Server>,
        /// The database, which must outlive the server.
        services: Option<Services>,
    },
    Nodes(Cluster),
}

pub(crate) const ALPHA: &str = "alpha.example";
pub(crate) const BETA: &str = "beta.example";

impl Hosted {
    /// `more`: lines of the descriptor, behind the tables of the two tenants. `edit` changes those of the testing
    /// descriptor. `plugins`: those that are there besides the usual ones; in nodes the second runs them.
    pub(crate) async fn start(
        place: Place,
        more: &str,
        plugins: &[&str],
        edit: impl Fn(String) -> String,
    ) -> Self {
        let testing = binary::testing_config()
            .map(|path| fs::read_to_string(path).unwrap())
            .unwrap_or_default();
        let testing = edit(testing);
        let more = format!("[tenants.{ALPHA:?}]\n\n[tenants.{BETA:?}]\n\n{more}\n");
        let folder = tempfile::tempdir().unwrap();
        let processes = if place == Place::Nodes {
            let (first, mut second): (Vec<_>, Vec<_>) = cluster::plugins()
                .into_iter()
                .partition(|name| ["accounts", "rooms", "sync"].contains(&name.as_str()));
            second.extend(plugins.iter().map(|name| (*name).to_owned()));
            let layout = Layout {
                more,
                testing: Some(testing),
                host: Some(ALPHA.to_owned()),
                ..Layout::of(vec![("n1".to_owned(), first), ("n2".to_owned(), second)])
            };
            Processes::Nodes(Cluster::start(&layout).await.unwrap())
        } else {
            let services = (place == Place::Postgres).then(|| Services::shared().unwrap());
            let storage = services.as_ref().map(Services::storage).unwrap_or_default();
            let config = folder.path().join("tessera.toml");
            fs::write(&config, format!("{testing}\n{storage}\n{more}")).unwrap();
            let options = Options {
                config: Some(config),
                host: Some(ALPHA.to_owned()),
                server_name: String::new(),
                ..Options::testing().unwrap()
            };
            let server = Box::new(Server::start_with(options).await.unwrap());
            Processes::One { server, services }
        };
        let http = http::client_of_hosts().unwrap();
        Self { processes, http, _folder: folder }
    }

    /// The processes; clients ask the first.
    pub(crate) fn servers(&self) -> &[Server] {
        match &self.processes {
            Processes::One { server, .. } => std::slice::from_ref(&**server),
            Processes::Nodes(cluster) => &cluster.nodes,
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.servers()[0]
    }

    /// What all processes wrote.
    pub(crate) fn log(&self) -> String {
        self.servers().iter().map(Server::log).collect()
    }

    /// The folder that they keep things in.
    pub(crate) fn data(&self) -> PathBuf {
        match &self.processes {
            Processes::One { server, .. } => server.data(),
            Processes::Nodes(cluster) => cluster.folder().join("data"),
        }
    }

    /// PostgreSQL, where the databases are there.
    pub(crate) fn database(&self) -> &TestDatabase {
        match &self.processes {
            Processes::One { services, .. } => &services.as_ref().unwrap().database,
            Processes::Nodes(cluster) => &cluster.services.database,
        }
    }

    /// The base URL of a tenant.
    pub(crate) fn url(&self, tenant: &str) -> String {
        self.urls(tenant).remove(0)
    }

    /// The base URL of a tenant at each process.
    pub(crate) fn urls(&self, tenant: &str) -> Vec<String> {
        let port = |server: &Server| server.address().port();
        self.servers().iter().map(|server| format!("http://{tenant}:{}", port(server))).collect()
    }

    pub(crate) async fn user(&self, tenant: &str, name: &str) -> Session {
        Session::register(&self.http, &self.url(tenant), name).await.unwrap()
    }

    /// What `tessera tenant …` writes.
    pub(crate) async fn tenant(&self, arguments: &[&str]) -> String {
        let words: Vec<&str> = ["tenant"].iter().chain(arguments).copied().collect();
        self.server().tool(&words).await.unwrap()
    }

    /// `tessera tenant … --json`.
    pub(crate) async fn tenant_json(&self, arguments: &[&str]) -> Value {
        let words: Vec<&str> = arguments.iter().chain(&["--json"]).copied().collect();
        let said = self.tenant(&words).await;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said:?}"))
    }
}
