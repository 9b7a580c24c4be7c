//! Whom a request is for, and whether there is room for one more of theirs.

use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;

use crate::answers::Case;
use crate::body::Body;
use crate::edge::Edge;
use crate::edge::context::Context;
use crate::host::{self, Asked};
use crate::routes::Found;
use crate::share::Place;
use crate::sites::{NoSite, Site};
use crate::tenants::Tenant;
use crate::wire::Wire;

/// The path of `[http] native-route`.
const NATIVE: &str = "/_tessera/native";

/// Whom a request is for.
#[derive(Clone)]
pub(crate) struct Served {
    /// Holding it keeps the tenant awake.
    pub(crate) site: Arc<Site>,
    pub(crate) tenant: Arc<Tenant>,
}

impl Edge {
    /// Finds what the request's host serves, waking it if need be, and takes a place for the request.
    pub(crate) async fn admit(
        &self,
        context: &mut Context,
        request: &Request<Incoming>,
        wire: &Wire,
    ) -> Result<(Served, Place), Box<Response<Body>>> {
        let Ok(asked) = host::of(request, self.settings.trust_forwarded) else {
            return Err(self.case(Case::BadRequest));
        };
        let name = self.sites.tenant(asked.host.as_deref());
        if self.is_misdirected(&asked, name.as_deref(), wire) {
            return Err(self.case(Case::Misdirected));
        }
        let Some(name) = name else { return Err(self.case(Case::UnknownHost)) };
        let tenant = self.tenants.get(&name, &self.metrics);
        context.belongs(&tenant);
        if self.closing.is_cancelled() {
            return Err(self.case(Case::Unavailable));
        }
        // A proxy's connections carry requests for anybody.
        if !self.settings.trust_forwarded && !wire.belongs(&self.tenants, &tenant) {
            context.last = true;
            wire.end();
            return Err(self.case(Case::Unavailable));
        }
        // Before the tenant is woken: a crowd that waits for that has places, too.
        let Some(place) = self.tenants.shares.running.take(&tenant.running) else {
            return Err(self.case(Case::Unavailable));
        };
        let found = self.sites.find(asked.host.as_deref()).await;
        let site = found.map_err(|reason| self.no_site(&reason))?;
        let served = self.served(site, tenant);
        if let Err(wait) = served.tenant.admit(&served.site.quotas, self.nodes()) {
            served.tenant.figures.limited.inc();
            return Err(Box::new(self.answers.too_many(wait)));
        }
        Ok((served, place))
    }

    /// Whether the connection was made for another tenant: its certificate may say nothing for this one.
    fn is_misdirected(&self, asked: &Asked, tenant: Option<&str>, wire: &Wire) -> bool {
        let Some(name) = wire.name.as_deref().filter(|_| !asked.forwarded) else { return false };
        if asked.host.as_deref() == Some(name) {
            return false;
        }
        self.sites.tenant(Some(name)).is_some_and(|owner| Some(&*owner) != tenant)
    }

    /// What the tenant of a request that was parked, or is answered in pieces, serves now.
    pub(crate) async fn current(&self, served: &Served) -> Result<Served, NoSite> {
        let site = self.sites.current(&served.site).await?;
        Ok(self.served(site, Arc::clone(&served.tenant)))
    }

    fn served(&self, site: Arc<Site>, tenant: Arc<Tenant>) -> Served {
        // A host may change hands between two look-ups, and a tenant may go and come back.
        let same = site.tenant == tenant.name && !tenant.gone.is_cancelled();
        let tenant = if same { tenant } else { self.tenants.get(&site.tenant, &self.metrics) };
        Served { site, tenant }
    }

    pub(crate) fn no_site(&self, reason: &NoSite) -> Box<Response<Body>> {
        self.case(match reason {
            NoSite::Unknown => Case::UnknownHost,
            NoSite::Suspended => Case::Suspended,
            NoSite::Unavailable(reason) => {
                tracing::warn!(reason, "the tenant cannot be served");
                Case::Unavailable
            }
        })
    }

    /// Answers that need no plug-in.
    pub(crate) fn by_itself(
        &self,
        context: &Context,
        site: &Site,
        request: &Request<Incoming>,
    ) -> Option<Response<Body>> {
        if context.method == Method::OPTIONS && self.cors.enabled() {
            // A route for OPTIONS gets those that are no preflight.
            let preflight = request.headers().contains_key("access-control-request-method");
            let routed = || {
                let found = site.routes.find(&Method::OPTIONS, &context.path);
                matches!(found, Found::Route(..))
            };
            if preflight || !routed() {
                return Some(self.cors.preflight());
            }
        }
        let native = self.settings.native_route && &*context.path == NATIVE;
        native.then(|| Response::new(Body::bytes("{}")))
    }
}
