//! Sends hints: right after a commit, when a failed message is due again, and for whatever stays unsettled.
//!
//! Each node has one relay for each tenant that is awake there. Right after its own commits it always sends; of the
//! sweeps, a lease in the tenant's database leaves them to one node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tessera_storage::{Database, Error, Head, now_ms};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Hint;
use crate::cluster::Shared;
use crate::cluster::wakes::{Attachment, lock};
use crate::delivery::until_ms;

/// What was emitted longer ago and is unsettled is sent again.
const OVERDUE: Duration = Duration::from_secs(1);
/// Time between sweeps where something was unsettled or has just been emitted.
const BUSY: Duration = Duration::from_secs(1);
/// Time between sweeps where nothing was.
const CALM: Duration = Duration::from_secs(10);
/// Time between sweeps where there was more than one look brings.
const FULL: Duration = Duration::from_millis(100);
/// After a look for new messages the relay rests so many times as long as that took.
const REST: u32 = 4;
/// How long after something happened a node without the lease asks for it often.
const ACTIVE: Duration = Duration::from_secs(10);
/// The lease of the sweeps.
const LEASE_NAME: &str = "bus-relay";
const LEASE: Duration = Duration::from_secs(3);
/// Keys of one consumer looked at together.
const HEADS: u32 = 1_024;
/// The longest wait before an unsettled message is hinted at again.
const LONGEST_MS: u64 = 15_000;
/// Keys remembered, and hints kept for later, of one tenant; above it they are hinted at again too early, or by a
/// sweep.
const KEPT: usize = 8_192;

/// The relay of one attachment; stops when dropped.
pub(crate) struct Relay {
    wants: Arc<Wants>,
    task: JoinHandle<()>,
}

/// What the relay is asked for.
#[derive(Default)]
struct Wants {
    some: Notify,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    /// Topics with new messages.
    topics: BTreeSet<String>,
    /// Hints to send at a time, in milliseconds since the epoch.
    due: BTreeMap<(u64, u64), Hint>,
    next: u64,
    /// Look at everything, now.
    all: bool,
}

impl Relay {
    pub(super) fn start(
        shared: &Arc<Shared>,
        attachment: &Arc<Attachment>,
        database: Database,
    ) -> Self {
        let wants = Arc::new(Wants::default());
        let worker = Worker {
            // Not to keep the cluster alive.
            shared: Arc::downgrade(shared),
            holder: shared.id.clone(),
            tenant: attachment.tenant.to_string(),
            database,
            wants: Arc::clone(&wants),
            sent: HashMap::new(),
        };
        Self { wants, task: tokio::spawn(worker.run(Arc::clone(shared))) }
    }

    /// Messages were put into these topics.
    pub(crate) fn emitted(&self, topics: &[String]) {
        lock(&self.wants.list).topics.extend(topics.iter().cloned());
        self.wants.some.notify_one();
    }

    /// Sends a hint at a time.
    pub(super) fn due(&self, at_ms: u64, hint: Hint) {
        let mut list = lock(&self.wants.list);
        if list.due.len() < KEPT {
            list.next += 1;
            let key = (at_ms, list.next);
            list.due.insert(key, hint);
        }
        drop(list);
        self.wants.some.notify_one();
    }

    /// Looks at everything.
    pub(crate) fn look(&self) {
        lock(&self.wants.list).all = true;
        self.wants.some.notify_one();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// When a key was hinted at, and what for.
struct Sent {
    id: u64,
    next_ms: u64,
    wait_ms: u64,
}

/// What a look has brought, and how much of it was hinted at now.
struct Looked {
    found: usize,
    sent: usize,
}

struct Worker {
    shared: Weak<Shared>,
    holder: String,
    tenant: String,
    database: Database,
    wants: Arc<Wants>,
    sent: HashMap<(String, String, String), Sent>,
}

impl Worker {
    async fn run(mut self, shared: Arc<Shared>) {
        let mut epoch = shared.topics.epoch.subscribe();
        let mut nodes = shared.nodes.losses();
        drop(shared);
        let mut sweep = Instant::now();
        let mut active = sweep;
        let mut rest = sweep;
        loop {
            let (topics, due, next_ms, all) = self.wanted(Instant::now() >= rest);
            for hint in due {
                self.send(hint);
            }
            let began = Instant::now();
            for topic in &topics {
                if let Err(error) = self.heads(Some(topic), Duration::ZERO).await {
                    tracing::warn!(%error, topic, "the relay waits for the database");
                }
            }
            if !topics.is_empty() {
                active = Instant::now();
                sweep = sweep.min(active + BUSY);
                // Where many commits emit, looks are left out rather than kept up with.
                rest = active + (active - began).saturating_mul(REST).min(BUSY);
            }
            if all || Instant::now() >= sweep {
                let pause = match self.sweep(all, active.elapsed() < ACTIVE).await {
                    Ok(pause) => pause,
                    Err(error) => {
                        tracing::warn!(%error, "the relay waits for the database");
                        BUSY
                    }
                };
                sweep = Instant::now() + pause;
            }
            let mut until = next_ms.map_or(sweep, |at| sweep.min(Instant::now() + until_ms(at)));
            if Instant::now() < rest {
                until = until.min(rest);
            }
            tokio::select! {
                () = self.wants.some.notified() => {}
                () = sleep_until(until) => {}
                changed = epoch.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // What was sent may be gone.
                    self.sent.clear();
                    active = Instant::now();
                    sweep = active;
                }
                changed = nodes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A node that is gone may have left something.
                    active = Instant::now();
                    sweep = sweep.min(active + OVERDUE);
                }
            }
        }
    }

    fn wanted(&self, look: bool) -> (BTreeSet<String>, Vec<Hint>, Option<u64>, bool) {
        let mut list = lock(&self.wants.list);
        let later = list.due.split_off(&(now_ms().saturating_add(1), 0));
        let due = std::mem::replace(&mut list.due, later).into_values().collect();
        let next_ms = list.due.first_key_value().map(|((at, _), _)| *at);
        let topics = if look { std::mem::take(&mut list.topics) } else { BTreeSet::new() };
        (topics, due, next_ms, std::mem::take(&mut list.all))
    }

    /// Sends what stays unsettled, if that is this node's part. Gives when to look again.
    async fn sweep(&mut self, all: bool, active: bool) -> Result<Duration, Error> {
        let ours = self.database.lease(LEASE_NAME, &self.holder, LEASE).await?;
        let calm = if active { BUSY } else { CALM };
        if !ours && !all {
            return Ok(calm);
        }
        let age = if all { Duration::ZERO } else { OVERDUE };
        match self.heads(None, age).await? {
            Looked { found: 0, .. } if ours && !active => {
                // For a node that is busier.
                self.database.release_lease(LEASE_NAME, &self.holder).await?;
                Ok(CALM)
            }
            Looked { found: 0, .. } => Ok(calm),
            // There may be more, unless it is what lies there for somebody who does not come.
            Looked { found, sent } if found >= HEADS as usize && sent > 0 => Ok(FULL),
            Looked { .. } => Ok(BUSY),
        }
    }

    /// Sends hints for what can be delivered and was not hinted at lately.
    async fn heads(&mut self, topic: Option<&str>, age: Duration) -> Result<Looked, Error> {
        let now = now_ms();
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let heads = self.database.outbox_heads(topic, now, age, HEADS).await?;
        let mut looked = Looked { found: heads.len(), sent: 0 };
        if self.sent.len() > KEPT {
            self.sent.retain(|_, sent| sent.next_ms > now);
            if self.sent.len() > KEPT {
                self.sent.clear();
            }
        }
        for head in heads {
            if let Some(hint) = self.hint(head, now) {
                self.send(hint);
                looked.sent += 1;
            }
        }
        Ok(looked)
    }

    /// `None` where it was sent lately.
    fn hint(&mut self, head: Head, now: u64) -> Option<Hint> {
        let overdue = u64::try_from(OVERDUE.as_millis()).unwrap_or(u64::MAX);
        let key = (head.consumer.clone(), head.topic.clone(), head.key.clone());
        let sent = self.sent.entry(key).or_insert(Sent { id: 0, next_ms: 0, wait_ms: overdue });
        if sent.id == head.id {
            if now < sent.next_ms {
                return None;
            }
            sent.wait_ms = sent.wait_ms.saturating_mul(2).min(LONGEST_MS);
        } else {
            sent.id = head.id;
            sent.wait_ms = overdue;
        }
        sent.next_ms = now.saturating_add(sent.wait_ms);
        Some(Hint {
            tenant: self.tenant.clone(),
            topic: head.topic,
            key: head.key,
            id: head.id,
            consumer: Some(head.consumer),
            again: now,
        })
    }

    fn send(&self, hint: Hint) {
        let Some(shared) = self.shared.upgrade() else { return };
        if shared.topics.outgoing.try_send(hint).is_err() {
            shared.counts.hints_lost.fetch_add(1, Ordering::Relaxed);
            // A sweep finds it again.
            tracing::debug!(tenant = self.tenant, "hints come too fast");
        }
    }
}
