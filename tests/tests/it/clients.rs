//! Clients that people use, unchanged: encryption, a browser, sliding sync.

use std::path::PathBuf;

use tessera_tests::{binary, script, server::Server};
use tokio::process::Command;

use crate::e2e;

/// Checks of each script at least: one that checks nothing must not pass.
const JS_CRYPTO_CHECKS: usize = 28;
const BROWSER_CHECKS: usize = 9;
const NIO_CRYPTO_CHECKS: usize = 13;
const RUST_CHECKS: usize = 17;

/// Plays a script against a server of its own, without a restart in the middle.
async fn play(mut command: Command, least: usize) {
    let mut server = Server::start().await.unwrap();
    command.args(["--url", &server.url()]);
    let outcome = script::play(command, &mut server).await.unwrap();
    assert!(outcome.failed.is_empty(), "{:#?}", outcome.failed);
    assert!(outcome.held.len() >= least, "only {} checks", outcome.held.len());
}

/// Where pictures of what was seen are kept.
fn artefacts() -> PathBuf {
    binary::workspace().join("target/tmp/clients")
}

#[tokio::test]
async fn clients_matrix_js_sdk_encrypts_verifies_backs_up_and_shares() {
    play(e2e::js("crypto.mjs"), JS_CRYPTO_CHECKS).await;
}

#[tokio::test]
async fn clients_matrix_js_sdk_in_chromium_sends_reads_and_shows_pictures() {
    let mut command = e2e::js("browser.mjs");
    command.arg("--screenshot").arg(artefacts().join("browser.png"));
    play(command, BROWSER_CHECKS).await;
}

#[tokio::test]
async fn clients_matrix_nio_encrypts_and_verifies() {
    play(e2e::nio("crypto.py"), NIO_CRYPTO_CHECKS).await;
}

#[tokio::test]
#[ignore = "builds matrix-sdk, which takes minutes: cargo xtask test clients"]
async fn clients_matrix_sdk_for_rust_uses_sliding_sync() {
    let program = binary::workspace().join("target/clients/debug/tessera-e2e-rust");
    assert!(program.exists(), "not built: run `cargo xtask test clients`");
    play(Command::new(program), RUST_CHECKS).await;
}
