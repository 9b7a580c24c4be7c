//! The stream that carries hints: made where it is missing, filled from a queue.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, context::ContextBuilder};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Hint;
use crate::cluster::config::{ClusterConfig, ClusterError};
use crate::cluster::connect::{chain, shown};
use crate::cluster::subject::{partition, readable, token};
use crate::cluster::{Cluster, Shared};

/// Hints that the server has not acknowledged yet.
const UNDER_WAY: usize = 256;
/// Time between two looks at the stream.
const LOOK: Duration = Duration::from_secs(5);
/// Pause after the stream could not be made.
const PAUSE: Duration = Duration::from_millis(500);
/// A hint that nobody took for so long is of no use: the relay has sent others.
const AGE: Duration = Duration::from_secs(3_600);
/// Two hints with the same id within this time are one.
const DOUBLES: Duration = Duration::from_secs(120);

pub(super) fn context(client: &async_nats::Client) -> Context {
    ContextBuilder::new().timeout(Duration::from_secs(3)).build(client.clone())
}

/// The stream's name: like a prefix, in the writing that streams have.
pub(super) fn name(config: &ClusterConfig) -> String {
    format!("{}_TOPICS", config.prefix.to_ascii_uppercase())
}

/// The subject of a partition.
pub(super) fn subject(config: &ClusterConfig, topic: &str, partition: u16) -> String {
    format!("{}.topic.{}.{partition}", config.prefix, readable(topic))
}

fn settings(config: &ClusterConfig) -> Config {
    Config {
        name: name(config),
        subjects: vec![format!("{}.topic.>", config.prefix)],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_age: AGE,
        max_bytes: i64::try_from(config.stream_bytes).unwrap_or(i64::MAX),
        num_replicas: usize::from(config.replicas.max(1)),
        duplicate_window: DOUBLES,
        ..Config::default()
    }
}

impl Shared {
    /// Makes the stream if it is missing, and brings it up to our settings.
    async fn ensure(&self) -> Result<Info, (Option<CreateStreamErrorKind>, String)> {
        let wanted = settings(&self.config);
        let context = &self.topics.context;
        let stream = context.get_or_create_stream(wanted.clone()).await;
        let stream = stream.map_err(|error| (Some(error.kind()), chain(&error)))?;
        let info = stream.cached_info().clone();
        let have = &info.config;
        if have.subjects == wanted.subjects
            && have.max_bytes == wanted.max_bytes
            && have.num_replicas == wanted.num_replicas
        {
            return Ok(info);
        }
        let updated = context.update_stream(&wanted).await;
        updated.map_err(|error| (Some(error.kind()), chain(&error)))
    }

    /// Makes the stream at the start.
    pub(crate) async fn first_stream(&self) -> Result<(), ClusterError> {
        let until = Instant::now() + self.config.connect_timeout;
        loop {
            let (kind, reason) = match self.ensure().await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            // A server that has just started may not have its streams yet, and of nodes that make the stream at the
            // same time one is told that it exists, or that its subjects are taken: the next look finds it.
            let later = match kind {
                Some(
                    CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::JetStreamUnavailable,
                ) => true,
                Some(CreateStreamErrorKind::JetStream(error)) => matches!(
                    error.error_code(),
                    ErrorCode::STREAM_SUBJECT_OVERLAP | ErrorCode::STREAM_NAME_EXIST
                ),
                _ => false,
            };
            if !later || Instant::now() + PAUSE >= until {
                return Err(ClusterError::Stream {
                    servers: shown(&self.config),
                    stream: name(&self.config),
                    reason,
                    hint: "start NATS with JetStream (`nats-server --jetstream`), with as many servers as the descriptor's replicas",
                });
            }
            sleep(PAUSE).await;
        }
    }

    /// Looks after the stream, for ever.
    pub(crate) async fn keep_stream(&self) {
        let mut state = self.state.subscribe();
        let mut seen = None;
        let mut quiet = false;
        loop {
            let Ok(losses) = state.wait_for(|state| state.connected).await.map(|it| it.losses)
            else {
                return;
            };
            match self.ensure().await {
                Ok(info) => {
                    quiet = false;
                    let now = Some((info.created, losses));
                    if seen != now {
                        if seen.is_some() {
                            self.topics.epoch.send_modify(|epoch| *epoch += 1);
                        }
                        seen = now;
                    }
                }
                Err((_, reason)) => {
                    if !quiet {
                        tracing::warn!(reason, "messages of durable topics wait for JetStream");
                    }
                    quiet = true;
                    sleep(PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.topics.doubt.notified() => sleep(PAUSE / 10).await,
                () = self.lost(losses) => {}
            }
        }
    }

    /// Sends hints, for ever.
    pub(crate) async fn send_hints(&self, mut queue: mpsc::Receiver<Hint>) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(sent) = under_way.next() => self.sent(sent),
                hint = queue.recv(), if under_way.len() < UNDER_WAY => match hint {
                    Some(hint) => under_way.push(self.send_hint(hint)),
                    None => return,
                },
            }
        }
    }

    fn sent(&self, sent: Result<(), (PublishErrorKind, String)>) {
        if let Err((kind, reason)) = sent {
            self.counts.hints_lost.fetch_add(1, Ordering::Relaxed);
            // Sent again by the relay.
            tracing::debug!(reason, "a hint did not reach JetStream");
            if kind != PublishErrorKind::MaxAckPending {
                self.topics.doubt.notify_one();
            }
        }
    }

    async fn send_hint(&self, hint: Hint) -> Result<(), (PublishErrorKind, String)> {
        let part = partition(&hint.tenant, &hint.topic, &hint.key, self.config.partitions);
        let subject = subject(&self.config, &hint.topic, part);
        let consumer = hint.consumer.as_deref().unwrap_or("");
        let id = format!("{}:{consumer}:{}:{}", token(&hint.tenant), hint.id, hint.again);
        let payload = serde_json::to_vec(&hint).unwrap_or_default();
        let message = PublishMessage::build().message_id(id).payload(Bytes::from(payload));
        let failed =
            |error: async_nats::jetstream::context::PublishError| (error.kind(), chain(&error));
        let acknowledged = self.topics.context.send_publish(subject, message).await;
        acknowledged.map_err(failed)?.await.map_err(failed)?;
        self.counts.hints_sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Cluster {
    /// Counts the streams that this node has seen: it rises when the one in use was lost or may have been.
    pub fn stream_epoch(&self) -> u64 {
        *self.shared.topics.epoch.borrow()
    }
}
