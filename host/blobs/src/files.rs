//! Names and blocking file work.

use std::io;

use cap_std::fs::Dir;

use crate::error::BlobError;

/// The folder of blobs being written.
pub(crate) const TMP: &str = "tmp";

/// A folder name for a tenant: what is not `[a-z0-9-_]` or an inner dot is written as `%XX`, so two
/// tenants never share one and none leaves the store's folder.
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

/// Empties the folder of blobs being written: nobody writes when a tenant is opened.
pub(crate) fn clear_tmp(tenant: &Dir) -> io::Result<Dir> {
    let tmp = folder(tenant, TMP)?;
    for entry in tmp.entries()? {
        tmp.remove_file(entry?.file_name())?;
    }
    Ok(tmp)
}

/// Bytes of all blobs of a tenant.
pub(crate) fn usage(tenant: &Dir) -> io::Result<u64> {
    let mut total = 0_u64;
    for entry in tenant.entries()? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || entry.file_name() == TMP {
            continue;
        }
        for file in entry.open_dir()?.entries()? {
            total = total.saturating_add(file?.metadata()?.len());
        }
    }
    Ok(total)
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
