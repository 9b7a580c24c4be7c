//! Streamed writes.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use bytes::{Bytes, BytesMut};
use cap_std::fs::File;

use crate::error::BlobError;
use crate::files::{self, blocking};
use crate::id::BlobId;
use crate::s3::Bucket;
use crate::store::Tenant;

/// Bytes gathered before a hop to a blocking thread.
const GATHER: usize = 256 * 1024;

/// A blob being written. Nothing can be found until [`BlobWriter::finish`]; dropping it leaves nothing.
pub struct BlobWriter {
    tenant: Arc<Tenant>,
    cap: u64,
    written: u64,
    gathered: BytesMut,
    /// Absent until the first bytes are flushed, and after a failure.
    open: Option<OpenFile>,
    failed: bool,
}

struct OpenFile {
    tenant: Arc<Tenant>,
    name: String,
    file: File,
    hasher: blake3::Hasher,
    /// Bytes counted towards the quota so far.
    counted: u64,
    kept: bool,
    /// The file is somewhere else now.
    moved: bool,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.tenant.written(self.counted);
        if !self.kept {
            self.tenant.give_back(self.counted);
        }
        if !self.moved {
            // What stays behind is removed when the tenant is opened again.
            if let Err(error) = self.tenant.tmp.remove_file(&self.name) {
                tracing::warn!(%error, "temporary blob not removed");
            }
        }
    }
}

impl BlobWriter {
    pub(crate) fn new(tenant: Arc<Tenant>, cap: Option<u64>) -> Self {
        let cap = cap.map_or(tenant.blob_max, |cap| cap.min(tenant.blob_max));
        Self { tenant, cap, written: 0, gathered: BytesMut::new(), open: None, failed: false }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Over a cap, or the disk fails; the writer is of no use after that.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.cap {
            self.failed = true;
            self.open = None;
            return Err(BlobError::TooLarge { cap: self.cap });
        }
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() >= GATHER { self.flush().await } else { Ok(()) }
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the blob durable and gives its id.
    ///
    /// # Errors
    /// Over the quota, or the disk fails.
    pub async fn finish(mut self) -> Result<BlobId, BlobError> {
        self.flush().await?;
        let Some(open) = self.open.take() else { return Err(failed_before()) };
        match open.tenant.bucket.clone() {
            Some(bucket) => send(open, bucket).await,
            None => blocking(move || keep(open)).await,
        }
    }

    async fn flush(&mut self) -> Result<(), BlobError> {
        if self.failed {
            return Err(failed_before());
        }
        let bytes = std::mem::take(&mut self.gathered).freeze();
        let open = self.open.take();
        let tenant = Arc::clone(&self.tenant);
        // Set until the file is back: a failure or a dropped future must not look like an empty blob.
        self.failed = true;
        let open = blocking(move || {
            let mut open = match open {
                Some(open) => open,
                None => create(tenant)?,
            };
            open.tenant.take(bytes.len() as u64)?;
            open.counted = open.counted.saturating_add(bytes.len() as u64);
            open.file.write_all(&bytes)?;
            open.hasher.update(&bytes);
            Ok(open)
        })
        .await?;
        self.open = Some(open);
        self.failed = false;
        Ok(())
    }
}

fn failed_before() -> BlobError {
    BlobError::Io(std::io::Error::other("an earlier write of this blob failed"))
}

fn create(tenant: Arc<Tenant>) -> Result<OpenFile, BlobError> {
    let name = tenant.temporary();
    let file = tenant.tmp.create(&name)?;
    Ok(OpenFile {
        tenant,
        name,
        file,
        hasher: blake3::Hasher::new(),
        counted: 0,
        kept: false,
        moved: false,
    })
}

/// Takes a finished file to the bucket.
async fn send(mut open: OpenFile, bucket: Bucket) -> Result<BlobId, BlobError> {
    let id = BlobId::from_hash(open.hasher.finalize());
    // One that waits to be deleted stays.
    let waited = open.tenant.later.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    if waited {
        open.kept = true;
    } else if !bucket.has(id).await? {
        let tenant = Arc::clone(&open.tenant);
        let name = open.name.clone();
        let file = blocking(move || Ok(tenant.tmp.open(name)?.into_std())).await?;
        bucket.upload(id, file, open.counted).await?;
        open.kept = true;
    }
    blocking(move || {
        drop(open);
        Ok(id)
    })
    .await
}

fn keep(mut open: OpenFile) -> Result<BlobId, BlobError> {
    let id = BlobId::from_hash(open.hasher.finalize());
    let (folder, file) = id.place();
    if open.tenant.dir.try_exists(Path::new(&folder).join(&file))? {
        // Whoever wrote it may not have come to make its name durable. Dropping `open` removes the copy and
        // its share of the quota.
        files::sync_folder(&files::folder(&open.tenant.dir, &folder)?)?;
        return Ok(id);
    }
    open.file.sync_all()?;
    let dir = files::folder(&open.tenant.dir, &folder)?;
    open.tenant.tmp.rename(&open.name, &dir, &file)?;
    open.kept = true;
    open.moved = true;
    files::sync_folder(&dir)?;
    Ok(id)
}
