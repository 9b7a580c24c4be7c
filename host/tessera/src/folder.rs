//! The data folder: one server at a time, and of a version that it understands.
//!
//! ```text
//! format        the folder's version, a number
//! lock          held by the server that runs on it
//! admin.sock    where the tools ask a running server
//! host.sqlite   which tenants there are beside those of the descriptor, and what they wait for
//! keys/         the key that authenticates compiled code; keys/tenants/ the signing keys
//! tenants/      one database for each server name
//! blobs/        media and other bytes
//! cache/        compiled code; may be deleted
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The folder's version that this server writes. It reads this and older ones: in version 1 the tenants' keys lay
/// beside the key of the code cache.
const FORMAT: u32 = 2;

/// A data folder that this process holds; given up when dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// Why a folder was not taken.
#[derive(Debug)]
pub(crate) enum Taken {
    /// This process holds it now.
    Mine(DataFolder),
    /// Another holds it; its process id, if it could be read.
    Another(Option<u32>),
}

impl DataFolder {
    /// Takes the folder, making it where there is none.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        match Self::try_open(path)? {
            Taken::Mine(folder) => Ok(folder),
            Taken::Another(pid) => {
                let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                bail!(
                    "the data folder {} is in use by another server{who}; stop that one, or give this one a folder of its own with --data DIR",
                    path.display()
                )
            }
        }
    }

    /// Takes the folder unless another process has it.
    pub(crate) fn try_open(path: &Path) -> Result<Taken> {
        let shown = path.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data folder {shown}"))?;
        let path = path.canonicalize().with_context(|| format!("cannot reach {shown}"))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .with_context(|| format!("cannot write to the data folder {shown}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = lock.read_to_string(&mut pid);
                return Ok(Taken::Another(read.ok().and_then(|_| pid.trim().parse().ok())));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock the data folder {shown}"));
            }
        }
        let format = check_format(&path)?;
        write_pid(&mut lock).with_context(|| format!("cannot write to {shown}/lock"))?;
        for folder in ["keys", "keys/tenants", "tenants", "blobs", "cache"] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path.join(folder))
                .with_context(|| format!("cannot make {shown}/{folder}"))?;
        }
        if format < FORMAT {
            upgrade(&path)
                .with_context(|| format!("cannot bring the data folder {shown} up to date"))?;
        }
        Ok(Taken::Mine(Self { path, _lock: lock }))
    }

    /// The folder, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A tenant's database in a data folder.
pub(crate) fn database(data: &Path, tenant: &str) -> PathBuf {
    tenant_folder(data, tenant).join("database.sqlite")
}

/// The folder of a tenant's database.
pub(crate) fn tenant_folder(data: &Path, tenant: &str) -> PathBuf {
    data.join("tenants").join(tenant)
}

/// The host's own database.
pub(crate) fn host_database(data: &Path) -> PathBuf {
    data.join("host.sqlite")
}

/// Tenants that have a database in a data folder.
pub(crate) fn tenants(data: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(data.join("tenants"))? {
        let name = entry?.file_name().into_string();
        // A name with a dot in front is of one that is being made or removed.
        names.extend(name.ok().filter(|name| !name.starts_with('.')));
    }
    names.sort();
    Ok(names)
}

/// Where a running server answers its tools.
pub(crate) fn admin_socket(data: &Path) -> PathBuf {
    data.join("admin.sock")
}

/// Gives the folder's version.
fn check_format(path: &Path) -> Result<u32> {
    let file = path.join("format");
    match fs::read_to_string(&file) {
        // A crash right after the folder was made.
        Ok(text) if text.is_empty() => write_format(&file).map(|()| FORMAT),
        Ok(text) => {
            let format: u32 = text.trim().parse().with_context(|| {
                format!(
                    "{} holds `{}`, which is no version of a data folder",
                    file.display(),
                    text.trim()
                )
            })?;
            if format > FORMAT {
                bail!(
                    "the data folder {} is of version {format}, written by a newer Tessera; this one (tessera {}) understands up to {FORMAT}: start the newer one, or restore a backup",
                    path.display(),
                    env!("CARGO_PKG_VERSION")
                );
            }
            Ok(format)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_format(&file).map(|()| FORMAT)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// From version 1: moves the tenants' keys to where no name of a tenant is that of something else. Repeatable.
fn upgrade(path: &Path) -> Result<()> {
    let keys = path.join("keys");
    for entry in fs::read_dir(&keys)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != "code-cache" {
            fs::rename(entry.path(), keys.join("tenants").join(entry.file_name()))?;
        }
    }
    File::open(keys.join("tenants"))?.sync_all()?;
    File::open(&keys)?.sync_all()?;
    write_format(&path.join("format"))
}

fn write_format(file: &Path) -> Result<()> {
    fs::write(file, format!("{FORMAT}\n"))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{}", std::process::id())
}
