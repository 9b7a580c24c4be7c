//! A connection that nobody waits for without end: neither for the head of a request that has begun, nor for a
//! client that does not take its answer. Between two requests it may rest.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::tls::Stream;

/// What a connection is at: odd while a request is answered, even while one is awaited; it only grows.
#[derive(Clone, Default)]
pub(crate) struct Turn(Arc<AtomicU64>);

impl Turn {
    /// The head of a request is there. Until the answer is dropped, its times are not the connection's matter.
    pub(crate) fn begin(&self) -> Busy {
        let turn = (self.0.load(Ordering::Acquire) | 1).wrapping_add(2);
        self.0.store(turn, Ordering::Release);
        Busy { turn, of: self.clone() }
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A request is being answered.
pub(crate) struct Busy {
    turn: u64,
    of: Turn,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let over = self.turn.wrapping_add(1);
        // Fails where the next request has begun.
        let _ = self.of.0.compare_exchange(self.turn, over, Ordering::AcqRel, Ordering::Acquire);
    }
}

type Timer = Option<Pin<Box<Sleep>>>;

/// A stream with that patience.
pub(crate) struct Patient {
    stream: Stream,
    turn: Turn,
    /// From the first byte of a head to its last.
    head: Duration,
    /// Without taking a byte.
    stall: Duration,
    reading: Timer,
    /// The turn that `reading` belongs to.
    read_in: u64,
    writing: Timer,
}

impl Patient {
    /// A new connection; the time for its first head runs from now on.
    pub(crate) fn new(stream: Stream, turn: Turn, head: Duration, stall: Duration) -> Self {
        let reading = Some(Box::pin(sleep(head)));
        let read_in = turn.now();
        Self { stream, turn, head, stall, reading, read_in, writing: None }
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.writing = None;
            return polled;
        }
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(self.stall)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(late("the client does not read")))
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for Patient {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let turn = this.turn.now();
        if turn != this.read_in {
            (this.reading, this.read_in) = (None, turn);
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if turn & 1 == 1 {
            return polled;
        }
        if buf.filled().len() > before && this.reading.is_none() {
            this.reading = Some(Box::pin(sleep(this.head)));
        }
        if let Some(timer) = &mut this.reading
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(late("the head of the request does not come")));
        }
        polled
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
