//! The edge: from a request to its response.

mod context;
mod flow;
mod parking;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use prometheus::Registry;
use tessera_bus::Bus;
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
use crate::sites::Sites;

/// The edge of a process: routes, authenticates, limits, parks.
pub struct Edge {
    pub(crate) settings: Http,
    pub(crate) metrics: Metrics,
    sites: Arc<dyn Sites>,
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
        let permits =
            |number: std::num::NonZeroU32| (number.get() as usize).min(Semaphore::MAX_PERMITS);
        Ok(Arc::new(Self {
            metrics: Metrics::new(registry)?,
            sites,
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
        // Boxed, so that the head does not take room in every future that hands it on.
        let request = Box::new(request);
        let mut context = Context::new(&self, &request, peer);
        let work = self.run(&mut context, request);
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

    async fn run(&self, context: &mut Context, request: Box<Request<Incoming>>) -> Response<Body> {
        // Boxed, so that a parked request does not keep the room that the first steps need.
        let held = Held::new(&self.metrics.running);
        let mut step = Box::pin(self.begin(context, request)).await;
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
