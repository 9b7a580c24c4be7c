//! `doctor`: one line for each thing that this repository needs.

use crate::{
    apt, clients,
    cmd::Cmd,
    host, services, test,
    toolchain::{self, Toolchain},
    workspace::Workspace,
};
use anyhow::{Result, bail};
use tessera_test_services::{Nats, Postgres, Registry, S3};

/// How much a thing is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing works without it.
    Always,
    /// Tests need it, or a check that is skipped without it.
    Sometimes,
}

/// Prints the lines; an error if something that is always needed is missing.
pub(crate) fn doctor() -> Result<()> {
    let workspace = Workspace::load()?;
    let mut missing = 0;
    let mut line = |what: &str, found: Option<String>, need: Need, fix: &str| {
        let (word, text) = match (&found, need) {
            (Some(found), _) => ("ok     ", found.clone()),
            (None, Need::Always) => ("missing", format!("run: {fix}")),
            (None, Need::Sometimes) => ("absent ", format!("run: {fix}")),
        };
        missing += u32::from(found.is_none() && need == Need::Always);
        println!("{word} {what}: {text}");
    };
    let answer = |program: &str, args: &[&str]| {
        let said = Cmd::new(program).args(args.iter().copied()).read()?;
        Some(said.lines().next().unwrap_or_default().to_owned())
    };
    let there = |yes: bool, text: &str| yes.then(|| text.to_owned());

    line("rustc", answer("rustc", &["--version"]), Need::Always, "rustup toolchain install stable");
    let compiler = there(host::has_c_compiler(), "answers");
    line("C compiler", compiler, Need::Always, &apt::command(&["build-essential"]));
    let guests = Toolchain::find().map(|found| found.to_string());
    let either = format!("(one of the two)\n{}", toolchain::fix());
    line("guest compiler", guests, Need::Always, &either);
    let nextest = there(test::has_nextest(), "answers");
    line("cargo-nextest", nextest, Need::Sometimes, "cargo install cargo-nextest --locked");
    for (what, found, packages) in [
        ("PostgreSQL", Postgres::installed(), services::POSTGRES_PACKAGES),
        ("nats-server", Nats::installed(), services::NATS_PACKAGES),
        ("docker-registry", Registry::installed(), services::REGISTRY_PACKAGES),
    ] {
        let found = found.ok().map(|()| "installed".to_owned());
        line(what, found, Need::Sometimes, &apt::command(&packages));
    }
    let s3 = S3::installed().ok().map(|()| "installed".to_owned());
    let fix = format!("cargo {} --root target/tools", S3::INSTALL);
    line("s3s-fs", s3, Need::Sometimes, &fix);
    let npm = answer("npm", &["--version"]);
    line("npm", npm, Need::Sometimes, &apt::command(&["nodejs", "npm"]));
    let venv = there(clients::has_venv(), "makes virtual environments");
    line("python3", venv, Need::Sometimes, &apt::command(&["python3", "python3-venv"]));
    let ready = there(clients::are_ready(&workspace), "installed");
    line("clients for tests", ready, Need::Sometimes, "cargo xtask test e2e (installs them)");
    for tool in ["deny", "machete"] {
        let found = Cmd::cargo().args([tool, "--version"]).read();
        let fix = format!("cargo install cargo-{tool} --locked");
        line(&format!("cargo-{tool}"), found, Need::Sometimes, &fix);
    }
    if missing > 0 {
        bail!("{missing} missing; the other tasks install what they can by themselves");
    }
    Ok(())
}
