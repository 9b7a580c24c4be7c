//! What a tenant's database tells the bus.

use std::sync::Arc;

use tessera_storage::Wake;

use crate::cluster::{Attached, Attachment};
use crate::topic::Topic;
use crate::wakeups::Bus;

/// Fires the wake-ups of one tenant's commits; given to the database when it is opened.
pub struct TenantWake {
    bus: Bus,
    tenant: Arc<str>,
    others: Option<Arc<Attachment>>,
}

impl TenantWake {
    /// Fires on this bus, as this tenant.
    pub fn new(bus: Bus, tenant: impl Into<Arc<str>>) -> Self {
        Self { bus, tenant: tenant.into(), others: None }
    }

    /// Fires on the bus of this process and on those of the other nodes.
    pub fn shared(attached: &Attached) -> Self {
        let attachment = &attached.attachment;
        Self {
            bus: attachment.bus.clone(),
            tenant: Arc::clone(&attachment.tenant),
            others: Some(Arc::clone(attachment)),
        }
    }
}

impl Wake for TenantWake {
    fn committed(&self, topics: &[String], horizon: u64) {
        if topics.is_empty() {
            return;
        }
        let hashes: Vec<Topic> =
            topics.iter().map(|topic| self.bus.topic(&self.tenant, topic)).collect();
        self.bus.fire(&hashes);
        if let Some(others) = &self.others {
            others.publish(hashes, horizon);
        }
    }

    fn emitted(&self, topics: &[String]) {
        match &self.others {
            Some(others) => others.emitted(topics),
            None => {
                let names: Vec<String> = topics.iter().map(|topic| outbox_topic(topic)).collect();
                self.bus.notify(&self.tenant, &names);
            }
        }
    }
}

/// The wake-up topic that stands for a durable topic's outbox. The control character keeps it apart from
/// what plug-ins name; one that names it all the same causes a needless look into the outbox.
pub(crate) fn outbox_topic(topic: &str) -> String {
    format!("\u{1}outbox:{topic}")
}
