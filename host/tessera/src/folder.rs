//! The data folder: one server at a time, or several nodes of one, and of a version that it understands.
//!
//! ```text
//! format        the folder's version, a number
//! lock          held by the server that runs on it
//! admin.sock    where the tools ask a running server
//! host.sqlite   which tenants there are beside those of the descriptor, and what they wait for
//! keys/         the key that authenticates compiled code; keys/tenants/ the signing keys
//! tenants/      one database for each server name
//! blobs/        media and other bytes
//! exports/      what tenants had that were removed
//! cache/        compiled code; may be deleted
//! modules.toml  what commands have changed about plug-ins; modules/ the files that they installed
//! nodes/        lock and admin.sock of each node that runs here, in a folder of its name
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
        net::UnixStream,
    },
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
    /// Where what is this process's alone lies: the folder itself, or a node's in it.
    own: PathBuf,
    _locks: Vec<File>,
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
    /// Takes the folder, making it where there is none. A node shares it with other nodes.
    pub(crate) fn open(path: &Path, node: Option<&str>) -> Result<Self> {
        match Self::take(path, node)? {
            Taken::Mine(folder) => Ok(folder),
            Taken::Another(pid) => {
                let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                let what = node.map_or_else(String::new, |node| format!(" as node `{node}`"));
                bail!(
                    "the data folder {} is in use by another server{who}{what}; stop that one, or give this one a folder of its own with --data DIR",
                    path.display()
                )
            }
        }
    }

    /// Takes the folder unless another process has it.
    pub(crate) fn try_open(path: &Path) -> Result<Taken> {
        Self::take(path, None)
    }

    fn take(path: &Path, node: Option<&str>) -> Result<Taken> {
        let shown = path.display();
        make(path).with_context(|| format!("cannot make the data folder {shown}"))?;
        let path = path.canonicalize().with_context(|| format!("cannot reach {shown}"))?;
        let mut locks = vec![lock_file(&path.join("lock"))?];
        let own = match node {
            None => path.clone(),
            Some(node) => {
                let own = node_folder(&path, node);
                make(&own).with_context(|| format!("cannot make {}", own.display()))?;
                locks.push(lock_file(&own.join("lock"))?);
                own
            }
        };
        // A server by itself keeps everyone else out; nodes keep out servers by themselves, and their likes.
        let last = locks.len() - 1;
        for (at, lock) in locks.iter_mut().enumerate() {
            let locked = if at == last { lock.try_lock() } else { lock.try_lock_shared() };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    let read = lock.read_to_string(&mut pid);
                    return Ok(Taken::Another(read.ok().and_then(|_| pid.trim().parse().ok())));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error)
                        .with_context(|| format!("cannot lock the data folder {shown}"));
                }
            }
        }
        if let Some(lock) = locks.last_mut() {
            write_pid(lock).with_context(|| format!("cannot write to {}/lock", own.display()))?;
        }
        prepare(&path)?;
        Ok(Taken::Mine(Self { path, own, _locks: locks }))
    }

    /// The folder, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where this process answers its tools.
    pub(crate) fn socket(&self) -> PathBuf {
        admin_socket(&self.own)
    }
}

/// Makes a folder that only its owner may look into.
fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn lock_file(file: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(file)
        .with_context(|| format!("cannot write to the data folder: {}", file.display()))
}

/// What is the same for all who share the folder; they do it one after the other.
fn prepare(path: &Path) -> Result<()> {
    let shown = path.display();
    make(&path.join("nodes")).with_context(|| format!("cannot make {shown}/nodes"))?;
    let turn = lock_file(&path.join("nodes/.turn"))?;
    turn.lock().with_context(|| format!("cannot lock {shown}/nodes"))?;
    let format = check_format(path)?;
    for folder in ["keys", "keys/tenants", "tenants", "blobs", "cache", "modules"] {
        make(&path.join(folder)).with_context(|| format!("cannot make {shown}/{folder}"))?;
    }
    if format < FORMAT {
        upgrade(path)
            .with_context(|| format!("cannot bring the data folder {shown} up to date"))?;
    }
    Ok(())
}

fn node_folder(data: &Path, node: &str) -> PathBuf {
    data.join("nodes").join(node)
}

/// The socket of a server, or else of any node, that answers on a data folder now.
pub(crate) fn live_socket(data: &Path) -> Option<PathBuf> {
    let nodes = fs::read_dir(data.join("nodes")).into_iter().flatten();
    let mut sockets: Vec<PathBuf> =
        nodes.filter_map(|node| Some(admin_socket(&node.ok()?.path()))).collect();
    sockets.sort();
    sockets.insert(0, admin_socket(data));
    sockets.into_iter().find(|socket| UnixStream::connect(socket).is_ok())
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

/// Makes a database's file where there is none, and lets nobody but its owner read it; what the engine puts beside it gets
/// the same rights.
pub(crate) fn for_owner_only(database: &Path) -> io::Result<()> {
    let only = fs::Permissions::from_mode(0o600);
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(database)?;
    file.set_permissions(only.clone())?;
    for end in ["-wal", "-shm"] {
        let mut beside = database.as_os_str().to_owned();
        beside.push(end);
        match fs::set_permissions(beside, only.clone()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
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

/// Where a server that runs on a folder answers its tools.
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::{DataFolder, Taken, live_socket};

    #[test]
    fn nodes_share_a_folder_with_other_nodes_only() {
        let data = tempfile::tempdir().unwrap();
        let one = DataFolder::open(data.path(), Some("one")).unwrap();
        let two = DataFolder::open(data.path(), Some("two")).unwrap();
        let refused = DataFolder::open(data.path(), Some("one")).unwrap_err().to_string();
        let who = format!("(process {}) as node `one`", std::process::id());
        assert!(refused.contains(&who), "{refused}");
        assert!(matches!(DataFolder::try_open(data.path()).unwrap(), Taken::Another(_)));
        drop((one, two));
        let alone = DataFolder::open(data.path(), None).unwrap();
        let refused = DataFolder::open(data.path(), Some("one")).unwrap_err().to_string();
        assert!(refused.contains("in use by another server"), "{refused}");
        drop(alone);
        DataFolder::open(data.path(), Some("lock")).unwrap();
    }

    #[test]
    fn tools_find_the_socket_of_a_node_that_answers() {
        let data = tempfile::tempdir().unwrap();
        let one = DataFolder::open(data.path(), Some("one")).unwrap();
        let two = DataFolder::open(data.path(), Some("two")).unwrap();
        // Left by a node that was killed.
        drop(UnixListener::bind(one.socket()).unwrap());
        assert_eq!(live_socket(data.path()), None);
        let _answers = UnixListener::bind(two.socket()).unwrap();
        let found = live_socket(data.path()).unwrap();
        assert_eq!(found.canonicalize().unwrap(), two.socket());
    }
}
