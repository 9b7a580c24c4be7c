//! What this node does for the others: calls of its plug-ins, and messages for its consumers.

use std::sync::{Arc, Weak};

use anyhow::{Context, Result};
use bytes::Bytes;
use tessera_bus::{BoxFuture, CallHeaders, Serve, WakeTenant};
use tessera_engine::{
    Plugin,
    api::CallError,
    remote::{refuse, services, tenant_of},
    trace,
};
use tracing::{Instrument, info_span};

use super::Member;
use crate::tenants::{Running, Tenants};

impl Member {
    /// From here on other nodes may call the plug-ins that run here, and messages come for their consumers.
    pub(crate) async fn serve(&self, plugins: &[Plugin], tenants: &Arc<Tenants>) -> Result<()> {
        let here = Arc::new(Here { tenants: Arc::downgrade(tenants) });
        self.cluster.wake_with(here as Arc<dyn WakeTenant>);
        self.serve_more(plugins, tenants).await
    }

    /// The same for what these offer beyond what is offered already.
    pub(crate) async fn serve_more(
        &self,
        plugins: &[Plugin],
        tenants: &Arc<Tenants>,
    ) -> Result<()> {
        let here = Arc::new(Here { tenants: Arc::downgrade(tenants) });
        for plugin in plugins {
            for consume in &plugin.manifest.topics.consumes {
                self.cluster.offer(plugin.name(), consume.topic.as_str());
            }
            for service in services(plugin) {
                if self.is_served(&service) {
                    continue;
                }
                let serve = Arc::clone(&here) as Arc<dyn Serve>;
                let served = self.cluster.serve(&service, serve).await;
                let served = served.with_context(|| format!("cannot offer `{service}`"))?;
                self.keep(service, served);
            }
        }
        Ok(())
    }

    /// Offers nothing any more that these do not.
    pub(crate) fn serve_only(&self, plugins: &[Plugin]) {
        self.keep_only(&plugins.iter().flat_map(services).collect());
    }
}

/// The tenants of this node, for other nodes.
struct Here {
    tenants: Weak<Tenants>,
}

impl Here {
    /// A tenant, woken where it sleeps.
    async fn awake(&self, tenant: &str) -> Result<Arc<Running>, String> {
        let stopping = || "the node is stopping".to_owned();
        let tenants = self.tenants.upgrade().ok_or_else(stopping)?;
        let entry = tenants.entry(tenant);
        let entry = entry.ok_or_else(|| format!("the node does not know the tenant `{tenant}`"))?;
        tenants.wake(&entry).await.map_err(|error| error.to_string())
    }
}

impl Serve for Here {
    fn serve<'a>(&'a self, payload: Bytes, headers: CallHeaders) -> BoxFuture<'a, Bytes> {
        let span = info_span!(target: "tessera::span", "bus.serve", tenant = tracing::field::Empty);
        if let Some(parent) = &headers.traceparent {
            trace::adopt(&span, parent);
        }
        let answer = async move {
            let Some(tenant) = tenant_of(&payload) else {
                return refuse(CallError::Unavailable("the call cannot be read".to_owned()));
            };
            tracing::Span::current().record("tenant", tenant);
            match self.awake(tenant).await {
                // Held until the answer is there: so it does not fall asleep.
                Ok(running) => running.tenant.answer(payload).await,
                Err(why) => refuse(CallError::Unavailable(why)),
            }
        };
        Box::pin(answer.instrument(span))
    }
}

impl WakeTenant for Here {
    fn wake<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match self.awake(tenant).await {
                Ok(_) => true,
                Err(why) => {
                    tracing::debug!(tenant, why, "a message waits for a tenant that does not wake");
                    false
                }
            }
        })
    }
}
