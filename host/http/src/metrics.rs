//! Figures of the edge.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// What the edge counts. Names begin with `tessera_http_`.
pub(crate) struct Metrics {
    /// By plug-in, route, method and status. 499: the client went away.
    pub(crate) requests: IntCounterVec,
    /// By plug-in and route, without the time parked.
    pub(crate) seconds: HistogramVec,
    pub(crate) running: IntGauge,
    pub(crate) parked: IntGauge,
    pub(crate) connections: IntGauge,
    /// By reason: woken, timeout.
    pub(crate) resumed: IntCounterVec,
    pub(crate) auth_hits: IntCounter,
    pub(crate) auth_misses: IntCounter,
    /// By plug-in and route.
    pub(crate) rate_limited: IntCounterVec,
    pub(crate) panics: IntCounter,
    /// By tenant and class of status, such as `2xx`; dropped when a tenant is forgotten, as the next two.
    tenant_requests: IntCounterVec,
    /// By tenant.
    tenant_limited: IntCounterVec,
    tenant_parked: IntGaugeVec,
}

/// The figures of one tenant.
pub(crate) struct OfTenant {
    /// By the first digit of the status.
    requests: [IntCounter; 5],
    /// Over the tenant's quota.
    pub(crate) limited: IntCounter,
    pub(crate) parked: IntGauge,
}

impl OfTenant {
    pub(crate) fn count(&self, status: u16) {
        if let Some(counter) = self.requests.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.inc();
        }
    }

    /// Requests answered so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.iter().map(IntCounter::get).sum()
    }
}

/// Classes of status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// From a cached answer to a slow commit to a stuck call.
const BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = HistogramOpts::new(
            "tessera_http_request_seconds",
            "Time to answer a request, without the time parked",
        )
        .buckets(BUCKETS.to_vec());
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("tessera_http_requests_total", "Requests answered"),
                &["plugin", "route", "method", "status"],
            )?,
            seconds: HistogramVec::new(seconds, &["plugin", "route"])?,
            running: IntGauge::new("tessera_http_running", "Requests that are not parked")?,
            parked: IntGauge::new("tessera_http_parked", "Requests that are parked")?,
            connections: IntGauge::new("tessera_http_connections", "Open connections")?,
            resumed: IntCounterVec::new(
                Opts::new("tessera_http_resumed_total", "Parked requests resumed"),
                &["reason"],
            )?,
            auth_hits: IntCounter::new(
                "tessera_http_auth_cache_hits_total",
                "Credentials whose answer was kept",
            )?,
            auth_misses: IntCounter::new(
                "tessera_http_auth_cache_misses_total",
                "Credentials that an authenticator was asked about",
            )?,
            rate_limited: IntCounterVec::new(
                Opts::new("tessera_http_rate_limited_total", "Requests over their rate class"),
                &["plugin", "route"],
            )?,
            panics: IntCounter::new("tessera_http_panics_total", "Bugs of the host, caught")?,
            tenant_requests: IntCounterVec::new(
                Opts::new("tessera_http_tenant_requests_total", "Requests answered for a tenant"),
                &["tenant", "class"],
            )?,
            tenant_limited: IntCounterVec::new(
                Opts::new("tessera_http_tenant_limited_total", "Requests over a tenant's quota"),
                &["tenant"],
            )?,
            tenant_parked: IntGaugeVec::new(
                Opts::new("tessera_http_tenant_parked", "Requests of a tenant that are parked"),
                &["tenant"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.running.clone()))?;
        registry.register(Box::new(metrics.parked.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.resumed.clone()))?;
        registry.register(Box::new(metrics.auth_hits.clone()))?;
        registry.register(Box::new(metrics.auth_misses.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        registry.register(Box::new(metrics.panics.clone()))?;
        registry.register(Box::new(metrics.tenant_requests.clone()))?;
        registry.register(Box::new(metrics.tenant_limited.clone()))?;
        registry.register(Box::new(metrics.tenant_parked.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn of_tenant(&self, tenant: &str) -> OfTenant {
        OfTenant {
            requests: CLASSES.map(|class| self.tenant_requests.with_label_values(&[tenant, class])),
            limited: self.tenant_limited.with_label_values(&[tenant]),
            parked: self.tenant_parked.with_label_values(&[tenant]),
        }
    }

    /// Drops a tenant's figures.
    pub(crate) fn forget(&self, tenant: &str) {
        // Fails for figures that are not there.
        for class in CLASSES {
            let _ = self.tenant_requests.remove_label_values(&[tenant, class]);
        }
        let _ = self.tenant_limited.remove_label_values(&[tenant]);
        let _ = self.tenant_parked.remove_label_values(&[tenant]);
    }
}

/// Counts one up for as long as it lives.
pub(crate) struct Held(IntGauge);

impl Held {
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
