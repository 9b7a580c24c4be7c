//! Answers that plug-ins give in pieces. The next is asked for when the client has taken the last.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use futures::stream::try_unfold;
use tessera_engine::api::{CallError, Piece};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::edge::Edge;
use crate::edge::admission::Served;
use crate::edge::again::Refused;
use crate::edge::context::Context;
use crate::edge::flow::Asker;
use crate::metrics::Held;
use crate::routes::Target;
use crate::sites::NoSite;

/// For how long a piece is asked for while there is no room, and how long after each time: an answer that was begun is worth waiting for.
const LONGEST: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);

/// What the pieces of an answer are asked with. It holds the tenant, and no instance.
struct Rest {
    edge: Arc<Edge>,
    served: Served,
    target: Arc<Target>,
    request_id: String,
    asker: Option<Asker>,
}

/// Why there is no piece.
enum Missed {
    /// Nothing was started. It may be worth another try, after this time if it is known.
    Busy(String, Duration),
    /// The client or its tenant is not served any more.
    Ended(&'static str),
    Failed(String),
}

impl From<CallError> for Missed {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Overloaded => Self::Busy(error.to_string(), Duration::ZERO),
            CallError::Quota { retry_after, .. } => Self::Busy(error.to_string(), *retry_after),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<NoSite> for Missed {
    fn from(reason: NoSite) -> Self {
        match reason {
            NoSite::Unknown => Self::Ended("the tenant is gone"),
            NoSite::Suspended => Self::Ended("the tenant was suspended"),
            NoSite::Unavailable(_) => Self::Busy(reason.to_string(), Duration::ZERO),
        }
    }
}

impl From<Refused> for Missed {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(_) => Self::Ended("the authenticator denies it by now"),
            Refused::Changed => Self::Ended("the credentials changed hands"),
            Refused::Nobody => {
                Self::Failed("the authenticator neither grants nor denies it".to_owned())
            }
            Refused::Failed(error) => error.into(),
        }
    }
}

/// The rest of an answer that went on with `state`.
pub(crate) fn rest(
    context: &Context,
    served: Served,
    target: &Arc<Target>,
    asker: Option<Asker>,
    state: Vec<u8>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (edge, target) = (Arc::clone(&context.edge), Arc::clone(target));
    let rest = Rest { edge, served, target, request_id: context.id.clone(), asker };
    try_unfold((rest, Some(state)), |(rest, state)| async move {
        let Some(state) = state else { return Ok(None) };
        let edge = Arc::clone(&rest.edge);
        // A task of its own: a connection may stop to ask for the body in the midst of a piece, as where the client takes its window back,
        // and a turn and an instance must not wait for that.
        let task = tokio::spawn(rest.next(state).in_current_span());
        match AbortOnDropHandle::new(task).await {
            Ok(Ok((rest, piece))) => Ok(Some((Bytes::from(piece.bytes), (rest, piece.more)))),
            Ok(Err(error)) => Err(error),
            Err(error) => {
                if error.is_panic() {
                    edge.metrics.panics.inc();
                    tracing::error!("the edge panicked over a piece of an answer");
                }
                Err(io::Error::other(error))
            }
        }
    })
}

impl Rest {
    /// The next piece; the error has been told.
    async fn next(mut self, state: Vec<u8>) -> io::Result<(Self, Piece)> {
        let mut patience = Patience::default();
        loop {
            match self.ask(state.clone()).await {
                Ok(piece) => return Ok((self, piece)),
                Err(Missed::Busy(reason, wait)) => match patience.pause(Instant::now(), wait) {
                    Some(pause) => sleep(pause).await,
                    None => return Err(self.torn(Missed::Failed(reason))),
                },
                Err(missed) => return Err(self.torn(missed)),
            }
        }
    }

    async fn ask(&mut self, state: Vec<u8>) -> Result<Piece, Missed> {
        let edge = &self.edge;
        // As parked requests that go on: nobody's long answers come before everybody else's calls. What follows is
        // looked at with the turn in hand, so that no time passes between that and the call.
        let _turn = edge.turns.take(&self.served.tenant.name).await;
        let _running = Held::new(&edge.metrics.running);
        self.served = edge.current(&self.served).await?;
        if let Some(asker) = &mut self.asker
            && asker.granted.is_over(edge.nodes())
        {
            // Something about the session changed, which need not be its end; or nobody would have told.
            asker.granted = edge.granted_again(&self.served, asker).await?;
        }
        let principal = self.asker.as_ref().map(|asker| asker.granted.grant.principal.clone());
        let target = &self.target;
        let dispatch = &self.served.site.dispatch;
        let call = dispatch.next(&target.plugin, &self.request_id, &target.route, state, principal);
        edge.timed(target, call).await?.map_err(Missed::Failed)
    }

    /// Says why the answer ends here.
    fn torn(&self, missed: Missed) -> io::Error {
        let (plugin, route) = (&self.target.plugin, &self.target.route);
        let (tenant, request_id) = (&self.served.tenant.name, &self.request_id);
        match missed {
            Missed::Ended(reason) => {
                tracing::info!(%tenant, %plugin, %route, request_id, reason, "an answer ends early");
                io::Error::other(reason)
            }
            Missed::Busy(reason, _) | Missed::Failed(reason) => {
                tracing::error!(%tenant, %plugin, %route, request_id, reason, "an answer ends too early");
                io::Error::other(reason)
            }
        }
    }
}

/// How much longer a piece is waited for.
#[derive(Default)]
struct Patience {
    /// Counted from the first time that there was no room.
    until: Option<Instant>,
}

impl Patience {
    /// How long to wait before the next try, at least `wait` if there is time for that; `None`: there is no time left.
    fn pause(&mut self, now: Instant, wait: Duration) -> Option<Duration> {
        let until = *self.until.get_or_insert(now + LONGEST);
        let left = until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(wait.max(PAUSE).min(left))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{LONGEST, PAUSE, Patience};

    #[test]
    fn a_piece_is_waited_for_half_a_minute_and_no_longer() {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        let (mut now, mut tries) = (begin, 1);
        while let Some(pause) = patience.pause(now, Duration::ZERO) {
            now += pause;
            tries += 1;
        }
        assert_eq!((now - begin, tries), (LONGEST, 121));

        let mut patience = Patience::default();
        assert_eq!(patience.pause(begin, PAUSE * 10), Some(PAUSE * 10), "a quota says when");
        let later = begin + LONGEST - PAUSE;
        assert_eq!(patience.pause(later, PAUSE * 10), Some(PAUSE), "a last try at the end");
    }
}
