//! Handing over: no new calls and messages, and those in hand come to their end.

use std::{mem, sync::PoisonError, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::Member;

impl Member {
    /// Tells the others that this node is going.
    pub(crate) fn announce(&self) {
        self.cluster.set_draining(true);
    }

    /// Takes no more calls and messages of other nodes and lets those in hand end, within `patience`.
    pub(crate) async fn drain(&self, patience: Duration) {
        let served = mem::take(&mut *self.served());
        let mut ends = JoinSet::new();
        for served in served.into_values() {
            ends.spawn(async move {
                if timeout(patience, served.drain()).await.is_err() {
                    tracing::warn!(
                        service = served.name(),
                        calls = served.in_hand(),
                        "calls of other nodes did not end in time; their callers learn that they were lost"
                    );
                }
            });
        }
        let cluster = self.cluster.clone();
        ends.spawn(async move {
            if timeout(patience, cluster.leave_topics()).await.is_err() {
                tracing::warn!("messages in hand did not end in time; they are delivered again");
            }
        });
        while ends.join_next().await.is_some() {}
    }

    /// Leaves for good.
    pub(crate) async fn leave(&self) {
        let held = mem::take(&mut *self.attached.lock().unwrap_or_else(PoisonError::into_inner));
        drop(held);
        self.cluster.close().await;
    }
}
