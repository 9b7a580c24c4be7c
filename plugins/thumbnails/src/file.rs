//! The file, out of its blob.

use tessera_sdk::bindings::thumbnails::exports::tessera::services::thumbnails::Error;
use tessera_sdk::blobs;

/// Bytes read at once.
const CHUNK: u32 = 4 << 20;

/// All bytes of a blob, if they are at most `max`.
pub(crate) fn read(blob: &str, max: u64) -> Result<Vec<u8>, Error> {
    let size = blobs::stat(blob).map_err(failed)?.size;
    if size > max {
        return Err(Error::TooLarge(format!("{size} bytes; at most {max} are looked at")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    while (bytes.len() as u64) < size {
        let more = blobs::read(blob, bytes.len() as u64, CHUNK).map_err(failed)?;
        if more.is_empty() {
            return Err(Error::Unavailable("the blob is shorter than it says".to_owned()));
        }
        bytes.extend(more);
    }
    Ok(bytes)
}

/// Keeps what was made.
pub(crate) fn put(bytes: &[u8]) -> Result<String, Error> {
    blobs::put(bytes).map_err(failed)
}

fn failed(error: blobs::Error) -> Error {
    match error {
        blobs::Error::NotFound => Error::Unavailable("there is no such blob".to_owned()),
        blobs::Error::TooLarge => Error::Unavailable("no room for the thumbnail".to_owned()),
        blobs::Error::Unavailable(reason) => Error::Unavailable(reason),
    }
}
