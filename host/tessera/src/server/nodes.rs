//! What makes a process one of several: it serves others, says how it is, and knows how they are.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use prometheus::Registry;
use tessera_bus::NodeInfo;
use tessera_http::Edge;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::banner::url;
use crate::{
    cluster::{
        Load, Member,
        document::{Document, Listed, Running, State},
    },
    readiness::Readiness,
    tenants::Tenants,
};

/// How often a node looks how it is.
const LOOK: Duration = Duration::from_secs(1);

/// What a node says of itself is made of these.
pub(super) struct About {
    pub(super) tenants: Arc<Tenants>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) registry: Registry,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) metrics: Option<SocketAddr>,
}

/// Serves the other nodes. `drain` is cancelled when one of them says so.
pub(super) async fn join_in(
    member: &Member,
    tenants: &Arc<Tenants>,
    drain: CancellationToken,
) -> Result<()> {
    member.serve(&tenants.host.plugins().here(), tenants).await?;
    member.listen(drain).await
}

/// Says how this node is, and tells the edge how many there are, until dropped.
pub(super) async fn keep_up(member: Member, about: About, edge: Arc<Edge>) {
    let readiness = Arc::clone(&about.readiness);
    let load = Load::new(about.registry.clone());
    member.cluster.describe(move || {
        let document = document(&about, &load);
        serde_json::to_value(document).unwrap_or_default()
    });
    let mut changes = member.cluster.changes();
    let mut ticks = interval(LOOK);
    loop {
        edge.set_nodes(u32::try_from(member.cluster.live()).unwrap_or(u32::MAX));
        tokio::select! {
            _ = ticks.tick() => drop(readiness.report().await),
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

fn document(about: &About, load: &Load) -> Document {
    let figures = load.figures();
    let plugins = about.tenants.host.plugins().here();
    let plugins = plugins.iter().map(|plugin| {
        let load = figures.get(plugin.name()).copied().unwrap_or_default();
        (plugin.name().to_owned(), Running { version: plugin.version().to_string(), load })
    });
    Document {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        addresses: about.addresses.iter().map(|address| url(*address)).collect(),
        metrics: about.metrics.map(url),
        reasons: about.readiness.last().reasons.clone(),
        tenants_awake: about.tenants.awake().len(),
        plugins: plugins.collect(),
    }
}

/// All nodes: those that live, and those of `expected` that do not.
pub(super) fn list<'a>(member: &Member, expected: impl Iterator<Item = &'a str>) -> Vec<Listed> {
    let mut nodes: Vec<Listed> = member.cluster.nodes().into_iter().map(listed).collect();
    for name in expected {
        if !nodes.iter().any(|node| node.name == name) {
            nodes.push(Listed {
                name: name.to_owned(),
                id: String::new(),
                since_ms: 0,
                silent_ms: 0,
                state: State::Lost,
                document: Document::default(),
            });
        }
    }
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    nodes
}

fn listed(node: NodeInfo) -> Listed {
    // One that has said nothing yet, or that is of a version that says it in other words.
    let said: Result<Document> = serde_json::from_value(node.document).context("odd");
    let ready = said.as_ref().is_ok_and(|document| document.reasons.is_empty());
    let state = match ready {
        _ if node.draining => State::Draining,
        true => State::Ready,
        false => State::NotReady,
    };
    let silent = SystemTime::now().duration_since(node.last_seen).unwrap_or_default();
    Listed {
        name: node.name,
        id: node.id,
        since_ms: millis(node.since.duration_since(UNIX_EPOCH).unwrap_or_default()),
        silent_ms: millis(silent),
        state,
        document: said.unwrap_or_default(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
