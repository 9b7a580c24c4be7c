//! A push gateway that keeps what it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::StatusCode, routing::post};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time::timeout};

/// A running gateway; dropping it ends it.
#[derive(Debug)]
pub struct PushGateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Vec<Value>>,
    /// Keys that it rejects.
    rejected: Mutex<Vec<String>>,
    /// Requests that it fails.
    failing: Mutex<u32>,
    changed: Notify,
}

impl PushGateway {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let router = Router::new()
            .route("/_matrix/push/v1/notify", post(notify))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, shared, task })
    }

    /// The URL for `data.url` of a pusher.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/_matrix/push/v1/notify", self.address)
    }

    /// Rejects this key from now on.
    pub fn reject(&self, key: &str) {
        self.shared.rejected.lock().unwrap_or_else(PoisonError::into_inner).push(key.to_owned());
    }

    /// Fails the next requests.
    pub fn fail(&self, count: u32) {
        *self.shared.failing.lock().unwrap_or_else(PoisonError::into_inner) = count;
    }

    /// Notifications so far.
    #[must_use]
    pub fn told(&self) -> Vec<Value> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a notification that `wanted` says yes to.
    ///
    /// # Errors
    /// There is none within half a minute.
    pub async fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let looking = async {
            loop {
                let changed = self.shared.changed.notified();
                if let Some(found) = self.told().into_iter().find(&wanted) {
                    return found;
                }
                changed.await;
            }
        };
        let found = timeout(Duration::from_secs(30), looking).await;
        found.with_context(|| format!("not told; only {:?}", self.told()))
    }
}

impl Drop for PushGateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn notify(State(shared): State<Arc<Shared>>, body: Bytes) -> (StatusCode, String) {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let notification = body.get("notification").cloned().unwrap_or_default();
    let mut failing = shared.failing.lock().unwrap_or_else(PoisonError::into_inner);
    if *failing > 0 {
        *failing -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    drop(failing);
    shared.told.lock().unwrap_or_else(PoisonError::into_inner).push(notification);
    let rejected = shared.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone();
    shared.changed.notify_waiters();
    (StatusCode::OK, json!({ "rejected": rejected }).to_string())
}
