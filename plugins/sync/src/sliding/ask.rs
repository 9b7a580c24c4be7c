//! A request and its state while it is parked.

use serde::{Deserialize, Serialize};
use tessera_sdk::bus::WatchId;
use tessera_sdk::http::{Answer, Parked, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::{cache, clock, digest};

use super::pos::{Key, Pos};
use super::request::{Body, Wishes};

/// The longest wait, as in /sync.
const MAX_TIMEOUT_MS: u64 = 120_000;
/// What the host keeps of a parked request is capped at 16 KiB. Longer wishes are kept in the cache.
const MAX_STATE: usize = 15 * 1024;
/// First byte of the parked state: another version of this plug-in may resume it.
const STATE_VERSION: u8 = 1;
/// The same, where the wishes are in the cache, under what follows.
const STATE_ELSEWHERE: u8 = 2;

/// A request, checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ask {
    #[serde(skip)]
    pub user: String,
    #[serde(skip)]
    pub device: Option<String>,
    /// `conn_id`.
    conn: String,
    /// `/v4/sync`, not the form before it.
    pub stable: bool,
    pub txn_id: Option<String>,
    /// Position of the token; none for who starts anew.
    since: Option<i64>,
    /// The version that the token names.
    serial: i64,
    /// When to answer in any case; milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    pub wishes: Wishes,
    /// The keys that the device had left when it asked.
    #[serde(default)]
    pub keys: Option<String>,
}

/// What became of a parked request.
#[derive(Debug)]
pub(super) enum Resumed {
    /// It goes on.
    Ask(Box<Ask>),
    /// Its wishes have been pushed out of the cache: the client has to ask again, from this token.
    Lost(String),
}

fn own(user: &str, device: Option<&str>, conn: &str) -> Key {
    Key { user: user.to_owned(), device: device.unwrap_or("").to_owned(), conn: conn.to_owned() }
}

impl Ask {
    /// Reads a request. What is said of presence is left in the body.
    ///
    /// # Errors
    /// `M_BAD_JSON`, `M_NOT_JSON`; `M_INVALID_PARAM` as [`Body::wishes`]; `M_UNKNOWN_POS` for a token of another connection.
    pub(super) fn from_request(
        request: &Request,
        body: &mut Body,
        stable: bool,
    ) -> std::result::Result<Self, Error> {
        let user = request.user()?;
        let device = request.device();
        let wishes = body.wishes(user, stable)?;
        let conn = body.conn_id.take().unwrap_or_default();
        let timeout = match body.timeout {
            Some(timeout) => timeout,
            None => request.query_as("timeout")?.unwrap_or(0),
        };
        let pos = body.pos.as_deref().or(request.query("pos")).filter(|pos| !pos.is_empty());
        let pos = pos.map(|pos| own(user, device, &conn).parse(pos)).transpose()?;
        Ok(Self {
            user: user.to_owned(),
            device: device.map(str::to_owned),
            conn,
            stable,
            txn_id: body.txn_id.take(),
            since: pos.map(|pos| pos.position),
            serial: pos.map_or(0, |pos| pos.serial),
            deadline_ms: clock::now_ms().saturating_add(timeout.min(MAX_TIMEOUT_MS)),
            wishes,
            keys: None,
        })
    }

    /// Takes up a parked request.
    ///
    /// # Errors
    /// It was parked by a version that nobody knows.
    pub(super) fn from_parked(parked: &Parked) -> std::result::Result<Resumed, Error> {
        let principal = parked.principal.as_ref().ok_or_else(Error::missing_token)?;
        let held;
        let json = match parked.state.split_first() {
            Some((&STATE_VERSION, json)) => json,
            Some((&STATE_ELSEWHERE, text)) => {
                let text = String::from_utf8_lossy(text);
                let (key, pos) = text.split_once('\n').unwrap_or((&text, ""));
                let Some(json) = cache::get(key) else {
                    return Ok(Resumed::Lost(pos.to_owned()));
                };
                held = json;
                &held
            }
            _ => return Err(Error::internal("parked by an unknown version")),
        };
        let ask: Self = serde_json::from_slice(json).map_err(Error::internal)?;
        let (user, device) = (principal.user.clone(), principal.device.clone());
        Ok(Resumed::Ask(Box::new(Self { user, device, ..ask })))
    }

    /// Waits.
    pub(super) fn park(&self, watch: WatchId) -> Result {
        let json = serde_json::to_vec(self).map_err(Error::internal)?;
        let wait = self.deadline_ms.saturating_sub(clock::now_ms());
        let wait = u32::try_from(wait).unwrap_or(u32::MAX);
        let state = if json.len() <= MAX_STATE {
            [vec![STATE_VERSION], json].concat()
        } else {
            let key = format!("parked:{}", digest::sha256(&json));
            cache::put(&key, &json, wait.saturating_add(60_000), &[]);
            let pos = self.pos().map(|pos| self.key().text(pos)).unwrap_or_default();
            [vec![STATE_ELSEWHERE], format!("{key}\n{pos}").into_bytes()].concat()
        };
        Ok(Answer::park(watch, wait, state))
    }

    /// The connection.
    pub(super) fn key(&self) -> Key {
        own(&self.user, self.device.as_deref(), &self.conn)
    }

    /// Where the client has come to; none for who starts anew.
    pub(super) fn pos(&self) -> Option<Pos> {
        self.since.map(|position| Pos { position, serial: self.serial })
    }

    /// Goes on from a later position: nothing up to it was worth telling.
    pub(super) fn advance(&mut self, position: i64) {
        self.since = self.since.map(|since| since.max(position));
    }

    /// Whether there is anything to wait for.
    pub(super) fn may_park(&self) -> bool {
        self.since.is_some() && clock::now_ms() < self.deadline_ms
    }
}
