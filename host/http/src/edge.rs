//! The edge: from a request to its response.

mod context;
mod flow;
mod parking;

use std::collections::HashSet;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use prometheus::Registry;
use tessera_blobs::Blobs;
use tessera_bus::Bus;
use tessera_engine::api::Dispatch;
use tessera_manifest::Http;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::context::Context;
use self::flow::Step;
use crate::answers::{Answers, Case};
use crate::auth::AuthCache;
use crate::body::Body;
use crate::cors::Cors;
use crate::error::EdgeError;
use crate::metrics::{Held, Metrics};
use crate::rates::Buckets;
use crate::request_id::RequestIds;
use crate::routes::RouteTable;

/// The path of `[http] native-route`.
const NATIVE: &str = "/_tessera/native";

/// What a tenant serves: swapped as a whole by [`Edge::replace`].
pub struct Site {
    /// The tenant.
    pub tenant: Arc<str>,
    /// Its plug-ins.
    pub dispatch: Arc<dyn Dispatch>,
    /// Its blobs.
    pub blobs: Blobs,
    /// The plug-ins' routes.
    pub routes: RouteTable,
}

/// The edge of a process: routes, authenticates, limits, parks.
pub struct Edge {
    pub(crate) settings: Http,
    pub(crate) metrics: Metrics,
    site: ArcSwap<Site>,
    bus: Bus,
    auth: AuthCache,
    rates: Buckets,
    answers: Answers,
    cors: Cors,
    ids: RequestIds,
    running: Arc<Semaphore>,
    parked: Arc<Semaphore>,
    resumes: Semaphore,
    /// Set when the server stops: parked requests end, nothing parks any more.
    pub(crate) closing: CancellationToken,
}

impl Edge {
    /// An edge that serves `site`. Its figures go into `registry`.
    ///
    /// # Errors
    /// `settings` hold an answer or a header that cannot be sent, or the registry has an edge already.
    pub fn new(
        settings: Http,
        bus: Bus,
        site: Site,
        registry: &Registry,
    ) -> Result<Arc<Self>, EdgeError> {
        let permits =
            |number: std::num::NonZeroU32| (number.get() as usize).min(Semaphore::MAX_PERMITS);
        tell(&site);
        Ok(Arc::new(Self {
            metrics: Metrics::new(registry)?,
            site: ArcSwap::from_pointee(site),
            auth: AuthCache::new(u64::from(settings.auth_cache.get()), bus.clone()),
            bus,
            rates: Buckets::new(),
            answers: Answers::new(&settings.answers)?,
            cors: Cors::new(&settings.cors)?,
            ids: RequestIds::new(),
            running: Arc::new(Semaphore::new(permits(settings.max_requests))),
            parked: Arc::new(Semaphore::new(permits(settings.max_parked))),
            resumes: Semaphore::new(permits(settings.max_resumes)),
            closing: CancellationToken::new(),
            settings,
        }))
    }

    /// Serves another site from now on. Requests in hand end on the old one; parked ones resume on the new one.
    pub fn replace(&self, site: Site) {
        tell(&site);
        self.site.store(Arc::new(site));
        self.auth.clear();
    }

    /// Drops all answers of authenticators: for a bus that may have lost wake-ups.
    pub fn forget_authentications(&self) {
        self.auth.clear();
    }

    /// Answers one request. Dropping the future cancels it. Never panics.
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Body> {
        let site = self.site.load_full();
        // Boxed, so that the head does not take room in every future that hands it on.
        let request = Box::new(request);
        let mut context = Context::new(&self, &site, &request, peer);
        let work = self.run(&mut context, site, request);
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
        site: Arc<Site>,
        request: Box<Request<Incoming>>,
    ) -> Response<Body> {
        if context.method == Method::OPTIONS && self.cors.enabled() {
            // A route for OPTIONS gets those that are no preflight.
            let preflight = request.headers().contains_key("access-control-request-method");
            let routed = !preflight
                && matches!(
                    site.routes.find(&Method::OPTIONS, &context.path),
                    crate::routes::Found::Route(..)
                );
            if !routed {
                return self.cors.preflight();
            }
        }
        if self.settings.native_route && &*context.path == NATIVE {
            return Response::new(Body::bytes("{}"));
        }
        // Boxed, so that a parked request does not keep the room that the first steps need.
        let held = Held::new(&self.metrics.running);
        let mut step = Box::pin(self.begin(context, site, request)).await;
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
        context.end(response.status());
        response
    }
}

/// Says once what the operator should know of a site.
fn tell(site: &Site) {
    let mut said = HashSet::new();
    for warning in site.routes.warnings() {
        if said.insert(warning) {
            tracing::warn!(tenant = %site.tenant, "{warning}");
        }
    }
}
