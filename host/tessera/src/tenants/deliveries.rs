//! Durable topics: one delivery for each plug-in and topic that it consumes.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use tessera_bus::{
    BoxFuture, Bus, ConsumeError, Consumer, Deliverer, DeliveryConfig, DeliveryStats,
};
use tessera_engine::{
    Plugin, Tenant,
    api::{CallError, Dispatch, Message},
};
use tessera_storage::{Database, Delivery};

/// All deliveries of a tenant.
#[derive(Default)]
pub(crate) struct Deliveries {
    running: Mutex<Vec<Deliverer>>,
}

impl Deliveries {
    /// Starts what the manifests ask for.
    pub(crate) async fn start(
        settings: &tessera_manifest::Bus,
        bus: &Bus,
        tenant: &Arc<Tenant>,
        database: &Database,
        plugins: &[Plugin],
    ) -> Result<Self> {
        let consumes = plugins.iter().flat_map(|plugin| {
            plugin.manifest.topics.consumes.iter().map(move |consume| (plugin, consume))
        });
        // Together, so that registering them shares a transaction.
        let starts = consumes.map(|(plugin, consume)| {
            let config = DeliveryConfig {
                topic: consume.topic.to_string(),
                consumer: plugin.name().to_owned(),
                batch: consume.batch,
                max_attempts: consume.max_attempts,
                retry_first: settings.retry_first.get(),
                retry_max: settings.retry_max.get(),
            };
            let guest = Guest { tenant: Arc::clone(tenant), plugin: plugin.name().to_owned() };
            let (bus, database) = (bus.clone(), database.clone());
            async move {
                Deliverer::start(bus, tenant.name(), database, config, Arc::new(guest))
                    .await
                    .with_context(|| {
                        format!("plug-in `{}` cannot consume `{}`", plugin.name(), consume.topic)
                    })
            }
        });
        let deliveries = try_join_all(starts).await?;
        warn_of_absent(database, &deliveries).await?;
        Ok(Self { running: Mutex::new(deliveries) })
    }

    /// Figures of each.
    pub(crate) fn stats(&self) -> Vec<(DeliveryConfig, DeliveryStats)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|delivery| (delivery.config().clone(), delivery.stats())).collect()
    }

    /// Whether a plug-in that is loaded has messages left to do.
    pub(crate) async fn has_work(&self, database: &Database) -> Result<bool> {
        let served: Vec<DeliveryConfig> = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.iter().map(|delivery| delivery.config().clone()).collect()
        };
        let consumers = database.consumers().await?;
        Ok(consumers.iter().any(|known| {
            let same = |config: &DeliveryConfig| {
                config.topic == known.topic && config.consumer == known.consumer
            };
            known.pending > 0 && served.iter().any(same)
        }))
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
async fn warn_of_absent(database: &Database, deliveries: &[Deliverer]) -> Result<()> {
    for known in database.consumers().await? {
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
