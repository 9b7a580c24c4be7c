//! A running server with users, for the tests that need no more.

use std::{fs, sync::Arc};

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::{
    api::{self, Answer, Session},
    binary, http,
    server::{Options, Server},
};

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) http: reqwest::Client,
    pub(crate) base: Arc<str>,
    /// The folder of its descriptor, which a restart reads again.
    _config: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let server = Server::start().await.unwrap();
        let base = server.url().into();
        Self { server, http: http::client().unwrap(), base, _config: None }
    }

    /// A server whose testing descriptor has these lines at its end; a table that is in both is theirs alone.
    pub(crate) async fn start_with_config(more: &str) -> Self {
        let testing = binary::testing_config()
            .map(|path| fs::read_to_string(path).unwrap())
            .unwrap_or_default();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tessera.toml");
        fs::write(&config, with_lines(&testing, more)).unwrap();
        let server =
            Server::start_with(Options { config: Some(config), ..Options::testing().unwrap() })
                .await
                .unwrap();
        let base = server.url().into();
        Self { server, http: http::client().unwrap(), base, _config: Some(folder) }
    }

    pub(crate) async fn user(&self, name: &str) -> Session {
        Session::register(&self.http, &self.base, name).await.unwrap()
    }

    /// A user and a public room of theirs.
    pub(crate) async fn user_in_room(&self, name: &str) -> (Session, String) {
        let user = self.user(name).await;
        let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
        (user, room)
    }

    /// A request without the client's path prefix.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(|b| b.to_string().into_bytes());
        api::request(&self.http, method, &format!("{}{path}", self.base), token, body)
            .await
            .unwrap()
    }

    /// The server still serves: nothing of what was done before hurt it.
    pub(crate) async fn still_serves(&self, user: &Session, room: &str) {
        let event_id = user.text(room, "still-serves", "still there").await.unwrap();
        let event = user.get(&format!("/rooms/{room}/event/{event_id}")).await.unwrap();
        assert_eq!(event["content"]["body"], "still there");
    }
}

fn with_lines(testing: &str, more: &str) -> String {
    let header = |line: &str| line.starts_with('[') && !line.starts_with("[[");
    let theirs: Vec<&str> = more.lines().map(str::trim).filter(|line| header(line)).collect();
    let (mut text, mut left_out) = (String::new(), false);
    for line in testing.lines() {
        if line.starts_with('[') {
            left_out = theirs.contains(&line.trim());
        }
        if !left_out {
            text.push_str(line);
            text.push('\n');
        }
    }
    format!("{text}\n{more}\n")
}

#[track_caller]
pub(crate) fn assert_error(answer: &Answer, statuses: &[u16], errcodes: &[&str]) {
    assert!(statuses.contains(&answer.status), "wanted one of {statuses:?}: {answer:?}");
    assert!(errcodes.contains(&answer.errcode()), "wanted one of {errcodes:?}: {answer:?}");
    assert!(answer.body["error"].is_string(), "no text beside the code: {answer:?}");
}

/// A number from the environment.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}
