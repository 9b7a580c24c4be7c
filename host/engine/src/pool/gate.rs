//! Who may run now: places for calls from the edge, and for nested calls at each depth.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{api::CallError, state::MAX_DEPTH};

pub(super) struct Gate {
    places: u32,
    edge: Arc<Semaphore>,
    /// Shared by all plug-ins of the tenant.
    tenant: Arc<Semaphore>,
    waiting: Arc<AtomicU32>,
    queue: u32,
    /// Places taken at depth 1, 2, ….
    nested: Arc<[AtomicU32]>,
}

/// A place that was taken; free again when dropped.
pub(super) enum Pass {
    Edge { _plugin: OwnedSemaphorePermit, _tenant: OwnedSemaphorePermit },
    Nested { _place: Counted },
}

/// One more in a counter, until dropped.
pub(super) struct Counted {
    counters: Arc<[AtomicU32]>,
    index: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(counter) = self.counters.get(self.index) {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// One more who waits, until dropped.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gate {
    pub(super) fn new(places: u32, queue: u32, tenant: Arc<Semaphore>) -> Self {
        Self {
            places,
            edge: Arc::new(Semaphore::new(places as usize)),
            tenant,
            waiting: Arc::new(AtomicU32::new(0)),
            queue,
            nested: (0..MAX_DEPTH).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    pub(super) async fn enter(&self, depth: u8, deadline: Instant) -> Result<Pass, CallError> {
        if depth == 0 { self.wait(deadline).await } else { self.nested(depth) }
    }

    /// Must not wait.
    fn nested(&self, depth: u8) -> Result<Pass, CallError> {
        let index = usize::from(depth) - 1;
        let counter = self.nested.get(index).ok_or_else(|| {
            CallError::Unavailable(format!("calls are nested deeper than {MAX_DEPTH}"))
        })?;
        let taken = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
            (taken < self.places).then(|| taken.saturating_add(1))
        });
        if taken.is_err() {
            return Err(CallError::Unavailable(format!("no place left at depth {depth}")));
        }
        Ok(Pass::Nested { _place: Counted { counters: Arc::clone(&self.nested), index } })
    }

    /// May wait, in a queue that is bounded. The plug-in's place comes first: who waits for a slow plug-in
    /// must not hold what the others need.
    async fn wait(&self, deadline: Instant) -> Result<Pass, CallError> {
        let plugin = self.permit(&self.edge, deadline).await?;
        let tenant = self.permit(&self.tenant, deadline).await?;
        Ok(Pass::Edge { _plugin: plugin, _tenant: tenant })
    }

    async fn permit(
        &self,
        semaphore: &Arc<Semaphore>,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        if let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue {
            return Err(CallError::Overloaded);
        }
        let permit = Arc::clone(semaphore).acquire_owned();
        match tokio::time::timeout_at(deadline.into(), permit).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(CallError::Unavailable("shutting down".to_owned())),
            Err(_elapsed) => Err(CallError::Overloaded),
        }
    }
}
