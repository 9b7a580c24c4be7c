//! A plug-in's response as one of HTTP.

use std::io;

use futures::stream::{self, Stream, StreamExt};
use http::header::{
    ACCEPT_RANGES, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Response, StatusCode};
use tessera_blobs::{BlobError, BlobId, Blobs, Range};
use tessera_engine::api::{Part, Response as PluginResponse, ResponseBody};

use crate::body::Body;
use crate::range::{Wanted, wanted};

/// Why a response of a plug-in cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsendable {
    #[error("status {0} is not in 200-599")]
    Status(u16),
    #[error("`{0}` is no header name")]
    HeaderName(String),
    #[error("the header `{0}` has a value that cannot be sent")]
    HeaderValue(String),
    #[error("blob {id}: {error}")]
    Blob {
        id: String,
        #[source]
        error: BlobError,
    },
}

/// Makes the response. `range` is the request's header where it counts (GET and HEAD).
pub(crate) async fn response(
    from: PluginResponse,
    range: Option<&str>,
    blobs: &Blobs,
) -> Result<Response<Body>, Unsendable> {
    let status = StatusCode::from_u16(from.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or(Unsendable::Status(from.status))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers(from.headers)?;
    match from.body {
        ResponseBody::None => {}
        ResponseBody::Bytes(bytes) => *response.body_mut() = Body::bytes(bytes),
        ResponseBody::Blob(id) => blob(&mut response, &id, range, blobs).await?,
        ResponseBody::Parts(list) => *response.body_mut() = parts(list, blobs).await?,
    }
    Ok(response)
}

/// What speaks of the connection, or of how the body is sent: the host's own matter.
const OURS: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const OURS_TOO: [&str; 2] = ["keep-alive", "proxy-connection"];

fn headers(list: Vec<(String, String)>) -> Result<HeaderMap, Unsendable> {
    let mut headers = HeaderMap::with_capacity(list.len());
    for (name, value) in list {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(Unsendable::HeaderName(name));
        };
        if OURS.contains(&parsed) || OURS_TOO.contains(&parsed.as_str()) {
            continue;
        }
        let Ok(value) = HeaderValue::from_str(&value) else {
            return Err(Unsendable::HeaderValue(name));
        };
        headers.append(parsed, value);
    }
    Ok(headers)
}

async fn blob(
    response: &mut Response<Body>,
    id: &str,
    range: Option<&str>,
    blobs: &Blobs,
) -> Result<(), Unsendable> {
    let failed = |error| Unsendable::Blob { id: id.to_owned(), error };
    let blob: BlobId = id.parse().map_err(failed)?;
    let size = blobs.size(blob).await.map_err(failed)?;
    // A range is a stretch of a 200 only.
    let wanted =
        if response.status() == StatusCode::OK { wanted(range, size) } else { Wanted::Whole };
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let (stretch, content_range) = match wanted {
        Wanted::Whole => (Range::default(), None),
        Wanted::Part { first, last } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let length = last.saturating_sub(first).saturating_add(1);
            let stretch = Range { offset: first, length: Some(length) };
            (stretch, Some(format!("bytes {first}-{last}/{size}")))
        }
        Wanted::Nothing => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            (Range { offset: 0, length: Some(0) }, Some(format!("bytes */{size}")))
        }
    };
    if let Some(value) = content_range.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    let reader = blobs.open(blob, stretch).await.map_err(failed)?;
    let length = reader.left();
    *response.body_mut() = match length {
        0 => Body::empty(),
        _ => Body::stream(
            reader.into_stream().map(|chunk| chunk.map_err(io::Error::other)),
            Some(length),
        ),
    };
    Ok(())
}

async fn parts(list: Vec<Part>, blobs: &Blobs) -> Result<Body, Unsendable> {
    let mut length = 0_u64;
    let mut pieces = Vec::with_capacity(list.len());
    for part in list {
        let piece = match part {
            Part::Bytes(bytes) => {
                length = length.saturating_add(bytes.len() as u64);
                Piece::Bytes(bytes)
            }
            Part::Blob(id) => {
                let failed = |error| Unsendable::Blob { id: id.clone(), error };
                let blob: BlobId = id.parse().map_err(failed)?;
                // Looked up before the head is sent: a missing one is an error and no torn answer.
                length = length.saturating_add(blobs.size(blob).await.map_err(failed)?);
                Piece::Blob(blob)
            }
        };
        pieces.push(piece);
    }
    let blobs = blobs.clone();
    let chunks = stream::iter(pieces).flat_map(move |piece| piece.chunks(blobs.clone()));
    Ok(Body::stream(chunks, Some(length)))
}

enum Piece {
    Bytes(Vec<u8>),
    Blob(BlobId),
}

impl Piece {
    fn chunks(self, blobs: Blobs) -> impl Stream<Item = io::Result<bytes::Bytes>> + Send {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => stream::empty().left_stream().left_stream(),
            Self::Bytes(bytes) => {
                stream::once(async { Ok(bytes::Bytes::from(bytes)) }).right_stream().left_stream()
            }
            Self::Blob(id) => stream::once(async move {
                match blobs.open(id, Range::default()).await {
                    Ok(reader) => reader
                        .into_stream()
                        .map(|chunk| chunk.map_err(io::Error::other))
                        .left_stream(),
                    Err(error) => {
                        stream::once(async { Err(io::Error::other(error)) }).right_stream()
                    }
                }
            })
            .flatten()
            .right_stream(),
        }
    }
}
