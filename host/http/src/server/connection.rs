//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::body::Body;
use crate::host;
use crate::patience::{Patient, Turn};
use crate::server::Shared;
use crate::tls::{self, Stream};
use crate::wire::Wire;

/// The largest head of a request, 431 beyond; and as far as hyper reads ahead.
const HEAD: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection; each is counted by the edge as well.
const STREAMS: u32 = 128;

/// How long an HTTP/1 connection may rest between two requests: longer than clients and proxies keep theirs, so
/// that none sends into a connection that is just being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// An HTTP/2 connection that answers no ping for twice this time is closed.
const PING: Duration = Duration::from_secs(30);

type Responding = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// What the first bytes told.
struct Opened {
    stream: Stream,
    http2: bool,
    /// SNI.
    name: Option<Box<str>>,
}

pub(super) async fn connection(
    shared: &Shared,
    stream: TcpStream,
    peer: IpAddr,
    tls: Option<TlsAcceptor>,
) {
    let edge = Arc::clone(&shared.edge);
    let (closing, draining) = (edge.closing.clone(), edge.draining.clone());
    let head_time = edge.settings.head_timeout.get();
    // Answers are written whole; waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let peer = peer.to_canonical();
    let opened = tokio::select! {
        () = closing.cancelled() => return,
        // Boxed: a connection must not have the size of a handshake for as long as it lives.
        opened = timeout(head_time, Box::pin(open(shared, stream, tls))) => opened,
    };
    let Opened { stream, http2, name } = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "connection not opened"),
        Err(_) => return,
    };
    let stall = edge.settings.body_timeout.get();
    let turn = Turn::default();
    let serving_turn = (!http2).then(|| turn.clone());
    let wire = Arc::new(Wire::new(peer, name));
    let of_requests = Arc::clone(&wire);
    let service = service_fn(move |request: Request<Incoming>| -> Responding {
        let (edge, wire) = (Arc::clone(&edge), Arc::clone(&of_requests));
        let busy = serving_turn.as_ref().map(Turn::begin);
        // Boxed twice over: the connection keeps a pointer only, and gives the room back between requests.
        Box::pin(async move {
            let response = edge.respond(request, wire).await;
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
            // The client is told to go elsewhere with its next request; those under way are answered.
            () = draining.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
            () = wire.ending.notified() => {
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
            // While draining the answers say so: to close a connection that rests would cut off a request on its way.
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

/// Shakes hands where TLS is spoken, and finds out the version of HTTP.
async fn open(shared: &Shared, stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Opened> {
    let Some(acceptor) = tls else {
        let http2 = speaks_http2(&stream).await?;
        return Ok(Opened { stream: Stream::Plain(stream), http2, name: None });
    };
    // Who says nothing must not keep others from shaking hands.
    stream.readable().await?;
    let _room = shared.handshakes.acquire().await.map_err(io::Error::other)?;
    let stream = acceptor.accept(stream).await?;
    let (_, session) = stream.get_ref();
    let http2 = session.alpn_protocol() == Some(tls::HTTP2);
    let name = session.server_name().and_then(|name| host::parse(name).ok().flatten());
    Ok(Opened { stream: Stream::Tls(Box::new(stream)), http2, name })
}

/// Whether the client begins with HTTP/2's preface (`PRI * HTTP/2.0`). Clients send it in one piece; the first three
/// bytes tell it from every method.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 3];
    let length = stream.peek(&mut first).await?;
    Ok(length == first.len() && first == *b"PRI")
}
