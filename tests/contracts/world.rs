//! A server in which one service is the file under test, with a probe among its plug-ins.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tessera_tests::{
    api::{self, Answer, Session},
    binary, http,
    server::{Options, Server},
};

/// How long something that comes by itself may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) http: reqwest::Client,
    _folder: TempDir,
}

/// Two users in a room of the first.
pub(crate) struct Pair {
    pub(crate) alice: Session,
    pub(crate) bob: Session,
    pub(crate) room: String,
}

impl World {
    /// `file`: of `target/plugins`; none: what the environment names, by default ours.
    pub(crate) async fn start(service: &str, file: Option<&str>) -> Self {
        let variable = format!("TESSERA_CONTRACT_{}", service.to_uppercase());
        let plugins = binary::plugins().unwrap();
        let file = match file {
            Some(file) => plugins.join(file),
            None => std::env::var_os(variable)
                .map_or_else(|| plugins.join(format!("{service}.wasm")), PathBuf::from),
        };
        assert!(file.is_file(), "{} is not there", file.display());
        let probe = binary::fixtures().unwrap().join("contract-probe.wasm");
        Self::with(&format!(
            "[plugins.{service}]\nsource = {file:?}\ngrants = \"asked\"\n\
             [plugins.contract-probe]\nsource = {probe:?}\ngrants = \"asked\"\n"
        ))
        .await
    }

    /// A server whose testing descriptor has these lines at its end.
    pub(crate) async fn with(more: &str) -> Self {
        let testing = binary::testing_config()
            .map(|path| fs::read_to_string(path).unwrap())
            .unwrap_or_default();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tessera.toml");
        fs::write(&config, format!("{testing}\n{more}")).unwrap();
        let options = Options { config: Some(config), ..Options::testing().unwrap() };
        let server = Server::start_with(options).await.unwrap();
        Self { server, http: http::client().unwrap(), _folder: folder }
    }

    pub(crate) async fn user(&self, name: &str) -> Session {
        Session::register(&self.http, &self.server.url(), name).await.unwrap()
    }

    pub(crate) async fn pair(&self) -> Pair {
        let (alice, bob) = (self.user("alice").await, self.user("bob").await);
        let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
        bob.join(&room).await.unwrap();
        Pair { alice, bob, room }
    }

    async fn probe(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/probe/{path}", self.server.url());
        let body = body.map(|body| body.to_string().into_bytes());
        let answer = api::request(&self.http, method, &url, None, body).await.unwrap();
        answer.ok().unwrap()
    }

    /// Rows of a view, as another plug-in sees them. Parameters: texts and whole numbers.
    pub(crate) async fn rows(&self, sql: &str, params: &[Value]) -> Vec<Value> {
        let body = json!({"sql": sql, "params": params});
        let answer = self.probe(Method::POST, "query", Some(&body)).await;
        let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{sql}: {answer}"));
        rows.clone()
    }

    /// A call of a service by another plug-in: `{"ok": …}` or `{"error": …}`.
    pub(crate) async fn call(&self, function: &str, arguments: &Value) -> Value {
        let body = json!({"function": function, "arguments": arguments});
        self.probe(Method::POST, "call", Some(&body)).await
    }

    /// As [`World::call`], where it must succeed.
    pub(crate) async fn ok(&self, function: &str, arguments: &Value) -> Value {
        let answer = self.call(function, arguments).await;
        answer.get("ok").unwrap_or_else(|| panic!("{function}: {answer}")).clone()
    }

    /// As [`World::call`], where it must fail: the case of the error.
    pub(crate) async fn error(&self, function: &str, arguments: &Value) -> String {
        let answer = self.call(function, arguments).await;
        answer["error"].as_str().unwrap_or_else(|| panic!("{function}: {answer}")).to_owned()
    }

    /// Waits until something that comes by itself is so.
    pub(crate) async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < until, "it never came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Messages of a topic that have come so far: `{key, payload, position}`, oldest first.
    pub(crate) async fn heard(&self, topic: &str) -> Vec<Value> {
        let answer = self.probe(Method::GET, &format!("heard/{topic}"), None).await;
        answer.as_array().unwrap().clone()
    }

    /// Waits until `found` finds something in the topic's messages.
    pub(crate) async fn hears<T>(
        &self,
        topic: &str,
        mut found: impl FnMut(&[Value]) -> Option<T>,
    ) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let heard = self.heard(topic).await;
            if let Some(found) = found(&heard) {
                return found;
            }
            assert!(Instant::now() < until, "{topic}: {heard:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Syncs on from `since` until `found` finds something; gives it and the token behind it.
pub(crate) async fn syncs<T>(
    user: &Session,
    since: &str,
    mut found: impl FnMut(&Value) -> Option<T>,
) -> (T, String) {
    let until = Instant::now() + PATIENCE;
    let mut since = since.to_owned();
    loop {
        let answer = user.sync(Some(&since), Duration::from_secs(2), "").await.unwrap();
        since = api::string(&answer, "next_batch").unwrap();
        if let Some(found) = found(&answer) {
            return (found, since);
        }
        assert!(Instant::now() < until, "not told: {answer:#}");
    }
}

/// The content of an ephemeral event of a room in a sync answer.
pub(crate) fn ephemeral<'a>(sync: &'a Value, room: &str, kind: &str) -> Option<&'a Value> {
    let events = sync["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    Some(&events.iter().find(|event| event["type"] == kind)?["content"])
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, errcode: &str) {
    assert_eq!((answer.status, answer.errcode()), (status, errcode), "{answer:?}");
}
