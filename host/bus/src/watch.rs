//! A subscription that fires once.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

use crate::registry::Registry;
use crate::topic::Topic;

/// What a registry entry points to.
pub(crate) struct Signal {
    id: u64,
    tenant: Topic,
    first: Topic,
    fired: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    /// `tenant` is [`Topic::whole`]; `first` one of the topics, or again the tenant where there is none.
    pub(crate) fn new(id: u64, tenant: Topic, first: Topic) -> Arc<Self> {
        let (fired, waker) = (AtomicBool::new(false), AtomicWaker::new());
        Arc::new(Self { id, tenant, first, fired, waker })
    }

    pub(crate) fn tenant(&self) -> Topic {
        self.tenant
    }

    pub(crate) fn first(&self) -> Topic {
        self.first
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn fire(&self) {
        if !self.fired.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

/// A subscription to some topics, from the moment it was taken until it is dropped. It fires once and stays fired.
///
/// Costs about 45 bytes for each topic; no task stands behind it.
pub struct Watch {
    signal: Arc<Signal>,
    topics: Box<[Topic]>,
    registry: Arc<Registry>,
}

impl Watch {
    pub(crate) fn new(signal: Arc<Signal>, topics: Box<[Topic]>, registry: Arc<Registry>) -> Self {
        Self { signal, topics, registry }
    }

    pub(crate) fn hashes(&self) -> &[Topic] {
        &self.topics
    }

    pub(crate) fn fire(&self) {
        self.signal.fire();
    }

    /// Whether one of the topics was notified since the watch was taken.
    pub fn is_fired(&self) -> bool {
        self.signal.fired.load(Ordering::Acquire)
    }

    /// Waits until one of the topics is notified; at once if one was. Cancel-safe. One task may wait at a time:
    /// a second one takes the place of the first.
    pub async fn fired(&self) {
        poll_fn(|cx| {
            if self.is_fired() {
                return Poll::Ready(());
            }
            self.signal.waker.register(cx.waker());
            if self.is_fired() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The topics, for [`crate::Bus::watch_hashes_since`] on another node of the cluster.
    pub fn topics_hashes(&self) -> Vec<u64> {
        self.topics.iter().map(|topic| topic.bits()).collect()
    }

    /// How many topics are watched.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.registry.leave(&self.topics, self.signal.id());
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("topics", &self.topics.len())
            .field("fired", &self.is_fired())
            .finish()
    }
}
