//! Requests that wait. They hold no instance, no body and no head: a watch, a deadline and a few bytes.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use http::Response;
use tessera_bus::{Bus, Watch, WatchError};
use tessera_engine::api::{MAX_PARKED_STATE, Parked, Principal, WakeReason};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep_until;

use crate::answers::Case;
use crate::auth::Verdict;
use crate::body::Body;
use crate::edge::Edge;
use crate::edge::context::Context;
use crate::edge::flow::{Asker, Step, Stepped};
use crate::metrics::Held;
use crate::routes::Target;
use crate::sites::Site;

/// A parked request.
pub(crate) struct Waiting {
    /// Keeps the tenant awake.
    site: Arc<Site>,
    target: Arc<Target>,
    watch: Watch,
    state: Vec<u8>,
    deadline: tokio::time::Instant,
    auth: Option<ParkedAuth>,
    since: Instant,
    _room: OwnedSemaphorePermit,
    _held: Held,
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
}

enum Event {
    Woken,
    Deadline,
    AuthVoid,
}

impl Edge {
    pub(crate) fn park(
        &self,
        site: Arc<Site>,
        target: &Arc<Target>,
        parked: Parked,
        auth: Option<ParkedAuth>,
    ) -> Stepped {
        let Parked { watch, timeout, mut state } = parked;
        if state.len() > MAX_PARKED_STATE {
            let (plugin, route) = (&target.plugin, &target.route);
            tracing::error!(tenant = %site.tenant, %plugin, %route, bytes = state.len(), "parked state too large");
            return Err(self.case(Case::Internal));
        }
        let Ok(room) = Arc::clone(&self.parked).try_acquire_owned() else {
            return Err(self.case(Case::Unavailable));
        };
        if self.closing.is_cancelled() {
            return Err(self.case(Case::Unavailable));
        }
        state.shrink_to_fit();
        Ok(Step::Parked(Box::new(Waiting {
            site,
            target: Arc::clone(target),
            watch,
            state,
            deadline: tokio::time::Instant::now() + timeout,
            auth,
            since: Instant::now(),
            _room: room,
            _held: Held::new(&self.metrics.parked),
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
                () = self.closing.cancelled() => Event::Deadline,
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
        waiting: Box<Waiting>,
        reason: WakeReason,
    ) -> Stepped {
        // A topic that ten thousand watch must not put ten thousand calls before everybody else's.
        let Ok(admitted) = self.resumes.acquire().await else {
            return Err(self.case(Case::Unavailable));
        };
        if waiting.auth.as_ref().is_some_and(ParkedAuth::is_void) {
            // Logged out while it waited for its turn.
            drop(admitted);
            return self.ask_again(context, waiting).await;
        }
        let Waiting { site, target, state, auth, watch, _room, _held, .. } = *waiting;
        drop((watch, _held, _room));
        let label = if reason == WakeReason::Woken { "woken" } else { "timeout" };
        self.metrics.resumed.with_label_values(&[label]).inc();
        let _running = Held::new(&self.metrics.running);

        let site = self.current(&site).await?;
        let asker = auth.map(|auth| auth.asker);
        let principal: Option<Principal> =
            asker.as_ref().map(|asker| asker.granted.grant.principal.clone());
        let call = site.dispatch.resume(
            &target.plugin,
            &context.id,
            &target.route,
            state,
            reason,
            principal,
        );
        let answer = self.timed(&target, call).await;
        self.settle(context, site, answer, asker).await
    }

    /// What the tenant serves now.
    async fn current(&self, site: &Arc<Site>) -> Result<Arc<Site>, Box<Response<Body>>> {
        self.sites.current(site).await.map_err(|reason| self.no_site(&reason))
    }

    /// A topic of the authentication fired: asks the authenticator again, and parks again if it still grants the same.
    async fn ask_again(&self, context: &Context, mut waiting: Box<Waiting>) -> Stepped {
        let Ok(_admitted) = self.resumes.acquire().await else {
            return Err(self.case(Case::Unavailable));
        };
        let site = self.current(&waiting.site).await?;
        let Some(ParkedAuth { asker, .. }) = waiting.auth.take() else {
            return Err(self.case(Case::Internal));
        };
        let credentials = asker.credentials.clone();
        let asked = self
            .auth
            .ask(site.dispatch.as_ref(), &site.tenant, &asker.who, credentials, None)
            .await;
        let granted = match asked {
            Ok(Verdict::Granted(granted)) => granted,
            Ok(Verdict::Denied(denial)) => return Err(Box::new(self.denied(denial))),
            Ok(Verdict::Anonymous) => return Err(self.case(Case::Internal)),
            Err(error) => return Err(self.failed(context, &asker.who.plugin, &error)),
        };
        let (old, new) = (&asker.granted.grant.principal, &granted.grant.principal);
        if old.user != new.user || old.device != new.device || old.service != new.service {
            tracing::warn!(request_id = context.id, "credentials changed hands while parked");
            return Err(self.case(Case::Unavailable));
        }
        let asker = Asker { granted, ..asker };
        match ParkedAuth::new(&self.bus, &site.tenant, asker) {
            Ok(auth) => waiting.auth = Some(auth),
            Err(error) => {
                tracing::warn!(%error, "request not parked again");
                return Err(self.case(Case::Unavailable));
            }
        }
        waiting.since = Instant::now();
        Ok(Step::Parked(waiting))
    }
}

/// Keeps the size of what each idle client costs in view.
const _: () = assert!(size_of::<Waiting>() + size_of::<Response<Body>>() < 1024);
