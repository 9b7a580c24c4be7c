//! Bodies of responses.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body::{Frame, SizeHint};

use crate::patience::Busy;

type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A response's body: nothing, bytes in memory, or a stream of blobs.
pub struct Body {
    kind: Kind,
    /// Dropped with the body: the connection then waits for its next request.
    _busy: Option<Busy>,
}

enum Kind {
    Empty,
    Bytes(Bytes),
    /// Bytes still to come, where they are known.
    Stream(Chunks, Option<u64>),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    /// These bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self::of(Kind::Bytes(bytes)) }
    }

    /// A stream of as many bytes as told.
    pub(crate) fn stream(
        chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        Self::of(Kind::Stream(Box::pin(chunks), length))
    }

    /// This and then a stream of unknown length.
    pub(crate) fn and(self, rest: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        let first = match self.kind {
            Kind::Empty => None,
            Kind::Bytes(bytes) => Some(bytes),
            // Its own chunks come first, whatever they are.
            Kind::Stream(chunks, _) => return Self::stream(chunks.chain(rest), None),
        };
        Self::stream(stream::iter(first.map(Ok)).chain(rest), None)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, _busy: None }
    }

    /// The body of an answer on a connection that takes one at a time.
    pub(crate) fn during(self, busy: Busy) -> Self {
        Self { kind: self.kind, _busy: Some(busy) }
    }

    /// The length in bytes, if it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Empty => Some(0),
            Kind::Bytes(bytes) => Some(bytes.len() as u64),
            Kind::Stream(_, length) => *length,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let kind = &mut self.get_mut().kind;
        match std::mem::replace(kind, Kind::Empty) {
            Kind::Empty => Poll::Ready(None),
            Kind::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Kind::Stream(mut chunks, length) => match chunks.as_mut().poll_next(cx) {
                Poll::Pending => {
                    *kind = Kind::Stream(chunks, length);
                    Poll::Pending
                }
                Poll::Ready(Some(Ok(bytes))) => {
                    let left = length.map(|length| length.saturating_sub(bytes.len() as u64));
                    *kind = Kind::Stream(chunks, left);
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
