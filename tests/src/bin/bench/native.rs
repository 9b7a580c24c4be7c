//! The native no-op handler that the edge is compared with: axum, the same bytes, a process of its own.

use std::{io::Read as _, net::SocketAddr, process::Stdio};

use anyhow::{Context, Result};
use axum::{Router, http::header, response::IntoResponse, routing::get};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

/// The path of the native handler.
pub(crate) const PATH: &str = "/noop";
/// The environment variable that carries the bytes to serve.
const BODY: &str = "BENCH_NATIVE_BODY";

/// Serves the bytes until standard input closes, as it does when the parent ends in whatever way.
pub(crate) async fn serve(address: SocketAddr) -> Result<()> {
    let body = std::env::var(BODY).context(BODY)?;
    let handler = move || {
        let body = body.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], body).into_response() }
    };
    let listener = TcpListener::bind(address).await?;
    let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        served = async { axum::serve(listener, Router::new().route(PATH, get(handler))).await } => served.context("serving"),
        _ = parent => Ok(()),
    }
}

/// Starts [`serve`] as a child with these bytes; it is killed when dropped.
pub(crate) fn start(address: SocketAddr, body: &str) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["--serve-native", &address.to_string()])
        .env(BODY, body)
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting the native handler")
}
