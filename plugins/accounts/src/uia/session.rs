//! Sessions of user-interactive authentication, as they are stored: by the hash of their id, which only the client has.

use serde_json::{Map, Value};
use tessera_sdk::hooks::RequestInfo;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, digest, params, random};

/// How long a client may take.
pub const LIFETIME_MS: u64 = 30 * 60 * 1000;
/// Sessions kept at once; the oldest go first. Anybody may open one, so there must be a bound.
const MAX_SESSIONS: i64 = 10_000;
/// Bytes of a `user-agent` that are kept.
const MAX_AGENT: usize = 512;
/// Bytes of what an endpoint wants kept; of more nothing is.
const MAX_KEPT: usize = 4096;

/// Whom a session registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Full id.
    pub user: String,
    /// When.
    pub at_ms: u64,
    /// The device that was logged in.
    pub device: String,
    /// The account's revision then.
    pub revision: i64,
}

/// What a session is stored under.
pub(crate) fn key(session: &str) -> String {
    digest::sha256(session.as_bytes())
}

/// What is known of a session.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Its id, as the client has it; empty: not stored yet.
    pub(super) session: String,
    /// By stage, what it proved.
    pub(super) completed: Map<String, Value>,
    /// What the endpoint wanted to know again.
    pub(super) kept: Map<String, Value>,
    /// Whom it registered.
    pub(super) made: Option<Made>,
    /// The request that opened it.
    pub(super) opened: Option<RequestInfo>,
    pub(super) revision: i64,
}

/// Opens a session for an endpoint and forgets the old ones.
///
/// # Errors
/// Storage.
pub(super) fn open(
    scope: &str,
    user: &str,
    request: &RequestInfo,
    state: &State,
) -> Result<String, Error> {
    let agent = &request.user_agent;
    let agent = agent.get(..agent.floor_char_boundary(MAX_AGENT)).unwrap_or_default();
    let session = random::token();
    let now = clock::now_ms();
    Batch::new()
        .run(
            "DELETE FROM accounts_uia WHERE created_ms < $1",
            params![now.saturating_sub(LIFETIME_MS)],
        )
        .run(
            "DELETE FROM accounts_uia WHERE session IN (SELECT u.session FROM accounts_uia AS u \
             ORDER BY u.created_ms DESC LIMIT 1000 OFFSET $1)",
            params![MAX_SESSIONS],
        )
        .run(
            "INSERT INTO accounts_uia (session, scope, created_ms, request_id, remote, user_agent, \
             user_id, completed, kept, token) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            params![
                key(&session),
                scope,
                now,
                &request.id,
                &request.remote,
                agent,
                user,
                text(&state.completed),
                kept(&state.kept),
                token(&state.completed)
            ],
        )
        .commit_blind()?;
    Ok(session)
}

/// What came of looking for a session.
#[derive(Debug)]
pub(super) enum Found {
    /// It is there.
    Open(Box<State>),
    /// It is the user's, and was opened for another operation.
    Other,
    /// There is none, or it is over.
    None,
}

impl Found {
    /// The session, if it is this one.
    pub(super) fn open(self) -> Option<State> {
        match self {
            Self::Open(state) => Some(*state),
            Self::Other | Self::None => None,
        }
    }
}

type Row = (String, String, i64, String, String, String, String, String, u64, String, i64);

/// A session of this operation and this user that is not over.
///
/// # Errors
/// Storage.
pub(super) fn load(session: &str, scope: &str, user: &str) -> Result<Found, Error> {
    let since = clock::now_ms().saturating_sub(LIFETIME_MS);
    let found: Option<Row> = query(
        "SELECT completed, kept, revision, request_id, remote, user_agent, scope, made, made_ms, \
         made_device, made_revision FROM accounts_uia \
         WHERE session = $1 AND user_id = $2 AND created_ms >= $3",
        params![key(session), user, since],
    )?
    .first()?;
    let Some(row) = found else { return Ok(Found::None) };
    let (completed, kept, revision, id, remote, user_agent, opened_for, made, at_ms, device, then) =
        row;
    let made = Made { user: made, at_ms, device, revision: then };
    if opened_for != scope {
        return Ok(Found::Other);
    }
    Ok(Found::Open(Box::new(State {
        session: session.to_owned(),
        completed: serde_json::from_str(&completed).map_err(Error::internal)?,
        kept: serde_json::from_str(&kept).map_err(Error::internal)?,
        made: (!made.user.is_empty()).then_some(made),
        opened: Some(RequestInfo { id, remote, user_agent }),
        revision,
    })))
}

/// Stores what was completed by now; false: another request of the session was quicker.
///
/// # Errors
/// Storage.
pub(super) fn save(state: &State) -> Result<bool, Error> {
    let saved = Batch::new()
        .run(
            "UPDATE accounts_uia SET completed = $1, token = $2, revision = revision + 1 \
             WHERE session = $3 AND revision = $4",
            params![
                text(&state.completed),
                token(&state.completed),
                key(&state.session),
                state.revision
            ],
        )
        .expect(1)
        .commit();
    match saved {
        Ok(_) => Ok(true),
        Err(storage::Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn text(object: &Map<String, Value>) -> String {
    serde_json::to_string(object).unwrap_or_else(|_| "{}".to_owned())
}

fn kept(object: &Map<String, Value>) -> String {
    let text = text(object);
    if text.len() > MAX_KEPT { "{}".to_owned() } else { text }
}

fn token(completed: &Map<String, Value>) -> &str {
    let name = super::Stage::RegistrationToken.name();
    completed.get(name).and_then(Value::as_str).unwrap_or_default()
}
