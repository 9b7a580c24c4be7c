//! Blobs that stay while somebody copies them all.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::{
    error::BlobError,
    files::{self, HELD, blocking},
    id::BlobId,
    reader::{BlobReader, Range},
    store::Tenant,
};

/// Keeps what is deleted until it is dropped, so that everything which a database speaks of at some moment can be
/// copied after that moment. Taken by [`crate::Blobs::hold`].
///
/// Its functions block; they are meant for a thread of their own.
pub struct Hold {
    tenant: Arc<Tenant>,
}

impl Hold {
    pub(crate) async fn take(tenant: Arc<Tenant>) -> Result<Self, BlobError> {
        blocking(move || {
            let mut holds = tenant.holds.lock().unwrap_or_else(PoisonError::into_inner);
            if *holds == 0 && tenant.bucket.is_none() {
                drop(files::folder(&tenant.dir, HELD)?);
            }
            *holds = holds.saturating_add(1);
            drop(holds);
            Ok(Self { tenant })
        })
        .await
    }

    /// Ids and sizes (in bytes) of the blobs whose id begins with this byte, those deleted meanwhile too, in order of
    /// ids. The 256 parts together are all.
    ///
    /// # Errors
    /// The disk fails.
    pub fn part(&self, first: u8) -> io::Result<Vec<(BlobId, u64)>> {
        let mut found = match &self.tenant.bucket {
            Some(bucket) => bucket.part(first)?,
            None => self.files(first)?,
        };
        found.sort_unstable();
        found.dedup_by_key(|(id, _)| *id);
        Ok(found)
    }

    fn files(&self, first: u8) -> io::Result<Vec<(BlobId, u64)>> {
        let folder = hex::encode([first]);
        let mut found = Vec::new();
        for place in [PathBuf::from(&folder), Path::new(HELD).join(&folder)] {
            let dir = match self.tenant.dir.open_dir(&place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                dir => dir?,
            };
            for entry in dir.entries()? {
                let entry = entry?;
                let name = entry.file_name();
                let id = name.to_str().and_then(|name| format!("{folder}{name}").parse().ok());
                if let Some(id) = id {
                    match entry.metadata() {
                        Ok(data) => found.push((id, data.len())),
                        // Deleted now: it is found among those held.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(found)
    }

    /// Opens a blob, deleted meanwhile or not.
    ///
    /// # Errors
    /// There is none, or the disk fails.
    pub fn open(&self, id: BlobId) -> io::Result<Box<dyn Read + Send>> {
        if let Some(bucket) = &self.tenant.bucket {
            let opened = bucket.runtime().block_on(bucket.open_range(id, Range::default()));
            let (size, left, bytes) = opened.map_err(io::Error::other)?;
            let reader = Some(BlobReader::remote(size, left, bytes));
            let runtime = bucket.runtime().clone();
            return Ok(Box::new(Blocking { reader, runtime, chunk: Bytes::new() }));
        }
        self.file(id).map(|file| Box::new(file) as _)
    }

    fn file(&self, id: BlobId) -> io::Result<File> {
        let (folder, file) = id.place();
        let place = Path::new(&folder).join(file);
        let open = |path: &Path| self.tenant.dir.open(path).map(cap_std::fs::File::into_std);
        match open(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                open(&Path::new(HELD).join(place))
            }
            other => other,
        }
    }
}

/// A reader that waits.
struct Blocking {
    reader: Option<BlobReader>,
    runtime: Handle,
    chunk: Bytes,
}

impl Read for Blocking {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let Some(reader) = self.reader.take() else { return Ok(0) };
            match self.runtime.block_on(reader.next()).map_err(io::Error::other)? {
                Some((chunk, reader)) => (self.chunk, self.reader) = (chunk, Some(reader)),
                None => return Ok(0),
            }
        }
        let taken = self.chunk.split_to(self.chunk.len().min(into.len()));
        for (to, from) in into.iter_mut().zip(&taken) {
            *to = *from;
        }
        Ok(taken.len())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.tenant.holds.lock().unwrap_or_else(PoisonError::into_inner);
        *holds = holds.saturating_sub(1);
        if let Some(bucket) = self.tenant.bucket.clone() {
            let mut later = self.tenant.later.lock().unwrap_or_else(PoisonError::into_inner);
            if *holds > 0 || later.is_empty() {
                return;
            }
            let later = std::mem::take(&mut *later);
            bucket.runtime().clone().spawn(async move {
                for id in later {
                    if let Err(error) = bucket.delete(id).await {
                        tracing::warn!(%error, %id, "a deleted blob is still in the bucket");
                    }
                }
            });
            return;
        }
        if *holds == 0
            && let Err(error) = self.tenant.dir.remove_dir_all(HELD)
        {
            // Tried again when the tenant is opened.
            tracing::warn!(%error, "deleted blobs not removed");
        }
    }
}
