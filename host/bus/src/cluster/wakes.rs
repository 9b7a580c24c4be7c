//! Wake-ups between nodes: one subject for each tenant, carrying the topics' hashes of a commit.
//!
//! Best effort: what may have been lost (a connection, a node, a queue) is made good by firing everything of the
//! tenants concerned.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::StreamExt;
use tessera_storage::now_ms;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::config::ClusterError;
use super::subject::token;
use super::topics::Relay;
use super::{Cluster, Shared};
use crate::topic::Topic;
use crate::wakeups::Bus;

/// Commits whose wake-ups wait to be sent. Above it everything of the tenant is fired instead.
const QUEUE: usize = 8_192;
/// Hashes in one message: 64 KiB.
const HASHES: usize = 8_192;
/// Commits sent together at most.
const TOGETHER: usize = 64;
/// Everything of a tenant is fired within this time, so that not all that wait ask at once.
const SPREAD: Duration = Duration::from_secs(2);
/// Steps of the spread.
const STEPS: usize = 40;
/// After a lost connection, tenants with commits in this time before are fired at other nodes: what was written to
/// the dead connection is lost.
const RECENT_MS: u64 = 30_000;

const TOPICS: u8 = 1;
const ALL: u8 = 2;

/// Wake-ups of one commit, to be sent.
pub(crate) struct Outgoing {
    attachment: Arc<Attachment>,
    horizon: u64,
    hashes: Vec<Topic>,
}

/// What the node knows of attached tenants.
pub(crate) struct Wakes {
    id: u64,
    pub(crate) attached: Mutex<HashMap<u64, Arc<Attachment>>>,
    next: AtomicU64,
    outgoing: mpsc::Sender<Outgoing>,
    /// Someone's queue has run over.
    overrun: Notify,
    /// Tenants whose watches are to be fired here.
    missed: Mutex<HashMap<u64, Arc<Attachment>>>,
    missed_some: Notify,
}

type Heard = Arc<dyn Fn(u64) + Send + Sync>;

/// A tenant whose wake-ups are shared.
pub(crate) struct Attachment {
    number: u64,
    pub(crate) tenant: Arc<str>,
    subject: String,
    pub(crate) bus: Bus,
    on_horizon: Mutex<Option<Heard>>,
    /// Set where a commit's wake-ups were not queued.
    overrun: AtomicBool,
    sent_ms: AtomicU64,
    pub(crate) relay: Mutex<Option<Relay>>,
    shared: Weak<Shared>,
}

/// A tenant that is awake on this node and shares wake-ups with the other nodes. Dropping it ends that.
#[must_use = "the tenant is detached when this is dropped"]
pub struct Attached {
    pub(crate) shared: Arc<Shared>,
    pub(crate) attachment: Arc<Attachment>,
    task: JoinHandle<()>,
}

impl Cluster {
    /// Shares a tenant's wake-ups: what is committed here fires elsewhere, and the other way round.
    ///
    /// When it comes back, wake-ups of commits that other nodes make from now on are not missed.
    ///
    /// # Errors
    /// The connection was closed for good.
    pub async fn attach(
        &self,
        bus: &Bus,
        tenant: impl Into<Arc<str>>,
    ) -> Result<Attached, ClusterError> {
        let shared = Arc::clone(&self.shared);
        let tenant = tenant.into();
        let subject = format!("{}.wake.{}", shared.config.prefix, token(&tenant));
        let number = shared.wakes.next.fetch_add(1, Ordering::Relaxed);
        let attachment = Arc::new(Attachment {
            number,
            tenant,
            subject: subject.clone(),
            bus: bus.clone(),
            on_horizon: Mutex::default(),
            overrun: AtomicBool::new(false),
            sent_ms: AtomicU64::new(0),
            relay: Mutex::default(),
            shared: Arc::downgrade(&shared),
        });
        let messages = shared.client.subscribe(subject).await;
        let mut messages = messages.map_err(|_| ClusterError::Closed)?;
        lock(&shared.wakes.attached).insert(number, Arc::clone(&attachment));
        let outward = Arc::downgrade(&attachment);
        let outward = move |hashes| {
            if let Some(attachment) = outward.upgrade() {
                attachment.publish(hashes, 0);
            }
        };
        bus.share(&attachment.tenant, number, Arc::new(outward));
        let task = tokio::spawn({
            let (shared, attachment) = (Arc::clone(&shared), Arc::clone(&attachment));
            async move {
                while let Some(message) = messages.next().await {
                    shared.counts.wakes_received.fetch_add(1, Ordering::Relaxed);
                    if shared.wakes.heard(&attachment, message.payload).is_none() {
                        // Of another version: it may stand for anything.
                        shared.wakes.missed([Arc::clone(&attachment)]);
                    }
                }
            }
        });
        let attached = Attached { shared, attachment, task };
        attached.shared.fence().await;
        Ok(attached)
    }

    /// Tenants attached now.
    pub fn attached(&self) -> usize {
        lock(&self.shared.wakes.attached).len()
    }
}

impl Attached {
    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.attachment.tenant
    }

    /// Told the horizon that another node's commit has reached, before its topics fire. It is told in order and must
    /// return at once. Ends with the attachment.
    pub fn on_horizon(&self, heard: impl Fn(u64) + Send + Sync + 'static) {
        *lock(&self.attachment.on_horizon) = Some(Arc::new(heard));
    }

    /// Ends it, as dropping does.
    pub fn detach(self) {
        drop(self);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.task.abort();
        let number = self.attachment.number;
        self.attachment.bus.unshare(&self.attachment.tenant, number);
        lock(&self.shared.wakes.attached).remove(&number);
        lock(&self.shared.wakes.missed).remove(&number);
        // Both usually hold the database, which holds the attachment.
        lock(&self.attachment.on_horizon).take();
        lock(&self.attachment.relay).take();
    }
}

impl Attachment {
    /// Queues a commit's wake-ups for the other nodes. Never waits.
    pub(crate) fn publish(self: &Arc<Self>, hashes: Vec<Topic>, horizon: u64) {
        let Some(shared) = self.shared.upgrade() else { return };
        let outgoing = Outgoing { attachment: Arc::clone(self), horizon, hashes };
        if shared.wakes.outgoing.try_send(outgoing).is_err()
            && !self.overrun.swap(true, Ordering::AcqRel)
        {
            shared.counts.wakes_overrun.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(tenant = &*self.tenant, "wake-ups for other nodes come too fast");
            shared.wakes.overrun.notify_one();
        }
    }
}

impl Attachment {
    /// Messages were put into these durable topics.
    pub(crate) fn emitted(&self, topics: &[String]) {
        if let Some(relay) = &*lock(&self.relay) {
            relay.emitted(topics);
        }
    }
}

impl Wakes {
    pub(crate) fn new(id: u64) -> (Self, mpsc::Receiver<Outgoing>) {
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let wakes = Self {
            id,
            attached: Mutex::default(),
            next: AtomicU64::new(0),
            outgoing,
            overrun: Notify::new(),
            missed: Mutex::default(),
            missed_some: Notify::new(),
        };
        (wakes, queue)
    }

    /// Whether all that was queued has been handed to the connection.
    pub(crate) fn sent(&self) -> bool {
        self.outgoing.capacity() == self.outgoing.max_capacity()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Attachment>> {
        lock(&self.attached).values().cloned().collect()
    }

    fn heard(&self, attachment: &Arc<Attachment>, mut message: Bytes) -> Option<()> {
        let kind = message.try_get_u8().ok()?;
        let from = message.try_get_u64_le().ok()?;
        if from == self.id {
            return Some(());
        }
        match kind {
            TOPICS => {
                let horizon = message.try_get_u64_le().ok()?;
                let on_horizon = lock(&attachment.on_horizon).clone();
                // None is told with what was no commit.
                if let Some(on_horizon) = on_horizon.filter(|_| horizon > 0) {
                    on_horizon(horizon);
                }
                let mut topics = Vec::with_capacity(message.len() / 8);
                while let Ok(bits) = message.try_get_u64_le() {
                    topics.push(Topic::from_bits(bits));
                }
                attachment.bus.fire(&topics);
                Some(())
            }
            ALL => {
                self.missed([Arc::clone(attachment)]);
                Some(())
            }
            _ => None,
        }
    }

    /// Wake-ups of these tenants may have been lost on their way here.
    pub(crate) fn missed(&self, attachments: impl IntoIterator<Item = Arc<Attachment>>) {
        for attachment in attachments {
            attachment.bus.void(&attachment.tenant);
            lock(&self.missed).insert(attachment.number, attachment);
        }
        self.missed_some.notify_one();
    }

    /// Fires what was missed, spread over a while.
    pub(crate) async fn make_good(&self) {
        loop {
            self.missed_some.notified().await;
            let missed = std::mem::take(&mut *lock(&self.missed));
            let mut buses: Vec<(Bus, Vec<Arc<str>>)> = Vec::new();
            for attachment in missed.into_values() {
                let tenant = Arc::clone(&attachment.tenant);
                match buses.iter_mut().find(|(bus, _)| bus.is(&attachment.bus)) {
                    Some((_, tenants)) => tenants.push(tenant),
                    None => buses.push((attachment.bus.clone(), vec![tenant])),
                }
            }
            let signals: Vec<_> =
                buses.iter().flat_map(|(bus, tenants)| bus.watches(tenants)).collect();
            if signals.is_empty() {
                continue;
            }
            tracing::debug!(watches = signals.len(), "firing what may have been missed");
            for step in signals.chunks(signals.len().div_ceil(STEPS)) {
                for signal in step {
                    signal.fire();
                }
                sleep(SPREAD / STEPS as u32).await;
            }
        }
    }

    /// The connection was lost and is there again: other nodes may have missed our last wake-ups.
    pub(crate) fn resend(&self) {
        let since = now_ms().saturating_sub(RECENT_MS);
        for attachment in self.all() {
            if attachment.sent_ms.load(Ordering::Relaxed) >= since {
                attachment.overrun.store(true, Ordering::Release);
            }
        }
        self.overrun.notify_one();
    }
}

impl Shared {
    /// Sends what is queued, for ever.
    pub(crate) async fn send_wakes(&self, mut queue: mpsc::Receiver<Outgoing>) {
        let mut batch = Vec::with_capacity(TOGETHER);
        loop {
            tokio::select! {
                taken = queue.recv_many(&mut batch, TOGETHER) => if taken == 0 { return },
                () = self.wakes.overrun.notified() => self.send_overruns().await,
            }
            // A stable sort: each tenant's commits stay in order.
            batch.sort_by_key(|outgoing| outgoing.attachment.number);
            for commits in
                batch.chunk_by(|one, other| one.attachment.number == other.attachment.number)
            {
                let Some(first) = commits.first() else { continue };
                first.attachment.sent_ms.store(now_ms(), Ordering::Relaxed);
                let horizon = commits.iter().map(|commit| commit.horizon).max().unwrap_or(0);
                let mut hashes: Vec<Topic> =
                    commits.iter().flat_map(|commit| commit.hashes.iter().copied()).collect();
                hashes.sort_unstable();
                hashes.dedup();
                for hashes in hashes.chunks(HASHES) {
                    let mut message = self.wake_message(TOPICS);
                    message.put_u64_le(horizon);
                    hashes.iter().for_each(|topic| message.put_u64_le(topic.bits()));
                    self.send_wake(&first.attachment, message).await;
                }
            }
            batch.clear();
        }
    }

    async fn send_overruns(&self) {
        for attachment in self.wakes.all() {
            if attachment.overrun.swap(false, Ordering::AcqRel) {
                self.send_wake(&attachment, self.wake_message(ALL)).await;
            }
        }
    }

    fn wake_message(&self, kind: u8) -> BytesMut {
        let mut message = BytesMut::new();
        message.put_u8(kind);
        message.put_u64_le(self.wakes.id);
        message
    }

    async fn send_wake(&self, attachment: &Attachment, message: BytesMut) {
        self.counts.wakes_sent.fetch_add(1, Ordering::Relaxed);
        let sent = self.client.publish(attachment.subject.clone(), message.freeze()).await;
        if let Err(error) = sent {
            tracing::warn!(%error, "wake-ups were not sent");
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
