//! Listeners and connections.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::edge::Edge;
use crate::metrics::Held;
use crate::patience::{Patient, Turn};

/// The largest head of a request, 431 beyond; and as far as hyper reads ahead.
const HEAD: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection; each is counted by the edge as well.
const STREAMS: u32 = 128;

/// How long an HTTP/1 connection may rest between two requests: longer than clients and proxies keep theirs, so
/// that none sends into a connection that is just being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// An HTTP/2 connection that answers no ping for twice this time is closed.
const PING: Duration = Duration::from_secs(30);

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

/// Listeners that do not accept yet.
pub struct Server {
    edge: Arc<Edge>,
    listeners: Vec<(TcpListener, SocketAddr)>,
}

impl Server {
    /// Binds every address. Port 0 takes a free one.
    ///
    /// # Errors
    /// Names the address that is taken or not ours.
    pub async fn bind(edge: Arc<Edge>, addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            let failed = |source| BindError { address: *address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            listeners.push((listener, bound));
        }
        Ok(Self { edge, listeners })
    }

    /// What is listened on, in the order asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(_, address)| *address).collect()
    }

    /// Starts to accept.
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared {
            room: Arc::new(Semaphore::new(self.edge.settings.max_connections.get() as usize)),
            edge: self.edge,
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        });
        for (listener, address) in self.listeners {
            tokio::spawn(accept(Arc::clone(&shared), listener, address));
        }
        Running { shared }
    }
}

struct Shared {
    edge: Arc<Edge>,
    /// `[http] max-connections`.
    room: Arc<Semaphore>,
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
        edge.closing.cancel();
        connections.close();
        let drained = timeout(edge.settings.drain.get(), connections.wait()).await;
        let left = if drained.is_err() { connections.len() } else { 0 };
        cut.cancel();
        connections.wait().await;
        Drained { cut: left }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
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
                let edge = Arc::clone(&shared.edge);
                let cut = shared.cut.clone();
                shared.connections.spawn(async move {
                    let _held = Held::new(&edge.metrics.connections);
                    let _room = room;
                    tokio::select! {
                        () = connection(edge, stream, peer.ip()) => {}
                        () = cut.cancelled() => {}
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

type Responding = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

async fn connection(edge: Arc<Edge>, stream: TcpStream, peer: IpAddr) {
    let closing = edge.closing.clone();
    let head_time = edge.settings.head_timeout.get();
    let prior_knowledge = tokio::select! {
        () = closing.cancelled() => return,
        sniffed = timeout(head_time, speaks_http2(&stream)) => sniffed,
    };
    let Ok(Ok(http2)) = prior_knowledge else { return };
    // Answers are written whole; waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let peer = peer.to_canonical();
    let stall = edge.settings.body_timeout.get();
    let turn = Turn::default();
    let serving_turn = (!http2).then(|| turn.clone());
    let service = service_fn(move |request: Request<Incoming>| -> Responding {
        let edge = Arc::clone(&edge);
        let busy = serving_turn.as_ref().map(Turn::begin);
        // Boxed twice over: the connection keeps a pointer only, and gives the room back between requests.
        Box::pin(async move {
            let response = edge.respond(request, peer).await;
            Ok(match busy {
                Some(busy) => response.map(|body| body.during(busy)),
                None => response,
            })
        })
    });
    let ended = if http2 {
        let serving = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD as u32)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .serve_connection(TokioIo::new(stream), service);
        // On the heap by itself: an HTTP/1 connection must not have the size of an HTTP/2 one.
        let mut serving = Box::pin(serving);
        tokio::select! {
            ended = serving.as_mut() => ended,
            () = closing.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        }
    } else {
        let io = TokioIo::new(Patient::new(stream, turn, head_time, stall));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            // From the end of an answer to the end of the next head; `Patient` times the head by itself.
            .header_read_timeout(KEEP_ALIVE.saturating_add(head_time))
            .max_header_size(HEAD)
            .max_buf_size(HEAD)
            .serve_connection(io, service);
        let mut serving = Box::pin(serving);
        tokio::select! {
            ended = serving.as_mut() => ended,
            () = closing.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Whether the client begins with HTTP/2's preface (`PRI * HTTP/2.0`). Clients send it in one piece; the first three
/// bytes tell it from every method.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 3];
    let length = stream.peek(&mut first).await?;
    Ok(length == first.len() && first == *b"PRI")
}
