//! The cache of compiled code.
//!
//! An entry is a file named after the component's content, the engine's version and its settings. It ends with a MAC
//! under a key that lives in the data folder. Whatever does not fit is compiled again. Code that is authentic is mapped
//! from its file where nobody else can write to that; otherwise it is copied.

use std::{
    fs,
    hash::{Hash, Hasher},
    io::{self, Read as _, Seek as _, Write},
    path::{Path, PathBuf},
};

use wasmtime::{Engine, component::Component};

use super::{Compiler, jail, native};
use crate::metrics::Metrics;

const MAC: u64 = 32;
/// Of the files: in their names, so that others are not even looked at.
const FORMAT: &str = "code before MAC";
/// Entries kept: several versions of each plug-in that one machine runs, some 10 MiB each at most.
const ENTRIES_MAX: usize = 128;

/// See the module.
#[derive(Debug)]
pub(crate) struct CodeCache {
    dir: PathBuf,
    key: [u8; 32],
    compiler: Compiler,
    /// Hash of the engine's version and settings.
    engine: [u8; 32],
}

impl CodeCache {
    /// Opens or makes the folder and the key file.
    pub(crate) fn open(
        dir: &Path,
        key_file: &Path,
        compiler: Compiler,
        engine: &Engine,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let key = secret(key_file)?;
        let mut hasher = Blake(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        FORMAT.hash(&mut hasher);
        let engine = *hasher.0.finalize().as_bytes();
        Ok(Self { dir: dir.to_owned(), key, compiler, engine })
    }

    /// The component's code: from the cache, or compiled and put there.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        bytes: &[u8],
        metrics: &Metrics,
    ) -> wasmtime::Result<Component> {
        let name = blake3::Hasher::new_keyed(&self.engine).update(bytes).finalize();
        let path = self.dir.join(format!("{}.code", name.to_hex()));
        match fs::File::open(&path)
            .and_then(|file| Ok((self.authentic(name.as_bytes(), &file)?, file)))
        {
            Ok((true, file)) => match load(engine, &file) {
                Ok(component) => {
                    metrics.compile_hits.inc();
                    return Ok(component);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cached code does not load: compiling again");
                }
            },
            Ok((false, _)) => {
                metrics.compile_rejected.inc();
                tracing::warn!(path = %path.display(), "cached code is damaged or not ours: compiling again");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read cached code: compiling again");
            }
        }
        metrics.compile_misses.inc();
        let code = match &self.compiler {
            Compiler::InProcess => engine.precompile_component(bytes)?,
            Compiler::Child(child) => jail::compile(child, bytes).inspect_err(|error| {
                metrics.compile_refused.with_label_values(&[error.name()]).inc();
                tracing::warn!(limit = error.name(), %error, "a component was not compiled");
            })?,
        };
        if let Err(error) = self.store(name.as_bytes(), &path, &code) {
            tracing::warn!(path = %path.display(), %error, "cannot keep compiled code");
        }
        native::load(engine, &code)
    }

    fn mac(&self, name: &[u8; 32], code: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key).update(name).update(code).finalize()
    }

    /// Whether the file holds code that this installation kept under this name. It is read from its beginning.
    fn authentic(&self, name: &[u8; 32], mut file: &fs::File) -> io::Result<bool> {
        let Some(length) = file.metadata()?.len().checked_sub(MAC) else { return Ok(false) };
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name).update_reader(file.take(length))?;
        let mut mac = [0; MAC as usize];
        file.read_exact(&mut mac)?;
        // blake3's comparison takes the same time wherever the bytes differ.
        Ok(hasher.finalize() == blake3::Hash::from_bytes(mac))
    }

    fn store(&self, name: &[u8; 32], path: &Path, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(name, code);
        let part = part(path, 0o644, &[code, mac.as_bytes()])?;
        fs::rename(&part, path).inspect_err(|_| drop(fs::remove_file(&part)))?;
        self.trim()
    }

    /// Removes the oldest entries over the cap.
    fn trim(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            // The folder is the operator's choice: nothing but our own is removed, and the key may lie here.
            let ours = path
                .extension()
                .and_then(|extension| extension.to_str())
                .is_some_and(|extension| extension == "code" || extension.starts_with("part"));
            if ours {
                entries.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        entries.sort();
        for (_, path) in entries.iter().take(entries.len().saturating_sub(ENTRIES_MAX)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Loads what [`CodeCache::authentic`] has approved.
fn load(engine: &Engine, mut file: &fs::File) -> wasmtime::Result<Component> {
    if cfg!(target_os = "linux") && is_ours_alone(file) {
        match native::map(engine, file) {
            Ok(component) => return Ok(component),
            Err(error) => tracing::debug!(%error, "cached code is not mapped: it is copied"),
        }
    }
    let mut code = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut code)?;
    code.truncate(code.len().saturating_sub(MAC as usize));
    native::load(engine, &code)
}

/// Whether only this process's user can write to the file.
fn is_ours_alone(file: &fs::File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid().as_raw();
    file.metadata().is_ok_and(|about| about.uid() == user && about.mode() & 0o022 == 0)
}

/// Reads the key, or makes one that only the owner can read.
fn secret(path: &Path) -> io::Result<[u8; 32]> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(io::Error::other)?;
            write_secret(path, &key)?
        }
        other => other?,
    };
    bytes.try_into().map_err(|_| {
        let text = format!("{} is not a key of 32 bytes", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Writes a file that only its owner can read, whole or not at all, and never over another. Gives what the file
/// holds then: another process that shares the folder may have been faster.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<Vec<u8>> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let part = part(path, 0o600, &[bytes])?;
    // A hard link fails where the name is taken, a rename would not.
    let linked = fs::hard_link(&part, path);
    fs::remove_file(&part)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // The name, too: what was signed with a key that a crash takes away is signed by nobody.
    if let Some(parent) = path.parent() {
        fs::File::open(parent)?.sync_all()?;
    }
    fs::read(path)
}

/// Writes a file beside `path` that nobody else writes, in this process or another, and gives its name.
fn part(path: &Path, mode: u32, bytes: &[&[u8]]) -> io::Result<PathBuf> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut tag = [0; 8];
    getrandom::fill(&mut tag).map_err(io::Error::other)?;
    // After the whole name: what stands behind its last dot tells files apart.
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".part{}", hex::encode(tag)));
    let part = PathBuf::from(part);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
    let written = bytes.iter().try_for_each(|bytes| file.write_all(bytes));
    match written.and_then(|()| file.sync_all()) {
        Ok(()) => Ok(part),
        Err(error) => {
            // What matters is why it could not be written.
            drop(fs::remove_file(&part));
            Err(error)
        }
    }
}

/// Feeds what is hashed into blake3.
struct Blake(blake3::Hasher);

impl Hasher for Blake {
    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, os::unix::fs::PermissionsExt as _, thread};

    use super::*;

    #[test]
    fn keys_made_at_the_same_time_are_each_tenants_own_and_what_the_disk_holds() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..24).map(|n| dir.path().join(format!("chat.t{n}"))).collect();
        for round in 0..8 {
            let keys: Vec<Vec<[u8; 32]>> = thread::scope(|scope| {
                // Each is made by two, as by two nodes over one folder.
                let both = paths.iter().flat_map(|path| [path, path]);
                let started: Vec<_> =
                    both.map(|path| scope.spawn(move || secret(path).unwrap())).collect();
                let keys: Vec<_> = started.into_iter().map(|it| it.join().unwrap()).collect();
                keys.chunks(2).map(<[_]>::to_vec).collect()
            });
            for (path, keys) in paths.iter().zip(&keys) {
                let held = fs::read(path).unwrap();
                assert!(keys.iter().all(|key| key[..] == held), "round {round}: {path:?}");
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            }
            let different: HashSet<_> = keys.iter().map(|keys| keys[0]).collect();
            assert_eq!(different.len(), paths.len(), "round {round}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), paths.len(), "nothing is left");
            paths.iter().for_each(|path| fs::remove_file(path).unwrap());
        }
    }
}
