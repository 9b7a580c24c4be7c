//! `POST /_matrix/client/v3/register`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, crypto, params, random};

use super::login::LoggedIn;
use crate::config::{self, Registration};
use crate::session::{self, Wish};
use crate::uia::{self, Auth, Stage};
use crate::{ids, password, topics};

#[derive(Debug, Deserialize)]
struct Body {
    auth: Option<Auth>,
    username: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
    #[serde(default)]
    refresh_token: bool,
}

/// Registers a user after the dummy stage.
///
/// `M_FORBIDDEN` if registration is closed, `M_GUEST_ACCESS_FORBIDDEN` for guests, `M_INVALID_USERNAME`,
/// `M_USER_IN_USE`, `M_WEAK_PASSWORD`, `M_MISSING_PARAM` without a password.
pub fn handle(request: &Request) -> Result {
    match request.query("kind") {
        None | Some("user") => {}
        Some("guest") => {
            return Err(Error::new(ErrorCode::GuestAccessForbidden, "there are no guests here"));
        }
        Some(_) => return Err(Error::invalid_param("kind is \"user\" or \"guest\"")),
    }
    if config::get()?.registration != Registration::Open {
        return Err(Error::forbidden("registration is closed"));
    }
    let body: Body = request.json()?;
    // Said before the stages, so that a person can choose another name.
    if let Some(username) = &body.username {
        free(username)?;
    }
    if let Some(password) = &body.password {
        password::check_new(password)?;
    }
    if let Some(ask) = uia::check(request, Stage::Dummy, body.auth.as_ref())? {
        return Ok(ask);
    }
    let password = body.password.as_deref();
    let password = password.ok_or_else(|| Error::missing_param("password is missing"))?;
    let localpart = body.username.unwrap_or_else(|| random::letters(12).to_ascii_lowercase());
    let user = ids::check_new_localpart(&localpart)?;
    let batch = create(Batch::new(), &user, password, false);
    if body.inhibit_login {
        commit(batch)?;
        return Answer::json(&LoggedIn {
            user_id: user,
            home_server: crypto::tenant_name(),
            issued: None,
        });
    }
    let wish = Wish {
        user: user.clone(),
        device_id: body.device_id,
        display_name: body.initial_device_display_name,
        refresh: body.refresh_token,
        remote: request.remote().to_owned(),
    };
    let (batch, issued) = session::log_in(batch, &wish)?;
    commit(batch)?;
    let home_server = crypto::tenant_name();
    Answer::json(&LoggedIn { user_id: user, home_server, issued: Some(issued) })
}

/// Checks that a localpart may be registered; the full id.
///
/// # Errors
/// `M_INVALID_USERNAME`, `M_USER_IN_USE`.
pub fn free(localpart: &str) -> std::result::Result<String, Error> {
    let user = ids::check_new_localpart(localpart)?;
    let sql = "SELECT user_id FROM accounts_users WHERE user_id = $1";
    match query(sql, params![&user])?.first::<(String,)>()? {
        Some(_) => Err(in_use()),
        None => Ok(user),
    }
}

fn in_use() -> Error {
    Error::new(ErrorCode::UserInUse, "this user name is taken")
}

/// Adds a new user to an empty batch. Deactivated users keep their names.
pub fn create(batch: Batch, user: &str, password: &str, admin: bool) -> Batch {
    batch
        .run(
            "INSERT INTO accounts_users (user_id, password_hash, created_ms, deactivated, guest, admin,              displayname, avatar_url, revision)              VALUES ($1, $2, $3, FALSE, FALSE, $4, NULL, NULL, 0)",
            params![user, crypto::hash_password(password), clock::now_ms(), admin],
        )
        .emit(topics::USERS, user, json!({ "user_id": user, "change": "registered" }).to_string())
}

/// Commits a batch that begins with [`create`].
///
/// # Errors
/// `M_USER_IN_USE` if somebody was quicker.
pub fn commit(batch: Batch) -> std::result::Result<(), Error> {
    match batch.commit() {
        Ok(_) => Ok(()),
        Err(storage::Error::Conflict(0)) => Err(in_use()),
        Err(error) => Err(error.into()),
    }
}
