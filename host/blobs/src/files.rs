//! Names and blocking file work.

use std::{io, time::Duration};

use cap_std::fs::{Dir, Metadata};

use crate::error::BlobError;

/// The folder of blobs being written.
pub(crate) const TMP: &str = "tmp";

/// The folder of blobs deleted while somebody copies them all.
pub(crate) const HELD: &str = "held";

/// What the blobs came to when they were last closed.
const USAGE: &str = "usage";

/// Bytes of a file's name at most, on every file system in use.
const NAME_MAX: usize = 255;

/// Where other processes write, too, what is older than this is nobody's any more: no write takes so long.
const STALE: Duration = Duration::from_secs(86_400);

/// A folder name for a tenant: what is not `[a-z0-9-_]` or an inner dot is written as `%XX`, so two
/// tenants never share one and none leaves the store's folder. Where that is longer than a file system takes it is
/// `%h` and a hash.
pub(crate) fn folder_name(tenant: &str) -> String {
    let mut name = String::with_capacity(tenant.len());
    for (at, byte) in tenant.bytes().enumerate() {
        let plain =
            matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') || (byte == b'.' && at > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > NAME_MAX {
        return format!("%h{}", blake3::hash(tenant.as_bytes()).to_hex());
    }
    if name.is_empty() { "%".to_owned() } else { name }
}

/// Makes a folder's entries durable (its files' names, not their bytes).
pub(crate) fn sync_folder(dir: &Dir) -> io::Result<()> {
    // The handle itself is a mere path (O_PATH), which cannot be synced.
    dir.open(".")?.sync_all()
}

/// Opens a folder, making it first where there is none.
pub(crate) fn folder(dir: &Dir, name: &str) -> io::Result<Dir> {
    match dir.open_dir(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match dir.create_dir(name) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => sync_folder(dir)?,
            }
            dir.open_dir(name)
        }
        other => other,
    }
}

/// Removes what a crash left in the folder of blobs being written, and among those held. `shared`: other processes may be at work
/// here, so only what is old.
pub(crate) fn clear_tmp(tenant: &Dir, shared: bool) -> io::Result<Dir> {
    let tmp = folder(tenant, TMP)?;
    for entry in tmp.entries()? {
        let entry = entry?;
        if !shared || stale(&entry.metadata()?) {
            gone(tmp.remove_file(entry.file_name()))?;
        }
    }
    match tenant.symlink_metadata(HELD) {
        Ok(held) if !shared || stale(&held) => gone(tenant.remove_dir_all(HELD))?,
        _ => {}
    }
    Ok(tmp)
}

fn stale(metadata: &Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|at| at.into_std().elapsed().ok());
    age.is_some_and(|age| age > STALE)
}

/// It is good if another was faster.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Bytes of all blobs of a tenant.
pub(crate) fn usage(tenant: &Dir) -> io::Result<u64> {
    let mut total = 0_u64;
    for entry in tenant.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        if !entry.file_type()?.is_dir() || name == TMP || name == HELD {
            continue;
        }
        for file in entry.open_dir()?.entries()? {
            match file?.metadata() {
                Ok(data) => total = total.saturating_add(data.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(total)
}

/// Bytes of all blobs as they were when they were last closed.
pub(crate) fn last_usage(tenant: &Dir) -> Option<u64> {
    tenant.read_to_string(USAGE).ok()?.trim().parse().ok()
}

/// Writes that down. A crash may lose it: it is counted again anyway.
pub(crate) fn keep_usage(tenant: &Dir, tmp: &Dir, temporary: &str, used: u64) -> io::Result<()> {
    if last_usage(tenant) == Some(used) {
        return Ok(());
    }
    tmp.write(temporary, format!("{used}\n"))?;
    tmp.rename(temporary, tenant, USAGE)
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BlobError::Io(io::Error::other(error))),
    }
}
