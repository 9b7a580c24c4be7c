//! The main job with real clients, and a kill -9 in the middle.

use tessera_tests::{binary, script, server::Server};
use tokio::process::Command;

#[tokio::test]
async fn e2e_matrix_js_sdk_plays_the_main_job() {
    let folder = binary::workspace().join("tests/clients/js");
    let node = folder.join("node_modules/.bin/node");
    assert!(
        node.exists(),
        "the client is not installed: run `npm install` in {}",
        folder.display()
    );
    let mut command = Command::new(node);
    command.arg(folder.join("main.mjs"));
    play(command, 80).await;
}

#[tokio::test]
async fn e2e_matrix_nio_plays_the_main_job() {
    let folder = binary::workspace().join("tests/clients/nio");
    let python = std::env::var_os("TESSERA_NIO_PYTHON")
        .map_or_else(|| binary::workspace().join("target/venv/bin/python"), Into::into);
    assert!(
        python.exists(),
        "the client is not installed: run `python3 -m venv target/venv && target/venv/bin/pip install -r {}`",
        folder.join("requirements.txt").display()
    );
    let mut command = Command::new(python);
    command.arg(folder.join("main.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    play(command, 60).await;
}

/// Plays a script against a server of its own; `least` keeps a script that checks nothing from passing.
async fn play(mut command: Command, least: usize) {
    let mut server = Server::start().await.unwrap();
    command.args(["--url", &server.url()]);
    // Servers that are not ours have another default version.
    if std::env::var_os("TESSERA_E2E_ANY_VERSION").is_some() {
        command.arg("--any-default-version");
    }
    let outcome = script::play(command, &mut server).await.unwrap();
    assert!(outcome.failed.is_empty(), "{:#?}", outcome.failed);
    assert!(outcome.restarted, "the script never came to its restart point");
    assert!(outcome.held.len() >= least, "only {} checks", outcome.held.len());
}
