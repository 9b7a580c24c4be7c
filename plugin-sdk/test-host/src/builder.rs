//! From plug-ins under test to a running host.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use tessera_manifest::PluginManifest;
use tessera_storage::{
    Database, DatabaseConfig, ExposedView, FullTextIndex, Migration, PluginSchema, Postgres,
    PostgresConfig, SessionGrant, Wake,
};
use tessera_test_services::TestDatabase;

use crate::host::{Home, Installed, Shared, TestHost};
use crate::memory::Memory;
use crate::services::Services;
use crate::wakes::Wakes;

/// A plug-in whose tables and grants a test needs.
#[derive(Debug, Clone, Copy)]
pub struct PluginUnderTest {
    /// Its name, as in the manifest.
    pub name: &'static str,
    /// The text of `plugin.toml`.
    pub manifest: &'static str,
    /// Names and texts of the migrations, in order.
    pub migrations: &'static [(&'static str, &'static str)],
}

/// The same, read from where it stands.
#[derive(Debug)]
struct Given {
    name: String,
    manifest: String,
    migrations: Vec<(String, String)>,
}

/// Collects what a [`TestHost`] starts with.
#[derive(Debug)]
pub struct Builder {
    plugins: Vec<Given>,
    configs: HashMap<String, String>,
    tenant: String,
    now_ms: u64,
    seed: u64,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            plugins: Vec::new(),
            configs: HashMap::new(),
            tenant: "hs1".to_owned(),
            now_ms: 1_700_000_000_000,
            seed: 1,
        }
    }

    /// Adds a plug-in. The first one is the one that acts until [`TestHost::act_as`] says otherwise.
    #[must_use]
    pub fn plugin(mut self, plugin: PluginUnderTest) -> Self {
        let migrations = plugin.migrations.iter();
        self.plugins.push(Given {
            name: plugin.name.to_owned(),
            manifest: plugin.manifest.to_owned(),
            migrations: migrations.map(|(name, sql)| ((*name).into(), (*sql).into())).collect(),
        });
        self
    }

    /// Adds the plug-in of a folder: its `plugin.toml` and all of `migrations/`. Relative to the folder of the crate under test, in which
    /// cargo runs its tests: `.` is the crate itself.
    ///
    /// # Panics
    /// If something there cannot be read; the message names it.
    #[must_use]
    pub fn plugin_in(mut self, folder: &str) -> Self {
        let folder = Path::new(folder);
        let read = |path: &Path| {
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let path = folder.join("plugin.toml");
        let manifest = read(&path);
        let name = PluginManifest::parse(&path.display().to_string(), &manifest)
            .unwrap_or_else(|problem| panic!("{problem}"))
            .name
            .to_string();
        let mut files: Vec<PathBuf> = match std::fs::read_dir(folder.join("migrations")) {
            Ok(entries) => entries.map(|entry| entry.expect("an entry").path()).collect(),
            // A plug-in without tables.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => panic!("{}: {error}", folder.join("migrations").display()),
        };
        files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
        files.sort();
        let named = |file: &PathBuf| {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            (stem, read(file))
        };
        let migrations = files.iter().map(named).collect();
        self.plugins.push(Given { name, manifest, migrations });
        self
    }

    /// The plug-in's section of the descriptor, as JSON. Not given: `[config] default` of its manifest.
    #[must_use]
    pub fn config(mut self, plugin: &str, json: &serde_json::Value) -> Self {
        self.configs.insert(plugin.to_owned(), json.to_string());
        self
    }

    /// The server name; `hs1` if not given.
    #[must_use]
    pub fn tenant(mut self, name: &str) -> Self {
        name.clone_into(&mut self.tenant);
        self
    }

    /// Where the clock stands at first.
    #[must_use]
    pub fn now_ms(mut self, now_ms: u64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// Another sequence of random bytes.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Opens the database, runs the migrations and makes the host answer this thread's calls.
    ///
    /// # Panics
    /// If a manifest or migration is refused; the message says why.
    #[must_use]
    pub fn start(self) -> TestHost {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let memory = Arc::new(Memory::default());
        let wakes = Arc::new(Wakes::new(memory.clone()));
        let (database, home) = runtime.block_on(open(&self.tenant, wakes.clone()));
        let mut plugins = HashMap::new();
        let first = self.plugins.first().map(|plugin| plugin.name.clone()).unwrap_or_default();
        for plugin in &self.plugins {
            let installed = runtime.block_on(install(&database, plugin, &self.configs));
            plugins.insert(plugin.name.clone(), installed);
        }
        let host = TestHost::new(Arc::new(Shared {
            database: Some(database),
            runtime: Some(runtime),
            _home: home,
            plugins,
            tenant: self.tenant,
            now_ms: AtomicU64::new(self.now_ms),
            random: AtomicU64::new(self.seed),
            calls: AtomicUsize::new(0),
            rows: AtomicUsize::new(0),
            horizon: AtomicU64::new(u64::MAX),
            messages: Mutex::default(),
            logs: Mutex::default(),
            services: Mutex::new(Services::default()),
            before_commit: Mutex::default(),
            wakes,
            memory,
        }));
        host.install();
        host.act_as(&first);
        host
    }
}

/// The engine that `TESSERA_TEST_ENGINE` names: `sqlite`, which is the default, or `postgres`, on
/// the server of `TESSERA_TEST_POSTGRES` or on one that is started for the test.
async fn open(tenant: &str, wake: Arc<dyn Wake>) -> (Database, Home) {
    let config = DatabaseConfig::default();
    let engine = std::env::var("TESSERA_TEST_ENGINE").unwrap_or_default();
    let opened = match engine.as_str() {
        "" | "sqlite" => {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("tenant.db");
            Database::open(&path, config, wake)
                .await
                .map(|database| (database, Home::Folder { _folder: folder }))
        }
        "postgres" => {
            let server = TestDatabase::new().expect("PostgreSQL, which TESSERA_TEST_ENGINE wants");
            let few = PostgresConfig { connections: 4, ..PostgresConfig::new(server.url()) };
            match Postgres::connect(few).await {
                Ok(postgres) => postgres.open(tenant, config, wake).await.map(|database| {
                    (database, Home::Server { _postgres: postgres, _database: server })
                }),
                Err(error) => Err(error),
            }
        }
        other => panic!("TESSERA_TEST_ENGINE is {other}: sqlite or postgres"),
    };
    opened.unwrap_or_else(|error| panic!("cannot open the test database: {error}"))
}

async fn install(
    database: &Database,
    plugin: &Given,
    configs: &HashMap<String, String>,
) -> Installed {
    let manifest = PluginManifest::parse(&format!("{}/plugin.toml", plugin.name), &plugin.manifest)
        .unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(manifest.name.as_str(), plugin.name, "the manifest names another plug-in");
    let prefix = manifest.name.table_prefix();
    let text = |names: &[tessera_manifest::ViewName]| -> Vec<String> {
        names.iter().map(|name| name.as_str().to_owned()).collect()
    };
    let schema = PluginSchema {
        plugin: prefix.clone(),
        version: manifest.version.to_string(),
        migrations: plugin
            .migrations
            .iter()
            .map(|(name, sql)| Migration { name: name.clone(), sql: sql.clone() })
            .collect(),
        exposes: text(&manifest.storage.exposes)
            .into_iter()
            .map(|name| ExposedView { name })
            .collect(),
        full_text: manifest
            .storage
            .full_text
            .iter()
            .map(|name| FullTextIndex { name: name.as_str().to_owned() })
            .collect(),
    };
    database.install(schema).await.unwrap_or_else(|error| panic!("{error}"));
    for consume in &manifest.topics.consumes {
        database
            .register_consumer(consume.topic.as_str(), &prefix)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", plugin.name));
    }
    let session = database.session(SessionGrant {
        plugin: prefix.clone(),
        reads: text(&manifest.storage.reads),
        ..SessionGrant::default()
    });
    let config = configs
        .get(&plugin.name)
        .cloned()
        .unwrap_or_else(|| serde_json::Value::Object(manifest.config.default.clone()).to_string());
    Installed { prefix, manifest, session, config }
}
