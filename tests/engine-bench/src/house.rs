//! An engine and a tenant with the fixtures, in a folder of their own.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tessera_blobs::{BlobConfig, BlobStore, Blobs};
use tessera_bus::{Bus, BusConfig, TenantWake};
use tessera_engine::{
    Crypto, Engine, EngineConfig, Fetch, HookSettings, PasswordCost, Passwords, Plugin,
    PluginLimits, PluginSpec, Tenant, TenantParts, TenantQuotas,
};
use tessera_storage::{Database, DatabaseConfig};

/// The tenant's name.
pub(crate) const TENANT: &str = "bench";
/// The plug-in that answers.
pub(crate) const PROVIDER: &str = "bench-provider";
/// The plug-in that calls it.
pub(crate) const CALLER: &str = "bench-caller";

pub(crate) struct House {
    pub(crate) registry: prometheus::Registry,
    pub(crate) bus: Bus,
    pub(crate) blobs: Blobs,
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) plugins: Vec<Plugin>,
    engine: Engine,
    database: Database,
    fetch: Arc<dyn Fetch>,
    crypto: Arc<Crypto>,
    _dir: TempDir,
}

impl House {
    /// Loads and links both fixtures of calls; `change` may change their limits.
    pub(crate) async fn open(fixtures: &Path, change: impl Fn(&mut PluginLimits)) -> Result<Self> {
        let house = Self::with(fixtures, &[CALLER, PROVIDER]).await?;
        let spec = |plugin: &Plugin| {
            let mut spec = PluginSpec::asked(plugin.clone());
            change(&mut spec.limits);
            spec
        };
        house.tenant.install(house.plugins.iter().map(spec).collect())?;
        Ok(house)
    }

    /// Loads fixtures; the tenant has none of them yet.
    pub(crate) async fn with(fixtures: &Path, names: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let registry = prometheus::Registry::new();
        let engine = Engine::new(EngineConfig::below(dir.path()), &registry)?;
        let bus = Bus::new(BusConfig::default());
        let wake = Arc::new(TenantWake::new(bus.clone(), TENANT));
        let file = dir.path().join("bench.db");
        let database = Database::open(&file, DatabaseConfig::default(), wake).await?;
        let blobs =
            BlobStore::open(&dir.path().join("blobs"), BlobConfig::default())?.tenant(TENANT)?;
        let cost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1, at_once: 1 };
        let fetch = tessera_http::FetchClient::new(&tessera_manifest::Fetch::default())?;
        let fetch: Arc<dyn Fetch> = Arc::new(fetch);
        let crypto = Arc::new(Crypto::open(&dir.path().join("key"), Passwords::new(cost)?)?);
        let parts = |name: &str| parts(name, &database, &bus, &blobs, &fetch, &crypto);
        let tenant = Tenant::new(&engine, parts(TENANT));
        let plugins =
            names.iter().map(|name| load(&engine, fixtures, name)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            registry,
            bus,
            blobs,
            tenant,
            plugins,
            engine,
            database,
            fetch,
            crypto,
            _dir: dir,
        })
    }

    /// Loads one more fixture.
    pub(crate) fn load(&self, fixtures: &Path, name: &str) -> Result<Plugin> {
        load(&self.engine, fixtures, name)
    }

    /// Loads a fixture under another name: its own with the last letter replaced by a digit.
    pub(crate) fn copy(&self, fixtures: &Path, name: &str, digit: u8) -> Result<Plugin> {
        let mut bytes = read(fixtures, name)?;
        let line = format!("name = \"{name}\"");
        let at = bytes.windows(line.len()).position(|window| window == line.as_bytes());
        let last = at.context("no name in the manifest")? + line.len() - 2;
        *bytes.get_mut(last).context("no such byte")? = b'0' + digit;
        Ok(Plugin::load(&self.engine, &format!("copy {digit} of {name}"), &bytes)?)
    }

    /// A tenant with these plug-ins, on the same database.
    pub(crate) fn tenant(&self, name: &str, specs: Vec<PluginSpec>) -> Result<Arc<Tenant>> {
        let parts = parts(name, &self.database, &self.bus, &self.blobs, &self.fetch, &self.crypto);
        let tenant = Tenant::new(&self.engine, parts);
        tenant.install(specs)?;
        Ok(tenant)
    }

    /// Another tenant with the same plug-ins, on the same database: what a tenant costs the engine.
    pub(crate) fn another(&self, name: &str) -> Result<Arc<Tenant>> {
        let specs = self.plugins.iter().map(|plugin| PluginSpec::asked(plugin.clone())).collect();
        self.tenant(name, specs)
    }
}

fn parts(
    name: &str,
    database: &Database,
    bus: &Bus,
    blobs: &Blobs,
    fetch: &Arc<dyn Fetch>,
    crypto: &Arc<Crypto>,
) -> TenantParts {
    TenantParts {
        name: name.to_owned(),
        database: database.clone(),
        bus: bus.clone(),
        blobs: blobs.clone(),
        fetch: Arc::clone(fetch),
        mail: None,
        crypto: Arc::clone(crypto),
        limits: std::collections::BTreeMap::new(),
        calls: 64,
        hooks: HookSettings::default(),
        quotas: TenantQuotas::default(),
        remote: None,
    }
}

fn load(engine: &Engine, fixtures: &Path, name: &str) -> Result<Plugin> {
    Ok(Plugin::load(engine, &format!("{name}.wasm"), &read(fixtures, name)?)?)
}

fn read(fixtures: &Path, name: &str) -> Result<Vec<u8>> {
    let file = fixtures.join(format!("{name}.wasm"));
    std::fs::read(&file)
        .with_context(|| format!("{}: make it with `cargo xtask build --fixtures`", file.display()))
}
