//! The tenant: its database, keys, blobs and plug-ins.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, bail};
use tessera_blobs::{BlobConfig, BlobStore, Blobs};
use tessera_bus::{Bus, TenantWake};
use tessera_engine::{
    Crypto, Engine, HookSettings, LimitClass, PasswordCost, Plugin, PluginSpec, Tenant,
    TenantParts, api::Dispatch,
};
use tessera_manifest::Descriptor;
use tessera_storage::{Database, DatabaseConfig, ExposedView, FullTextIndex, PluginSchema};

use crate::folder::DataFolder;

/// A tenant at work.
pub(crate) struct Running {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) database: Database,
    pub(crate) blobs: Blobs,
}

/// Opens what the tenant has, brings its schemas up to date, links and starts its plug-ins.
pub(crate) async fn start(
    descriptor: &Descriptor,
    folder: &DataFolder,
    engine: &Engine,
    bus: &Bus,
    plugins: &[Plugin],
) -> Result<Running> {
    let name = descriptor.tenant.name.as_str();
    warn_of_others(folder, name)?;
    let path = folder.database(name);
    let wake = Arc::new(TenantWake::new(bus.clone(), name));
    let database = Database::open(&path, database_config(descriptor), wake).await?;
    for plugin in plugins {
        if let Some(schema) = schema(plugin) {
            database.install(schema).await?;
        }
    }
    let blobs = BlobStore::open(&folder.path().join("blobs"), BlobConfig::default())
        .and_then(|store| store.tenant(name))
        .context("cannot open the blobs in the data folder")?;
    let cost = &descriptor.crypto.password_cost;
    let cost = PasswordCost {
        memory_kib: u32::try_from(cost.memory.get() >> 10).unwrap_or(u32::MAX),
        passes: cost.passes.get(),
        lanes: cost.lanes.get(),
        at_once: cost.at_once.get(),
    };
    let crypto = Crypto::open(&folder.path().join("keys").join(name), cost)?;
    let fetch = Arc::new(tessera_http::FetchClient::new(&descriptor.fetch)?);
    let tenant = Tenant::new(
        engine,
        TenantParts {
            name: name.to_owned(),
            database: database.clone(),
            bus: bus.clone(),
            blobs: blobs.clone(),
            fetch,
            crypto: Arc::new(crypto),
            limits: limits(descriptor),
            calls: descriptor.engine.calls.get(),
            hooks: hooks(descriptor),
        },
    );
    let specs = plugins.iter().map(|plugin| PluginSpec::of(plugin.clone(), descriptor));
    tenant.install(specs.collect()).context("the plug-ins do not fit together")?;
    for plugin in plugins {
        begin(&tenant, plugin).await?;
    }
    Ok(Running { tenant, database, blobs })
}

/// Calls the plug-in's `start`.
async fn begin(tenant: &Tenant, plugin: &Plugin) -> Result<()> {
    let name = plugin.name();
    match tenant.start(name).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(text)) => bail!(
            "plug-in `{name}` {} does not start: {text}\n  its settings are in `[plugins.{name}.config]` of the descriptor",
            plugin.version()
        ),
        Err(error) => Err(error).with_context(|| format!("plug-in `{name}` does not start")),
    }
}

/// Another server name on the same folder is most likely a mistake.
fn warn_of_others(folder: &DataFolder, name: &str) -> Result<()> {
    let tenants = folder.tenants().context("cannot read the data folder")?;
    if !tenants.is_empty() && !tenants.iter().any(|tenant| tenant == name) {
        tracing::warn!(
            others = tenants.join(", "),
            "the data folder holds other server names, but not `{name}`: starting an empty one"
        );
    }
    Ok(())
}

fn database_config(descriptor: &Descriptor) -> DatabaseConfig {
    let storage = &descriptor.storage;
    DatabaseConfig {
        readers: storage.readers.get() as usize,
        read_queue: storage.read_queue.get() as usize,
        write_queue: storage.write_queue.get() as usize,
        group: storage.group.get() as usize,
        cache_kib: u32::try_from(storage.cache.get() >> 10).unwrap_or(u32::MAX),
        ..DatabaseConfig::default()
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

fn hooks(descriptor: &Descriptor) -> HookSettings {
    let hooks = &descriptor.hooks;
    let enabled = |name: &&tessera_manifest::PluginName| {
        descriptor.plugins.get(*name).is_some_and(|plugin| plugin.enabled)
    };
    let order = hooks.order.iter().map(|(hook, order)| {
        (hook.to_string(), order.iter().filter(enabled).map(ToString::to_string).collect())
    });
    let refusals = hooks.refusals.iter().map(|(hook, refusal)| (hook.to_string(), refusal.clone()));
    HookSettings { order: order.collect(), refusals: refusals.collect() }
}
