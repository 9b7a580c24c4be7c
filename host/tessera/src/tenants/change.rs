//! Tenants come and go while the server runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tessera_manifest::{TenantEntry, TenantName};
use tessera_storage::now_ms;

use super::{
    Entry, Origin, Registry, Stores, Tenants,
    archive::{self, Progress},
    hosts::claims,
    registry::Made,
};

/// How long other nodes may take to close a tenant that is suspended or removed.
const OTHERS: Duration = Duration::from_secs(30);

impl Tenants {
    /// A tenant by its name, or a word about those there are.
    pub(crate) fn known(&self, name: &str) -> Result<Arc<Entry>> {
        self.entry(name).with_context(|| unknown(name))
    }

    /// Adds a tenant and starts it once, so that what is wrong with it is told now. Gives what the operator should
    /// know.
    pub(crate) async fn add(&self, name: &TenantName, entry: TenantEntry) -> Result<Vec<String>> {
        let mut notes = self.check_new(name.as_str(), &entry)?;
        let fresh = !self.host.stores.has_data(name.as_str()).await?;
        if !fresh {
            if self.registry.is_debris(name.as_str()).await? {
                bail!(being_made(name.as_str()));
            }
            notes.push(format!("there are data of `{name}` from before; they are served again"));
        } else if !self.registry.begin_debris(name.as_str()).await? {
            bail!(being_made(name.as_str()));
        }
        let made = Made { name: name.clone(), entry, created_ms: now_ms() };
        if !self.registry.add(&made).await? {
            if fresh {
                self.registry.end_debris(name.as_str()).await?;
            }
            bail!("there is a tenant `{name}` already; `tessera tenant show {name}` shows it");
        }
        if let Err(error) = self.start_made(name.as_str()).await {
            self.unmake(name.as_str(), fresh).await?;
            return Err(error).with_context(|| format!("`{name}` does not start; it is not added"));
        }
        Ok(notes)
    }

    /// Wakes a tenant that was just entered into the registry.
    async fn start_made(&self, name: &str) -> Result<()> {
        self.reload().await?;
        self.wake_at_leisure(&self.known(name)?).await?;
        Ok(())
    }

    /// Whether a tenant of this name and with these hosts may be added. Gives what the operator should know.
    pub(super) fn check_new(&self, name: &str, entry: &TenantEntry) -> Result<Vec<String>> {
        if let Some(there) = self.entry(name) {
            bail!(
                "there is a tenant `{name}` already{}; `tessera tenant show {name}` shows it",
                standing_in(there.origin)
            );
        }
        self.host.plugins().settle(name, entry)?;
        let entries = self.entries();
        for claim in claims(name, &entry.hosts) {
            for other in &entries {
                // One without hosts has that of its name, also while it still answers to every host.
                if claims(&other.name, &other.settings.hosts).contains(&claim) {
                    bail!(
                        "the host `{}` is one of `{}`; give `{name}` others with --host HOST",
                        shown(&claim),
                        other.name
                    );
                }
            }
        }
        let mut notes = Vec::new();
        if let [other] = entries.as_slice()
            && other.settings.hosts.is_empty()
        {
            notes.push(format!(
                "`{}` answered to every host until now; beside another tenant it answers to the host of its name only",
                other.name
            ));
        }
        Ok(notes)
    }

    /// Suspends a tenant, or lets it go on. False: it was so already.
    pub(crate) async fn set_suspended(&self, name: &str, suspended: bool) -> Result<bool> {
        let entry = self.known(name)?;
        if entry.is_suspended() == suspended {
            return Ok(false);
        }
        self.registry.suspend(name, suspended).await?;
        self.reload().await?;
        if suspended {
            self.closed_by_others(name).await?;
        }
        Ok(true)
    }

    /// Removes a tenant that was made while the server ran, with all it has; keeps an export unless told not to.
    /// Gives the export's file.
    pub(crate) async fn remove(
        &self,
        name: &str,
        export: Option<PathBuf>,
        progress: &Progress,
    ) -> Result<Option<PathBuf>> {
        let entry = self.known(name)?;
        if entry.origin != Origin::Made {
            bail!(
                "`{name}` stands in the descriptor ({}): take it out there and start anew; its data stay until `tessera tenant add` and `remove`",
                table(name, entry.origin)
            );
        }
        if !self.set_suspended(name, true).await? {
            // It may have been suspended this moment, elsewhere.
            self.closed_by_others(name).await?;
        }
        if let Some(file) = &export {
            self.export(name, file.clone(), progress)
                .await
                .context("it is not removed, only suspended, since it cannot be exported")?;
        }
        self.unmake(name, true).await?;
        Ok(export)
    }

    /// Forgets a made tenant, and with `data` all it has.
    pub(super) async fn unmake(&self, name: &str, data: bool) -> Result<()> {
        let entry = self.entry(name);
        self.registry.remove(name, data).await?;
        self.reload().await?;
        self.closed_by_others(name).await?;
        // Held by whoever still opens or closes it here.
        let _gate = match &entry {
            Some(entry) => Some(entry.gate.lock().await),
            None => None,
        };
        // Closing may have noted when it is due.
        self.registry.forget(name).await?;
        if data {
            self.host.stores.remove(name).await?;
            self.registry.end_debris(name).await?;
        }
        Ok(())
    }

    /// Waits until no other node has a tenant open.
    async fn closed_by_others(&self, name: &str) -> Result<()> {
        let until = Instant::now() + OTHERS;
        loop {
            let open = self.registry.awake_elsewhere(name).await?;
            if open.is_empty() || Instant::now() > until {
                if !open.is_empty() {
                    tracing::warn!(tenant = name, nodes = open.join(", "), "still open there");
                }
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Removes what was not finished to make or to remove when the process ended.
    pub(crate) async fn clear_debris(&self) -> Result<()> {
        for name in self.registry.debris().await? {
            if self.entry(&name).is_none() {
                tracing::info!(
                    tenant = name,
                    "removing what is left of a tenant that was not finished"
                );
                // The others are served all the same; it is tried again at the next start.
                if let Err(error) = self.host.stores.remove(&name).await {
                    tracing::error!(tenant = name, "what is left of it is not removed: {error:#}");
                    continue;
                }
            }
            self.registry.end_debris(&name).await?;
        }
        Ok(())
    }

    /// Writes all that a tenant has into a file, also while it is in use.
    pub(crate) async fn export(
        &self,
        name: &str,
        file: PathBuf,
        progress: &Progress,
    ) -> Result<archive::End> {
        let entry = self.known(name)?;
        if entry.is_suspended() {
            // Nobody opens it meanwhile.
            let _gate = entry.gate.lock().await;
            return archive::export_closed(
                &self.host.stores,
                name,
                &entry.settings,
                file,
                progress,
            )
            .await;
        }
        let running = self.wake(&entry).await?;
        let source = archive::Source {
            name,
            entry: &entry.settings,
            database: &running.database,
            blobs: &running.blobs,
            key: self.host.stores.key(name),
        };
        archive::export(source, file, progress).await
    }

    /// Makes a tenant of an exported file; `over` goes before the file's settings. Gives what the operator should know.
    pub(crate) async fn import(
        &self,
        file: PathBuf,
        over: archive::Over,
        progress: &Progress,
    ) -> Result<(TenantName, Vec<String>)> {
        let header = archive::check(&file, progress).await?;
        let name = header.tenant.clone();
        let entry = over.over(header.entry);
        let notes = self.check_new(name.as_str(), &entry)?;
        if self.host.stores.has_data(name.as_str()).await? {
            bail!(
                "there are data of `{name}` from before; `tessera tenant add {name}` and `tessera tenant remove {name}` removes them"
            );
        }
        let made = Made { name: name.clone(), entry, created_ms: now_ms() };
        take_in(&self.host.stores, &self.registry, &file, &made, progress).await?;
        if let Err(error) = self.start_made(name.as_str()).await {
            self.unmake(name.as_str(), true).await?;
            let error = error.context(format!("`{name}` does not start"));
            return Err(error.context("nothing was imported"));
        }
        Ok((name, notes))
    }
}

/// Unpacks an exported file, checked before, and enters its tenant. What an end in the middle leaves is removed.
pub(super) async fn take_in(
    stores: &Stores,
    registry: &Registry,
    file: &Path,
    made: &Made,
    progress: &Progress,
) -> Result<()> {
    let name = made.name.as_str();
    if !registry.begin_debris(name).await? {
        bail!(being_made(name));
    }
    if let Err(error) = archive::unpack(stores, file, name, progress).await {
        stores.remove(name).await?;
        registry.end_debris(name).await?;
        return Err(error.context("nothing was imported"));
    }
    // Where this fails nobody knows whether it was added: if not, the next start removes what was unpacked.
    if !registry.add(made).await? {
        // What is there is that tenant's now.
        registry.end_debris(name).await?;
        bail!("nothing was imported: there is a tenant `{name}` already");
    }
    Ok(())
}

pub(super) fn being_made(name: &str) -> String {
    format!("`{name}` is just being made or removed; try again when that is done")
}

pub(super) fn unknown(name: &str) -> String {
    format!("there is no tenant `{name}`; `tessera tenant list` shows them")
}

pub(super) fn standing_in(origin: Origin) -> &'static str {
    match origin {
        Origin::Made => "",
        Origin::Lone | Origin::File => " in the descriptor",
    }
}

fn table(name: &str, origin: Origin) -> String {
    match origin {
        Origin::Lone => "[tenant]".to_owned(),
        Origin::File | Origin::Made => format!("[tenants.\"{name}\"]"),
    }
}

pub(super) fn shown(claim: &tessera_manifest::Host) -> String {
    tessera_manifest::HostPattern { host: claim.clone(), port: None }.to_string()
}
