//! What one node may ask of another: to hand over and end.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tessera_bus::{BoxFuture, CallHeaders, Cluster, Serve};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Member;

/// How long a node may take to say that it has understood.
const PATIENCE: Duration = Duration::from_secs(5);

const DRAIN: &[u8] = b"drain";
const UNDERSTOOD: &[u8] = b"understood";

/// Where the run `id` of a node is asked: two processes by mistake of one name are told apart.
fn service(id: &str) -> String {
    format!("node.{id}")
}

impl Member {
    /// Lets other nodes tell this one to drain: `drain` is cancelled then.
    pub(crate) async fn listen(&self, drain: CancellationToken) -> Result<()> {
        let name = service(self.cluster.id());
        let served = self.cluster.serve(&name, Arc::new(Control { drain })).await;
        self.keep(name, served.context("cannot listen to other nodes")?);
        Ok(())
    }
}

struct Control {
    drain: CancellationToken,
}

impl Serve for Control {
    fn serve<'a>(&'a self, payload: Bytes, _: CallHeaders) -> BoxFuture<'a, Bytes> {
        Box::pin(async move {
            if payload != DRAIN {
                return Bytes::from_static(b"not understood");
            }
            tracing::info!("told to drain");
            self.drain.cancel();
            Bytes::from_static(UNDERSTOOD)
        })
    }
}

/// Nodes tell of themselves each second.
const HEARD: Duration = Duration::from_millis(2500);

/// How often the table is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// Tells a node to drain; it does so by itself then.
pub(crate) async fn drain_node(cluster: &Cluster, name: &str) -> Result<()> {
    // One of two that have just started may not have heard of the other yet.
    let heard = Instant::now() + HEARD;
    let mut nodes = cluster.nodes();
    while !nodes.iter().any(|node| node.name == name) && Instant::now() < heard {
        tokio::time::sleep(LOOK).await;
        nodes = cluster.nodes();
    }
    let Some(node) = nodes.iter().find(|node| node.name == name) else {
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        bail!("no node `{name}` lives; those that do: {}", names.join(", "));
    };
    let (service, deadline) = (service(&node.id), Instant::now() + PATIENCE);
    let answer = cluster.call(&service, Bytes::from_static(DRAIN), deadline).await;
    let answer = answer.with_context(|| format!("cannot reach the node `{name}`"))?;
    if answer != UNDERSTOOD {
        bail!("the node `{name}` is of a version that cannot be told to drain; send it SIGTERM");
    }
    Ok(())
}
