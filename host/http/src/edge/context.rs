//! What is known of a request for as long as it lives; small, because parked ones keep it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::RANGE;
use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use tessera_engine::trace;
use tracing::Span;
use tracing::field::Empty;

use crate::edge::Edge;
use crate::redact;
use crate::routes::Target;
use crate::sites::Site;
use crate::tenants::Tenant;

/// The status that stands in metrics and log for a client that went away.
const GONE: u16 = 499;

pub(crate) struct Context {
    pub(crate) edge: Arc<Edge>,
    /// `x-request-id`.
    pub(crate) id: String,
    pub(crate) method: Method,
    /// As sent, undecoded.
    pub(crate) path: Box<str>,
    /// For the log, without secrets; empty unless it is wanted and the site is known.
    query: Box<str>,
    pub(crate) remote: IpAddr,
    /// The `range` header of a GET or HEAD without `if-range`.
    pub(crate) range: Option<Box<str>>,
    pub(crate) target: Option<Arc<Target>>,
    tenant: Option<Arc<Tenant>>,
    /// Says that the connection ends with the answer, where the version of HTTP can say so.
    pub(crate) last: bool,
    http1: bool,
    pub(crate) span: Span,
    started: Instant,
    pub(crate) parked_for: Duration,
    ended: bool,
}

impl Context {
    pub(crate) fn new(edge: &Arc<Edge>, request: &Request<Incoming>, peer: IpAddr) -> Self {
        let id = edge.ids.next();
        Self {
            edge: Arc::clone(edge),
            span: span(request, &id, edge.settings.trust_forwarded),
            id,
            method: request.method().clone(),
            path: request.uri().path().into(),
            query: Box::default(),
            remote: remote(request, peer, edge.settings.trust_forwarded),
            range: range(request),
            target: None,
            tenant: None,
            last: false,
            http1: request.version() < Version::HTTP_2,
            started: Instant::now(),
            parked_for: Duration::ZERO,
            ended: false,
        }
    }

    /// Notes the query for the log: what is secret in it, the site's plug-ins say.
    pub(crate) fn note(&mut self, query: &str, site: &Site) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.query = redact::query(query, site.routes.secret_query()).into();
        }
    }

    /// Whom the request is for.
    pub(crate) fn belongs(&mut self, tenant: &Arc<Tenant>) {
        self.span.record("tenant", &*tenant.name);
        self.tenant = Some(Arc::clone(tenant));
    }

    /// Whether the answer should carry `connection: close`.
    pub(crate) fn says_close(&self, draining: bool) -> bool {
        self.http1 && (self.last || draining)
    }

    /// Counts and logs the end of the request.
    pub(crate) fn end(mut self, status: StatusCode) {
        self.record(status.as_u16());
    }

    fn record(&mut self, status: u16) {
        self.ended = true;
        let (plugin, route) = match &self.target {
            Some(target) => (target.plugin.as_ref(), target.route.as_ref()),
            None => ("", ""),
        };
        // Methods are a client's to invent; only known ones become a label.
        let method = match self.method {
            Method::GET | Method::HEAD | Method::POST | Method::PUT => self.method.as_str(),
            Method::PATCH | Method::DELETE | Method::OPTIONS => self.method.as_str(),
            _ => "other",
        };
        let mut digits = [0; 3];
        let metrics = &self.edge.metrics;
        let status_text = decimal(status, &mut digits);
        metrics.requests.with_label_values(&[plugin, route, method, status_text]).inc();
        let took = self.started.elapsed();
        let worked = took.saturating_sub(self.parked_for);
        metrics.seconds.with_label_values(&[plugin, route]).observe(worked.as_secs_f64());
        if let Some(tenant) = &self.tenant {
            tenant.figures.count(status);
        }
        self.span.record("route", route);
        self.span.record("status", status);
        tracing::debug!(
            tenant = self.tenant.as_deref().map_or("", |tenant| &*tenant.name),
            request_id = self.id,
            method = self.method.as_str(),
            path = self.path,
            query = self.query,
            plugin,
            route,
            status,
            ms = took.as_secs_f64() * 1000.0,
            parked_ms = self.parked_for.as_secs_f64() * 1000.0,
            "request"
        );
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if !self.ended {
            self.record(GONE);
        }
    }
}

/// A status as text, without an allocation for each request.
fn decimal(status: u16, digits: &mut [u8; 3]) -> &str {
    *digits = [status / 100, status / 10 % 10, status % 10]
        .map(|digit| b'0'.saturating_add(u8::try_from(digit % 10).unwrap_or(0)));
    std::str::from_utf8(digits).unwrap_or("")
}

/// The span that is exported. A trusted proxy may name the one above it; a client may not, since it would
/// choose whether the request is traced.
fn span(request: &Request<Incoming>, id: &str, trusted: bool) -> Span {
    let span = tracing::info_span!(
        target: "tessera::span",
        "request",
        tenant = Empty,
        method = request.method().as_str(),
        route = Empty,
        status = Empty,
        request_id = id,
    );
    if trusted
        && !span.is_disabled()
        && let Some(parent) = request.headers().get("traceparent")
        && let Ok(parent) = parent.to_str()
    {
        trace::adopt(&span, parent);
    }
    span
}

/// The client's address: the last that a trusted proxy added, else the peer's.
fn remote(request: &Request<Incoming>, peer: IpAddr, trust_forwarded: bool) -> IpAddr {
    if !trust_forwarded {
        return peer;
    }
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
    forwarded
        .and_then(|value| value.to_str().ok())
        .and_then(|list| list.rsplit(',').next())
        .and_then(|address| address.trim().parse().ok())
        .unwrap_or(peer)
}

fn range(request: &Request<Incoming>) -> Option<Box<str>> {
    let readable = [Method::GET, Method::HEAD].contains(request.method());
    if !readable || request.headers().contains_key("if-range") {
        return None;
    }
    Some(request.headers().get(RANGE)?.to_str().ok()?.into())
}
