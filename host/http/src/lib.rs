//! HTTP of the host: the edge, through which requests come in, and `fetch`, through which plug-ins go out.
//!
//! The edge ([`Edge`], [`Server`]) matches a request against the routes of the manifests, asks the authenticator,
//! limits, reads the body, hands over one typed request, and turns the answer into a response. A request that
//! *parks* holds no instance: it waits here on a wake-up topic and a deadline.

mod answers;
mod auth;
mod body;
mod cors;
mod edge;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod incoming;
mod metrics;
mod outgoing;
mod patience;
mod percent;
mod range;
mod rates;
mod readiness;
mod redact;
mod request_id;
mod routes;
mod server;
mod share;
mod sites;
mod tenants;
mod tls;
mod turns;
mod wire;

pub use body::Body;
pub use edge::{Edge, Usage};
pub use error::EdgeError;
pub use fetch::{FetchClient, FetchSetupError};
pub use readiness::Readiness;
pub use routes::{PluginRoutes, RouteError, RouteTable};
pub use rustls::sign::CertifiedKey;
pub use server::{BindError, Drained, Listen, Running, Server};
pub use sites::{NoSite, OneSite, Site, Sites};
pub use tls::{Certificates, PemError, PemFiles};
