//! Listeners and connections.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::connection;
use crate::edge::Edge;
use crate::metrics::Held;
use crate::tls::{self, Certificates};

/// TLS handshakes at once: each costs a millisecond of CPU or more, and they must not starve requests. More wait, within
/// the time that a handshake has.
const HANDSHAKES: usize = 256;

/// After an accept that failed for want of descriptors there is nothing to do but wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Where to listen.
#[derive(Clone)]
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// Speak TLS with these; `None`: in the clear.
    pub tls: Option<Arc<dyn Certificates>>,
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// Listeners that do not accept yet.
pub struct Server {
    edge: Arc<Edge>,
    listeners: Vec<Bound>,
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Binds every address.
    ///
    /// # Errors
    /// Names the address that is taken or not ours.
    pub async fn bind(edge: Arc<Edge>, listens: Vec<Listen>) -> Result<Self, BindError> {
        let mut listeners = Vec::with_capacity(listens.len());
        for Listen { address, tls } in listens {
            let failed = |source| BindError { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            let tls = tls.map(tls::acceptor).transpose();
            let tls = tls.map_err(|error| failed(io::Error::other(error)))?;
            listeners.push(Bound { listener, address: bound, tls });
        }
        Ok(Self { edge, listeners })
    }

    /// What is listened on, in the order asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|bound| bound.address).collect()
    }

    /// Starts to accept.
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared {
            room: Arc::new(Semaphore::new(self.edge.settings.max_connections.get() as usize)),
            edge: self.edge,
            handshakes: Semaphore::new(HANDSHAKES),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        });
        for bound in self.listeners {
            tokio::spawn(accept(Arc::clone(&shared), bound));
        }
        shared.edge.serving.store(true, Ordering::Release);
        Running { shared }
    }
}

struct Shared {
    edge: Arc<Edge>,
    /// `[http] max-connections`.
    room: Arc<Semaphore>,
    handshakes: Semaphore,
    /// Set when the time to drain is over.
    cut: CancellationToken,
    connections: TaskTracker,
}

/// A server at work. Dropping it lets it run on.
pub struct Running {
    shared: Arc<Shared>,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had to be cut because `[http] drain` was over.
    pub cut: usize,
}

impl Running {
    /// Stops accepting, resumes what is parked as timed out, lets running requests end, and cuts what is left after
    /// `[http] drain`.
    pub async fn stop(self) -> Drained {
        let Shared { edge, cut, connections, .. } = &*self.shared;
        edge.drain();
        edge.closing.cancel();
        connections.close();
        let drained = timeout(edge.settings.drain.get(), connections.wait()).await;
        let left = if drained.is_err() { connections.len() } else { 0 };
        cut.cancel();
        connections.wait().await;
        Drained { cut: left }
    }
}

async fn accept(shared: Arc<Shared>, bound: Bound) {
    let Bound { listener, address, tls } = bound;
    let closing = &shared.edge.closing;
    loop {
        // Room first: who cannot be served waits in the system's queue.
        let room = tokio::select! {
            () = closing.cancelled() => return,
            room = Arc::clone(&shared.room).acquire_owned() => room,
        };
        let Ok(room) = room else { return };
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (serving, tls) = (Arc::clone(&shared), tls.clone());
                shared.connections.spawn(async move {
                    let _held = Held::new(&serving.edge.metrics.connections);
                    let _room = room;
                    tokio::select! {
                        () = connection(&serving, stream, peer.ip(), tls) => {}
                        () = serving.cut.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%address, %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
