//! This process's part in a cluster of nodes (`[bus] engine = "nats"`).
//!
//! The bus carries three things between nodes: wake-ups of tenants that are awake, calls of plug-ins that run
//! elsewhere, and messages of durable topics. Everything that lasts is in the database.

mod config;
mod control;
pub(crate) mod document;
mod drain;
mod load;
mod node;
mod remote;
mod serving;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use tessera_bus::{Attached, Cluster, Served};
use tessera_engine::Remote;
use tessera_manifest::{BusEngine, Descriptor};

use self::remote::Others;
pub(crate) use self::{control::drain_node, load::Load, node::Node};

/// The name of a process that has the bus to itself.
const ALONE: &str = "alone";

/// A member of a cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) cluster: Cluster,
    /// What is offered to other nodes, by its name.
    served: Arc<Mutex<BTreeMap<String, Served>>>,
    /// What is shared for as long as this is a member.
    attached: Arc<Mutex<Vec<Attached>>>,
}

impl Member {
    /// Connects; none where the bus is embedded.
    pub(crate) async fn join(descriptor: &Descriptor, node: Option<&Node>) -> Result<Option<Self>> {
        if descriptor.bus.engine == BusEngine::Embedded {
            return Ok(None);
        }
        let name = node.map_or(ALONE, |node| node.name.as_str());
        let cluster = Cluster::connect(config::of(&descriptor.bus, name))
            .await
            .context("cannot join the bus of `[bus] engine = \"nats\"`")?;
        Ok(Some(Self { cluster, served: Arc::default(), attached: Arc::default() }))
    }

    /// Carries calls to other nodes.
    pub(crate) fn remote(&self) -> Arc<dyn Remote> {
        Arc::new(Others { cluster: self.cluster.clone() })
    }

    /// Shares wake-ups for as long as this is a member.
    pub(crate) fn hold(&self, attached: Attached) {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).push(attached);
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<String, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, service: String, served: Served) {
        self.served().insert(service, served);
    }

    fn is_served(&self, service: &str) -> bool {
        self.served().contains_key(service)
    }

    fn keep_only(&self, services: &BTreeSet<String>) {
        // What is no plug-in's stays.
        let stays = |service: &str| !service.starts_with("edge.") && !service.starts_with("call.");
        self.served().retain(|service, _| stays(service) || services.contains(service));
    }
}
