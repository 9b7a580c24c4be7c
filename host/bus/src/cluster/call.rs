//! Calls to services of other nodes: the caller's side.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::Instrument;

use super::frame::{Frame, Port};
use super::inbox::{Incoming, OpenPort};
use super::nodes::SILENCE;
use super::subject;
use super::transfer::LARGEST;
use super::{Cluster, Shared};

/// How long a call waits for a lost connection before it is given up, not sent.
const RECONNECT: Duration = Duration::from_secs(2);
/// How often a call is sent again when the node that got it was going away.
const MOVES: u32 = 20;

pub(crate) const TRACE: &str = "traceparent";
pub(crate) const TIMEOUT: &str = "Tessera-Timeout-Ms";

/// What goes beside a call's payload; opaque to the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallHeaders {
    /// The W3C trace context of the caller.
    pub traceparent: Option<String>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// It has not begun: nobody serves it, or nobody has room for it.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It may have happened: the node or the connection was lost, or it took too long.
    #[error("unknown: {0}")]
    Unknown(String),
}

enum End {
    Failure(CallFailure),
    /// Not begun: try again.
    Going,
}

fn unavailable(text: impl Into<String>) -> End {
    End::Failure(CallFailure::Unavailable(text.into()))
}

fn unknown(text: impl Into<String>) -> End {
    End::Failure(CallFailure::Unknown(text.into()))
}

impl Cluster {
    /// Calls a service, at most once, on whichever node takes it. Up to 64 MiB there and back.
    ///
    /// While NATS cannot be reached it waits up to two seconds. Dropping the future cancels the call.
    ///
    /// # Errors
    /// See [`CallFailure`].
    pub async fn call(
        &self,
        service: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, CallFailure> {
        self.call_with(service, payload, CallHeaders::default(), deadline).await
    }

    /// As [`Cluster::call`], with headers.
    ///
    /// # Errors
    /// See [`CallFailure`].
    pub async fn call_with(
        &self,
        service: &str,
        payload: Bytes,
        headers: CallHeaders,
        deadline: Instant,
    ) -> Result<Bytes, CallFailure> {
        let span = tracing::info_span!(target: "tessera::span", "bus.call", service);
        let answer = self.shared.call(service, payload, headers, deadline).instrument(span).await;
        let counts = &self.shared.counts;
        counts.calls.fetch_add(1, Ordering::Relaxed);
        match &answer {
            Ok(_) => {}
            Err(CallFailure::Unavailable(_)) => {
                counts.calls_unavailable.fetch_add(1, Ordering::Relaxed);
            }
            Err(CallFailure::Unknown(_)) => {
                counts.calls_unknown.fetch_add(1, Ordering::Relaxed);
            }
        }
        answer
    }
}

impl Shared {
    async fn call(
        self: &Arc<Self>,
        service: &str,
        payload: Bytes,
        headers: CallHeaders,
        deadline: Instant,
    ) -> Result<Bytes, CallFailure> {
        let subject = subject::service(&self.config.prefix, service)
            .map_err(|error| CallFailure::Unavailable(error.to_string()))?;
        if payload.len() > LARGEST {
            let text = format!("a call may have up to {LARGEST} bytes, not {}", payload.len());
            return Err(CallFailure::Unavailable(text));
        }
        for moves in 0..MOVES {
            match self.attempt(&subject, &payload, &headers, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(End::Failure(failure)) => return Err(failure),
                // The servers forget a node that goes away within a round trip.
                Err(End::Going) => sleep(Duration::from_millis(u64::from(moves))).await,
            }
        }
        Err(CallFailure::Unavailable(format!("the nodes that serve {service} are going away")))
    }

    async fn attempt(
        self: &Arc<Self>,
        subject: &str,
        payload: &Bytes,
        headers: &CallHeaders,
        deadline: Instant,
    ) -> Result<Bytes, End> {
        let losses = self.connected_by(deadline.min(Instant::now() + RECONNECT)).await?;
        let Some(mut port) = self.inbox.open() else {
            return Err(unavailable("too many calls in hand"));
        };
        let (taken, by) = watch::channel(None);
        let mut cancel = Cancel { shared: Arc::clone(self), by: by.clone(), armed: true };
        let end = tokio::select! {
            end = self.exchange(subject, payload, headers, deadline, &mut port, &taken) => end,
            () = self.lost(losses) => Err(unknown("the connection to NATS was lost")),
            () = sleep_until(deadline) => Err(unknown("no answer in time")),
            text = self.deserted(by) => Err(unknown(text)),
        };
        cancel.armed = !matches!(end, Ok(_) | Err(End::Going));
        end
    }

    async fn exchange(
        &self,
        subject: &str,
        payload: &Bytes,
        headers: &CallHeaders,
        deadline: Instant,
        port: &mut OpenPort,
        taken: &watch::Sender<Option<Port>>,
    ) -> Result<Bytes, End> {
        let whole = payload.len() <= self.whole();
        let frame =
            if whole { Frame::Request(payload.clone()) } else { Frame::Open(payload.len() as u64) };
        let mut map = HeaderMap::new();
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        map.insert(TIMEOUT, left.to_string());
        if let Some(trace) = headers.traceparent.as_deref().filter(|text| text.len() <= 256) {
            // One that cannot be a header's value is no trace context.
            if let Ok(value) = trace.parse::<async_nats::HeaderValue>() {
                map.insert(TRACE, value);
            }
        }
        let reply = self.inbox.subject_of(&port.port);
        let sent = self.client.publish_with_reply_and_headers(
            subject.to_owned(),
            reply,
            map,
            frame.encode(),
        );
        sent.await.map_err(|error| unavailable(error.to_string()))?;
        // A long call is accepted twice: to send its parts, and as one that takes its time.
        let mut handed = whole;
        loop {
            let frame = match port.frames.recv().await {
                Some(Incoming::Frame(frame)) => frame,
                Some(Incoming::NoResponders) => {
                    return Err(unavailable("no node serves it"));
                }
                None => return Err(unknown("the node is stopping")),
            };
            match frame {
                Frame::Reply(data) => return Ok(data),
                Frame::Accept(server) => {
                    taken.send_replace(Some(server.clone()));
                    if !std::mem::replace(&mut handed, true) {
                        let sent = self.send_parts(&server, payload, &mut port.frames).await;
                        sent.map_err(|error| unknown(error.to_string()))?;
                    }
                }
                Frame::ReplyOpen(total, server) => {
                    taken.send_replace(Some(server.clone()));
                    let data = self.take_parts(&server, total, port).await;
                    return data.map_err(|error| unknown(error.to_string()));
                }
                Frame::Overloaded => return Err(unavailable("overloaded")),
                Frame::Going => return Err(End::Going),
                Frame::Failed(text) => return Err(unknown(text)),
                Frame::Request(_)
                | Frame::Open(_)
                | Frame::Part(..)
                | Frame::Got(_)
                | Frame::Cancel => {}
            }
        }
    }

    /// Waits until there is a connection; gives how often it was lost before.
    async fn connected_by(&self, until: Instant) -> Result<u64, End> {
        let mut state = self.state.subscribe();
        let connected = timeout_at(until, state.wait_for(|state| state.connected)).await;
        match connected {
            Ok(Ok(state)) => Ok(state.losses),
            _ => Err(unavailable("not connected to NATS")),
        }
    }

    /// Waits until the connection is lost, if it was lost so often before.
    pub(crate) async fn lost(&self, losses: u64) {
        let mut state = self.state.subscribe();
        if state.wait_for(|state| state.losses != losses).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until nobody can answer any more: no node said that it has the call, or the one that did is gone.
    async fn deserted(&self, mut by: watch::Receiver<Option<Port>>) -> &'static str {
        let node = match timeout(SILENCE, by.wait_for(Option::is_some)).await {
            Ok(Ok(port)) => port.as_ref().map(|port| port.node.clone()),
            _ => None,
        };
        let Some(node) = node else { return "no node says that it has the call" };
        Arc::clone(&self.nodes).gone(node).await;
        "the node that had the call is gone"
    }
}

/// Tells the server when nobody waits any more.
struct Cancel {
    shared: Arc<Shared>,
    by: watch::Receiver<Option<Port>>,
    armed: bool,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        let port = self.by.borrow().clone();
        let (true, Some(port)) = (self.armed, port) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let shared = Arc::clone(&self.shared);
        runtime.spawn(async move {
            if let Err(error) = shared.tell(&port, &Frame::Cancel).await {
                tracing::debug!(error, "a call could not be cancelled");
            }
        });
    }
}
