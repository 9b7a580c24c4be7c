//! What can go wrong with blobs.

use std::io;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// There is no blob of this id in the tenant; a malformed id is one of those.
    #[error("no such blob")]
    NotFound,
    /// Over the cap for one blob.
    #[error("a blob may have {cap} bytes")]
    TooLarge {
        /// The cap in bytes.
        cap: u64,
    },
    /// Over what the tenant may keep.
    #[error("the tenant may keep {quota} bytes of blobs")]
    Quota {
        /// The quota in bytes.
        quota: u64,
    },
    /// The disk is full or fails.
    #[error("blob store: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::NotFound } else { Self::Io(error) }
    }
}
