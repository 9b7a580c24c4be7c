//! Immutable bytes, found by what they are: `tessera:host/blobs`.

use crate::backend;
pub use crate::bindings::host::blobs::{Error, Info};

/// Keeps bytes and gives their id. The same bytes have the same id.
///
/// # Errors
/// Over a cap, or the store is away.
pub fn put(bytes: &[u8]) -> Result<String, Error> {
    backend::with(|host| host.blob_put(bytes))
}

/// Reads up to `length` bytes from `offset`. Fewer come back at the end.
///
/// # Errors
/// There is no such blob, or the store is away.
pub fn read(id: &str, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
    backend::with(|host| host.blob_read(id, offset, length))
}

/// The size of a blob.
///
/// # Errors
/// There is no such blob, or the store is away.
pub fn stat(id: &str) -> Result<Info, Error> {
    backend::with(|host| host.blob_stat(id))
}

/// Forgets a blob. No error if there is none.
///
/// # Errors
/// The store is away.
pub fn delete(id: &str) -> Result<(), Error> {
    backend::with(|host| host.blob_delete(id))
}
