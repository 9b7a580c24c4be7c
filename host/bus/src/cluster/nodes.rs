//! Who else is there: heartbeats on one subject.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

/// Time between two heartbeats.
pub(crate) const BEAT: Duration = Duration::from_secs(1);
/// A node that is silent for so long is gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// Nodes known at once; further ones are not.
const NODES: usize = 1_024;
/// The largest heartbeat.
pub(crate) const LARGEST: usize = 64 << 10;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// The name in the descriptor.
    pub name: String,
    /// This run of it.
    pub id: String,
    /// When it started.
    pub since: SystemTime,
    /// When it was last heard of.
    pub last_seen: SystemTime,
    /// Whether it is about to stop and takes no new work.
    pub draining: bool,
    /// What it says of itself.
    pub document: Value,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) since_ms: u64,
    pub(crate) draining: bool,
    /// The last one of this node.
    #[serde(default)]
    pub(crate) gone: bool,
    #[serde(default)]
    pub(crate) document: Value,
}

struct Known {
    beat: Beat,
    heard: Instant,
    last_seen: SystemTime,
}

/// All nodes that are heard of, this one too.
pub(crate) struct Nodes {
    own: String,
    table: Mutex<HashMap<String, Known>>,
    /// Counts what came, went and changed.
    changes: watch::Sender<u64>,
    /// Counts nodes that went.
    losses: watch::Sender<u64>,
}

impl Nodes {
    pub(crate) fn new(own: &str) -> Self {
        let (changes, losses) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { own: own.to_owned(), table: Mutex::default(), changes, losses }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    fn lost(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn heard(&self, beat: Beat) {
        let mut table = self.table();
        let known = table.get(&beat.id);
        let news = known.is_none_or(|known| known.beat != beat);
        let gone = beat.gone;
        if gone {
            if table.remove(&beat.id).is_some() {
                tracing::info!(node = beat.name, "a node has left");
            }
        } else {
            if known.is_none() {
                if table.len() >= NODES {
                    tracing::warn!(node = beat.name, "more nodes than {NODES}: one is not known");
                    return;
                }
                self.greet(&beat, &table);
            }
            let (heard, last_seen) = (Instant::now(), SystemTime::now());
            table.insert(beat.id.clone(), Known { beat, heard, last_seen });
        }
        drop(table);
        if gone {
            self.lost();
        }
        if news {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn greet(&self, beat: &Beat, table: &HashMap<String, Known>) {
        if beat.id == self.own {
            return;
        }
        tracing::info!(node = beat.name, "a node has come");
        if table.get(&self.own).is_some_and(|own| own.beat.name == beat.name) {
            // Also seen for a moment where a node takes the place of one that was killed.
            tracing::warn!(node = beat.name, "another node has our name");
        }
    }

    /// Forgets who is silent. Gives whether there was one.
    pub(crate) fn sweep(&self) -> bool {
        let mut table = self.table();
        let before = table.len();
        table.retain(|id, known| {
            let stays = *id == self.own || known.heard.elapsed() < SILENCE;
            if !stays {
                tracing::warn!(node = known.beat.name, "a node is silent: taken as gone");
            }
            stays
        });
        let gone = table.len() < before;
        drop(table);
        if gone {
            self.lost();
            self.changes.send_modify(|changes| *changes += 1);
        }
        gone
    }

    /// Nobody could be heard until now: silence counts from here.
    pub(crate) fn excuse(&self) {
        let now = Instant::now();
        for known in self.table().values_mut() {
            known.heard = now;
        }
    }

    pub(crate) fn list(&self) -> Vec<NodeInfo> {
        let info = |known: &Known| NodeInfo {
            name: known.beat.name.clone(),
            id: known.beat.id.clone(),
            since: UNIX_EPOCH + Duration::from_millis(known.beat.since_ms),
            last_seen: known.last_seen,
            draining: known.beat.draining,
            document: known.beat.document.clone(),
        };
        let mut list: Vec<NodeInfo> = self.table().values().map(info).collect();
        list.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        list
    }

    pub(crate) fn live(&self) -> usize {
        self.table().len()
    }

    fn knows(&self, id: &str) -> bool {
        id == self.own || self.table().contains_key(id)
    }

    /// Waits until a node is gone. One that was never heard of has as long as any to be heard.
    pub(crate) async fn gone(self: Arc<Self>, id: String) {
        let mut changes = self.changes();
        if !self.knows(&id) {
            tokio::time::sleep(SILENCE).await;
        }
        while self.knows(&id) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
