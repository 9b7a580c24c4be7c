//! The clients behind `fetch`: one for all, and one for each place that a request is told to connect to instead.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use tessera_engine::FetchError;

use crate::fetch::guard::{Guard, GuardedDns};

/// Clients kept: federation speaks to this many servers at a time before their connections are made anew.
const CLIENTS: u64 = 2_000;

/// A client that nobody used for this long is dropped, with its connections.
const IDLE: Duration = Duration::from_secs(300);

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchSetupError {
    /// The file of `[fetch] ca-file`.
    #[error("[fetch] ca-file {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What all clients have in common.
pub(crate) struct Setup {
    guard: Arc<Guard>,
    authorities: Vec<Certificate>,
    insecure: bool,
    connect_timeout: Duration,
}

impl Setup {
    pub(crate) fn new(
        settings: &tessera_manifest::Fetch,
        guard: Arc<Guard>,
    ) -> Result<Self, FetchSetupError> {
        let authorities = match &settings.ca_file {
            None => Vec::new(),
            Some(path) => {
                let failed = |reason| FetchSetupError::CaFile { path: path.clone(), reason };
                let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
                let list = Certificate::from_pem_bundle(&pem)
                    .map_err(|error| failed(error.to_string()))?;
                if list.is_empty() {
                    return Err(failed("holds no certificate".to_owned()));
                }
                list
            }
        };
        if settings.insecure {
            tracing::warn!("[fetch] insecure: certificates of other servers are not checked");
        }
        let connect_timeout = settings.connect_timeout.get();
        Ok(Self { guard, authorities, insecure: settings.insecure, connect_timeout })
    }

    fn client(&self, place: Option<&Place>) -> Result<Client, reqwest::Error> {
        // reqwest takes the process's provider and panics without; whoever set one first keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .referer(false)
            // A proxy would connect for us, past the guard.
            .no_proxy()
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE)
            .dns_resolver(GuardedDns::system(Arc::clone(&self.guard)))
            .tls_certs_merge(self.authorities.iter().cloned())
            .tls_danger_accept_invalid_certs(self.insecure);
        if let Some(place) = place {
            builder = builder.resolve_to_addrs(&place.name, &place.addresses);
            if place.disguised {
                // HTTP/2 would send the certificate's name as the authority.
                builder = builder.http1_only();
            }
        }
        builder.build()
    }
}

/// A place to connect to for a name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// What stands in the URL, and in the certificate.
    pub(crate) name: String,
    /// Where it is; checked by the guard.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The name is not the one that is asked for (`Host`).
    pub(crate) disguised: bool,
}

pub(crate) struct Clients {
    setup: Setup,
    kept: Cache<Option<Place>, Client>,
}

impl Clients {
    pub(crate) fn new(setup: Setup) -> Self {
        let kept = Cache::builder().max_capacity(CLIENTS).time_to_idle(IDLE).build();
        Self { setup, kept }
    }

    /// The client for a place, or the one for all.
    pub(crate) fn of(&self, place: Option<Place>) -> Result<Client, FetchError> {
        if let Some(client) = self.kept.get(&place) {
            return Ok(client);
        }
        let client = self.setup.client(place.as_ref()).map_err(|error| {
            tracing::error!(%error, "no client for fetch; are the system's certificates installed?");
            FetchError::Unreachable(format!("this server cannot make a client: {error}"))
        })?;
        self.kept.insert(place, client.clone());
        Ok(client)
    }
}
