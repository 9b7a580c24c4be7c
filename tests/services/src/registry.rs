//! A registry of OCI images: Debian's `docker-registry`.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use crate::Failure;
use crate::guard::{Folder, Guard, free_port};

const MISSING: &str = "no registry (docker-registry) is installed";

/// A running registry without log-in, plain HTTP. What it stores goes with it.
#[derive(Debug)]
pub struct Registry {
    _guard: Guard,
    _folder: Folder,
    port: u16,
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin")])
        .map(|folder| folder.join("docker-registry"))
        .find(|program| program.exists())
}

impl Registry {
    /// Whether the program is there; the error says that it is not.
    ///
    /// # Errors
    /// No registry is installed.
    pub fn installed() -> Result<(), Failure> {
        program().map(drop).ok_or_else(|| MISSING.to_owned())
    }

    /// Starts a registry of its own.
    ///
    /// # Errors
    /// The program is missing or does not come up.
    pub fn start() -> Result<Self, Failure> {
        let program = program().ok_or(MISSING)?.display().to_string();
        let folder = Folder::new("registry", None)?;
        let mut failure = String::new();
        // Another process may take the port between look and start.
        for _ in 0..5 {
            let port = free_port()?;
            let settings = folder.0.join("config.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: '127.0.0.1:{port}'}}\n",
                folder.0.join("store").display()
            );
            fs::write(&settings, text).map_err(|e| format!("{}: {e}", settings.display()))?;
            let command = [program.clone(), "serve".to_owned(), settings.display().to_string()];
            let ready = || TcpStream::connect(("127.0.0.1", port)).is_ok();
            match Guard::start(&folder.0, &command, ready) {
                Ok(guard) => return Ok(Self { _guard: guard, _folder: folder, port }),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
