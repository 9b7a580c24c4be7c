//! Durable topics: one delivery for each plug-in and topic that it consumes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use futures::future::join_all;
use tessera_bus::{
    Attached, BoxFuture, Bus, ConsumeError, Consumer, Deliverer, DeliveryConfig, DeliveryStats,
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
    /// Topic and consumer of all, those too that other nodes run.
    known: Mutex<Vec<(String, String)>>,
}

/// What deliveries are started with.
pub(crate) struct Places<'a> {
    pub(crate) bus: &'a Bus,
    /// Where messages are shared with other nodes.
    pub(crate) attached: Option<&'a Attached>,
    pub(crate) database: &'a Database,
}

impl Deliveries {
    /// Starts what the manifests ask for, for the plug-ins that `runs` says run here. Of the others it is noted that
    /// they consume, so that messages wait for them.
    pub(crate) async fn start(
        settings: &tessera_manifest::Bus,
        places: Places<'_>,
        tenant: &Arc<Tenant>,
        plugins: &[Plugin],
        runs: impl Fn(&Plugin) -> bool,
    ) -> Result<Self> {
        let deliveries = Self::default();
        deliveries.change(settings, places, tenant, plugins, runs).await?;
        Ok(deliveries)
    }

    /// The same for plug-ins that have taken the place of others: what both consume alike goes on, what the new ones do
    /// not consume ends after the batch in hand.
    pub(crate) async fn change(
        &self,
        settings: &tessera_manifest::Bus,
        places: Places<'_>,
        tenant: &Arc<Tenant>,
        plugins: &[Plugin],
        runs: impl Fn(&Plugin) -> bool,
    ) -> Result<()> {
        let mut wanted = Vec::new();
        for plugin in plugins {
            for consume in &plugin.manifest.topics.consumes {
                let config = DeliveryConfig {
                    topic: consume.topic.to_string(),
                    consumer: plugin.name().to_owned(),
                    batch: consume.batch,
                    max_attempts: consume.max_attempts,
                    retry_first: settings.retry_first.get(),
                    retry_max: settings.retry_max.get(),
                };
                wanted.push((config, runs(plugin)));
            }
        }
        let known: Vec<(String, String)> = wanted
            .iter()
            .map(|(config, _)| (config.topic.clone(), config.consumer.clone()))
            .collect();
        let mut ended = Vec::new();
        {
            let mut running = self.running();
            let before = std::mem::take(&mut *running);
            for delivery in before {
                let same = |(config, here): &(DeliveryConfig, bool)| {
                    *here && is_same(config, delivery.config())
                };
                match wanted.iter().position(same) {
                    Some(index) => {
                        wanted.swap_remove(index);
                        running.push(delivery);
                    }
                    None => ended.push(delivery),
                }
            }
        }
        // Before another of the same name begins.
        stop_all(ended).await;
        let starts = wanted.into_iter().map(|(config, here)| start(&places, tenant, config, here));
        // Together, so that registering them shares a transaction.
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&known);
        let mut failed = Ok(());
        for started in join_all(starts).await {
            match started {
                Ok(started) => self.running().extend(started),
                // The others go on.
                Err(error) => failed = Err(error),
            }
        }
        failed?;
        warn_of_absent(places.database, &known).await
    }

    fn running(&self) -> MutexGuard<'_, Vec<Deliverer>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Figures of each.
    pub(crate) fn stats(&self) -> Vec<(DeliveryConfig, DeliveryStats)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|delivery| (delivery.config().clone(), delivery.stats())).collect()
    }

    /// Whether a plug-in that is loaded has messages left to do.
    pub(crate) async fn has_work(&self, database: &Database) -> Result<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Those of other nodes, too: messages find them through whoever is awake.
        let waits = |consumer: &tessera_storage::Consumer| {
            consumer.pending > 0 && is_known(&known, consumer)
        };
        Ok(database.consumers().await?.iter().any(waits))
    }

    /// Lets the batches in hand end.
    pub(crate) async fn stop(&self) {
        let running = std::mem::take(&mut *self.running());
        stop_all(running).await;
    }
}

async fn stop_all(deliveries: Vec<Deliverer>) {
    let stops = deliveries.into_iter().map(|delivery| tokio::spawn(delivery.stop()));
    for stop in stops.collect::<Vec<_>>() {
        if let Err(error) = stop.await {
            tracing::error!(%error, "a delivery did not stop");
        }
    }
}

/// Whether one delivery does for both.
fn is_same(one: &DeliveryConfig, other: &DeliveryConfig) -> bool {
    one.topic == other.topic
        && one.consumer == other.consumer
        && one.batch == other.batch
        && one.max_attempts == other.max_attempts
        && one.retry_first == other.retry_first
        && one.retry_max == other.retry_max
}

/// Starts one delivery; `here`: its plug-in runs in this process.
async fn start(
    places: &Places<'_>,
    tenant: &Arc<Tenant>,
    config: DeliveryConfig,
    here: bool,
) -> Result<Option<Deliverer>> {
    let (topic, plugin) = (config.topic.clone(), config.consumer.clone());
    let database = places.database.clone();
    let guest = Arc::new(Guest { tenant: Arc::clone(tenant), plugin: plugin.clone() });
    let started = if !here {
        database.register_consumer(&topic, &plugin).await.map(|()| None)
    } else if let Some(attached) = places.attached {
        Deliverer::shared(attached, database, config, guest).await.map(Some)
    } else {
        let bus = places.bus.clone();
        Deliverer::start(bus, tenant.name(), database, config, guest).await.map(Some)
    };
    started.with_context(|| format!("plug-in `{plugin}` cannot consume `{topic}`"))
}

/// What a plug-in that is not loaded consumed is kept for it, and fills the outbox in the end.
async fn warn_of_absent(database: &Database, known: &[(String, String)]) -> Result<()> {
    for consumer in database.consumers().await? {
        if !is_known(known, &consumer) {
            tracing::warn!(
                plugin = consumer.consumer,
                topic = consumer.topic,
                waiting = consumer.pending,
                "messages are kept for a plug-in that is not loaded"
            );
        }
    }
    Ok(())
}

fn is_known(known: &[(String, String)], consumer: &tessera_storage::Consumer) -> bool {
    known.iter().any(|(topic, name)| *topic == consumer.topic && *name == consumer.consumer)
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
