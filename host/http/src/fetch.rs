//! HTTP to the outside, for plug-ins: grants, address guard, caps.

mod client;
mod guard;
mod request;

use std::sync::Arc;
use std::time::Duration;

use tessera_blobs::Blobs;
use tessera_engine::api::BoxFuture;
use tessera_engine::{Fetch, FetchError, FetchGrants, FetchRequest, FetchResponse};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use tracing::field::Empty;

pub use self::client::FetchSetupError;
use self::client::{Clients, Setup};
use self::guard::Guard;

/// Requests to the outside at once, of all plug-ins; more wait within their own time.
const AT_ONCE: usize = 512;

/// The client of a process, made of the descriptor's `[fetch]`.
pub struct FetchClient {
    guard: Arc<Guard>,
    clients: Clients,
    room: Semaphore,
}

impl FetchClient {
    /// Makes a client. Blocks for a moment to read the certificates.
    ///
    /// # Errors
    /// The file of certificate authorities cannot be read.
    pub fn new(settings: &tessera_manifest::Fetch) -> Result<Self, FetchSetupError> {
        let guard = Arc::new(Guard::new(settings.deny.clone(), settings.allow.clone()));
        let setup = Setup::new(settings, Arc::clone(&guard))?;
        Ok(Self { guard, clients: Clients::new(setup), room: Semaphore::new(AT_ONCE) })
    }

    async fn run(
        &self,
        request: FetchRequest,
        grants: &FetchGrants,
        blobs: &Blobs,
    ) -> Result<FetchResponse, FetchError> {
        let deadline = Instant::now() + request.timeout.min(Duration::from_secs(3600));
        let work = async {
            let _room = self.room.acquire().await.map_err(|_| FetchError::Timeout)?;
            request::send(self, request, grants, blobs).await
        };
        let span = tracing::info_span!(target: "tessera::span", "fetch", host = Empty);
        timeout_at(deadline, work.instrument(span)).await.unwrap_or(Err(FetchError::Timeout))
    }
}

impl Fetch for FetchClient {
    fn send<'a>(
        &'a self,
        request: FetchRequest,
        grants: &'a FetchGrants,
        blobs: &'a Blobs,
    ) -> BoxFuture<'a, Result<FetchResponse, FetchError>> {
        Box::pin(self.run(request, grants, blobs))
    }
}
