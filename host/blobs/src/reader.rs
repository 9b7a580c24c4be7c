//! Streamed reads.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use futures::stream::{self, BoxStream, Stream};

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
    source: Source,
    size: u64,
    left: u64,
}

enum Source {
    File(File),
    /// Locked by nobody but its owner: it makes the reader one that threads may share.
    Remote(Mutex<BoxStream<'static, Result<Bytes, BlobError>>>),
}

impl BlobReader {
    /// A blob of so many bytes; `left` of them are to come.
    pub(crate) fn remote(
        size: u64,
        left: u64,
        bytes: BoxStream<'static, Result<Bytes, BlobError>>,
    ) -> Self {
        Self { source: Source::Remote(Mutex::new(bytes)), size, left }
    }

    pub(crate) fn new(mut file: File, range: Range) -> Result<Self, BlobError> {
        let size = file.metadata()?.len();
        let offset = range.offset.min(size);
        file.seek(SeekFrom::Start(offset))?;
        let rest = size.saturating_sub(offset);
        Ok(Self {
            source: Source::File(file),
            size,
            left: range.length.map_or(rest, |length| length.min(rest)),
        })
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
    /// The disk or the service fails, or the blob is shorter than it was.
    pub async fn next(self) -> Result<Option<(Bytes, Self)>, BlobError> {
        let Self { source, size, left } = self;
        if left == 0 {
            return Ok(None);
        }
        match source {
            Source::File(mut file) => {
                blocking(move || {
                    let want = left.min(CHUNK);
                    let mut chunk = Vec::with_capacity(want as usize);
                    Read::by_ref(&mut file).take(want).read_to_end(&mut chunk)?;
                    if (chunk.len() as u64) < want {
                        return Err(BlobError::Io(io::ErrorKind::UnexpectedEof.into()));
                    }
                    let left = left.saturating_sub(want);
                    Ok(Some((Bytes::from(chunk), Self { source: Source::File(file), size, left })))
                })
                .await
            }
            Source::Remote(mut bytes) => {
                let stream = bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
                let chunk = stream.try_next().await?;
                let chunk =
                    chunk.ok_or_else(|| BlobError::Io(io::ErrorKind::UnexpectedEof.into()))?;
                let left = left.saturating_sub(chunk.len() as u64);
                Ok(Some((chunk, Self { source: Source::Remote(bytes), size, left })))
            }
        }
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
