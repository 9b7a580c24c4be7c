//! Content-addressed store of immutable bytes, apart for each tenant.
//!
//! A blob's id is the BLAKE3 hash of its bytes in lower-case hex. Blobs are written to a temporary file, synced,
//! and renamed into place, so a blob that can be found is whole. This is the directory engine.
//!
//! ```text
//! DIR/TENANT/tmp/…            being written; emptied when the tenant is opened
//! DIR/TENANT/held/ab/cdef…    deleted while all are being copied
//! DIR/TENANT/ab/cdef…         the blob abcdef…
//! DIR/TENANT/usage            bytes of all, when they were last closed
//! ```

mod error;
mod files;
mod hold;
mod id;
mod reader;
mod store;
mod writer;

pub use error::BlobError;
pub use hold::Hold;
pub use id::BlobId;
pub use reader::{BlobReader, Range};
pub use store::{BlobConfig, BlobStore, Blobs};
pub use writer::BlobWriter;
