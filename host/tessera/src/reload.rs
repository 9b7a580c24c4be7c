//! Another descriptor, other plug-ins, other grants: taken up while the server runs, as a whole or not at all.

mod fixed;
pub(crate) mod watch;

use std::sync::{Arc, Weak};

use anyhow::{Context, Result, bail};
use tessera_engine::{Plugin, PluginSpec, Prepared, Reading, api::BoxFuture};
use tessera_http::RouteTable;
use tessera_manifest::{Descriptor, PluginName, Quotas};
use tessera_storage::compatible;

use self::watch::Watches;
use crate::{
    cli::Settings,
    cluster::Node,
    modules::{Overlay, change::Change, version::VersionChange},
    server::load,
    tenants::{self, Entry, Plugins, Running, Tenants},
};

/// Takes up changes, one after the other.
pub(crate) struct Reloader {
    me: Weak<Self>,
    settings: Settings,
    node: Option<String>,
    tenants: Arc<Tenants>,
    /// The descriptor that holds, with its tenants.
    current: tokio::sync::Mutex<Descriptor>,
    /// Who watches the plug-ins that were just changed.
    watches: Watches,
}

/// A tenant that is awake, made ready.
struct Ready {
    entry: Arc<Entry>,
    running: Arc<Running>,
    prepared: Prepared,
    specs: Vec<PluginSpec>,
    plugins: Vec<Plugin>,
    routes: Arc<RouteTable>,
    quotas: Quotas,
}

impl Reloader {
    /// `descriptor` is the one that holds; `settings` say where it was read from.
    pub(crate) fn new(
        settings: &Settings,
        node: Option<String>,
        descriptor: &Descriptor,
        tenants: Arc<Tenants>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            settings: settings.clone(),
            node,
            tenants,
            current: tokio::sync::Mutex::new(descriptor.clone()),
            watches: Watches::default(),
        })
    }

    /// Reads everything again. Gives what the operator should know; an error has changed nothing.
    pub(crate) async fn again(&self) -> Result<Vec<String>> {
        let mut current = self.current.lock().await;
        let (descriptor, node) = self.settings.descriptor_of(self.node.as_deref())?;
        let notes = self.take_up(&current, &descriptor, node, false, || Ok(())).await?;
        *current = descriptor;
        tracing::info!("read the descriptor and the plug-ins again");
        Ok(notes)
    }

    /// Makes a change, takes it up and keeps it. An error has changed nothing.
    ///
    /// Boxed: what is changed is watched, and changed back by the same way.
    pub(crate) fn change<'a>(&'a self, change: &'a Change) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            let mut current = self.current.lock().await;
            self.change_held(&mut current, change).await
        })
    }

    /// Takes a version back, for the task that watches it. None where the watch is over: something else was done about the
    /// plug-in while the task waited for its turn.
    fn take_back<'a>(
        &'a self,
        name: &'a PluginName,
        watch: tokio::task::Id,
    ) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async move {
            let mut current = self.current.lock().await;
            // It is its own no more from here on, so that the change does not end the task that makes it.
            if !self.watches.leave(name.as_str(), watch) {
                return Ok(None);
            }
            let change = Change::Version(VersionChange::Rollback { name: name.clone() });
            self.change_held(&mut current, &change).await.map(Some)
        })
    }

    async fn change_held(&self, current: &mut Descriptor, change: &Change) -> Result<Vec<String>> {
        let mut overlay = self.settings.overlay()?;
        let with = self.read(&overlay)?.0;
        let mut notes = change.make(&mut overlay, &self.settings.descriptor_alone()?, &with)?;
        let (descriptor, node) = self.read(&overlay)?;
        let watched = change.watched().map(ToString::to_string);
        let before = watched.as_ref().map(|name| self.main_of(name)).unwrap_or_default();
        let keep = || overlay.write();
        notes.extend(self.take_up(current, &descriptor, node, change.stops(), keep).await?);
        // Not before: what fails leaves the version that is watched where it is.
        if let Some(name) = change.name() {
            self.watches.end(name.as_str());
        }
        let bounds = watched.as_ref().and_then(|name| {
            let mut plugins = descriptor.plugins.iter();
            plugins.find(|(known, _)| known.as_str() == name).map(|(_, plugin)| plugin.swap.clone())
        });
        if let (Some(name), Some(bounds), Some(me)) = (watched, bounds, self.me.upgrade()) {
            let task = tokio::spawn(watch::watch(me, name.clone(), bounds, before));
            self.watches.begin(name, task.abort_handle());
        }
        *current = descriptor;
        Ok(notes)
    }

    fn read(&self, overlay: &Overlay) -> Result<(Descriptor, Option<Node>)> {
        self.settings.descriptor_of_with(self.node.as_deref(), overlay)
    }

    /// What the version that counts and one that is tried have done so far, over all tenants that are awake here.
    fn readings(&self, plugin: &str) -> (Reading, Reading) {
        let mut sum = (Reading::default(), Reading::default());
        for running in self.tenants.awake() {
            let Some((main, tried)) = running.tenant.readings(plugin) else { continue };
            sum = (sum.0.and(&main), sum.1.and(&tried.unwrap_or_default()));
        }
        sum
    }

    fn main_of(&self, plugin: &str) -> Reading {
        self.readings(plugin).0
    }

    /// Puts a descriptor in the place of the one that holds. `keep` is the last thing that may fail; `stops`: also where
    /// the versions before cannot run any more.
    async fn take_up(
        &self,
        before: &Descriptor,
        descriptor: &Descriptor,
        node: Option<Node>,
        stops: bool,
        keep: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<String>> {
        let mut notes = fixed::notes(before, descriptor);
        let host = &self.tenants.host;
        let old = host.plugins();
        let versions = load::versions(&host.engine, descriptor, old.versions()).await?;
        let plugins = Arc::new(old.next(descriptor, versions, node));
        plugins.routes(plugins.all())?;
        if !stops {
            forward(&old, &plugins)?;
        }
        for entry in self.tenants.entries() {
            let check = plugins.check(&entry.settings);
            check.with_context(|| format!("tenant `{}`", entry.name))?;
        }
        // From here on nobody wakes.
        let changing = host.changing.write().await;
        let mut ready = Vec::new();
        for entry in self.tenants.entries() {
            let Some(running) = entry.awake() else { continue };
            let name = Arc::clone(&entry.name);
            let one = one(&plugins, entry, running);
            ready.push(one.with_context(|| format!("tenant `{name}`"))?);
        }
        // What is added to tables does not disturb those that run.
        for one in &ready {
            let name = &one.entry.name;
            let started = async {
                host.install_all(name, &one.running.database, &one.specs).await?;
                tenants::begin(&one.prepared).await
            };
            started.await.with_context(|| format!("tenant `{name}`"))?;
        }
        if let Some(member) = &host.member {
            member.serve_more(&plugins.here(), &self.tenants).await?;
        }
        keep()?;

        // Nothing fails any more.
        host.replace(Arc::clone(&plugins));
        let changed: Vec<_> = ready.into_iter().map(|one| switch(&plugins, one)).collect();
        drop(changing);
        if let Some(edge) = self.tenants.edge() {
            edge.forget_authentications();
        }
        for (entry, running, consuming) in changed {
            let bus = &plugins.descriptor().bus;
            let runs = |plugin: &Plugin| plugins.runs(plugin);
            if let Err(error) = running.deliver(bus, &host.bus, &consuming, runs).await {
                tracing::error!(tenant = %entry.name, "topics are not all delivered: {error:#}");
                notes.push(format!(
                    "tenant `{}`: topics are not all delivered: {error:#}",
                    entry.name
                ));
            }
        }
        if let Some(member) = &host.member {
            member.serve_only(&plugins.here());
        }
        Ok(notes)
    }
}

/// Makes one tenant ready, without changing anything.
fn one(plugins: &Plugins, entry: Arc<Entry>, running: Arc<Running>) -> Result<Ready> {
    let settled = plugins.settle(&entry.name, &entry.settings)?;
    let prepared = running
        .tenant
        .prepare(settled.specs.clone(), Some(settled.hooks))
        .context("the plug-ins do not fit together")?;
    Ok(Ready {
        quotas: plugins.quotas(&entry.settings),
        specs: settled.specs,
        plugins: settled.plugins,
        routes: settled.routes,
        entry,
        running,
        prepared,
    })
}

fn switch(plugins: &Plugins, one: Ready) -> (Arc<Entry>, Arc<Running>, Vec<Plugin>) {
    let Ready { entry, running, prepared, plugins: own, routes, quotas, .. } = one;
    running.tenant.switch(prepared);
    running.tenant.set_quotas((&quotas).into());
    running.serve(routes, quotas);
    entry.has(plugins.generation());
    (entry, running, own)
}

/// Checks that what runs now still runs when the new versions have brought their tables up to date.
fn forward(old: &Plugins, new: &Plugins) -> Result<()> {
    let (versions, ran) = (new.versions(), old.versions());
    for plugin in versions.mains.iter().chain(versions.trials.values()) {
        if ran.mains.iter().chain(ran.trials.values()).any(|one| one == plugin) {
            continue; // its migrations are there already
        }
        let before = old.versions().mains.iter().find(|before| before.name() == plugin.name());
        let Some(before) = before.filter(|before| *before != plugin) else { continue };
        let added = plugin.migrations.iter().skip(before.migrations.len());
        for migration in added {
            if let Err(why) = compatible(&migration.sql) {
                bail!(
                    "plug-in `{}` {}: its migration {} {why}, so {} which runs now would stop working before the new one takes its place; --yes-stop takes that risk",
                    plugin.name(),
                    plugin.version(),
                    migration.name,
                    before.version()
                );
            }
        }
    }
    Ok(())
}
