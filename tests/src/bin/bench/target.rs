//! The server under load: one that runs somewhere, or the release build in a folder of its own.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tessera_tests::{
    http, proc,
    server::{Options as Start, Server},
};

use crate::{Options, people::People};

pub(crate) struct Target {
    pub(crate) base: Arc<str>,
    pub(crate) pid: Option<u32>,
    pub(crate) http: reqwest::Client,
    /// Users, made when a load needs them and kept for the next.
    pub(crate) people: People,
    server: Option<Server>,
}

impl Target {
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        let server = match &options.url {
            Some(_) => None,
            None => Some(Server::start_with(Start::release()?).await?),
        };
        let base: Arc<str> = match (&options.url, &server) {
            (Some(url), _) => url.trim_end_matches('/').into(),
            (None, Some(server)) => server.url().into(),
            (None, None) => anyhow::bail!("no server"),
        };
        let pid = options.pid.or_else(|| server.as_ref().and_then(Server::pid));
        let http = http::client()?;
        Ok(Self { people: People::new(http.clone(), base.clone()), base, pid, http, server })
    }

    /// Whether this harness started the server, so that start-up may be measured.
    pub(crate) fn is_own(&self) -> bool {
        self.server.is_some()
    }

    /// Resident memory in KiB, when the process is known.
    pub(crate) fn rss_kib(&self) -> Result<Option<f64>> {
        #[expect(clippy::cast_precision_loss, reason = "memory stays far below 2^52 bytes")]
        Ok(self.pid.map(proc::rss).transpose()?.map(|bytes| bytes as f64 / 1024.0))
    }

    pub(crate) async fn close(self) -> Result<()> {
        if let Some(mut server) = self.server {
            server.stop(Duration::from_secs(30)).await?;
        }
        Ok(())
    }
}
