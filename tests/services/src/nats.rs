//! A NATS server with JetStream.

use std::net::TcpStream;
use std::path::Path;

use crate::Failure;
use crate::guard::{Folder, Guard, free_port};

/// A running `nats-server`; what JetStream stores outlives [`Nats::kill`].
#[derive(Debug)]
pub struct Nats {
    guard: Option<Guard>,
    folder: Folder,
    port: u16,
}

fn program() -> String {
    let known = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"];
    known.into_iter().find(|path| Path::new(path).exists()).unwrap_or("nats-server").to_owned()
}

impl Nats {
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

fn launch(folder: &Folder, port: u16) -> Result<Guard, Failure> {
    let store = folder.0.join("store");
    let command = [
        program(),
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
}
