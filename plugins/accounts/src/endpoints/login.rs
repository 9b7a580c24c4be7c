//! `POST /_matrix/client/v3/login`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tessera_sdk::hooks::login::{Accepted, Attempt, Verdict};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode, is_user_id, localpart, server_name};
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{crypto, hooks, log, params};

use super::login_types::OWN;
use crate::authenticator::locked_out;
use crate::password::{self, Identifier};
use crate::registration::{self, NewAccount};
use crate::session::{self, Issued, Wish};
use crate::{config, ids, login_token, modules};

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: Option<String>,
    identifier: Option<Identifier>,
    /// Before identifiers there was this.
    user: Option<String>,
    /// And these.
    medium: Option<String>,
    address: Option<String>,
    password: Option<String>,
    /// Of `m.login.token`.
    token: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: bool,
}

/// Members of the answer that the specification has: a module gives none of them, not even those that are left out here.
const SPECIFIED: [&str; 7] = [
    "user_id",
    "home_server",
    "access_token",
    "device_id",
    "refresh_token",
    "expires_in_ms",
    "well_known",
];

/// The answer of login and registration.
#[derive(Debug, Serialize)]
pub struct LoggedIn {
    /// Full id.
    pub user_id: String,
    /// Deprecated, but read by old clients.
    pub home_server: String,
    /// Tokens and device; nothing if a registration asked not to be logged in.
    #[serde(flatten)]
    pub issued: Option<Issued>,
    #[serde(skip_serializing_if = "Option::is_none")]
    well_known: Option<Value>,
}

impl LoggedIn {
    /// The answer of a registration.
    pub fn new(user_id: String, issued: Option<Issued>) -> Self {
        Self { user_id, home_server: crypto::tenant_name(), issued, well_known: None }
    }

    /// With what the client is to be configured with, if the operator says so.
    fn told(mut self) -> std::result::Result<Self, Error> {
        self.well_known = super::well_known::client(&config::get()?);
        Ok(self)
    }
}

/// Who somebody proved to be.
struct Proven {
    user: String,
    /// Of the account; none: there is none yet.
    revision: Option<i64>,
    /// Of the account to be made.
    displayname: Option<String>,
    /// Further members of the answer.
    extra: Map<String, Value>,
    /// Hash of the login token that is spent.
    token: Option<String>,
}

fn wrong() -> Error {
    Error::forbidden("wrong user or password")
}

fn deactivated() -> Error {
    Error::new(ErrorCode::UserDeactivated, "this account was deactivated")
}

/// Logs in with a password, a login token, or what a module checks.
///
/// `M_FORBIDDEN` for a wrong user or password, without saying which; `M_USER_DEACTIVATED`; `M_UNKNOWN` for
/// another type of login; a module's refusal; 429 after too many tries.
pub fn handle(request: &Request) -> Result {
    let mut body: Body = request.json()?;
    if let (None, Some(medium), Some(address)) = (&body.identifier, &body.medium, &body.address) {
        body.identifier = Some(Identifier::of_address(medium, address));
    }
    let kind = body.kind.clone().ok_or_else(|| Error::missing_param("type is missing"))?;
    let proven = prove(request, &kind, &body)?;
    let user = proven.user;
    let wish = Wish {
        user: user.clone(),
        device_id: body.device_id,
        display_name: body.initial_device_display_name,
        refresh: body.refresh_token,
        remote: request.remote().to_owned(),
        kind,
    };
    modules::check_login(&wish, request)?;
    let issued = match proven.revision {
        Some(revision) => {
            // The account may have changed since it was looked at.
            let mut batch = Batch::new()
                .run(
                    "UPDATE accounts_users SET revision = revision WHERE user_id = $1 AND revision = $2",
                    params![&user, revision],
                )
                .expect(1);
            if let Some(hash) = &proven.token {
                batch = login_token::spend(batch, hash);
            }
            let (batch, issued) = session::log_in(batch, &wish)?;
            match batch.commit() {
                Ok(committed) => {
                    session::ended(committed, &[])?;
                    issued
                }
                Err(storage::Error::Conflict(0)) => return Err(wrong()),
                Err(storage::Error::Conflict(1)) if proven.token.is_some() => return Err(wrong()),
                Err(error) => return Err(error.into()),
            }
        }
        None => make(request, &wish, proven.displayname)?,
    };
    let answer = LoggedIn::new(user, Some(issued)).told()?;
    if proven.extra.is_empty() {
        return Answer::json(&answer);
    }
    let mut merged = proven.extra;
    if let Value::Object(own) = serde_json::to_value(&answer).map_err(Error::internal)? {
        merged.extend(own);
    }
    Answer::json(&merged)
}

/// Makes the account of somebody whom a module knows, and logs them in.
fn make(
    request: &Request,
    wish: &Wish,
    displayname: Option<String>,
) -> std::result::Result<Issued, Error> {
    let name = localpart(&wish.user).to_owned();
    ids::check_new_localpart(&name)?;
    registration::room_for_one()?;
    let shadow_banned =
        modules::check_registration(Some(name), None, &wish.kind, &[request.info()])?;
    let account = NewAccount {
        user: wish.user.clone(),
        displayname: modules::shown(displayname),
        shadow_banned,
        ..NewAccount::default()
    };
    let (batch, issued) = session::log_in(registration::create(Batch::new(), &account), wish)?;
    match registration::commit(batch, |_| None) {
        Ok(_) => Ok(issued),
        // Another log-in made it at the same moment: it is there when the client tries again.
        Err(error) if error.errcode() == ErrorCode::UserInUse.as_str() => {
            Err(storage::Error::Busy.into())
        }
        Err(error) => Err(error),
    }
}

fn prove(request: &Request, kind: &str, body: &Body) -> std::result::Result<Proven, Error> {
    let user = password::named(body.identifier.as_ref(), body.user.as_deref())?;
    let asked = hooks::answered("tessera:hooks/login");
    if asked {
        let threepid = body.identifier.as_ref().and_then(Identifier::threepid);
        match (&user, &threepid) {
            (Some(user), _) => password::count_try(user)?,
            (None, Some(threepid)) => password::count_try_by(threepid)?,
            (None, None) => password::count_try(request.remote())?,
        }
        let attempt = Attempt {
            kind: kind.to_owned(),
            user: user.clone(),
            threepid,
            fields: String::from_utf8_lossy(request.body()).into_owned(),
            request: request.info(),
        };
        match hooks::check_auth(&attempt) {
            Some(Verdict::Accept(accepted)) => return accept(accepted),
            Some(Verdict::Reject) => return Err(wrong()),
            None => {}
        }
    }
    match kind {
        "m.login.password" => by_password(body, user, asked),
        "m.login.token" if config::get()?.token_login => by_token(body),
        "m.login.application_service" => {
            Err(Error::forbidden("no application service has this token"))
        }
        _ if asked && hooks::login_types().iter().any(|login| login.kind == kind) => Err(wrong()),
        _ => {
            let known = OWN.join(", ");
            let text = format!("unknown type of login; the server itself knows {known}");
            Err(Error::new(ErrorCode::Unknown, text).status(400))
        }
    }
}

/// `counted`: the try was counted already.
fn by_password(
    body: &Body,
    user: Option<String>,
    counted: bool,
) -> std::result::Result<Proven, Error> {
    if body.identifier.is_none() && body.user.is_none() {
        return Err(Error::missing_param("identifier is missing"));
    }
    if body.identifier.as_ref().is_some_and(|identifier| !identifier.is_known()) {
        return Err(Error::new(ErrorCode::Unknown, "unknown type of identifier").status(400));
    }
    let given = body.password.as_deref();
    let given = given.ok_or_else(|| Error::missing_param("password is missing"))?;
    // Somebody who cannot be here takes as long as anybody.
    let named = user.as_deref().unwrap_or_default();
    if !counted {
        let threepid = body.identifier.as_ref().and_then(Identifier::threepid);
        match (&user, &threepid) {
            // Whether or not it is somebody's: who guesses is not told.
            (_, Some(threepid)) => password::count_try_by(threepid)?,
            _ => password::count_try(named)?,
        }
    }
    let verified = password::verify(named, given)?;
    let (Some(user), Some(verified)) = (user, verified) else { return Err(wrong()) };
    if verified.deactivated {
        return Err(deactivated());
    }
    if verified.locked {
        return Err(locked_out());
    }
    Ok(Proven {
        user,
        revision: Some(verified.revision),
        displayname: None,
        extra: Map::new(),
        token: None,
    })
}

fn by_token(body: &Body) -> std::result::Result<Proven, Error> {
    let token = body.token.as_deref().ok_or_else(|| Error::missing_param("token is missing"))?;
    let unknown = || Error::forbidden("this login token is unknown or over");
    let (user, hash) = login_token::look_up(token)?.ok_or_else(unknown)?;
    let revision = revision(&user)?.ok_or_else(unknown)?;
    let (displayname, extra) = (None, Map::new());
    Ok(Proven { user, revision: Some(revision), displayname, extra, token: Some(hash) })
}

/// The revision of an account that is there.
///
/// # Errors
/// `M_USER_DEACTIVATED`, `M_USER_LOCKED`, storage.
pub fn revision(user: &str) -> std::result::Result<Option<i64>, Error> {
    let sql = "SELECT revision, deactivated, locked FROM accounts_users WHERE user_id = $1";
    match query(sql, params![user])?.first::<(i64, bool, bool)>()? {
        Some((_, true, _)) => Err(deactivated()),
        Some((_, _, true)) => Err(locked_out()),
        found => Ok(found.map(|(revision, ..)| revision)),
    }
}

/// What a module said of somebody, if it can be.
fn accept(accepted: Accepted) -> std::result::Result<Proven, Error> {
    let Accepted { user, displayname, extra } = accepted;
    if !is_user_id(&user) || server_name(&user) != crypto::tenant_name() {
        return Err(Error::internal(format!("a login module accepted {user}, who is not of here")));
    }
    let mut extra: Map<String, Value> = match extra.as_deref().map(serde_json::from_str) {
        None => Map::new(),
        Some(Ok(extra)) => extra,
        Some(Err(error)) => {
            let reason = error.to_string();
            log::warn("a login module's extra fields are no JSON object", &[("reason", &reason)]);
            Map::new()
        }
    };
    for name in SPECIFIED {
        extra.remove(name);
    }
    Ok(Proven { revision: revision(&user)?, user, displayname, extra, token: None })
}
