//! One tenant that is awake.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering, fence},
    },
    time::Duration,
};

use anyhow::Result;
use tessera_blobs::Blobs;
use tessera_bus::Attached;
use tessera_engine::Tenant;
use tessera_http::Site;
use tessera_storage::{Database, now_ms};
use tokio::{task::JoinHandle, time::timeout};

use super::deliveries::Deliveries;

/// What a tenant holds while it is awake. Whoever holds an `Arc` of it, or of its site, keeps it awake.
pub(crate) struct Running {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) database: Database,
    pub(crate) blobs: Blobs,
    pub(crate) deliveries: Deliveries,
    pub(crate) site: Arc<Site>,
    /// Shares wake-ups and messages with other nodes; given up by [`Running::close`].
    attached: Mutex<Option<Attached>>,
    /// Fires timers; aborted by [`Running::close`].
    pub(crate) timers: JoinHandle<()>,
    /// Milliseconds since the epoch.
    used_ms: AtomicU64,
}

impl Running {
    /// A tenant that was just used.
    pub(crate) fn new(
        tenant: Arc<Tenant>,
        database: Database,
        blobs: Blobs,
        deliveries: Deliveries,
        attached: Option<Attached>,
        site: Site,
    ) -> Self {
        let timers = tokio::spawn(timers(Arc::clone(&tenant)));
        let used_ms = AtomicU64::new(now_ms());
        let (site, attached) = (Arc::new(site), Mutex::new(attached));
        Self { tenant, database, blobs, deliveries, site, attached, timers, used_ms }
    }

    /// Notes that somebody uses it.
    pub(crate) fn touch(&self) {
        self.used_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// When it was used last.
    pub(crate) fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    /// Whether nobody but the caller has it in hand. True for good only where nobody can get it any more.
    pub(crate) fn is_alone(self: &Arc<Self>) -> bool {
        // First this count, then the site's: a request takes the site while it holds the tenant.
        if Arc::strong_count(self) > 1 {
            return false;
        }
        fence(Ordering::Acquire);
        Arc::strong_count(&self.site) == 1
    }

    /// Whether messages wait, or a timer is due within `soon`.
    pub(crate) async fn has_work(&self, soon: Duration) -> Result<bool> {
        let soon = u64::try_from(soon.as_millis()).unwrap_or(u64::MAX);
        let timer = self.database.timer_next().await?;
        if timer.is_some_and(|due| due <= now_ms().saturating_add(soon)) {
            return Ok(true);
        }
        self.deliveries.has_work(&self.database).await
    }

    /// Lets what it does for itself end, within `patience`, and gives everything back. Gives when something is due
    /// here next, in milliseconds since the epoch.
    pub(crate) async fn close(&self, patience: Duration) -> Result<Option<u64>> {
        self.timers.abort();
        // Read while they still run: afterwards it is not known whose messages count.
        let messages = self.deliveries.has_work(&self.database).await;
        if timeout(patience, self.deliveries.stop()).await.is_err() {
            tracing::warn!(
                tenant = self.tenant.name(),
                "a consumer did not end in time; its messages are delivered again"
            );
        }
        self.tenant.close();
        let timer = self.database.timer_next().await;
        drop(self.attached.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.database.clone().close().await;
        Ok(if messages? { Some(now_ms()) } else { timer? })
    }
}

/// Fires timers. They must not end: without them the tenant is half of one.
async fn timers(tenant: Arc<Tenant>) {
    loop {
        let ended = tokio::spawn(Arc::clone(&tenant).run_timers());
        let _abort = AbortOnDrop(ended.abort_handle());
        let ended = ended.await;
        tracing::error!(tenant = tenant.name(), ?ended, "the timers ended; starting them again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
