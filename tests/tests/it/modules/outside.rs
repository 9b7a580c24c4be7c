//! A service outside the homeserver, played by the test: it keeps what it was asked and answers as the test wants.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, http::Uri};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// What it answers on a path.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// At once.
    Json(u16, Value),
    /// Text that is no JSON.
    Garbage,
    /// Never: longer than anybody waits.
    Silence,
}

/// One question.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

#[derive(Debug, Default)]
struct Inside {
    replies: Mutex<HashMap<String, Reply>>,
    asked: Mutex<Vec<Asked>>,
}

/// The running service; it ends with this value.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) url: String,
    inside: Arc<Inside>,
    serving: JoinHandle<()>,
}

impl Outside {
    /// Starts it; it answers `{}` where nothing else is set.
    pub(crate) async fn start() -> Self {
        let inside = Arc::<Inside>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(inside.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inside, serving }
    }

    /// What it answers on this path from now on.
    pub(crate) fn reply(&self, path: &str, reply: Reply) {
        self.inside.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// What it was asked on this path so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.inside.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    State(inside): State<Arc<Inside>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let path = uri.path().to_owned();
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let asked = Asked {
        path: path.clone(),
        authorization: header.unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    inside.asked.lock().unwrap().push(asked);
    let reply = inside.replies.lock().unwrap().get(&path).cloned();
    match reply {
        None => (StatusCode::OK, "{}".to_owned()),
        Some(Reply::Json(status, body)) => {
            (StatusCode::from_u16(status).unwrap(), body.to_string())
        }
        Some(Reply::Garbage) => (StatusCode::BAD_GATEWAY, "<html>".to_owned()),
        Some(Reply::Silence) => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            (StatusCode::OK, String::new())
        }
    }
}
