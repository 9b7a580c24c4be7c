//! Tenants while no server runs: on the data folder itself.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use tessera_manifest::{Descriptor, TenantEntry, TenantName};
use tessera_storage::now_ms;

use super::{
    Origin, Registry, Stores,
    archive::{self, End, Over, Progress},
    change::{shown, standing_in, take_in, unknown},
    hosts::claims,
    registry::Made,
    report::{Listed, Shown, State, listed},
    stores::Nobody,
};
use crate::folder::DataFolder;

/// The tenants of a folder that this process holds.
pub(crate) struct Offline {
    descriptor: Descriptor,
    stores: Stores,
    registry: Registry,
    _folder: DataFolder,
}

impl Offline {
    /// Opens the host database.
    pub(crate) async fn open(
        descriptor: &Descriptor,
        stores: Stores,
        folder: DataFolder,
    ) -> Result<Self> {
        let database = stores.host_database(Arc::new(Nobody)).await?;
        let registry = Registry::open(database, "").await?;
        let offline = Self { descriptor: descriptor.clone(), stores, registry, _folder: folder };
        let debris = offline.registry.debris().await?;
        let entries = if debris.is_empty() { BTreeMap::new() } else { offline.entries().await? };
        for name in debris {
            if !entries.contains_key(&name) {
                offline.stores.remove(&name).await?;
            }
            offline.registry.end_debris(&name).await?;
        }
        Ok(offline)
    }

    /// Closes what is open.
    pub(crate) async fn close(self) {
        self.registry.close().await;
    }

    async fn entries(&self) -> Result<BTreeMap<String, (TenantEntry, Origin)>> {
        let mut entries = BTreeMap::new();
        for made in self.registry.made().await? {
            entries.insert(made.name.to_string(), (made.entry, Origin::Made));
        }
        if self.descriptor.is_of_many() {
            for (name, entry) in &self.descriptor.tenants {
                entries.insert(name.to_string(), (entry.clone(), Origin::File));
            }
        } else {
            let tenant = &self.descriptor.tenant;
            let entry = TenantEntry { hosts: tenant.hosts.clone(), ..TenantEntry::default() };
            entries.insert(tenant.name.to_string(), (entry, Origin::Lone));
        }
        Ok(entries)
    }

    async fn known(&self, name: &str) -> Result<(TenantEntry, Origin)> {
        self.entries().await?.remove(name).with_context(|| unknown(name))
    }

    /// All, by name.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>> {
        let suspended = self.registry.suspended().await?;
        let entries = self.entries().await?;
        let line = |(name, (entry, origin)): (&String, &(TenantEntry, Origin))| {
            let state = if suspended.contains(name) { State::Suspended } else { State::Down };
            listed(name, entry, *origin, state)
        };
        Ok(entries.iter().map(line).collect())
    }

    /// One.
    pub(crate) async fn show(&self, name: &str) -> Result<Shown> {
        let (entry, _) = self.known(name).await?;
        let listed = self.list().await?.into_iter().find(|listed| listed.name == name);
        Ok(Shown {
            listed: listed.with_context(|| unknown(name))?,
            quotas: entry.quotas.over(&self.descriptor.quotas),
            used: None,
            blob_bytes: self.stores.blob_bytes(name),
            status: Vec::new(),
        })
    }

    /// Whether a tenant of this name and with these hosts may be added.
    async fn check_new(&self, name: &str, entry: &TenantEntry) -> Result<()> {
        let entries = self.entries().await?;
        if let Some((_, origin)) = entries.get(name) {
            bail!("there is a tenant `{name}` already{}", standing_in(*origin));
        }
        let named = entry.plugins.iter().flatten();
        for plugin in named.chain(entry.config.keys()) {
            if !self.descriptor.plugins.get(plugin).is_some_and(|plugin| plugin.enabled) {
                bail!("the descriptor has no plug-in `{plugin}` that is switched on");
            }
        }
        for claim in claims(name, &entry.hosts) {
            for (other, (settings, _)) in &entries {
                if claims(other, &settings.hosts).contains(&claim) {
                    bail!(
                        "the host `{}` is one of `{other}`; give `{name}` others with --host HOST",
                        shown(&claim)
                    );
                }
            }
        }
        Ok(())
    }

    /// Adds a tenant; whether it starts is seen when the server does.
    pub(crate) async fn add(&self, name: &TenantName, entry: TenantEntry) -> Result<()> {
        self.check_new(name.as_str(), &entry).await?;
        let made = Made { name: name.clone(), entry, created_ms: now_ms() };
        if !self.registry.add(&made).await? {
            bail!("there is a tenant `{name}` already");
        }
        Ok(())
    }

    /// Suspends a tenant, or lets it go on. False: it was so already.
    pub(crate) async fn set_suspended(&self, name: &str, suspended: bool) -> Result<bool> {
        self.known(name).await?;
        let before = self.registry.suspended().await?.contains(name);
        self.registry.suspend(name, suspended).await?;
        Ok(before != suspended)
    }

    /// Removes a tenant that was made, with all it has.
    pub(crate) async fn remove(
        &self,
        name: &str,
        export: bool,
        progress: &Progress,
    ) -> Result<Option<PathBuf>> {
        let (_, origin) = self.known(name).await?;
        if origin != Origin::Made {
            bail!("`{name}` stands in the descriptor: take it out there");
        }
        // One that was never started has nothing to keep.
        let export = (export && self.stores.has_data(name).await?)
            .then(|| self.stores.export_file(name))
            .transpose()?;
        if let Some(file) = &export {
            self.export(name, file.clone(), progress)
                .await
                .context("it is not removed, since it cannot be exported")?;
        }
        self.registry.remove(name, true).await?;
        self.registry.forget(name).await?;
        self.stores.remove(name).await?;
        self.registry.end_debris(name).await?;
        Ok(export)
    }

    /// Writes all that a tenant has into a file.
    pub(crate) async fn export(
        &self,
        name: &str,
        file: PathBuf,
        progress: &Progress,
    ) -> Result<End> {
        let (entry, _) = self.known(name).await?;
        if !self.stores.has_data(name).await? {
            bail!("`{name}` has no data yet: it was never started");
        }
        archive::export_closed(&self.stores, name, &entry, file, progress).await
    }

    /// Makes a tenant of an exported file.
    pub(crate) async fn import(
        &self,
        file: PathBuf,
        over: Over,
        progress: &Progress,
    ) -> Result<TenantName> {
        let header = archive::check(&file, progress).await?;
        let name = header.tenant;
        let entry = over.over(header.entry);
        self.check_new(name.as_str(), &entry).await?;
        if self.stores.has_data(name.as_str()).await? {
            bail!("there are data of `{name}` from before in the data folder");
        }
        let made = Made { name: name.clone(), entry, created_ms: now_ms() };
        take_in(&self.stores, &self.registry, &file, &made, progress).await?;
        Ok(name)
    }
}
