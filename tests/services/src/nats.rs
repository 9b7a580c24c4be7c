//! A NATS server with JetStream.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::Failure;
use crate::guard::{Folder, Guard, free_port};
use crate::process;

const MISSING: &str = "no NATS server (nats-server) is installed";

/// A running `nats-server`; what JetStream stores outlives [`Nats::kill`].
#[derive(Debug)]
pub struct Nats {
    guard: Option<Guard>,
    folder: Folder,
    port: u16,
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(known)
        .map(|folder| folder.join("nats-server"))
        .find(|program| program.exists())
}

impl Nats {
    /// Whether the program is there; the error says that it is not.
    ///
    /// # Errors
    /// No server is installed.
    pub fn installed() -> Result<(), Failure> {
        program().map(drop).ok_or_else(|| MISSING.to_owned())
    }

    /// Starts a server of its own.
    ///
    /// # Errors
    /// The program is missing or does not come up.
    pub fn start() -> Result<Self, Failure> {
        let folder = Folder::new("nats", None)?;
        let mut failure = String::new();
        // Another process may take the port between look and start.
        for _ in 0..5 {
            let port = free_port()?;
            match launch(&folder, port) {
                Ok(guard) => return Ok(Self { guard: Some(guard), folder, port }),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// `nats://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends the server at once, without a word to its clients.
    pub fn kill(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.signal("KILL");
            guard.wait();
        }
    }

    /// Stops the server's process as it stands, connections open: a hang.
    pub fn pause(&self) {
        if let Some(guard) = &self.guard {
            guard.signal("STOP");
        }
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        if let Some(guard) = &self.guard {
            guard.signal("CONT");
        }
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.guard.as_ref().and_then(Guard::pid)
    }

    /// CPU time since it started.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        self.pid().map(process::cpu_of_family)
    }

    /// Forgets all that JetStream has stored; a server that runs is killed for it and not started
    /// again.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn wipe(&mut self) -> Result<(), Failure> {
        self.kill();
        let store = store(&self.folder);
        if store.exists() {
            fs::remove_dir_all(&store).map_err(|e| format!("{}: {e}", store.display()))?;
        }
        Ok(())
    }

    /// Starts the server again, at the same address and with what it had stored; one that still
    /// runs is killed first.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.kill();
        self.guard = Some(launch(&self.folder, self.port)?);
        Ok(())
    }
}

fn store(folder: &Folder) -> PathBuf {
    folder.0.join("store")
}

fn launch(folder: &Folder, port: u16) -> Result<Guard, Failure> {
    let store = store(folder);
    let command = [
        program().ok_or(MISSING)?.display().to_string(),
        "-a".to_owned(),
        "127.0.0.1".to_owned(),
        "-p".to_owned(),
        port.to_string(),
        "-js".to_owned(),
        "-sd".to_owned(),
        store.display().to_string(),
    ];
    Guard::start(&folder.0, &command, || TcpStream::connect(("127.0.0.1", port)).is_ok())
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_comes_back_at_its_address() {
        let mut server = match Nats::start() {
            Ok(server) => server,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return;
            }
        };
        let address = server.url().replace("nats://", "");
        TcpStream::connect(&address).unwrap();
        server.kill();
        TcpStream::connect(&address).unwrap_err();
        server.restart().unwrap();
        TcpStream::connect(&address).unwrap();
    }

    #[test]
    fn a_wiped_server_has_no_store_until_it_comes_back() {
        let mut server = match Nats::start() {
            Ok(server) => server,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return;
            }
        };
        server.wipe().unwrap();
        assert!(!store(&server.folder).exists());
        assert_eq!(server.pid(), None);
        server.restart().unwrap();
        assert!(server.cpu().is_some());
    }
}
