//! Streamed reads.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};

use crate::error::BlobError;
use crate::files::blocking;

/// Bytes read at once: large enough that the hop to a blocking thread is small beside the read.
const CHUNK: u64 = 128 * 1024;

/// A stretch of a blob. The default is the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Bytes at most; none: to the end.
    pub length: Option<u64>,
}

/// A blob being read.
pub struct BlobReader {
    file: File,
    size: u64,
    left: u64,
}

impl BlobReader {
    pub(crate) fn new(mut file: File, range: Range) -> Result<Self, BlobError> {
        let size = file.metadata()?.len();
        let offset = range.offset.min(size);
        file.seek(SeekFrom::Start(offset))?;
        let rest = size.saturating_sub(offset);
        Ok(Self { file, size, left: range.length.map_or(rest, |length| length.min(rest)) })
    }

    /// Length of the whole blob in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes, and the reader to go on with; `None` at the end.
    ///
    /// # Errors
    /// The disk fails, or the file is shorter than it was.
    pub async fn next(self) -> Result<Option<(Bytes, Self)>, BlobError> {
        if self.left == 0 {
            return Ok(None);
        }
        blocking(move || {
            let mut reader = self;
            let want = reader.left.min(CHUNK);
            let mut chunk = Vec::with_capacity(want as usize);
            Read::by_ref(&mut reader.file).take(want).read_to_end(&mut chunk)?;
            if (chunk.len() as u64) < want {
                return Err(BlobError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            reader.left = reader.left.saturating_sub(want);
            Ok(Some((Bytes::from(chunk), reader)))
        })
        .await
    }

    /// The rest as a stream that ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + 'static {
        stream::unfold(Some(self), |reader| async move {
            match reader?.next().await {
                Ok(Some((chunk, reader))) => Some((Ok(chunk), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// The rest in one piece. The caller bounds it by the range.
    ///
    /// # Errors
    /// As [`BlobReader::next`].
    pub async fn collect(self) -> Result<Bytes, BlobError> {
        let mut all = BytesMut::new();
        let mut reader = self;
        while let Some((chunk, rest)) = reader.next().await? {
            if all.is_empty() && rest.left == 0 {
                return Ok(chunk);
            }
            all.extend_from_slice(&chunk);
            reader = rest;
        }
        Ok(all.freeze())
    }
}
