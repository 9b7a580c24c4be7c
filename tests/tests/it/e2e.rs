//! The main job with real clients, and a kill -9 in the middle.

use tessera_tests::{
    binary,
    script::{self, Outcome},
    server::Server,
};
use tokio::process::Command;

/// Checks of each script at least: one that checks nothing must not pass.
pub(crate) const JS_CHECKS: usize = 80;
pub(crate) const NIO_CHECKS: usize = 60;

#[tokio::test]
async fn e2e_matrix_js_sdk_plays_the_main_job() {
    play(matrix_js_sdk(), JS_CHECKS).await;
}

#[tokio::test]
async fn e2e_matrix_nio_plays_the_main_job() {
    play(matrix_nio(), NIO_CHECKS).await;
}

/// The main job of matrix-js-sdk; `--url` is still missing.
pub(crate) fn matrix_js_sdk() -> Command {
    js("main.mjs")
}

/// A script of matrix-js-sdk, without its arguments.
pub(crate) fn js(script: &str) -> Command {
    let folder = binary::workspace().join("tests/clients/js");
    let node = folder.join("node_modules/.bin/node");
    assert!(
        node.exists(),
        "the client is not installed: run `npm install` in {}",
        folder.display()
    );
    let mut command = Command::new(node);
    command.arg(folder.join(script));
    command
}

/// The main job of matrix-nio; `--url` is still missing.
pub(crate) fn matrix_nio() -> Command {
    nio("main.py")
}

/// A script of matrix-nio, without its arguments.
pub(crate) fn nio(script: &str) -> Command {
    let folder = binary::workspace().join("tests/clients/nio");
    let python = std::env::var_os("TESSERA_NIO_PYTHON")
        .map_or_else(|| binary::workspace().join("target/venv/bin/python"), Into::into);
    assert!(
        python.exists(),
        "the client is not installed: run `python3 -m venv target/venv && target/venv/bin/pip install -r {}`",
        folder.join("requirements.txt").display()
    );
    let mut command = Command::new(python);
    command.arg(folder.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Plays a script against a server of its own.
async fn play(mut command: Command, least: usize) {
    let mut server = Server::start().await.unwrap();
    command.args(["--url", &server.url()]);
    // Servers that are not ours have another default version.
    if std::env::var_os("TESSERA_E2E_ANY_VERSION").is_some() {
        command.arg("--any-default-version");
    }
    judge(&script::play(command, &mut server).await.unwrap(), least);
}

/// Every check holds, and there were enough of them.
#[track_caller]
pub(crate) fn judge(outcome: &Outcome, least: usize) {
    assert!(outcome.failed.is_empty(), "{:#?}", outcome.failed);
    assert!(outcome.restarted, "the script never came to its restart point");
    assert!(outcome.held.len() >= least, "only {} checks", outcome.held.len());
}
