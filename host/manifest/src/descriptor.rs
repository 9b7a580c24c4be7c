//! `tessera.toml`: what the operator wants.

mod blobs;
mod engine;
mod fetch;
mod grants;
mod http;
mod mail;
mod modules;
mod plugins;
mod server;
mod swap;
mod tenant;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    blobs::{Blobs, BlobsStore},
    engine::{Crypto, Engine, PasswordCost},
    fetch::Fetch,
    grants::{Allowed, Covers, Grants, GrantsTable},
    http::{Answer, Answers, Cors, Http, LimitClass, Rate, RateBy},
    mail::{Mail, MailRelay, MailSecurity},
    modules::{Modules, TrustedKey},
    plugins::{Hooks, OnError, Plugin},
    server::{
        Bus, BusEngine, BusTls, Listener, Log, LogFormat, Metrics, Server, Storage, StorageEngine,
        Tls, Tracing,
    },
    swap::{Before, Canary, Percent, Shadow, Swap},
    tenant::{Node, Quotas, Sleep, Tenant, TenantEntry},
};
use crate::{Name, PluginName, Problem, TenantName, check, locate, merge};

/// The whole descriptor. Everything has a default.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[schemars(title = "tessera.toml")]
pub struct Descriptor {
    /// The process.
    pub server: Server,
    /// Where requests come in.
    pub listeners: Vec<Listener>,
    /// The Prometheus endpoint.
    pub metrics: Metrics,
    /// Log lines.
    pub log: Log,
    /// The SQL database.
    pub storage: Storage,
    /// Messages and wake-ups.
    pub bus: Bus,
    /// Spans of requests, for a collector.
    pub tracing: Tracing,
    /// The only tenant, where there are no others.
    pub tenant: Tenant,
    /// Many tenants, beside those that `tessera tenant add` has made.
    pub tenants: BTreeMap<TenantName, TenantEntry>,
    /// What each tenant may use at most.
    pub quotas: Quotas,
    /// When tenants give back what they hold.
    pub sleep: Sleep,
    /// The edge.
    pub http: Http,
    /// Rate classes that routes name.
    pub rates: BTreeMap<Name, Rate>,
    /// Classes of counts that plug-ins take from.
    pub limits: BTreeMap<Name, LimitClass>,
    /// HTTP to the outside.
    pub fetch: Fetch,
    /// Mail to people.
    pub mail: Mail,
    /// Where blobs are kept.
    pub blobs: Blobs,
    /// Keys and passwords.
    pub crypto: Crypto,
    /// The machine that runs components.
    pub engine: Engine,
    /// Where modules of third parties may come from.
    pub modules: Modules,
    /// Plug-ins by name.
    pub plugins: BTreeMap<PluginName, Plugin>,
    /// Who answers hooks, in which order.
    pub hooks: Hooks,
    /// Several processes, each with its share of the plug-ins.
    pub nodes: BTreeMap<Name, Node>,
}

impl Default for Descriptor {
    fn default() -> Self {
        Self {
            server: Server::default(),
            listeners: vec![Listener::default()],
            metrics: Metrics::default(),
            log: Log::default(),
            storage: Storage::default(),
            bus: Bus::default(),
            tracing: Tracing::default(),
            tenant: Tenant::default(),
            tenants: BTreeMap::new(),
            quotas: Quotas::default(),
            sleep: Sleep::default(),
            http: Http::default(),
            rates: BTreeMap::new(),
            limits: BTreeMap::new(),
            fetch: Fetch::default(),
            mail: Mail::default(),
            blobs: Blobs::default(),
            crypto: Crypto::default(),
            engine: Engine::default(),
            modules: Modules::default(),
            plugins: BTreeMap::new(),
            hooks: Hooks::default(),
            nodes: BTreeMap::new(),
        }
    }
}

impl Descriptor {
    /// Reads and checks a descriptor that stands by itself. `file` is the name used in messages.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let descriptor: Self = locate::read(file, text)?;
        check::descriptor(file, text, &descriptor)?;
        Ok(descriptor)
    }

    /// Reads `text` over `below`: tables are merged key by key, everything else (lists too) is
    /// replaced. Messages speak of `file`, which is the name of `text`.
    ///
    /// # Errors
    /// The first thing that is wrong in `text`, or in what both make together, with its place.
    pub fn parse_over(below: &str, file: &str, text: &str) -> Result<Self, Problem> {
        // By itself first: so every message has a place in the file that the operator wrote.
        let _: Self = locate::read(file, text)?;
        let descriptor: Self = merge::read(below, file, text)?;
        check::descriptor(file, text, &descriptor)?;
        Ok(descriptor)
    }

    /// As [`Descriptor::parse_over`], with one more layer above: what commands have changed, which is the file `overlay`.
    /// Plug-ins that no node runs are run by all nodes where they come from that layer.
    ///
    /// # Errors
    /// The first thing that is wrong; with a place where it is in `text` alone.
    pub fn parse_layers(
        below: &str,
        file: &str,
        text: &str,
        overlay: &str,
        changes: &toml::Table,
    ) -> Result<Self, Problem> {
        let without = Self::parse_over(below, file, text)?;
        if changes.is_empty() {
            return Ok(without);
        }
        let mut descriptor: Self = merge::read_layers(below, file, text, overlay, changes)?;
        let added = descriptor.plugins.keys().filter(|name| !without.plugins.contains_key(*name));
        for name in added {
            if !descriptor.nodes.values().any(|node| node.run.contains(name)) {
                descriptor.nodes.values_mut().for_each(|node| node.run.push(name.clone()));
            }
        }
        check::descriptor(overlay, &changes.to_string(), &descriptor)?;
        Ok(descriptor)
    }

    /// Whether this is a server of many tenants: `[tenants]` names some, so `[tenant]` is not served.
    /// Tenants made by `tessera tenant add` are served in either case.
    #[must_use]
    pub fn is_of_many(&self) -> bool {
        !self.tenants.is_empty()
    }

    /// The plug-ins that are not switched off.
    pub fn enabled_plugins(&self) -> impl Iterator<Item = (&PluginName, &Plugin)> {
        self.plugins.iter().filter(|(_, plugin)| plugin.enabled)
    }
}
