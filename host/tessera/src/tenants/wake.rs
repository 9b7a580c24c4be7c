//! How a tenant wakes: its database is opened, its plug-ins are linked, its deliveries begin.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use arc_swap::ArcSwap;
use tessera_bus::{Attached, Bus, TenantWake};
use tessera_engine::{
    Crypto, Engine, LimitClass, Mail, PasswordCost, Passwords, Plugin, PluginSpec, Prepared,
    Tenant, TenantParts,
};
use tessera_http::{FetchClient, Site};
use tessera_mail::Relay;
use tessera_manifest::{ByteSize, Descriptor, Quotas, TenantEntry};
use tessera_storage::{Database, ExposedView, FullTextIndex, InstallError, PluginSchema};

use crate::cluster::Member;

use super::{
    deliveries::{Deliveries, Places},
    running::Running,
    settled::{Plugins, Settled},
    stores::Stores,
};

/// What all tenants of this process share.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) bus: Bus,
    /// What joins this process with others, where it is one of several.
    pub(crate) member: Option<Member>,
    /// Another takes its place when the descriptor is read again.
    plugins: ArcSwap<Plugins>,
    /// Held by tenants that wake; by whoever changes the plug-ins, while no tenant may wake.
    pub(crate) changing: tokio::sync::RwLock<()>,
    pub(crate) stores: Stores,
    pub(crate) fetch: Arc<FetchClient>,
    mail: Option<Arc<dyn Mail>>,
    passwords: Arc<Passwords>,
    limits: BTreeMap<String, LimitClass>,
}

impl Host {
    /// Takes together what was made before.
    pub(crate) fn new(
        engine: Engine,
        bus: Bus,
        member: Option<Member>,
        plugins: Plugins,
        stores: Stores,
    ) -> Result<Self> {
        let descriptor = plugins.descriptor();
        let fetch = Arc::new(FetchClient::new(&descriptor.fetch)?);
        let mail = Relay::new(&descriptor.mail)?.map(|relay| Arc::new(relay) as _);
        let passwords = Passwords::new(password_cost(descriptor))?;
        let limits = limits(descriptor);
        let plugins = ArcSwap::from_pointee(plugins);
        let changing = tokio::sync::RwLock::default();
        Ok(Self { engine, bus, member, plugins, changing, stores, fetch, mail, passwords, limits })
    }

    /// The plug-ins that tenants have now.
    pub(crate) fn plugins(&self) -> Arc<Plugins> {
        self.plugins.load_full()
    }

    /// Tenants that wake have these from now on. The caller holds `changing`.
    pub(crate) fn replace(&self, plugins: Arc<Plugins>) {
        self.plugins.store(plugins);
    }

    /// Opens what the tenant has, links its plug-ins and starts its deliveries. `first`: its schemas are brought up to
    /// date and its plug-ins told to start, which is needed once in a process.
    pub(crate) async fn wake(
        &self,
        name: &str,
        entry: &TenantEntry,
        first: bool,
    ) -> Result<Running> {
        let held = self.plugins();
        let settled = held.settle(name, entry)?;
        let quotas = held.quotas(entry);
        let (wake, attached) = match &self.member {
            None => (TenantWake::new(self.bus.clone(), name), None),
            Some(member) => {
                let attached = member.cluster.attach(&self.bus, name).await?;
                (TenantWake::shared(&attached), Some(attached))
            }
        };
        let database = self.stores.database(name, &quotas, Arc::new(wake)).await?;
        if let Some(attached) = &attached {
            let database = database.clone();
            attached.on_horizon(move |horizon| database.horizon_seen(horizon));
        }
        match self.start(&held, (name, quotas), settled, &database, attached, first).await {
            Ok(running) => Ok(running),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    async fn start(
        &self,
        held: &Plugins,
        (name, quotas): (&str, Quotas),
        settled: Settled,
        database: &Database,
        attached: Option<Attached>,
        first: bool,
    ) -> Result<Running> {
        let Settled { plugins, specs, hooks, routes } = settled;
        self.must_have_key(name, database).await?;
        // Before the tables: where there are rows there was a key.
        let (key, passwords) = (self.stores.key(name), Arc::clone(&self.passwords));
        // A key that is made is synced to the disk.
        let crypto = tokio::task::spawn_blocking(move || Crypto::open(&key, passwords))
            .await
            .context("opening the key failed")??;
        if first {
            self.install_all(name, database, &specs).await?;
        }
        let descriptor = held.descriptor();
        let blobs = self.stores.blobs(name, quotas.blob_bytes.map(ByteSize::get)).await?;
        let tenant = Tenant::new(
            &self.engine,
            TenantParts {
                name: name.to_owned(),
                database: database.clone(),
                bus: self.bus.clone(),
                blobs: blobs.clone(),
                fetch: Arc::clone(&self.fetch) as _,
                mail: self.mail.clone(),
                crypto: Arc::new(crypto),
                limits: self.limits.clone(),
                calls: descriptor.engine.calls.get(),
                hooks,
                quotas: (&quotas).into(),
                remote: self.member.as_ref().map(Member::remote),
            },
        );
        let prepared = tenant.prepare(specs, None).context("the plug-ins do not fit together")?;
        if first {
            begin(&prepared).await?;
        }
        tenant.switch(prepared);
        let places = Places { bus: &self.bus, attached: attached.as_ref(), database };
        let runs = |plugin: &Plugin| held.runs(plugin);
        let deliveries =
            Deliveries::start(&descriptor.bus, places, &tenant, &plugins, runs).await?;
        if let Some(attached) = &attached {
            attached.relay(database.clone());
        }
        let site = Site {
            tenant: name.into(),
            dispatch: Arc::clone(&tenant) as _,
            blobs: blobs.clone(),
            routes,
            quotas,
        };
        Ok(Running::new(tenant, database.clone(), blobs, deliveries, attached, site))
    }

    /// Refuses to make a new signing key for data that were signed with another: others would not believe them any more.
    async fn must_have_key(&self, name: &str, database: &Database) -> Result<()> {
        let key = self.stores.key(name);
        // Looked for twice: another node may make key and rows this moment.
        if key.exists() || database.usage().await?.rows == 0 || key.exists() {
            return Ok(());
        }
        bail!(
            "the signing key {} is missing, but `{name}` has data: put the key back from a backup\n  if it is lost for good, write a new one there: a line `ed25519:ID SEED`, where SEED is 32 random bytes in base64 without `=`",
            key.display()
        )
    }

    /// Brings the tables of all plug-ins up to date, and those of versions that are tried beside them.
    pub(crate) async fn install_all(
        &self,
        tenant: &str,
        database: &Database,
        specs: &[PluginSpec],
    ) -> Result<()> {
        for spec in specs {
            let tried = spec.trial.as_ref().map(|trial| &trial.spec.plugin);
            for plugin in std::iter::once(&spec.plugin).chain(tried) {
                if let Some(schema) = schema(plugin) {
                    self.install(tenant, database, schema).await?;
                }
            }
        }
        Ok(())
    }

    /// Brings a plug-in's tables up to date. Beside other processes a newer version may have done so already, which adds
    /// to what this one knows: nodes are upgraded one after the other.
    async fn install(&self, tenant: &str, database: &Database, schema: PluginSchema) -> Result<()> {
        match database.install(schema).await {
            Err(error @ InstallError::Newer { .. }) if self.member.is_some() => {
                tracing::warn!(tenant, "{error}; going on, because another node runs that version");
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

/// Calls the `start` of all that are new.
pub(crate) async fn begin(prepared: &Prepared) -> Result<()> {
    prepared.start().await.map_err(|error| {
        let plugin = &error.plugin;
        anyhow!("{error}\n  its settings are in `[plugins.{plugin}.config]` of the descriptor")
    })
}

fn password_cost(descriptor: &Descriptor) -> PasswordCost {
    let cost = &descriptor.crypto.password_cost;
    PasswordCost {
        memory_kib: u32::try_from(cost.memory.get() >> 10).unwrap_or(u32::MAX),
        passes: cost.passes.get(),
        lanes: cost.lanes.get(),
        at_once: cost.at_once.get(),
    }
}

/// What a plug-in wants in the database; none for one that stores nothing.
fn schema(plugin: &Plugin) -> Option<PluginSchema> {
    let storage = &plugin.manifest.storage;
    if plugin.migrations.is_empty() && storage.exposes.is_empty() && storage.full_text.is_empty() {
        return None;
    }
    let exposes = storage.exposes.iter().map(|view| ExposedView { name: view.to_string() });
    let full_text = storage.full_text.iter().map(|index| FullTextIndex { name: index.to_string() });
    Some(PluginSchema {
        plugin: plugin.manifest.name.table_prefix(),
        version: plugin.version().to_string(),
        migrations: plugin.migrations.clone(),
        exposes: exposes.collect(),
        full_text: full_text.collect(),
    })
}

fn limits(descriptor: &Descriptor) -> BTreeMap<String, LimitClass> {
    let class = |class: &tessera_manifest::LimitClass| LimitClass {
        per_second: class.per_second,
        burst: class.burst.get(),
    };
    descriptor.limits.iter().map(|(name, limit)| (name.to_string(), class(limit))).collect()
}
