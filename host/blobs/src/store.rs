//! The store and a tenant's part of it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::error::BlobError;
use crate::files::{self, HELD, blocking};
use crate::hold::Hold;
use crate::id::BlobId;
use crate::reader::{BlobReader, Range};
use crate::s3::{Bucket, S3Config};
use crate::writer::BlobWriter;

/// Caps of a store.
#[derive(Clone, Debug)]
pub struct BlobConfig {
    /// Bytes of one blob. A writer may have a lower cap of its own.
    pub blob_max: u64,
    /// Bytes that each tenant may keep where [`BlobStore::tenant_with`] says nothing else; none: no quota.
    pub tenant_quota: Option<u64>,
    /// Other processes write into the same folder.
    pub shared: bool,
}

impl Default for BlobConfig {
    fn default() -> Self {
        // 1 GiB: no upload of a chat is larger; disk space is the operator's to limit.
        Self { blob_max: 1 << 30, tenant_quota: None, shared: false }
    }
}

/// What a tenant has is counted anew after this time, when it is opened: other processes may have written or deleted.
/// While it stays open that is done at a write.
const RECOUNT: Duration = Duration::from_secs(3600);

/// Before a write is refused for the quota, what there is is counted anew if it was not within this time.
const RECOUNT_FULL: Duration = Duration::from_secs(60);

/// The blobs of all tenants in one folder.
#[derive(Clone)]
pub struct BlobStore {
    shared: Arc<StoreShared>,
}

struct StoreShared {
    root: Dir,
    /// Where blobs are kept in place of the folder.
    bucket: Option<Bucket>,
    config: BlobConfig,
    /// Tells the temporary files of this process from those of others.
    tag: String,
    /// As many as there are tenants that were ever opened; some 200 bytes for one that is not open.
    tenants: Mutex<HashMap<String, Known>>,
}

/// A tenant that was opened.
struct Known {
    open: Weak<Tenant>,
    usage: Arc<Usage>,
}

/// Bytes that a tenant has.
#[derive(Default)]
pub(crate) struct Usage {
    used: AtomicU64,
    /// Of these, bytes of blobs that are being written: no count finds them.
    writing: AtomicU64,
    counted: Mutex<Option<Instant>>,
}

impl Usage {
    /// Counts what is there. What is written or deleted meanwhile may be counted twice or not at all, until the next
    /// count.
    fn count(&self, dir: &Dir, bucket: Option<&Bucket>) -> io::Result<()> {
        let before = self.used.load(Ordering::Acquire);
        let writing = self.writing.load(Ordering::Acquire);
        let found = bucket.map_or_else(|| files::usage(dir), Bucket::usage)?;
        let found = found.saturating_add(writing);
        let _ = self.used.try_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            Some(found.saturating_add(now.saturating_sub(before)))
        });
        Ok(())
    }

    /// Whether the last count is so old that it is time for another; asked again it says no.
    fn is_due(&self, after: Duration) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counted.is_none_or(|at| at.elapsed() > after);
        if due {
            *counted = Some(Instant::now());
        }
        due
    }

    /// Adds bytes unless they come to more than the quota then.
    fn add(&self, bytes: u64, quota: u64) -> bool {
        let add = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= quota);
        self.used.try_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok()
    }
}

impl BlobStore {
    /// Opens a folder, making it where there is none. Blocks for a moment.
    ///
    /// # Errors
    /// The folder cannot be made or opened.
    pub fn open(dir: &Path, config: BlobConfig) -> io::Result<Self> {
        Self::open_with(dir, config, None)
    }

    /// A bucket; what is being written lies in the folder, which may be this process' own. Within a runtime; nothing is asked of the
    /// service yet.
    ///
    /// # Errors
    /// The folder cannot be made or opened, or the settings are not understood.
    pub fn open_s3(dir: &Path, config: BlobConfig, s3: S3Config) -> io::Result<Self> {
        Self::open_with(dir, config, Some(Bucket::open(s3)?))
    }

    fn open_with(dir: &Path, config: BlobConfig, bucket: Option<Bucket>) -> io::Result<Self> {
        Dir::create_ambient_dir_all(dir, ambient_authority())?;
        let root = Dir::open_ambient_dir(dir, ambient_authority())?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let tag = format!("{}-{:x}", std::process::id(), since.as_nanos());
        let tenants = Mutex::new(HashMap::new());
        Ok(Self { shared: Arc::new(StoreShared { root, bucket, config, tag, tenants }) })
    }

    /// A tenant's blobs, with the store's quota. Blocks for a moment where they are not open yet; they are closed
    /// when the last handle is gone.
    ///
    /// # Errors
    /// The tenant's folder cannot be made or read.
    pub fn tenant(&self, name: &str) -> io::Result<Blobs> {
        self.tenant_with(name, self.shared.config.tenant_quota)
    }

    /// A tenant's blobs, with a quota in bytes of its own, which holds until they are closed. What it has is known from
    /// the last time and counted anew beside; where it is not known and there is a quota, it is counted first.
    ///
    /// # Errors
    /// The tenant's folder cannot be made or read.
    pub fn tenant_with(&self, name: &str, quota: Option<u64>) -> io::Result<Blobs> {
        let mut tenants = self.shared.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tenants.get(name);
        if let Some(inner) = known.and_then(|known| known.open.upgrade()) {
            return Ok(Blobs { inner });
        }
        let usage = known.map(|known| Arc::clone(&known.usage)).unwrap_or_default();
        let folder = files::folder_name(name);
        let dir = files::folder(&self.shared.root, &folder)?;
        let bucket = self.shared.bucket.as_ref().map(|bucket| bucket.tenant(&folder));
        let tmp = files::clear_tmp(&dir, self.shared.config.shared)?;
        let counting = usage.is_due(RECOUNT).then(|| dir.try_clone()).transpose()?;
        let last = if counting.is_some() { files::last_usage(&dir) } else { Some(0) };
        if counting.is_some() {
            usage.used.store(last.unwrap_or_default(), Ordering::Release);
        }
        let inner = Arc::new(Tenant {
            dir,
            bucket: bucket.clone(),
            later: Mutex::default(),
            tmp,
            blob_max: self.shared.config.blob_max,
            quota,
            usage: Arc::clone(&usage),
            holds: Mutex::new(0),
            tag: self.shared.tag.clone(),
            next: AtomicU64::new(0),
        });
        let known = Known { open: Arc::downgrade(&inner), usage: Arc::clone(&usage) };
        tenants.insert(name.to_owned(), known);
        drop(tenants);
        if let Some(dir) = counting {
            let count = move || {
                if let Err(error) = usage.count(&dir, bucket.as_ref()) {
                    tracing::warn!(%error, "blobs not counted");
                }
            };
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) if quota.is_none() || last.is_some() => {
                    drop(runtime.spawn_blocking(count))
                }
                _ => count(),
            }
        }
        Ok(Blobs { inner })
    }

    /// Bytes that a tenant has; none for one that was not opened by this process yet.
    pub fn used(&self, name: &str) -> Option<u64> {
        let tenants = self.shared.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.get(name).map(|known| known.usage.used.load(Ordering::Relaxed))
    }

    /// Removes all blobs of a tenant, which nobody has open. Blocks as long as that takes.
    ///
    /// # Errors
    /// The disk fails; what is left is removed when this is called again.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.shared.tenants.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let folder = files::folder_name(name);
        if let Some(bucket) = &self.shared.bucket {
            bucket.tenant(&folder).remove_all()?;
        }
        files::gone(self.shared.root.remove_dir_all(folder))
    }

    /// Whether a tenant has blobs, or a folder for them. Blocks.
    ///
    /// # Errors
    /// The bucket cannot be asked.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        let folder = files::folder_name(name);
        if self.shared.root.is_dir(&folder) {
            return Ok(true);
        }
        self.shared.bucket.as_ref().map_or(Ok(false), |bucket| bucket.tenant(&folder).is_there())
    }
}

/// The blobs of one tenant; a cheap handle.
#[derive(Clone)]
pub struct Blobs {
    inner: Arc<Tenant>,
}

pub(crate) struct Tenant {
    pub(crate) dir: Dir,
    /// Where its blobs are kept in place of the folder.
    pub(crate) bucket: Option<Bucket>,
    /// Blobs of the bucket that go when nobody copies all any more.
    pub(crate) later: Mutex<HashSet<BlobId>>,
    pub(crate) tmp: Dir,
    pub(crate) blob_max: u64,
    quota: Option<u64>,
    usage: Arc<Usage>,
    /// Those who copy all blobs now.
    pub(crate) holds: Mutex<u32>,
    tag: String,
    next: AtomicU64,
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let used = self.usage.used.load(Ordering::Acquire);
        if let Err(error) = files::keep_usage(&self.dir, &self.tmp, &self.temporary(), used) {
            tracing::debug!(%error, "usage of blobs not written");
        }
    }
}

impl Tenant {
    /// A name for a temporary file that no other process takes.
    pub(crate) fn temporary(&self) -> String {
        format!("{}-{}", self.tag, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts bytes of a blob that is being written, before they are kept. May block: other processes may have deleted
    /// what this one still counts.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), BlobError> {
        let quota = self.quota.unwrap_or(u64::MAX);
        if self.usage.is_due(RECOUNT) {
            self.recount();
        }
        if !self.usage.add(bytes, quota) {
            if !self.usage.is_due(RECOUNT_FULL) {
                return Err(BlobError::Quota { quota });
            }
            self.recount();
            if !self.usage.add(bytes, quota) {
                return Err(BlobError::Quota { quota });
            }
        }
        self.usage.writing.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    /// A blob of so many bytes is not being written any more: it is kept, or given up.
    pub(crate) fn written(&self, bytes: u64) {
        self.usage.writing.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn recount(&self) {
        if let Err(error) = self.usage.count(&self.dir, self.bucket.as_ref()) {
            tracing::warn!(%error, "blobs not counted");
        }
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        let _ = self.usage.used.try_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            Some(used.saturating_sub(bytes))
        });
    }

    /// Whether a blob of the bucket is deleted and stays for those who copy all.
    fn goes_later(&self, id: BlobId) -> bool {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// Deletes a blob of the bucket when nobody copies all any more. False: nobody does.
    fn put_off(&self, id: BlobId) -> bool {
        let holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        if *holds > 0 {
            self.later.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        }
        *holds > 0
    }

    /// Moves a blob to those that are held, where somebody holds them. False: nobody does.
    fn hold_back(&self, folder: &str, file: &str) -> io::Result<bool> {
        let held = match self.dir.open_dir(HELD) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            held => held?,
        };
        let to = match files::folder(&held, folder) {
            // The hold ended this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            to => to?,
        };
        let from = self.dir.open_dir(folder)?;
        match from.rename(file, &to, file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(!from.try_exists(file)?),
            Err(error) => Err(error),
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
        if let Some(bucket) = &self.inner.bucket {
            return if self.inner.goes_later(id) {
                Err(BlobError::NotFound)
            } else {
                bucket.size(id).await
            };
        }
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
        if let Some(bucket) = &self.inner.bucket {
            if self.inner.goes_later(id) {
                return Err(BlobError::NotFound);
            }
            let (size, left, bytes) = bucket.open_range(id, range).await?;
            return Ok(BlobReader::remote(size, left, bytes));
        }
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
        if let Some(bucket) = &self.inner.bucket {
            let size = match self.size(id).await {
                Err(BlobError::NotFound) => return Ok(()),
                size => size?,
            };
            if !self.inner.put_off(id) {
                bucket.delete(id).await?;
            }
            self.inner.give_back(size);
            return Ok(());
        }
        let tenant = Arc::clone(&self.inner);
        blocking(move || {
            let (folder, file) = id.place();
            let path = Path::new(&folder).join(&file);
            let size = match tenant.dir.metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let held = match tenant.hold_back(&folder, &file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                held => held?,
            };
            let removed = if held { Ok(()) } else { tenant.dir.remove_file(&path) };
            match removed {
                Ok(()) => tenant.give_back(size),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            Ok(())
        })
        .await
    }

    /// Keeps what is deleted from now on until the answer is dropped, for a copy of all.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn hold(&self) -> Result<Hold, BlobError> {
        Hold::take(Arc::clone(&self.inner)).await
    }

    /// Bytes of all blobs, as far as they are counted; never blocks.
    pub fn used(&self) -> u64 {
        self.inner.usage.used.load(Ordering::Relaxed)
    }

    /// Bytes that it may keep.
    pub fn quota(&self) -> Option<u64> {
        self.inner.quota
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{BlobConfig, BlobError, BlobStore, Blobs};

    /// As if the last count were long ago.
    fn age(blobs: &Blobs) {
        *blobs.inner.usage.counted.lock().unwrap() = None;
    }

    #[tokio::test]
    async fn what_others_deleted_makes_room_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let open = || BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
        let (one, two) = (open(), open());
        let one = one.tenant_with("a", Some(10)).unwrap();
        let id = one.put(Bytes::from_static(b"12345678")).await.unwrap();
        two.tenant("a").unwrap().delete(id).await.unwrap();
        let refused = one.put(Bytes::from_static(b"abc")).await.unwrap_err();
        assert!(matches!(refused, BlobError::Quota { quota: 10 }), "{refused}");
        age(&one);
        one.put(Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(one.used(), 3);
    }

    #[tokio::test]
    async fn a_count_does_not_forget_what_is_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
        let blobs = store.tenant_with("a", Some(600_000)).unwrap();
        let mut writer = blobs.writer(None);
        writer.write(Bytes::from(vec![1; 500_000])).await.unwrap();
        age(&blobs);
        let refused = blobs.put(Bytes::from(vec![2; 200_000])).await.unwrap_err();
        assert!(matches!(refused, BlobError::Quota { .. }), "{refused}");
        writer.finish().await.unwrap();
        age(&blobs);
        blobs.put(Bytes::from(vec![2; 100_000])).await.unwrap();
        assert_eq!(blobs.used(), 600_000);
    }

    #[tokio::test]
    async fn a_long_name_of_capitals_has_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
        let (one, two) = (format!("{}1", "A".repeat(200)), format!("{}2", "A".repeat(200)));
        let id = store.tenant(&one).unwrap().put(Bytes::from_static(b"x")).await.unwrap();
        assert!(store.has(&one).unwrap() && !store.has(&two).unwrap());
        store.tenant(&two).unwrap().size(id).await.unwrap_err();
    }
}
