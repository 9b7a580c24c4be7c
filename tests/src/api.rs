//! A thin client: one user with one token, requests that give status and body.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::calls;

/// An answer: status, headers and the body as JSON (`Null` when it is none).
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// The body of a 200.
    ///
    /// # Errors
    /// Another status; the message carries it with the body.
    pub fn ok(self) -> Result<Value> {
        if self.status == 200 {
            return Ok(self.body);
        }
        bail!("answered {}: {}", self.status, self.body)
    }

    /// The error code, or an empty text.
    #[must_use]
    pub fn errcode(&self) -> &str {
        self.text("errcode")
    }

    /// A text field of the body, or an empty text.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A header's text, or an empty text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

/// One device of one user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session {
    http: reqwest::Client,
    base: Arc<str>,
    /// The full user id.
    pub user_id: Arc<str>,
    /// The access token.
    pub token: Arc<str>,
    /// The device id.
    pub device_id: Arc<str>,
}

impl Session {
    /// Registers a user by one request with the dummy stage. `base` is `http://host:port`.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn register(http: &reqwest::Client, base: &str, localpart: &str) -> Result<Self> {
        let body = json!({
            "username": localpart,
            "password": format!("{localpart}'s password"),
            "auth": {"type": "m.login.dummy"},
        });
        let url = format!("{base}/_matrix/client/v3/register");
        let answer =
            request(http, Method::POST, &url, None, Some(body.to_string().into_bytes())).await?;
        let body = answer.ok().with_context(|| format!("registering {localpart}"))?;
        Self::from_login(http, base, &body)
    }

    /// Logs an existing user in with the password that [`Session::register`] gave it; a new device.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn login(http: &reqwest::Client, base: &str, localpart: &str) -> Result<Self> {
        let body = json!({
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": localpart},
            "password": format!("{localpart}'s password"),
        });
        let url = format!("{base}/_matrix/client/v3/login");
        let answer =
            request(http, Method::POST, &url, None, Some(body.to_string().into_bytes())).await?;
        let body = answer.ok().with_context(|| format!("logging {localpart} in"))?;
        Self::from_login(http, base, &body)
    }

    /// The session in the answer of a registration or login.
    ///
    /// # Errors
    /// A field is missing.
    pub fn from_login(http: &reqwest::Client, base: &str, body: &Value) -> Result<Self> {
        let field = |name: &str| {
            let text = body.get(name).and_then(Value::as_str);
            text.map(Arc::from).with_context(|| format!("no {name} in {body}"))
        };
        Ok(Self {
            http: http.clone(),
            base: base.into(),
            user_id: field("user_id")?,
            token: field("access_token")?,
            device_id: field("device_id")?,
        })
    }

    /// The same device, asking at another address.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.into(), ..self.clone() }
    }

    /// A request with this token. `path` begins behind `/_matrix/client/v3`.
    ///
    /// # Errors
    /// No answer, or not within the client's time.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.send_bytes(method, path, body.map(|b| b.to_string().into_bytes())).await
    }

    /// As [`Session::call`], with any bytes as body.
    ///
    /// # Errors
    /// No answer, or not within the client's time.
    pub async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer> {
        let url = format!("{}/_matrix/client/v3{path}", self.base);
        request(&self.http, method, &url, Some(&self.token), body).await
    }

    /// GET that must answer 200.
    ///
    /// # Errors
    /// Another status or no answer.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await?.ok().with_context(|| format!("GET {path}"))
    }

    /// POST that must answer 200.
    ///
    /// # Errors
    /// Another status or no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body))
            .await?
            .ok()
            .with_context(|| format!("POST {path}"))
    }

    /// PUT that must answer 200.
    ///
    /// # Errors
    /// Another status or no answer.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::PUT, path, Some(body)).await?.ok().with_context(|| format!("PUT {path}"))
    }

    /// Makes a room and gives its id.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn create_room(&self, options: &Value) -> Result<String> {
        string(&self.post("/createRoom", options).await?, "room_id")
    }

    /// Joins a room.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn join(&self, room: &str) -> Result<()> {
        self.post(&format!("/rooms/{room}/join"), &json!({})).await.map(drop)
    }

    /// Sends a text and gives its event id.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn text(&self, room: &str, txn: &str, body: &str) -> Result<String> {
        let path = format!("/rooms/{room}/send/m.room.message/{txn}");
        string(&self.put(&path, &json!({"msgtype": "m.text", "body": body})).await?, "event_id")
    }

    /// One /sync. `query` is appended to the path, for example `&filter=…`.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn sync(&self, since: Option<&str>, timeout: Duration, query: &str) -> Result<Value> {
        let since = since.map(|s| format!("&since={s}")).unwrap_or_default();
        self.get(&format!("/sync?timeout={}{since}{query}", timeout.as_millis())).await
    }

    /// The token at the end of all that a sync tells now.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn sync_token(&self) -> Result<String> {
        // Nothing of the rooms is wanted, so that this stays cheap for members of large rooms.
        let none = "%7B%22room%22%3A%7B%22rooms%22%3A%5B%5D%7D%7D";
        string(&self.sync(None, Duration::ZERO, &format!("&filter={none}")).await?, "next_batch")
    }
}

/// A text field that must be there.
///
/// # Errors
/// It is missing or no text.
pub fn string(value: &Value, field: &str) -> Result<String> {
    let text = value.get(field).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("no {field} in {value}"))
}

/// The events of a room's timeline in a sync answer; empty when the room is not told of.
#[must_use]
pub fn timeline<'a>(sync: &'a Value, room: &str) -> &'a [Value] {
    let room = sync.get("rooms").and_then(|r| r.get("join")).and_then(|j| j.get(room));
    let events = room.and_then(|r| r.get("timeline")).and_then(|t| t.get("events"));
    events.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// One request. A body is sent as `application/json`, whatever its bytes are.
///
/// # Errors
/// No answer, or not within the client's time.
pub async fn request(
    http: &reqwest::Client,
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<Vec<u8>>,
) -> Result<Answer> {
    let told = method.clone();
    let mut request = http.request(method, url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let answer = request.send().await.with_context(|| format!("requesting {url}"))?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let bytes = answer.bytes().await.with_context(|| format!("reading the answer of {url}"))?;
    let answer =
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
    calls::note(&told, url, &answer);
    Ok(answer)
}
