//! Requests that wait. They hold no instance, no body and no head: a watch, a deadline and a few bytes.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use http::Response;
use tessera_bus::{Bus, Watch, WatchError};
use tessera_engine::api::{MAX_PARKED_STATE, Parked, Principal, WakeReason};
use tokio::time::sleep_until;

use crate::answers::Case;
use crate::body::Body;
use crate::edge::Edge;
use crate::edge::admission::Served;
use crate::edge::again::Refused;
use crate::edge::context::Context;
use crate::edge::flow::{Asker, Step, Stepped};
use crate::metrics::Held;
use crate::routes::Target;
use crate::share::Place;

/// A parked request.
pub(crate) struct Waiting {
    served: Served,
    target: Arc<Target>,
    watch: Watch,
    state: Vec<u8>,
    deadline: tokio::time::Instant,
    auth: Option<ParkedAuth>,
    since: Instant,
    _room: Place,
    _held: [Held; 2],
}

impl Waiting {
    fn again(mut self: Box<Self>) -> Step {
        self.since = Instant::now();
        Step::Parked(self)
    }
}

/// Under which authentication it is parked.
pub(crate) struct ParkedAuth {
    asker: Asker,
    /// A watch of its own: an answer in the cache has one too, but only one task may wait on a watch.
    watch: Watch,
}

impl ParkedAuth {
    pub(crate) fn new(bus: &Bus, tenant: &str, asker: Asker) -> Result<Self, WatchError> {
        let watch = bus.watch(tenant, &asker.granted.grant.topics)?;
        Ok(Self { asker, watch })
    }

    /// The watch of the answer is older: together they see all that fired since the authenticator was asked.
    fn is_void(&self) -> bool {
        self.watch.is_fired() || self.asker.granted.is_void()
    }

    /// As [`ParkedAuth::is_void`], and where it is so old that it may have been elsewhere.
    fn is_over(&self, nodes: u32) -> bool {
        self.watch.is_fired() || self.asker.granted.is_over(nodes)
    }
}

enum Event {
    Woken,
    Deadline,
    AuthVoid,
}

impl Edge {
    pub(crate) fn park(
        &self,
        served: Served,
        target: &Arc<Target>,
        parked: Parked,
        auth: Option<ParkedAuth>,
    ) -> Stepped {
        let Parked { watch, timeout, mut state } = parked;
        if state.len() > MAX_PARKED_STATE {
            let (plugin, route) = (&target.plugin, &target.route);
            let (tenant, bytes) = (&served.tenant.name, state.len());
            tracing::error!(%tenant, %plugin, %route, bytes, "parked state too large");
            return Err(self.case(Case::Internal));
        }
        let Some(room) = self.tenants.shares.parked.take(&served.tenant.parked) else {
            return Err(self.case(Case::Unavailable));
        };
        state.shrink_to_fit();
        Ok(Step::Parked(Box::new(Waiting {
            _held: [&self.metrics.parked, &served.tenant.figures.parked].map(Held::new),
            served,
            target: Arc::clone(target),
            watch,
            state,
            deadline: tokio::time::Instant::now() + timeout,
            auth,
            since: Instant::now(),
            _room: room,
        })))
    }

    /// Waits for what comes first and goes on with the request.
    pub(crate) async fn wait(&self, context: &mut Context, waiting: Box<Waiting>) -> Stepped {
        let event = {
            let waiting = &*waiting;
            let auth_void = async {
                match &waiting.auth {
                    Some(auth) if auth.is_void() => {}
                    Some(auth) => auth.watch.fired().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // In this order: who is logged out gets no data, whatever else happened.
                biased;
                () = auth_void => Event::AuthVoid,
                () = waiting.watch.fired() => Event::Woken,
                () = self.draining.cancelled() => Event::Deadline,
                () = waiting.served.tenant.gone.cancelled() => Event::Deadline,
                () = sleep_until(waiting.deadline) => Event::Deadline,
            }
        };
        context.parked_for = context.parked_for.saturating_add(waiting.since.elapsed());
        let reason = match event {
            Event::AuthVoid => return Box::pin(self.ask_again(context, waiting)).await,
            Event::Woken => WakeReason::Woken,
            Event::Deadline => WakeReason::Timeout,
        };
        Box::pin(self.resume(context, waiting, reason)).await
    }

    async fn resume(
        &self,
        context: &Context,
        mut waiting: Box<Waiting>,
        reason: WakeReason,
    ) -> Stepped {
        // A topic that ten thousand watch must not put ten thousand calls before everybody else's.
        let admitted = self.turns.take(&waiting.served.tenant.name).await;
        let nodes = self.nodes();
        if waiting.auth.as_ref().is_some_and(|auth| auth.is_over(nodes)) {
            // Logged out while it waited for its turn; or so long ago that it may have been elsewhere.
            self.ask_anew(context, &mut waiting).await?;
            if waiting.auth.as_ref().is_some_and(ParkedAuth::is_void) {
                drop(admitted);
                return Ok(waiting.again());
            }
        }
        let Waiting { served, target, state, auth, watch, _room, _held, .. } = *waiting;
        drop((watch, _held, _room));
        let label = if reason == WakeReason::Woken { "woken" } else { "timeout" };
        self.metrics.resumed.with_label_values(&[label]).inc();
        let _running = Held::new(&self.metrics.running);

        let served = self.served_now(&served).await?;
        let asker = auth.map(|auth| auth.asker);
        let principal: Option<Principal> =
            asker.as_ref().map(|asker| asker.granted.grant.principal.clone());
        let call = served.site.dispatch.resume(
            &target.plugin,
            &context.id,
            &target.route,
            state,
            reason,
            principal,
        );
        let answer = self.timed(&target, call).await;
        self.settle(context, served, answer, asker, true).await
    }

    /// A topic of the authentication fired: asks the authenticator again, and parks again if it still grants the same.
    async fn ask_again(&self, context: &Context, mut waiting: Box<Waiting>) -> Stepped {
        let _admitted = self.turns.take(&waiting.served.tenant.name).await;
        self.ask_anew(context, &mut waiting).await?;
        Ok(waiting.again())
    }

    /// Asks the authenticator whether what it granted a parked request still holds. The error is the answer to one
    /// whom it does not let in any more.
    async fn ask_anew(
        &self,
        context: &Context,
        waiting: &mut Waiting,
    ) -> Result<(), Box<Response<Body>>> {
        let served = self.served_now(&waiting.served).await?;
        let Some(ParkedAuth { asker, .. }) = waiting.auth.take() else {
            return Err(self.case(Case::Internal));
        };
        let granted = match self.granted_again(&served, &asker).await {
            Ok(granted) => granted,
            Err(Refused::Denied(denial)) => return Err(Box::new(self.denied(denial))),
            Err(Refused::Nobody) => return Err(self.case(Case::Internal)),
            Err(Refused::Failed(error)) => {
                return Err(self.failed(context, &asker.who.plugin, &error));
            }
            Err(Refused::Changed) => {
                tracing::warn!(request_id = context.id, "credentials changed hands while parked");
                return Err(self.case(Case::Unavailable));
            }
        };
        let asker = Asker { granted, ..asker };
        waiting.auth = Some(self.parked_auth(&served.site, asker)?);
        Ok(())
    }

    async fn served_now(&self, served: &Served) -> Result<Served, Box<Response<Body>>> {
        self.current(served).await.map_err(|reason| self.no_site(&reason))
    }
}

/// Keeps the size of what each idle client costs in view.
const _: () = assert!(size_of::<Waiting>() + size_of::<Response<Body>>() < 1024);
