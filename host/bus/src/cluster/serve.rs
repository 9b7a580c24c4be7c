//! Calls from other nodes: the serving side.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::call::{CallHeaders, TIMEOUT, TRACE};
use super::config::ClusterError;
use super::frame::{Frame, Port};
use super::inbox::{Incoming, OpenPort};
use super::subject;
use super::transfer::LARGEST;
use super::{Cluster, Shared};
use crate::delivery::BoxFuture;

/// A call that takes longer is told to be in hand, so that its caller can watch this node.
const ACCEPT: Duration = Duration::from_millis(200);
/// Calls of one service at once, if not told otherwise.
const LIMIT: u32 = 1_024;
/// Calls without a deadline end after this.
const LONGEST: Duration = Duration::from_secs(600);
/// The servers take an unsubscription "after so many messages" with so many digits as one at once, while the client
/// goes on to hand out what is on its way. Where a server should not, calls are sent back until the end.
const AT_ONCE: u64 = 10_000_000_000;
/// All nodes that serve something share it.
const QUEUE: &str = "serve";

/// Answers calls.
pub trait Serve: Send + Sync + 'static {
    /// Answers one call. Runs beside others; dropped when nobody waits for the answer any more.
    fn serve<'a>(&'a self, payload: Bytes, headers: CallHeaders) -> BoxFuture<'a, Bytes>;
}

/// A service that this node offers. Dropping it ends it at once: calls on their way here are lost, those in hand go on.
/// [`Served::drain`] first.
#[must_use = "the service ends when this is dropped"]
pub struct Served {
    name: String,
    calls: Arc<Semaphore>,
    limit: u32,
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Asked to end.
    Leaving,
    /// No more calls are on their way here; those that come all the same are sent back.
    Left,
}

impl Cluster {
    /// Offers a service, sharing its calls with the other nodes that do. Up to 1024 calls at once.
    ///
    /// # Errors
    /// A name that cannot be a subject; a closed connection.
    pub async fn serve(
        &self,
        service: &str,
        serve: Arc<dyn Serve>,
    ) -> Result<Served, ClusterError> {
        self.serve_limited(service, serve, LIMIT).await
    }

    /// As [`Cluster::serve`], with so many calls at once; more are unavailable as overloaded.
    ///
    /// # Errors
    /// A name that cannot be a subject; a closed connection.
    pub async fn serve_limited(
        &self,
        service: &str,
        serve: Arc<dyn Serve>,
        limit: u32,
    ) -> Result<Served, ClusterError> {
        let shared = Arc::clone(&self.shared);
        let subject = subject::service(&shared.config.prefix, service)?;
        let messages = shared.client.queue_subscribe(subject, QUEUE.to_owned()).await;
        let messages = messages.map_err(|_| ClusterError::Closed)?;
        // So that who is told of the service finds it.
        shared.fence().await;
        let calls = Arc::new(Semaphore::new(limit as usize));
        let phase = watch::Sender::new(Phase::Open);
        let service_task =
            Service { shared, serve, calls: Arc::clone(&calls), phase: phase.clone() };
        let task = tokio::spawn(service_task.run(messages));
        Ok(Served { name: service.to_owned(), calls, limit, phase, task })
    }
}

impl Served {
    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls in hand now.
    pub fn in_hand(&self) -> u32 {
        let free = u32::try_from(self.calls.available_permits()).unwrap_or(u32::MAX);
        self.limit.saturating_sub(free)
    }

    /// Takes no new calls and waits until those in hand have ended. Calls that were on their way here are answered
    /// or go to another node: none is lost.
    pub async fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            let open = *phase == Phase::Open;
            if open {
                *phase = Phase::Leaving;
            }
            open
        });
        let mut phase = self.phase.subscribe();
        // An error means that the task is gone, and its calls with it.
        let _ = phase.wait_for(|phase| *phase == Phase::Left).await;
        let _ = self.calls.acquire_many(self.limit).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Service {
    shared: Arc<Shared>,
    serve: Arc<dyn Serve>,
    calls: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
}

impl Service {
    async fn run(self, mut messages: async_nats::Subscriber) {
        let mut phase = self.phase.subscribe();
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                leaving = phase.wait_for(|phase| *phase == Phase::Leaving) => {
                    drop(leaving);
                    break;
                }
            }
        }
        if let Err(error) = messages.unsubscribe_after(AT_ONCE).await {
            tracing::warn!(%error, "cannot leave a service");
        }
        // What was sent here before is here before our own message is.
        let fence = self.shared.fence();
        tokio::pin!(fence);
        loop {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = &mut fence => break,
            }
        }
        self.phase.send_replace(Phase::Left);
        while let Some(message) = messages.next().await {
            self.take(message);
        }
    }

    fn take(&self, message: Message) {
        let Some(caller) = message.reply.as_ref().and_then(|to| self.shared.inbox.port_of(to))
        else {
            tracing::warn!(subject = %message.subject, "a call that nobody waits for");
            return;
        };
        let left = *self.phase.borrow() == Phase::Left;
        let permit = Arc::clone(&self.calls).try_acquire_owned();
        let service = self.clone();
        tokio::spawn(async move {
            let shared = &service.shared;
            let answered = match permit {
                _ if left => shared.tell(&caller, &Frame::Going).await,
                Err(_) => {
                    shared.counts.refused.fetch_add(1, Ordering::Relaxed);
                    shared.tell(&caller, &Frame::Overloaded).await
                }
                Ok(permit) => {
                    shared.counts.served.fetch_add(1, Ordering::Relaxed);
                    let answered = service.handle(message, &caller).await;
                    drop(permit);
                    answered
                }
            };
            if let Err(error) = answered {
                tracing::warn!(error, "a call could not be answered");
            }
        });
    }

    async fn handle(&self, message: Message, caller: &Port) -> Result<(), String> {
        let shared = &self.shared;
        let Some(mut port) = shared.inbox.open() else {
            return shared.tell(caller, &Frame::Overloaded).await;
        };
        let headers = message.headers.unwrap_or_default();
        let payload = match Frame::decode(message.payload) {
            Some(Frame::Request(payload)) => payload,
            Some(Frame::Open(total)) => {
                shared.tell(caller, &Frame::Accept(port.port.clone())).await?;
                match shared.take_parts(caller, total, &mut port).await {
                    Ok(payload) => payload,
                    Err(error) => {
                        return shared.tell(caller, &Frame::Failed(error.to_string())).await;
                    }
                }
            }
            _ => return shared.tell(caller, &Frame::Failed("no such call".to_owned())).await,
        };
        let Some(answer) = self.answer(payload, &headers, caller, &mut port).await? else {
            return Ok(());
        };
        if answer.len() <= shared.whole() {
            return shared.tell(caller, &Frame::Reply(answer)).await;
        }
        if answer.len() > LARGEST {
            let text = format!("an answer may have up to {LARGEST} bytes, not {}", answer.len());
            return shared.tell(caller, &Frame::Failed(text)).await;
        }
        let open = Frame::ReplyOpen(answer.len() as u64, port.port.clone());
        shared.tell(caller, &open).await?;
        if let Err(error) = shared.send_parts(caller, &answer, &mut port.frames).await {
            tracing::debug!(%error, "an answer was not taken");
        }
        Ok(())
    }

    /// `None` where nobody waits any more, or was told so.
    async fn answer(
        &self,
        payload: Bytes,
        headers: &HeaderMap,
        caller: &Port,
        port: &mut OpenPort,
    ) -> Result<Option<Bytes>, String> {
        let shared = &self.shared;
        let trace = headers.get(TRACE).map(|value| value.as_str().to_owned());
        let time = headers.get(TIMEOUT).and_then(|value| value.as_str().parse().ok());
        let time = time.map_or(LONGEST, Duration::from_millis).min(LONGEST);
        let serve = self.serve.serve(payload, CallHeaders { traceparent: trace });
        let mut serve = AssertUnwindSafe(serve).catch_unwind();
        let (mut accept, mut accepted) = (Box::pin(sleep(ACCEPT)), false);
        let mut end = Box::pin(sleep(time));
        loop {
            tokio::select! {
                biased;
                answer = &mut serve => return match answer {
                    Ok(answer) => Ok(Some(answer)),
                    Err(_) => {
                        let text = "the service failed within the host".to_owned();
                        shared.tell(caller, &Frame::Failed(text)).await.map(|()| None)
                    }
                },
                frame = port.frames.recv() => {
                    if matches!(frame, Some(Incoming::Frame(Frame::Cancel)) | None) {
                        return Ok(None);
                    }
                }
                () = &mut accept, if !accepted => {
                    accepted = true;
                    shared.tell(caller, &Frame::Accept(port.port.clone())).await?;
                }
                () = &mut end => {
                    let text = "out of time".to_owned();
                    return shared.tell(caller, &Frame::Failed(text)).await.map(|()| None);
                }
            }
        }
    }
}
