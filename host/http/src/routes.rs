//! The routes of all plug-ins as one table, built whole and swapped whole.

mod matcher;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use tessera_manifest::{
    Auth, AuthenticatorReads, BodyKind, Http, Method, Name, PluginManifest, PluginName, Rate,
    Route, RoutePattern,
};

use self::matcher::Matcher;
pub(crate) use self::matcher::{Found, Params};
pub(crate) use self::target::{Authenticate, Target};
use crate::rates::RateClass;

/// A plug-in whose routes are served.
#[derive(Clone, Copy)]
pub struct PluginRoutes<'a> {
    /// What it says about itself.
    pub manifest: &'a PluginManifest,
}

/// What is wrong with the routes of a set of plug-ins.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// Two routes answer the same requests.
    #[error(
        "{method} {path} is the route `{second}` of plug-in {second_plugin} and the route `{first}` of plug-in {first_plugin}"
    )]
    Conflict {
        /// The method that both have.
        method: Method,
        /// The second one's path.
        path: String,
        /// Who was there first.
        first_plugin: PluginName,
        /// Its route.
        first: Name,
        /// Who came second.
        second_plugin: PluginName,
        /// Its route.
        second: Name,
    },
    /// Two plug-ins offer an authenticator of the same name.
    #[error("the authenticator `{name}` is offered by plug-in {first} and by plug-in {second}")]
    TwoAuthenticators {
        /// The name.
        name: Name,
        /// One plug-in.
        first: PluginName,
        /// The other.
        second: PluginName,
    },
    /// Nobody offers the authenticator that a route wants.
    #[error(
        "the route `{route}` of plug-in {plugin} wants the authenticator `{name}`, which no plug-in offers"
    )]
    NoAuthenticator {
        /// Whose route.
        plugin: PluginName,
        /// The route.
        route: Name,
        /// The authenticator.
        name: Name,
    },
    /// An authenticator that reads the body cannot read one that goes into a blob.
    #[error(
        "the route `{route}` of plug-in {plugin} takes its body as a blob, which the authenticator `{name}` (head+body) cannot read"
    )]
    BlobUnread {
        /// Whose route.
        plugin: PluginName,
        /// The route.
        route: Name,
        /// The authenticator.
        name: Name,
    },
}

/// An immutable table of routes.
pub struct RouteTable {
    matcher: Matcher,
    secret_query: Vec<String>,
    unlimited: Vec<String>,
}

impl RouteTable {
    /// Joins the routes of plug-ins. `http` gives the defaults, `rates` the rate classes.
    ///
    /// # Errors
    /// Routes that clash, and authenticators that are missing or offered twice; the text names both sides.
    pub fn build(
        plugins: &[PluginRoutes<'_>],
        http: &Http,
        rates: &BTreeMap<Name, Rate>,
    ) -> Result<Self, RouteError> {
        let authenticators = authenticators(plugins)?;
        let classes: BTreeMap<&Name, Option<Arc<RateClass>>> = rates
            .iter()
            .map(|(name, rate)| (name, RateClass::new(name.as_ref(), rate).map(Arc::new)))
            .collect();
        let mut table =
            Self { matcher: Matcher::default(), secret_query: Vec::new(), unlimited: Vec::new() };
        for PluginRoutes { manifest } in plugins {
            table.secret_query.extend(manifest.http.secret_query.iter().cloned());
            let plugin: Arc<str> = manifest.name.to_string().into();
            for route in &manifest.http.routes {
                let auth = authenticate(manifest, route, http, &authenticators)?;
                let rate = route.rate.as_ref().and_then(|name| {
                    if !classes.contains_key(name) {
                        table.unlimited.push(format!(
                            "the route `{}` of plug-in {} is not limited: there is no [rates.{name}]",
                            route.id, manifest.name
                        ));
                    }
                    classes.get(name).cloned().flatten()
                });
                let target = |method: Method| Target {
                    plugin: Arc::clone(&plugin),
                    plugin_name: manifest.name.clone(),
                    id: route.id.clone(),
                    route: route.id.to_string().into(),
                    auth: auth.clone(),
                    auth_optional: route.auth_optional,
                    body: route.body_of(method),
                    body_max: route.body_max.unwrap_or(http.body_max).get(),
                    rate: rate.clone(),
                    timeout: route.timeout.map(tessera_manifest::Duration::get),
                };
                for method in &route.methods {
                    let target = Arc::new(target(*method));
                    for path in &route.paths {
                        table.add(*method, path, &target)?;
                    }
                }
            }
        }
        table.secret_query.sort();
        table.secret_query.dedup();
        Ok(table)
    }

    /// What the operator should know: routes whose rate class is not configured.
    pub fn warnings(&self) -> &[String] {
        &self.unlimited
    }

    /// Routes, counted once for each method and path.
    pub fn len(&self) -> usize {
        self.matcher.len()
    }

    /// Whether nothing is served.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Query parameters whose values reach no log.
    pub(crate) fn secret_query(&self) -> &[String] {
        &self.secret_query
    }

    pub(crate) fn find(&self, method: &http::Method, path: &str) -> Found {
        self.matcher.find(method, path)
    }

    fn add(
        &mut self,
        method: Method,
        path: &RoutePattern,
        target: &Arc<Target>,
    ) -> Result<(), RouteError> {
        self.matcher.add(method, path, target).map_err(|first| RouteError::Conflict {
            method,
            path: path.to_string(),
            first_plugin: first.plugin_name.clone(),
            first: first.id.clone(),
            second_plugin: target.plugin_name.clone(),
            second: target.id.clone(),
        })
    }
}

type Offers = BTreeMap<Name, (PluginName, AuthenticatorReads)>;

fn authenticators(plugins: &[PluginRoutes<'_>]) -> Result<Offers, RouteError> {
    let mut offers = Offers::new();
    for PluginRoutes { manifest } in plugins {
        for (name, authenticator) in &manifest.authenticators {
            let offer = (manifest.name.clone(), authenticator.reads);
            if let Some((first, _)) = offers.insert(name.clone(), offer) {
                let second = manifest.name.clone();
                return Err(RouteError::TwoAuthenticators { name: name.clone(), first, second });
            }
        }
    }
    Ok(offers)
}

fn authenticate(
    manifest: &PluginManifest,
    route: &Route,
    http: &Http,
    offers: &Offers,
) -> Result<Option<Authenticate>, RouteError> {
    let Auth::By(name) = route.auth.as_ref().unwrap_or(&http.default_authenticator) else {
        return Ok(None);
    };
    let Some((plugin, reads)) = offers.get(name) else {
        return Err(RouteError::NoAuthenticator {
            plugin: manifest.name.clone(),
            route: route.id.clone(),
            name: name.clone(),
        });
    };
    let with_body = *reads == AuthenticatorReads::HeadAndBody;
    if with_body && route.body == Some(BodyKind::Blob) {
        return Err(RouteError::BlobUnread {
            plugin: manifest.name.clone(),
            route: route.id.clone(),
            name: name.clone(),
        });
    }
    Ok(Some(Authenticate {
        plugin: plugin.to_string().into(),
        name: name.to_string().into(),
        with_body,
    }))
}
