//! The steps of a request up to its first answer.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tessera_engine::api::{
    Answer, Body as RequestBody, CallError, Credentials, Denial, Request as PluginRequest,
    Response as PluginResponse,
};
use tessera_manifest::{BodyKind, RateBy};

use crate::answers::Case;
use crate::auth::{self, Asking, Granted, Verdict};
use crate::body::Body;
use crate::edge::Edge;
use crate::edge::admission::Served;
use crate::edge::context::Context;
use crate::edge::parking::{ParkedAuth, Waiting};
use crate::edge::pieces;
use crate::incoming::{self, BodyError};
use crate::outgoing;
use crate::rates::{Holder, RateClass};
use crate::routes::{Authenticate, Found, Params, Target};
use crate::sites::Site;
use crate::tenants::Tenant;
use crate::wire::Wire;

/// What the engine may take beyond a route's own time before the edge gives up by itself.
const SLACK: Duration = Duration::from_secs(1);

/// Where a request stands. The error is a response, too: one that ends the request early.
pub(crate) enum Step {
    Done(Response<Body>),
    Parked(Box<Waiting>),
}

pub(crate) type Stepped = Result<Step, Box<Response<Body>>>;

/// Who asks, and what is needed to ask again.
pub(crate) struct Asker {
    pub(crate) granted: Arc<Granted>,
    pub(crate) credentials: Credentials,
    pub(crate) who: Authenticate,
}

impl Edge {
    /// Matches, authenticates, limits, reads the body, and hands over.
    pub(crate) async fn begin(
        &self,
        context: &mut Context,
        request: Box<Request<Incoming>>,
        wire: &Wire,
    ) -> Stepped {
        let (served, _running) = self.admit(context, &request, wire).await?;
        let site = &served.site;
        context.note(request.uri().query().unwrap_or(""), site);
        if let Some(response) = self.by_itself(context, site, &request) {
            return Ok(Step::Done(response));
        }
        let (target, params) = self.route(site, &context.method, &context.path)?;
        context.target = Some(Arc::clone(&target));
        if let Some(class) = &target.rate
            && class.by == RateBy::Address
        {
            self.limit(&served.tenant, &target, class, &Holder::Address(context.remote))?;
        }

        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or("");
        let mut body = Some(body);
        let mut read = None;
        let mut asker = None;
        if let Some(who) = &target.auth {
            if who.with_body {
                read = Some(self.read(context, site, &target, body.take()).await?);
            }
            let bytes = match &read {
                Some(RequestBody::Bytes(bytes)) => bytes.clone(),
                _ => Vec::new(),
            };
            let key = auth::key(who, &head.headers, query, site.routes.secret_query());
            let credentials = Credentials {
                name: who.name.to_string(),
                method: head.method.as_str().to_owned(),
                path: context.path.to_string(),
                query: query.to_owned(),
                headers: pairs(&head.headers, false),
                remote: context.remote.to_string(),
                body: bytes,
            };
            asker = self.authenticate(context, &served, &target, who, credentials, key).await?;
        }
        let principal = asker.as_ref().map(|asker| asker.granted.grant.principal.clone());
        if let Some(class) = &target.rate
            && class.by == RateBy::User
        {
            match &principal {
                Some(principal) if principal.unlimited => {}
                Some(principal) => {
                    let holder = Holder::User(&principal.user);
                    let own = principal.rates.iter().find(|rate| rate.class == class.name());
                    match own.map(|rate| class.at(rate.per_second, rate.burst)) {
                        None => self.limit(&served.tenant, &target, class, &holder)?,
                        Some(None) => {}
                        Some(Some(own)) => {
                            self.limit(&served.tenant, &target, &own, &holder)?;
                        }
                    }
                }
                None => {
                    let holder = Holder::Address(context.remote);
                    self.limit(&served.tenant, &target, class, &holder)?;
                }
            }
        }

        let body = match read {
            Some(body) => body,
            None => self.read(context, site, &target, body).await?,
        };
        let get = target.body == BodyKind::None && head.method == Method::HEAD;
        let call = PluginRequest {
            route: target.route.to_string(),
            // HEAD goes to the route of GET unless the plug-in has one of its own.
            method: if get { "GET".to_owned() } else { head.method.as_str().to_owned() },
            path: context.path.to_string(),
            params,
            query: query.to_owned(),
            headers: pairs(&head.headers, target.auth.is_some()),
            body,
            principal,
            remote: context.remote.to_string(),
            request_id: context.id.clone(),
        };
        let answer = self.timed(&target, site.dispatch.handle(&target.plugin, call)).await;
        self.settle(context, served, answer, asker, false).await
    }

    fn route(
        &self,
        site: &Site,
        method: &Method,
        path: &str,
    ) -> Result<(Arc<Target>, Params), Box<Response<Body>>> {
        match site.routes.find(method, path) {
            Found::Route(target, params) => Ok((target, params)),
            Found::NoPath => Err(self.case(Case::NotFound)),
            Found::Malformed => Err(self.case(Case::BadRequest)),
            Found::NotUtf8 => Err(self.case(Case::NotUtf8)),
            Found::NoMethod(allowed) => {
                let mut response = self.case(Case::MethodNotAllowed);
                let names: Vec<&str> = allowed.iter().map(|method| method.as_str()).collect();
                if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
                    response.headers_mut().insert(ALLOW, value);
                }
                Err(response)
            }
        }
    }

    fn limit(
        &self,
        tenant: &Tenant,
        target: &Target,
        class: &RateClass,
        holder: &Holder<'_>,
    ) -> Result<(), Box<Response<Body>>> {
        tenant.rates.take(class, holder, self.nodes()).map_err(|wait| {
            let labels = [target.plugin.as_ref(), target.route.as_ref()];
            self.metrics.rate_limited.with_label_values(&labels).inc();
            Box::new(self.answers.too_many(wait))
        })
    }

    /// Finds out who asks; `None`: nobody, and that is allowed.
    pub(crate) async fn authenticate(
        &self,
        context: &Context,
        served: &Served,
        target: &Target,
        who: &Authenticate,
        credentials: Credentials,
        key: Option<auth::Key>,
    ) -> Result<Option<Asker>, Box<Response<Body>>> {
        let asker =
            |granted| Some(Asker { granted, credentials: credentials.clone(), who: who.clone() });
        let store = &served.tenant.auth;
        if let Some(granted) = key.as_ref().and_then(|key| store.get(key)) {
            self.metrics.auth_hits.inc();
            return Ok(asker(granted));
        }
        self.metrics.auth_misses.inc();
        let asked = self.asking(&served.site, who).ask(credentials.clone(), store, key).await;
        match asked {
            Ok(Verdict::Granted(granted)) => Ok(asker(granted)),
            Ok(Verdict::Anonymous) if target.auth_optional => Ok(None),
            Ok(Verdict::Anonymous) => {
                let (plugin, name) = (&who.plugin, &who.name);
                tracing::error!(%plugin, authenticator = %name, "neither a grant nor a denial");
                Err(self.case(Case::Internal))
            }
            Ok(Verdict::Denied(denial)) => Err(Box::new(self.denied(denial))),
            Err(error) => Err(self.failed(context, &who.plugin, &error)),
        }
    }

    pub(crate) fn asking<'a>(&'a self, site: &'a Site, who: &'a Authenticate) -> Asking<'a> {
        let (tenant, dispatch) = (&*site.tenant, site.dispatch.as_ref());
        Asking { bus: &self.bus, tenant, dispatch, who, nodes: self.nodes() }
    }

    async fn read(
        &self,
        context: &Context,
        site: &Site,
        target: &Target,
        body: Option<Incoming>,
    ) -> Result<RequestBody, Box<Response<Body>>> {
        let Some(body) = body else { return Ok(RequestBody::None) };
        let time = self.settings.body_timeout.get();
        let configured = site.dispatch.body_max(&target.plugin, &target.route);
        let cap = configured.map_or(target.body_max, |max| max.min(target.body_max));
        let read = match target.body {
            BodyKind::None => return Ok(RequestBody::None),
            BodyKind::Bytes => incoming::bytes(body, cap, time).await.map(RequestBody::Bytes),
            BodyKind::Blob => incoming::blob(body, cap, time, &site.blobs)
                .await
                .map(|id| RequestBody::Blob(id.to_string())),
        };
        read.map_err(|error| match error {
            BodyError::TooLarge => self.case(Case::TooLarge),
            BodyError::Slow => self.case(Case::SlowBody),
            BodyError::Broken => self.case(Case::BadRequest),
            BodyError::Store(error) => {
                tracing::error!(request_id = context.id, %error, "body not stored");
                self.case(Case::Unavailable)
            }
        })
    }

    /// Keeps a route's time a second time: the engine keeps it first.
    pub(crate) async fn timed<T>(
        &self,
        target: &Target,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let Some(time) = target.timeout else { return call.await };
        tokio::time::timeout(time + SLACK, call).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Makes the next step of what a plug-in answered; `resumed`: to a request that had been parked.
    pub(crate) async fn settle(
        &self,
        context: &Context,
        served: Served,
        answer: Result<Answer, CallError>,
        asker: Option<Asker>,
        resumed: bool,
    ) -> Stepped {
        let Some(target) = &context.target else { return Err(self.case(Case::Internal)) };
        match answer {
            Ok(Answer::Done(response)) => {
                self.made(context, &served, target, response).await.map(Step::Done)
            }
            Ok(Answer::Begun(response, state)) => {
                let begun = self.made(context, &served, target, response).await?;
                let rest = pieces::rest(context, served, target, asker, state);
                Ok(Step::Done(begun.map(|first| first.and(rest))))
            }
            Ok(Answer::Park(parked)) => {
                // Where it stops, a request is resumed once and has to answer then.
                if resumed && self.draining.is_cancelled() {
                    return Err(self.case(Case::Unavailable));
                }
                let auth = asker.map(|asker| self.parked_auth(&served.site, asker)).transpose()?;
                self.park(served, target, parked, auth)
            }
            Err(error) => Err(self.failed(context, &target.plugin, &error)),
        }
    }

    async fn made(
        &self,
        context: &Context,
        served: &Served,
        target: &Target,
        response: PluginResponse,
    ) -> Result<Response<Body>, Box<Response<Body>>> {
        let made = outgoing::response(response, context.range.as_deref(), &served.site.blobs).await;
        made.map_err(|error| {
            let (plugin, route) = (&target.plugin, &target.route);
            tracing::error!(request_id = context.id, %plugin, %route, %error, "bad response");
            self.case(Case::Internal)
        })
    }

    pub(crate) fn parked_auth(
        &self,
        site: &Site,
        asker: Asker,
    ) -> Result<ParkedAuth, Box<Response<Body>>> {
        match ParkedAuth::new(&self.bus, &site.tenant, asker) {
            Ok(auth) => Ok(auth),
            Err(error) => {
                tracing::warn!(%error, "request not parked");
                Err(self.case(Case::Unavailable))
            }
        }
    }

    pub(crate) fn denied(&self, denial: Denial) -> Response<Body> {
        let mut response = Response::new(Body::bytes(denial.body));
        let status = StatusCode::from_u16(denial.status).ok();
        // A denial never lets in, whatever its status.
        let status = status.filter(|status| (400..600).contains(&status.as_u16()));
        *response.status_mut() = status.unwrap_or(StatusCode::FORBIDDEN);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    pub(crate) fn failed(
        &self,
        context: &Context,
        plugin: &str,
        error: &CallError,
    ) -> Box<Response<Body>> {
        // The engine logs the cause with its own figures; this line ties it to the request.
        tracing::warn!(request_id = context.id, plugin, %error, "call failed");
        self.case(match error {
            CallError::Quota { retry_after, .. } => {
                return Box::new(self.answers.too_many(*retry_after));
            }
            CallError::Unavailable(_) | CallError::Overloaded => Case::Unavailable,
            // It may have happened: the client cannot tell one from the other.
            CallError::Timeout | CallError::Lost(_) => Case::Timeout,
            _ => Case::Internal,
        })
    }

    pub(crate) fn case(&self, case: Case) -> Box<Response<Body>> {
        Box::new(self.answers.give(case))
    }
}

/// Headers as a plug-in gets them. Values that are no UTF-8 are left out.
fn pairs(headers: &HeaderMap, without_credentials: bool) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| !(without_credentials && **name == AUTHORIZATION))
        // The host's own, between its processes.
        .filter(|(name, _)| !["traceparent", "tracestate"].contains(&name.as_str()))
        .filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        })
        .collect()
}
