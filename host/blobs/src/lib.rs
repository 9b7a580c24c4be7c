//! Content-addressed store of immutable bytes, apart for each tenant.
//!
//! A blob's id is the BLAKE3 hash of its bytes in lower-case hex. Blobs are written to a temporary file, synced,
//! and renamed into place, so a blob that can be found is whole. With [`BlobStore::open_s3`] it goes to a bucket instead,
//! before it is acknowledged; what is being written lies in the folder all the same, because its id is known at the end.
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
mod s3;
mod store;
mod writer;

pub use error::BlobError;
pub use hold::Hold;
pub use id::BlobId;
pub use reader::{BlobReader, Range};
pub use s3::S3Config;
pub use store::{BlobConfig, BlobStore, Blobs};
pub use writer::BlobWriter;
