//! Answers that plug-ins give in pieces. The next is asked for when the client has taken the last.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::try_unfold;
use tessera_engine::api::{CallError, Piece};
use tokio::time::{sleep, timeout};

use crate::auth::Granted;
use crate::edge::admission::Served;
use crate::edge::context::Context;
use crate::edge::flow::SLACK;
use crate::routes::Target;

/// How often a piece is asked for where there is no room just now, and how long after each time: an answer that was begun is worth waiting for.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// What the pieces of an answer are asked with. It holds the tenant, and no instance.
struct Rest {
    served: Served,
    target: Arc<Target>,
    request_id: String,
    granted: Option<Arc<Granted>>,
}

/// The rest of an answer that went on with `state`.
pub(crate) fn rest(
    context: &Context,
    served: Served,
    target: &Arc<Target>,
    granted: Option<Arc<Granted>>,
    state: Vec<u8>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let rest = Rest { served, target: Arc::clone(target), request_id: context.id.clone(), granted };
    try_unfold((rest, Some(state)), |(rest, state)| async move {
        let Some(state) = state else { return Ok(None) };
        match rest.next(state).await {
            Ok(piece) => Ok(Some((Bytes::from(piece.bytes), (rest, piece.more)))),
            Err(reason) => {
                let (plugin, route) = (&rest.target.plugin, &rest.target.route);
                let (tenant, request_id) = (&rest.served.tenant.name, &rest.request_id);
                tracing::error!(%tenant, %plugin, %route, request_id, reason, "an answer ends too early");
                Err(io::Error::other(reason))
            }
        }
    })
}

impl Rest {
    async fn next(&self, state: Vec<u8>) -> Result<Piece, String> {
        for _ in 1..TRIES {
            match self.ask(state.clone()).await {
                // Nothing was started.
                Err(CallError::Overloaded | CallError::Quota { .. }) => sleep(PAUSE).await,
                other => return flat(other),
            }
        }
        flat(self.ask(state).await)
    }

    async fn ask(&self, state: Vec<u8>) -> Result<Result<Piece, String>, CallError> {
        // Who is logged out gets no more.
        if self.granted.as_ref().is_some_and(|granted| granted.is_void()) {
            return Ok(Err("the authentication became void".to_owned()));
        }
        let principal = self.granted.as_ref().map(|granted| granted.grant.principal.clone());
        let target = &self.target;
        let dispatch = &self.served.site.dispatch;
        let call = dispatch.next(&target.plugin, &self.request_id, &target.route, state, principal);
        match target.timeout {
            None => call.await,
            Some(time) => timeout(time + SLACK, call).await.unwrap_or(Err(CallError::Timeout)),
        }
    }
}

fn flat(piece: Result<Result<Piece, String>, CallError>) -> Result<Piece, String> {
    piece.map_err(|error| error.to_string())?
}
