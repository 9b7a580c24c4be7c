//! The store and a tenant's part of it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::error::BlobError;
use crate::files::{self, blocking};
use crate::id::BlobId;
use crate::reader::{BlobReader, Range};
use crate::writer::BlobWriter;

/// Caps of a store.
#[derive(Clone, Debug)]
pub struct BlobConfig {
    /// Bytes of one blob. A writer may have a lower cap of its own.
    pub blob_max: u64,
    /// Bytes that each tenant may keep; none: no quota. With a quota a tenant's folder is counted once when it
    /// is opened.
    pub tenant_quota: Option<u64>,
}

impl Default for BlobConfig {
    fn default() -> Self {
        // 1 GiB: no upload of a chat is larger; disk space is the operator's to limit.
        Self { blob_max: 1 << 30, tenant_quota: None }
    }
}

/// The blobs of all tenants in one folder.
#[derive(Clone)]
pub struct BlobStore {
    shared: Arc<StoreShared>,
}

struct StoreShared {
    root: Dir,
    config: BlobConfig,
    /// As many as there are open tenants.
    tenants: Mutex<HashMap<String, Blobs>>,
}

impl BlobStore {
    /// Opens a folder, making it where there is none. Blocks for a moment.
    ///
    /// # Errors
    /// The folder cannot be made or opened.
    pub fn open(dir: &Path, config: BlobConfig) -> io::Result<Self> {
        Dir::create_ambient_dir_all(dir, ambient_authority())?;
        let root = Dir::open_ambient_dir(dir, ambient_authority())?;
        Ok(Self {
            shared: Arc::new(StoreShared { root, config, tenants: Mutex::new(HashMap::new()) }),
        })
    }

    /// A tenant's blobs. Blocks for a moment the first time.
    ///
    /// # Errors
    /// The tenant's folder cannot be made or read.
    pub fn tenant(&self, name: &str) -> io::Result<Blobs> {
        let mut tenants = self.shared.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blobs) = tenants.get(name) {
            return Ok(blobs.clone());
        }
        let dir = files::folder(&self.shared.root, &files::folder_name(name))?;
        let tmp = files::clear_tmp(&dir)?;
        let used = match self.shared.config.tenant_quota {
            Some(_) => files::usage(&dir)?,
            None => 0,
        };
        let inner = Tenant {
            dir,
            tmp,
            config: self.shared.config.clone(),
            used: AtomicU64::new(used),
            next: AtomicU64::new(0),
        };
        let blobs = Blobs { inner: Arc::new(inner) };
        tenants.insert(name.to_owned(), blobs.clone());
        Ok(blobs)
    }
}

/// The blobs of one tenant; a cheap handle.
#[derive(Clone)]
pub struct Blobs {
    inner: Arc<Tenant>,
}

pub(crate) struct Tenant {
    pub(crate) dir: Dir,
    pub(crate) tmp: Dir,
    pub(crate) config: BlobConfig,
    used: AtomicU64,
    next: AtomicU64,
}

impl Tenant {
    /// A name for a temporary file, unique in this process, which alone writes here.
    pub(crate) fn temporary(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Counts bytes towards the quota, before they are kept.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), BlobError> {
        let Some(quota) = self.config.tenant_quota else { return Ok(()) };
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= quota)
            })
            .map(drop)
            .map_err(|_| BlobError::Quota { quota })
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        if self.config.tenant_quota.is_some() {
            let _ = self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                Some(used.saturating_sub(bytes))
            });
        }
    }
}

impl Blobs {
    /// Keeps bytes. The same bytes have the same id and are stored once.
    ///
    /// # Errors
    /// Over a cap, or the disk fails.
    pub async fn put(&self, bytes: Bytes) -> Result<BlobId, BlobError> {
        let mut writer = self.writer(None);
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Starts a streamed write. `cap` lowers the store's cap for this one, in bytes.
    /// Dropping the writer leaves nothing behind.
    pub fn writer(&self, cap: Option<u64>) -> BlobWriter {
        BlobWriter::new(Arc::clone(&self.inner), cap)
    }

    /// A blob's length in bytes.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or the disk fails.
    pub async fn size(&self, id: BlobId) -> Result<u64, BlobError> {
        let tenant = Arc::clone(&self.inner);
        blocking(move || {
            let (folder, file) = id.place();
            Ok(tenant.dir.metadata(Path::new(&folder).join(file))?.len())
        })
        .await
    }

    /// Opens a blob for streaming the whole or a range. The range is cut to the blob's end.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or the disk fails.
    pub async fn open(&self, id: BlobId, range: Range) -> Result<BlobReader, BlobError> {
        let tenant = Arc::clone(&self.inner);
        blocking(move || {
            let (folder, file) = id.place();
            let file = tenant.dir.open(Path::new(&folder).join(file))?;
            BlobReader::new(file.into_std(), range)
        })
        .await
    }

    /// Reads up to `length` bytes from `offset`; fewer at the end.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or the disk fails.
    pub async fn read(&self, id: BlobId, offset: u64, length: u32) -> Result<Bytes, BlobError> {
        let range = Range { offset, length: Some(u64::from(length)) };
        self.open(id, range).await?.collect().await
    }

    /// Forgets a blob. No error if there is none; who reads it now reads on to the end.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn delete(&self, id: BlobId) -> Result<(), BlobError> {
        let tenant = Arc::clone(&self.inner);
        blocking(move || {
            let (folder, file) = id.place();
            let path = Path::new(&folder).join(file);
            let size = match tenant.dir.metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            match tenant.dir.remove_file(&path) {
                Ok(()) => tenant.give_back(size),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            Ok(())
        })
        .await
    }
}
