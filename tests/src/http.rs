//! The HTTP client of tests and loads.

use std::{sync::Once, time::Duration};

use anyhow::{Context, Result};

/// A client for plain HTTP on loopback that keeps as many connections as it needs and never follows redirects.
///
/// # Errors
/// The client cannot be built (no TLS back end; cannot happen with the features chosen in the workspace).
pub fn client() -> Result<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails only when one is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(usize::MAX)
        .pool_idle_timeout(Duration::from_secs(60))
        .timeout(Duration::from_secs(120))
        .build()
        .context("building the HTTP client")
}
