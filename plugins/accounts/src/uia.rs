//! User-interactive authentication, as far as one stage is enough.
//!
//! Spec: client-server API, User-Interactive Authentication API. A session remembers only which endpoint asked:
//! the stage is passed in the request that does the thing, so nothing that was passed can be used again.

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::hooks::login::{Attempt, Verdict};
use tessera_sdk::hooks::{self, RequestInfo};
use tessera_sdk::http::{Answer, Request};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{clock, params, random};

use crate::password;

/// How long a client may take.
const LIFETIME_MS: u64 = 30 * 60 * 1000;
/// Sessions kept at once; the oldest go first. Anybody may open one, so there must be a bound.
const MAX_SESSIONS: i64 = 10_000;

/// What has to be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing.
    Dummy,
    /// The password of the user who asks.
    Password,
}

impl Stage {
    /// As in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dummy => "m.login.dummy",
            Self::Password => "m.login.password",
        }
    }
}

/// The `auth` member of a request body.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Auth {
    #[serde(rename = "type")]
    kind: Option<String>,
    session: Option<String>,
    identifier: Option<password::Identifier>,
    user: Option<String>,
    password: Option<String>,
}

/// Whether the request may go on (`None`), or what to answer instead.
///
/// # Errors
/// Storage, or 429 after too many wrong passwords.
pub fn check(
    request: &Request,
    stage: Stage,
    auth: Option<&Auth>,
) -> Result<Option<Answer>, Error> {
    let scope = request.wire().route.as_str();
    let Some(auth) = auth else {
        return ask(stage, &open(scope, request)?, None).map(Some);
    };
    if let Some(session) = &auth.session
        && !is_open(session, scope)?
    {
        let error = Error::new(ErrorCode::Unknown, "this session is unknown or over");
        return ask(stage, &open(scope, request)?, Some(&error)).map(Some);
    }
    let session = || auth.session.clone().map_or_else(|| open(scope, request), Ok);
    match auth.kind.as_deref() {
        None => ask(stage, &session()?, None).map(Some),
        Some(kind) if kind != stage.name() => {
            let error = Error::new(ErrorCode::Unrecognized, "no flow has this stage");
            ask(stage, &session()?, Some(&error)).map(Some)
        }
        Some(_) if stage == Stage::Dummy => Ok(None),
        Some(_) => {
            let user = password::named(auth.identifier.as_ref(), auth.user.as_deref());
            // Without a name it is the one who asks; another's password proves nothing.
            let fits = user.as_deref().is_none_or(|user| request.user().is_ok_and(|me| me == user));
            if fits && proves(request, auth)? {
                return Ok(None);
            }
            let error = Error::forbidden("wrong user or password");
            ask(stage, &session()?, Some(&error)).map(Some)
        }
    }
}

/// Whether the password stage proves who asks. Modules that know about passwords are asked first, as at login.
fn proves(request: &Request, auth: &Auth) -> Result<bool, Error> {
    let me = request.user()?;
    password::count_try(me)?;
    if hooks::answered("tessera:hooks/login") {
        let body: Value = request.json()?;
        let fields = body.get("auth").cloned().unwrap_or_default();
        let attempt = Attempt {
            kind: Stage::Password.name().to_owned(),
            user: Some(me.to_owned()),
            threepid: None,
            fields: fields.to_string(),
            request: request.info(),
        };
        match hooks::check_auth(&attempt) {
            Some(Verdict::Accept(accepted)) => return Ok(accepted.user == me),
            Some(Verdict::Reject) => return Ok(false),
            None => {}
        }
    }
    let given = auth.password.as_deref().unwrap_or_default();
    Ok(password::verify(me, given)?.is_some_and(|found| !found.deactivated))
}

/// The requests that took part, this one last: the one that opened the session, where another did.
///
/// # Errors
/// Storage.
pub fn requests(request: &Request, auth: Option<&Auth>) -> Result<Vec<RequestInfo>, Error> {
    let mut all = Vec::new();
    if let Some(session) = auth.and_then(|auth| auth.session.as_deref()) {
        let opened: Option<(String, String, String)> = query(
            "SELECT request_id, remote, user_agent FROM accounts_uia WHERE session = $1",
            params![session],
        )?
        .first()?;
        all.extend(opened.map(|(id, remote, user_agent)| RequestInfo { id, remote, user_agent }));
    }
    all.push(request.info());
    Ok(all)
}

fn ask(stage: Stage, session: &str, error: Option<&Error>) -> Result<Answer, Error> {
    let mut body = json!({
        "flows": [{ "stages": [stage.name()] }],
        "params": {},
        "completed": [],
        "session": session,
    });
    if let (Some(error), Some(map)) = (error, body.as_object_mut()) {
        map.insert("errcode".to_owned(), error.errcode().into());
        map.insert("error".to_owned(), error.message().into());
    }
    Answer::json_with_status(401, &body)
}

/// Bytes of a `user-agent` that are kept.
const MAX_AGENT: usize = 512;

/// Opens a session for an endpoint and forgets the old ones.
///
/// # Errors
/// Storage.
pub fn open(scope: &str, request: &Request) -> Result<String, Error> {
    let mut info = request.info();
    info.user_agent.truncate(info.user_agent.floor_char_boundary(MAX_AGENT));
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
            "INSERT INTO accounts_uia (session, scope, created_ms, request_id, remote, user_agent) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            params![&session, scope, now, info.id, info.remote, info.user_agent],
        )
        .commit_blind()?;
    Ok(session)
}

/// Whether a session of this endpoint is open.
///
/// # Errors
/// Storage.
pub fn is_open(session: &str, scope: &str) -> Result<bool, Error> {
    let since = clock::now_ms().saturating_sub(LIFETIME_MS);
    let found: Option<(String,)> = query(
        "SELECT session FROM accounts_uia WHERE session = $1 AND scope = $2 AND created_ms >= $3",
        params![session, scope, since],
    )?
    .first()?;
    Ok(found.is_some())
}
