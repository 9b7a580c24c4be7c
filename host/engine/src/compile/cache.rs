//! The cache of compiled code.
//!
//! An entry is a file named after the component's content, the engine's version and its settings. It starts
//! with a MAC under a key that lives in the data folder. Whatever does not fit is compiled again.

use std::{
    fs,
    hash::{Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
};

use wasmtime::{Engine, component::Component};

use super::native;
use crate::metrics::Metrics;

const MAC: usize = 32;
/// Entries kept: several versions of each plug-in that one machine runs, some 10 MiB each at most.
const ENTRIES_MAX: usize = 128;

/// See the module.
#[derive(Debug)]
pub(crate) struct CodeCache {
    dir: PathBuf,
    key: [u8; 32],
    /// Hash of the engine's version and settings.
    engine: [u8; 32],
}

impl CodeCache {
    /// Opens or makes the folder and the key file.
    pub(crate) fn open(dir: &Path, key_file: &Path, engine: &Engine) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let key = secret(key_file)?;
        let mut hasher = Blake(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), key, engine: *hasher.0.finalize().as_bytes() })
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
        match fs::read(&path) {
            Ok(entry) => match self.open_entry(name.as_bytes(), &entry) {
                Some(code) => match native::load(engine, code) {
                    Ok(component) => {
                        metrics.compile_hits.inc();
                        return Ok(component);
                    }
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "cached code does not load: compiling again");
                    }
                },
                None => {
                    metrics.compile_rejected.inc();
                    tracing::warn!(path = %path.display(), "cached code is damaged or not ours: compiling again");
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read cached code: compiling again");
            }
        }
        metrics.compile_misses.inc();
        let code = engine.precompile_component(bytes)?;
        if let Err(error) = self.store(name.as_bytes(), &path, &code) {
            tracing::warn!(path = %path.display(), %error, "cannot keep compiled code");
        }
        native::load(engine, &code)
    }

    fn mac(&self, name: &[u8; 32], code: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key).update(name).update(code).finalize()
    }

    fn open_entry<'a>(&self, name: &[u8; 32], entry: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, code) = entry.split_first_chunk::<MAC>()?;
        // blake3's comparison takes the same time wherever the bytes differ.
        (self.mac(name, code) == blake3::Hash::from_bytes(*mac)).then_some(code)
    }

    fn store(&self, name: &[u8; 32], path: &Path, code: &[u8]) -> io::Result<()> {
        let part = path.with_extension(format!("part{}", std::process::id()));
        let mut file = fs::File::create(&part)?;
        file.write_all(self.mac(name, code).as_bytes())?;
        file.write_all(code)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
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

/// Reads the key, or makes one that only the owner can read.
fn secret(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is not a key of 32 bytes", path.display()),
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(io::Error::other)?;
            match write_secret(path, &key) {
                Ok(()) => Ok(key),
                // Another process that shares the folder was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => secret(path),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Writes a file that only its owner can read, whole or not at all, and never over another.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let part = path.with_extension(format!("part{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A hard link fails where the name is taken, a rename would not.
    let linked = fs::hard_link(&part, path);
    fs::remove_file(&part)?;
    linked?;
    // The name, too: what was signed with a key that a crash takes away is signed by nobody.
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
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
