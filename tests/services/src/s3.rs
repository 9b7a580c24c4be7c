//! A service that speaks S3: `s3s-fs`, which keeps objects in a folder and checks signatures.

use std::{fs, net::TcpStream, path::PathBuf};

use crate::{
    Failure,
    guard::{Folder, Guard, free_port},
};

const MISSING: &str =
    "no S3 server: cargo install s3s-fs --version 0.14.1 --features binary --root target/tools";

/// A running `s3s-fs` with one bucket, `bucket`.
#[derive(Debug)]
pub struct S3 {
    _guard: Guard,
    folder: Folder,
    port: u16,
}

fn program() -> Option<PathBuf> {
    let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("s3s-fs")).find(|program| program.exists())
}

impl S3 {
    /// The id of the access key.
    pub const ACCESS_KEY: &str = "tessera";
    /// The secret key.
    pub const SECRET_KEY: &str = "a secret key";
    /// The bucket.
    pub const BUCKET: &str = "bucket";

    /// Whether the program is there; the error says how to get it.
    ///
    /// # Errors
    /// It is not installed.
    pub fn installed() -> Result<(), Failure> {
        program().map(drop).ok_or_else(|| MISSING.to_owned())
    }

    /// Starts a service of its own.
    ///
    /// # Errors
    /// The program is missing or does not come up.
    pub fn start() -> Result<Self, Failure> {
        let program = program().ok_or(MISSING)?;
        let folder = Folder::new("s3", None)?;
        let bucket = folder.0.join("data").join(Self::BUCKET);
        fs::create_dir_all(&bucket).map_err(|error| error.to_string())?;
        let port = free_port()?;
        let (keys, secret) = (Self::ACCESS_KEY, Self::SECRET_KEY);
        let command = [
            program.display().to_string(),
            "--host=127.0.0.1".to_owned(),
            format!("--port={port}"),
            format!("--access-key={keys}"),
            format!("--secret-key={secret}"),
            folder.0.join("data").display().to_string(),
        ];
        let ready = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let guard = Guard::start(&folder.0, &command, ready)?;
        Ok(Self { _guard: guard, folder, port })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Paths of the objects in the bucket, without what the service keeps for itself.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        let root = self.folder.0.join("data").join(Self::BUCKET);
        let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(name) = path.strip_prefix(&root)
                    && !name.to_string_lossy().starts_with('.')
                {
                    found.push(name.display().to_string());
                }
            }
        }
        found.sort();
        found
    }
}
