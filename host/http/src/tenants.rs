//! What the edge keeps of each tenant: places held, answers of authenticators, buckets, figures. Nothing of it is
//! shared between tenants but the number of places.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tessera_manifest::{Http, Quotas};
use tokio_util::sync::CancellationToken;

use crate::auth::Store;
use crate::edge::Usage;
use crate::metrics::{Metrics, OfTenant};
use crate::rates::{BUCKETS, Buckets, Quota};
use crate::share::{Lone, Part, Pool};

/// The numbers of places that tenants share.
pub(crate) struct Shares {
    pub(crate) running: Arc<Pool>,
    pub(crate) parked: Arc<Pool>,
    pub(crate) connections: Arc<Pool>,
    auth: Arc<Pool>,
    buckets: Arc<Pool>,
}

impl Shares {
    pub(crate) fn new(settings: &Http, lone: &Lone) -> Self {
        let pool =
            |number: std::num::NonZeroU32| Pool::new(number.get() as usize, Arc::clone(lone));
        Self {
            running: pool(settings.max_requests),
            parked: pool(settings.max_parked),
            connections: pool(settings.max_connections),
            auth: pool(settings.auth_cache),
            buckets: Pool::new(BUCKETS, Arc::clone(lone)),
        }
    }
}

/// The edge's side of a tenant. Requests hold it, so it outlives [`Tenants::forget`] for as long as they last.
pub(crate) struct Tenant {
    pub(crate) name: Arc<str>,
    pub(crate) running: Part,
    pub(crate) parked: Part,
    pub(crate) connections: Part,
    pub(crate) auth: Store,
    pub(crate) rates: Buckets,
    pub(crate) figures: OfTenant,
    quota: Quota,
    /// Set when it is forgotten: parked requests go on.
    pub(crate) gone: CancellationToken,
}

impl Tenant {
    pub(crate) fn usage(&self) -> Usage {
        let number = |part: &Part| part.load(Ordering::Acquire);
        Usage {
            requests: self.figures.requests(),
            limited: self.figures.limited.get(),
            running: number(&self.running),
            parked: number(&self.parked),
            connections: number(&self.connections),
        }
    }

    /// Takes a request from the tenant's quota. The error is the time to wait.
    pub(crate) fn admit(&self, quotas: &Quotas, nodes: u32) -> Result<(), Duration> {
        let Some(per_second) = quotas.requests_per_second else { return Ok(()) };
        self.quota.take(per_second, nodes)
    }
}

/// All tenants that had a request since they were last forgotten; at most as many as there are.
pub(crate) struct Tenants {
    pub(crate) shares: Shares,
    known: RwLock<HashMap<Arc<str>, Arc<Tenant>>>,
}

impl Tenants {
    pub(crate) fn new(shares: Shares) -> Self {
        Self { shares, known: RwLock::default() }
    }

    pub(crate) fn get(&self, name: &Arc<str>, metrics: &Metrics) -> Arc<Tenant> {
        if let Some(known) = self.find(name) {
            return known;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let made = known.entry(Arc::clone(name)).or_insert_with(|| {
            Arc::new(Tenant {
                name: Arc::clone(name),
                running: Part::default(),
                parked: Part::default(),
                connections: Part::default(),
                auth: Store::new(Arc::clone(&self.shares.auth)),
                rates: Buckets::new(Arc::clone(&self.shares.buckets)),
                figures: metrics.of_tenant(name),
                quota: Quota::new(),
                gone: CancellationToken::new(),
            })
        });
        Arc::clone(made)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Tenant>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    /// Drops a tenant and its figures.
    pub(crate) fn forget(&self, name: &str, metrics: &Metrics) {
        // Under the lock, so that one who comes back at this moment has its figures.
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = known.remove(name) {
            metrics.forget(name);
            tenant.auth.clear();
            tenant.gone.cancel();
        }
    }

    /// Drops the answers of all authenticators.
    pub(crate) fn clear(&self) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().for_each(|tenant| tenant.auth.clear());
    }
}
