//! Ids of blobs.

use std::fmt;
use std::str::FromStr;

use crate::error::BlobError;

/// The BLAKE3 hash of a blob's bytes; 64 characters of lower-case hex as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The id that these bytes have.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub(crate) fn from_hash(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }

    /// Folder and file name within the tenant's folder.
    pub(crate) fn place(&self) -> (String, String) {
        let (folder, file) = self.0.split_at(1);
        (hex::encode(folder), hex::encode(file))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobId {
    type Err = BlobError;

    /// # Errors
    /// [`BlobError::NotFound`]: no blob has a malformed id. Upper case is malformed: an id has one spelling.
    fn from_str(text: &str) -> Result<Self, BlobError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BlobError::NotFound)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(BlobError::NotFound);
        }
        Ok(Self(bytes))
    }
}
