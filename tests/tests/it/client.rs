//! What clients do, operation by operation: `cargo xtask coverage` counts what is called here.
//!
//! The tests share servers and run on each kind: one process on SQLite, PostgreSQL, three nodes.

mod accounts;
mod admin;
mod backup;
mod directory;
mod history;
mod keys;
mod large;
mod media;
mod membership;
mod presence;
mod push;
mod rooms;
mod rooms_admin;
mod search;
mod sliding;
mod sync_v2;
mod threepids;
mod to_device;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use reqwest::Method;
use serde_json::Value;
use tessera_tests::{
    api::{self, Answer, Session},
    front::{Running, VARIABLE},
    http,
    random::Random,
};

/// The server of a test: one that it shares with others, or its own. What it makes there needs names of its own.
pub(crate) struct Front {
    pub(crate) http: reqwest::Client,
    urls: Vec<Arc<str>>,
    next: AtomicUsize,
    word: String,
    _own: Option<Running>,
}

impl Front {
    pub(crate) async fn get() -> Self {
        let (urls, own) = match std::env::var(VARIABLE) {
            Ok(urls) => (urls.split(',').map(Arc::from).collect(), None),
            Err(_) => {
                let own = Running::start("sqlite").await.unwrap();
                (own.urls().into_iter().map(Arc::from).collect(), Some(own))
            }
        };
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let mut random = Random::new(nanos ^ (u64::from(std::process::id()) << 40));
        let number = random.next_u64();
        Self {
            http: http::client().unwrap(),
            urls,
            next: AtomicUsize::new(number as usize % 97),
            word: format!("{number:016x}"),
            _own: own,
        }
    }

    /// A word that no other test has.
    pub(crate) fn name(&self, stem: &str) -> String {
        format!("{stem}-{}", self.word)
    }

    /// Where the next user goes: another node each time.
    pub(crate) fn base(&self) -> Arc<str> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.urls[next % self.urls.len()])
    }

    /// Registers `STEM-RANDOM`.
    pub(crate) async fn user(&self, stem: &str) -> Session {
        Session::register(&self.http, &self.base(), &self.name(stem)).await.unwrap()
    }

    /// Another device of a user of [`Front::user`].
    pub(crate) async fn device(&self, stem: &str) -> Session {
        Session::login(&self.http, &self.base(), &self.name(stem)).await.unwrap()
    }

    /// A request by anybody; `path` is whole.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(|body| body.to_string().into_bytes());
        let url = format!("{}{path}", self.base());
        api::request(&self.http, method, &url, token, body).await.unwrap()
    }
}
