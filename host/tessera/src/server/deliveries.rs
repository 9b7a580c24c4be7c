//! Durable topics: one delivery for each plug-in and topic that it consumes.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tessera_bus::{
    BoxFuture, Bus, ConsumeError, Consumer, Deliverer, DeliveryConfig, DeliveryStats,
};
use tessera_engine::{
    Plugin, Tenant,
    api::{CallError, Dispatch, Message},
};
use tessera_manifest::Descriptor;
use tessera_storage::Delivery;

use super::tenant::Running;

/// All deliveries of a tenant.
pub(crate) struct Deliveries {
    running: Mutex<Vec<Deliverer>>,
}

impl Deliveries {
    /// Starts what the manifests ask for.
    pub(crate) async fn start(
        descriptor: &Descriptor,
        bus: &Bus,
        running: &Running,
        plugins: &[Plugin],
    ) -> Result<Self> {
        let mut deliveries = Vec::new();
        for plugin in plugins {
            for consume in &plugin.manifest.topics.consumes {
                let config = DeliveryConfig {
                    topic: consume.topic.to_string(),
                    consumer: plugin.name().to_owned(),
                    batch: consume.batch,
                    max_attempts: consume.max_attempts,
                    retry_first: descriptor.bus.retry_first.get(),
                    retry_max: descriptor.bus.retry_max.get(),
                };
                let consumer =
                    Guest { tenant: Arc::clone(&running.tenant), plugin: plugin.name().to_owned() };
                let (name, database) = (running.tenant.name(), running.database.clone());
                let consumer = Arc::new(consumer);
                let started = Deliverer::start(bus.clone(), name, database, config, consumer);
                deliveries.push(started.await.with_context(|| {
                    format!("plug-in `{}` cannot consume `{}`", plugin.name(), consume.topic)
                })?);
            }
        }
        warn_of_absent(running, &deliveries).await?;
        Ok(Self { running: Mutex::new(deliveries) })
    }

    /// Figures of each.
    pub(crate) fn stats(&self) -> Vec<(DeliveryConfig, DeliveryStats)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|delivery| (delivery.config().clone(), delivery.stats())).collect()
    }

    /// Lets the batches in hand end.
    pub(crate) async fn stop(&self) {
        let running =
            std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let stops = running.into_iter().map(|delivery| tokio::spawn(delivery.stop()));
        for stop in stops.collect::<Vec<_>>() {
            if let Err(error) = stop.await {
                tracing::error!(%error, "a delivery did not stop");
            }
        }
    }
}

/// What a plug-in that is not loaded consumed is kept for it, and fills the outbox in the end.
async fn warn_of_absent(running: &Running, deliveries: &[Deliverer]) -> Result<()> {
    for known in running.database.consumers().await? {
        let loaded = deliveries
            .iter()
            .map(Deliverer::config)
            .any(|config| config.topic == known.topic && config.consumer == known.consumer);
        if !loaded {
            tracing::warn!(
                plugin = known.consumer,
                topic = known.topic,
                waiting = known.pending,
                "messages are kept for a plug-in that is not loaded"
            );
        }
    }
    Ok(())
}

/// A plug-in as the bus sees it.
struct Guest {
    tenant: Arc<Tenant>,
    plugin: String,
}

impl Consumer for Guest {
    fn consume(&self, batch: Vec<Delivery>) -> BoxFuture<'_, Result<u32, ConsumeError>> {
        let messages = batch.into_iter().map(message).collect();
        Box::pin(async move {
            match self.tenant.consume(&self.plugin, messages).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(text)) => Err(ConsumeError::Failed(text)),
                Err(CallError::Unavailable(text)) => Err(ConsumeError::Unavailable(text)),
                Err(error @ CallError::Overloaded) => {
                    Err(ConsumeError::Unavailable(error.to_string()))
                }
                Err(error) => Err(ConsumeError::Failed(error.to_string())),
            }
        })
    }
}

fn message(delivery: Delivery) -> Message {
    Message {
        id: delivery.id,
        topic: delivery.topic,
        key: delivery.key,
        payload: delivery.payload,
        position: delivery.position,
        attempt: delivery.attempts.saturating_add(1),
    }
}
