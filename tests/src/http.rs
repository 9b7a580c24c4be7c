//! The HTTP client of tests and loads.

use std::{
    net::SocketAddr,
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How long a page may take until it answers 200.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// A client for plain HTTP on loopback that keeps as many connections as it needs and never follows redirects.
///
/// # Errors
/// The client cannot be built (no TLS back end; cannot happen with the features chosen in the workspace).
pub fn client() -> Result<reqwest::Client> {
    builder().build().context("building the HTTP client")
}

/// As [`client`], for many hosts on one listener: every name is 127.0.0.1.
///
/// # Errors
/// As [`client`].
pub fn client_of_hosts() -> Result<reqwest::Client> {
    builder().dns_resolver(Arc::new(Loopback)).build().context("building the HTTP client")
}

/// Finds every name at 127.0.0.1.
#[derive(Debug)]
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _name: Name) -> Resolving {
        let found: Addrs = Box::new(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0))));
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// What [`client`] is built from.
pub fn builder() -> reqwest::ClientBuilder {
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
}

/// Asks a page until it answers 200.
///
/// # Errors
/// It does not within a minute; the message carries the last answer.
pub async fn wait_for_200(url: &str) -> Result<()> {
    let client = client()?;
    let started = Instant::now();
    loop {
        let last = match client.get(url).timeout(Duration::from_secs(5)).send().await {
            Ok(answer) if answer.status().as_u16() == 200 => return Ok(()),
            Ok(answer) => {
                let status = answer.status();
                format!("{status}: {}", answer.text().await.unwrap_or_default())
            }
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
        };
        if started.elapsed() > READY_PATIENCE {
            bail!("{url} does not answer 200: {last}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
