//! The data folder: one server at a time, and of a version that it understands.
//!
//! ```text
//! format        the folder's version, a number
//! lock          held by the server that runs on it
//! admin.sock    where `tessera topics` and `tessera plugin status` ask a running server
//! keys/         signing keys, and the key that authenticates compiled code
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

/// The folder's version that this server writes. It reads this and older ones.
const FORMAT: u32 = 1;

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
        check_format(&path)?;
        write_pid(&mut lock).with_context(|| format!("cannot write to {shown}/lock"))?;
        for folder in ["keys", "tenants", "blobs", "cache"] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path.join(folder))
                .with_context(|| format!("cannot make {shown}/{folder}"))?;
        }
        Ok(Taken::Mine(Self { path, _lock: lock }))
    }

    /// The folder, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A tenant's database.
    pub(crate) fn database(&self, tenant: &str) -> PathBuf {
        self.path.join("tenants").join(tenant).join("database.sqlite")
    }

    /// Tenants that have a database here.
    pub(crate) fn tenants(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path.join("tenants"))? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }
}

/// Where a running server answers `tessera topics` and `tessera plugin status`.
pub(crate) fn admin_socket(data: &Path) -> PathBuf {
    data.join("admin.sock")
}

fn check_format(path: &Path) -> Result<()> {
    let file = path.join("format");
    match fs::read_to_string(&file) {
        // A crash right after the folder was made.
        Ok(text) if text.is_empty() => write_format(&file),
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
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_format(&file),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
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
