//! What a tenant's database tells the bus.

use std::sync::Arc;

use tessera_storage::Wake;

use crate::wakeups::Bus;

/// Fires the wake-ups of one tenant's commits; given to `Database::open`.
pub struct TenantWake {
    bus: Bus,
    tenant: Arc<str>,
}

impl TenantWake {
    /// Fires on this bus, as this tenant.
    pub fn new(bus: Bus, tenant: impl Into<Arc<str>>) -> Self {
        Self { bus, tenant: tenant.into() }
    }
}

impl Wake for TenantWake {
    fn committed(&self, topics: &[String], _horizon: u64) {
        self.bus.notify(&self.tenant, topics);
    }

    fn emitted(&self, topics: &[String]) {
        let names: Vec<String> = topics.iter().map(|topic| outbox_topic(topic)).collect();
        self.bus.notify(&self.tenant, &names);
    }
}

/// The wake-up topic that stands for a durable topic's outbox. The control character keeps it apart from
/// what plug-ins name; one that names it all the same causes a needless look into the outbox.
pub(crate) fn outbox_topic(topic: &str) -> String {
    format!("\u{1}outbox:{topic}")
}
