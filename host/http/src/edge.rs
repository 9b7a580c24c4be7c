//! The edge: from a request to its response.

mod admission;
mod again;
mod context;
mod flow;
mod parking;
mod pieces;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use prometheus::Registry;
use tessera_bus::{Bus, Fired, Listening};
use tessera_manifest::Http;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::context::Context;
use self::flow::Step;
use crate::answers::{Answers, Case};
use crate::body::Body;
use crate::cors::Cors;
use crate::error::EdgeError;
use crate::metrics::{Held, Metrics};
use crate::readiness::Readiness;
use crate::request_id::RequestIds;
use crate::share::Lone;
use crate::sites::Sites;
use crate::tenants::{Shares, Tenants};
use crate::turns::Turns;
use crate::wire::Wire;

/// The edge of a process: routes, authenticates, limits, parks.
pub struct Edge {
    pub(crate) settings: Http,
    pub(crate) metrics: Metrics,
    pub(crate) tenants: Arc<Tenants>,
    sites: Arc<dyn Sites>,
    bus: Bus,
    turns: Arc<Turns>,
    answers: Answers,
    cors: Cors,
    ids: RequestIds,
    /// Nodes that live.
    nodes: AtomicU32,
    /// Set when the server has begun to accept.
    pub(crate) serving: AtomicBool,
    /// Set by [`Edge::drain`]: parked requests go on at once, connections end.
    pub(crate) draining: CancellationToken,
    /// Set when the server stops: no request is taken any more.
    pub(crate) closing: CancellationToken,
    _listening: Listening,
}

/// What a tenant uses of the edge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Requests answered since it was last forgotten.
    pub requests: u64,
    /// Requests over its quota.
    pub limited: u64,
    /// Requests that run.
    pub running: usize,
    /// Requests that are parked.
    pub parked: usize,
    /// Connections whose first request was for it; none behind a proxy (`[http] trust-forwarded`).
    pub connections: usize,
}

impl Edge {
    /// An edge that serves `sites`. Its figures go into `registry`.
    ///
    /// # Errors
    /// `settings` hold an answer or a header that cannot be sent, or the registry has an edge already.
    pub fn new(
        settings: Http,
        bus: Bus,
        sites: Arc<dyn Sites>,
        registry: &Registry,
    ) -> Result<Arc<Self>, EdgeError> {
        let asked = Arc::clone(&sites);
        let lone: Lone = Arc::new(move || asked.lone());
        let tenants = Arc::new(Tenants::new(Shares::new(&settings, &lone)));
        let voids = Arc::clone(&tenants);
        let listening = bus.listen(move |fired| {
            if let Fired::All { tenant } = fired
                && let Some(tenant) = voids.find(tenant)
            {
                tenant.auth.clear();
            }
        });
        Ok(Arc::new(Self {
            metrics: Metrics::new(registry)?,
            tenants,
            sites,
            bus,
            turns: Turns::new(settings.max_resumes.get() as usize, lone),
            answers: Answers::new(&settings.answers)?,
            cors: Cors::new(&settings.cors)?,
            ids: RequestIds::new(),
            nodes: AtomicU32::new(1),
            serving: AtomicBool::new(false),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            _listening: listening,
            settings,
        }))
    }

    /// Drops all answers of authenticators: after a change of the plug-ins of all tenants. (Where wake-ups of a tenant
    /// may have been lost, the bus tells the edge by itself.)
    pub fn forget_authentications(&self) {
        self.tenants.clear();
    }

    /// As [`Edge::forget_authentications`], for one tenant.
    pub fn forget_authentications_of(&self, tenant: &str) {
        if let Some(tenant) = self.tenants.find(tenant) {
            tenant.auth.clear();
        }
    }

    /// Drops all that the edge keeps of a tenant, its figures too: when it goes to sleep, is suspended or removed.
    /// Requests of it that are parked go on at once, as if their time were over, with [`Sites::current`].
    pub fn forget(&self, tenant: &str) {
        self.tenants.forget(tenant, &self.metrics);
    }

    /// What a tenant uses now; `None`: nothing since it was last forgotten.
    pub fn usage(&self, tenant: &str) -> Option<Usage> {
        self.tenants.find(tenant).map(|tenant| tenant.usage())
    }

    /// Says how many nodes live. Each gives its part of quotas and rate classes, and where there are several, answers
    /// of authenticators are kept for a few seconds only.
    pub fn set_nodes(&self, nodes: u32) {
        let before = self.nodes.swap(nodes.max(1), Ordering::AcqRel);
        if before == 1 && nodes > 1 {
            self.tenants.clear();
        }
    }

    /// Nodes that live.
    pub fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Acquire)
    }

    /// Prepares the stop, while others may still send requests here: [`Edge::readiness`] says no, parked requests go on
    /// as if their time were over and none parks any more, and each answer asks the client to connect anew, which
    /// brings it to another node. Requests are answered until [`crate::Running::stop`].
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Whether requests should be sent here, and if not, why.
    pub fn readiness(&self) -> Readiness {
        let mut readiness = Readiness::default();
        if !self.serving.load(Ordering::Acquire) {
            readiness.reasons.push("starting".to_owned());
        }
        if self.draining.is_cancelled() {
            readiness.reasons.push("draining".to_owned());
        }
        readiness
    }

    /// Answers one request. Dropping the future cancels it. Never panics.
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        wire: Arc<Wire>,
    ) -> Response<Body> {
        // Boxed, so that the head does not take room in every future that hands it on.
        let request = Box::new(request);
        let mut context = Context::new(&self, &request, wire.peer);
        let span = context.span.clone();
        let work = self.run(&mut context, request, &wire).instrument(span);
        let response = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                self.metrics.panics.inc();
                tracing::error!(request_id = context.id, path = context.path, "the edge panicked");
                self.answers.give(Case::Internal)
            }
        };
        self.finish(context, response)
    }

    async fn run(
        &self,
        context: &mut Context,
        request: Box<Request<Incoming>>,
        wire: &Wire,
    ) -> Response<Body> {
        // Boxed, so that a parked request does not keep the room that the first steps need.
        let held = Held::new(&self.metrics.running);
        let mut step = Box::pin(self.begin(context, request, wire)).await;
        drop(held);
        loop {
            match step {
                Ok(Step::Done(response)) => return response,
                Ok(Step::Parked(waiting)) => step = self.wait(context, waiting).await,
                Err(response) => return *response,
            }
        }
    }

    /// What every response gets, and the last words about it.
    fn finish(&self, context: Context, mut response: Response<Body>) -> Response<Body> {
        self.cors.add_to(response.headers_mut());
        if let Ok(id) = HeaderValue::from_str(&context.id) {
            response.headers_mut().insert("x-request-id", id);
        }
        if context.method == Method::HEAD {
            if let Some(length) = response.body().length() {
                response
                    .headers_mut()
                    .insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            *response.body_mut() = Body::empty();
        }
        if context.says_close(self.draining.is_cancelled()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        context.end(response.status());
        response
    }
}
