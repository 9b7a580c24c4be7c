//! A service that speaks S3: `s3s-fs`, which keeps objects in a folder and checks signatures.

use std::{fs, net::TcpStream, path::PathBuf, process::Command};

use crate::{
    Failure,
    guard::{Folder, Guard, free_port},
};

const VERSION: &str = "s3s-fs 0.14.1";

/// A running `s3s-fs` with one bucket, `bucket`.
#[derive(Debug)]
pub struct S3 {
    _guard: Guard,
    folder: Folder,
    port: u16,
}

/// The program of the version that tests are written for: of the repository, else on the path.
fn program() -> Result<PathBuf, Failure> {
    let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools).chain(std::env::split_paths(&path));
    let is_right = |program: &PathBuf| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| output.stdout.trim_ascii() == VERSION.as_bytes())
    };
    let missing = || {
        format!("no {VERSION}, the S3 server of tests: cargo {} --root target/tools", S3::INSTALL)
    };
    folders.map(|folder| folder.join("s3s-fs")).find(is_right).ok_or_else(missing)
}

impl S3 {
    /// The id of the access key.
    pub const ACCESS_KEY: &str = "tessera";
    /// The secret key.
    pub const SECRET_KEY: &str = "a secret key";
    /// The bucket.
    pub const BUCKET: &str = "bucket";

    /// What `cargo` is asked to do to get the program.
    pub const INSTALL: &str = "install s3s-fs --version 0.14.1 --features binary --locked --debug";

    /// Whether the program is there; the error says how to get it.
    ///
    /// # Errors
    /// It is not installed, or another version of it.
    pub fn installed() -> Result<(), Failure> {
        program().map(drop)
    }

    /// Starts a service of its own.
    ///
    /// # Errors
    /// The program is missing or does not come up.
    pub fn start() -> Result<Self, Failure> {
        let program = program()?;
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
