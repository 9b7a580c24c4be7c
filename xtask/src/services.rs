//! `services`, and what tests and nodes need of it: PostgreSQL and NATS on loopback.

use crate::{
    apt,
    cmd::{Cmd, Run as _},
    ui,
};
use anyhow::{Context, Result, anyhow};
use std::env;
use tessera_test_services::{Nats, Postgres, Registry, S3};

/// Where tests find a PostgreSQL server (a superuser's URL) and a NATS server.
pub(crate) const VARIABLES: [&str; 2] = ["TESSERA_TEST_POSTGRES", "TESSERA_TEST_NATS"];

/// Debian's packages of both.
pub(crate) const POSTGRES_PACKAGES: [&str; 1] = ["postgresql"];
pub(crate) const NATS_PACKAGES: [&str; 1] = ["nats-server"];

/// Debian's package of the registry that packages of modules are tested with.
pub(crate) const REGISTRY_PACKAGES: [&str; 1] = ["docker-registry"];

/// Makes sure that both are installed.
pub(crate) fn ensure() -> Result<()> {
    if Postgres::installed().is_err() {
        apt::install("PostgreSQL", &POSTGRES_PACKAGES)?;
        Postgres::installed().map_err(|failure| anyhow!(failure))?;
    }
    if Nats::installed().is_err() {
        apt::install("NATS", &NATS_PACKAGES)?;
        Nats::installed().map_err(|failure| anyhow!(failure))?;
    }
    Ok(())
}

/// The server that tests of blobs on S3 speak to; not part of the workspace, whose builds it would lengthen.
fn install_s3() -> Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools");
    Cmd::cargo()
        .args(S3::INSTALL.split(' '))
        .args(["--root", root])
        .show("install s3s-fs, once (takes some minutes)")
}

/// Running servers; they end with this.
pub(crate) struct Services {
    pub(crate) postgres: Postgres,
    pub(crate) nats: Nats,
}

impl Services {
    /// Starts both on free ports, with nothing in them. `durable`: commits are synced.
    pub(crate) fn start(durable: bool) -> Result<Self> {
        ensure()?;
        ui::step("start PostgreSQL and NATS on loopback");
        let postgres = if durable { Postgres::durable() } else { Postgres::start() };
        let postgres = postgres.map_err(|failure| anyhow!("PostgreSQL: {failure}"))?;
        let nats = Nats::start().map_err(|failure| anyhow!("NATS: {failure}"))?;
        Ok(Self { postgres, nats })
    }

    /// For a whole test run: nothing if the caller's environment names both already.
    pub(crate) fn for_tests() -> Result<Option<Self>> {
        if Registry::installed().is_err()
            && let Err(error) = apt::install("a registry", &REGISTRY_PACKAGES)
        {
            ui::error(&error); // the tests that need it say so and end
        }
        if S3::installed().is_err()
            && let Err(error) = install_s3()
        {
            ui::error(&error); // as above
        }
        if VARIABLES.iter().all(|name| env::var_os(name).is_some()) {
            return Ok(None);
        }
        Self::start(false).map(Some)
    }

    /// What goes into the environment of tests.
    pub(crate) fn variables(&self) -> [(&'static str, String); 2] {
        let [postgres, nats] = VARIABLES;
        [(postgres, self.postgres.url()), (nats, self.nats.url())]
    }
}

/// Runs both until Ctrl-C.
pub(crate) fn run() -> Result<()> {
    let services = Services::start(true)?;
    for (name, url) in services.variables() {
        println!("{name}={url}");
    }
    ui::say("Ctrl-C ends both and removes what they have stored.");
    wait_for_end()?;
    ui::step("stop NATS and PostgreSQL");
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) fn wait_for_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot wait for signals")?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
