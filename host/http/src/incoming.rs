//! Bodies of requests, under their caps.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tessera_blobs::{BlobError, BlobId, Blobs};
use tokio::time::{Instant, timeout_at};

/// The slowest that a long body may come; a body has `[http] body-timeout` and what its length takes at this speed.
const BYTES_PER_SECOND: u64 = 16 * 1024;

/// What is read and thrown away of a body over its cap, so that a client that sends before it reads sees the
/// answer and not a reset: twice the cap, and at least this.
const DRAIN: u64 = 4 << 20;

/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Why a body was not taken.
#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    Slow,
    /// The client broke off or broke the protocol.
    Broken,
    /// The blob store failed.
    Store(BlobError),
}

/// Reads a body into memory.
pub(crate) async fn bytes(
    mut body: Incoming,
    cap: u64,
    time: Duration,
) -> Result<Vec<u8>, BodyError> {
    let expected = announced(&body, cap);
    let Some(expected) = expected else { return Err(too_large(body, cap).await) };
    let mut clock = Clock::new(time);
    let mut all = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    while let Some(chunk) = clock.next(&mut body).await? {
        if (all.len() as u64).saturating_add(chunk.len() as u64) > cap {
            return Err(too_large(body, cap).await);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Streams a body into a blob.
pub(crate) async fn blob(
    mut body: Incoming,
    cap: u64,
    time: Duration,
    blobs: &Blobs,
) -> Result<BlobId, BodyError> {
    if announced(&body, cap).is_none() {
        return Err(too_large(body, cap).await);
    }
    let mut clock = Clock::new(time);
    let mut writer = blobs.writer(Some(cap));
    while let Some(chunk) = clock.next(&mut body).await? {
        match writer.write(chunk).await {
            Ok(()) => {}
            Err(BlobError::TooLarge { .. } | BlobError::Quota { .. }) => {
                return Err(too_large(body, cap).await);
            }
            Err(error) => return Err(BodyError::Store(error)),
        }
    }
    writer.finish().await.map_err(|error| match error {
        BlobError::Quota { .. } => BodyError::TooLarge,
        error => BodyError::Store(error),
    })
}

/// The length to make room for; `None` if the client announces more than the cap.
fn announced(body: &Incoming, cap: u64) -> Option<u64> {
    let hint = body.size_hint();
    (hint.lower() <= cap).then(|| hint.exact().unwrap_or(0))
}

async fn too_large(mut body: Incoming, cap: u64) -> BodyError {
    let until = Instant::now() + DRAIN_TIME;
    let mut left = cap.saturating_mul(2).max(DRAIN);
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    BodyError::TooLarge
}

/// A deadline that moves on with what has come.
struct Clock {
    deadline: Instant,
}

impl Clock {
    fn new(time: Duration) -> Self {
        Self { deadline: Instant::now() + time }
    }

    async fn next(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame =
                timeout_at(self.deadline, body.frame()).await.map_err(|_| BodyError::Slow)?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                tracing::debug!(%error, "body broke off");
                BodyError::Broken
            })?;
            // Trailers are of no use to anybody.
            let Ok(data) = frame.into_data() else { continue };
            let millis = (data.len() as u64).saturating_mul(1000) / BYTES_PER_SECOND;
            self.deadline += Duration::from_millis(millis);
            return Ok(Some(data));
        }
    }
}
