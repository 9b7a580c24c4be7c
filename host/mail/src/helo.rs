//! Relays that do not know `EHLO` (RFC 5321, sections 3.2 and 4.1.4): they are greeted with `HELO`, and have no extensions.
//!
//! The client at hand greets with `EHLO` only, so its first word is exchanged on the way out; all else is its own.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use lettre::{
    Message,
    transport::smtp::{
        Error,
        client::{AsyncSmtpConnection, AsyncTokioStream},
        extension::ClientId,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A relay in clear text, without a log-in.
pub(crate) struct OldRelay {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) hello: ClientId,
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OldError {
    /// It cannot be reached.
    #[error(transparent)]
    Connect(#[from] io::Error),
    /// What it says.
    #[error(transparent)]
    Relay(#[from] Error),
}

/// Whether a relay says that it does not know a command.
pub(crate) fn unknown_command(error: &Error) -> bool {
    let code = error.status().map(u16::from);
    matches!(code, Some(500 | 502))
}

impl OldRelay {
    /// Sends one message over a connection of its own.
    pub(crate) async fn send(&self, message: &Message) -> Result<(), OldError> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        let stream = Box::new(Greeting { stream, greeted: 0 });
        let mut relay = AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await?;
        relay.send(message.envelope(), &message.formatted()).await?;
        // The message is the relay's; what it says to this changes nothing.
        let _ = relay.quit().await;
        Ok(())
    }
}

/// A connection whose first command is `HELO` where it was to be `EHLO`.
#[derive(Debug)]
struct Greeting {
    stream: TcpStream,
    /// Bytes of the greeting that have gone out.
    greeted: usize,
}

/// What is said in place of `EHLO`.
const HELO: &[u8] = b"HELO";

impl AsyncWrite for Greeting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = HELO.get(self.greeted..).unwrap_or_default();
        let left = left.get(..left.len().min(bytes.len())).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        let written = Pin::new(&mut self.stream).poll_write(context, left);
        if let Poll::Ready(Ok(count)) = &written {
            self.greeted += count;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Greeting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncTokioStream for Greeting {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
