//! Many server names in one process, on SQLite and on PostgreSQL.

mod isolation;
mod lifecycle;
mod separation;

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tessera_tests::{
    api::Session,
    binary,
    cluster::Services,
    http,
    server::{Options, Server},
};

/// Where the tenants' databases are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// A server with the tenants `alpha.example` and `beta.example`.
pub(crate) struct Hosted {
    pub(crate) server: Server,
    pub(crate) http: reqwest::Client,
    /// The database, which must outlive the server.
    services: Option<Services>,
    _folder: TempDir,
}

pub(crate) const ALPHA: &str = "alpha.example";
pub(crate) const BETA: &str = "beta.example";

impl Hosted {
    /// `more`: lines of the descriptor, behind the tables of the two tenants. `edit` changes those of the testing
    /// descriptor.
    pub(crate) async fn start(engine: Engine, more: &str, edit: impl Fn(String) -> String) -> Self {
        let services = (engine == Engine::Postgres).then(|| Services::shared().unwrap());
        let storage = services.as_ref().map(Services::storage).unwrap_or_default();
        let testing = binary::testing_config()
            .map(|path| fs::read_to_string(path).unwrap())
            .unwrap_or_default();
        let testing = edit(testing);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tessera.toml");
        let tenants = format!("[tenants.{ALPHA:?}]\n\n[tenants.{BETA:?}]\n");
        fs::write(&config, format!("{testing}\n{storage}\n{tenants}\n{more}\n")).unwrap();
        let options = Options {
            config: Some(config),
            host: Some(ALPHA.to_owned()),
            server_name: String::new(),
            ..Options::testing().unwrap()
        };
        let server = Server::start_with(options).await.unwrap();
        let http = http::client_of_hosts().unwrap();
        Self { server, http, services, _folder: folder }
    }

    /// PostgreSQL, where the databases are there.
    pub(crate) fn services(&self) -> &Services {
        self.services.as_ref().expect("this one is on SQLite")
    }

    /// The base URL of a tenant.
    pub(crate) fn url(&self, tenant: &str) -> String {
        format!("http://{tenant}:{}", self.server.address().port())
    }

    pub(crate) async fn user(&self, tenant: &str, name: &str) -> Session {
        Session::register(&self.http, &self.url(tenant), name).await.unwrap()
    }

    /// What `tessera tenant …` writes.
    pub(crate) async fn tenant(&self, arguments: &[&str]) -> String {
        let words: Vec<&str> = ["tenant"].iter().chain(arguments).copied().collect();
        self.server.tool(&words).await.unwrap()
    }

    /// `tessera tenant … --json`.
    pub(crate) async fn tenant_json(&self, arguments: &[&str]) -> Value {
        let words: Vec<&str> = arguments.iter().chain(&["--json"]).copied().collect();
        let said = self.tenant(&words).await;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said:?}"))
    }
}
