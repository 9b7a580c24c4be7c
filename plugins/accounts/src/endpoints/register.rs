//! `POST /_matrix/client/v3/register`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, crypto, limits, params, random};

use super::login::LoggedIn;
use crate::config::{self, Registration};
use crate::session::{self, Wish};
use crate::uia::{self, Asking, Checked, Object, Stage};
use crate::{ids, modules, password, topics};

#[derive(Debug, Deserialize)]
struct Body {
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
/// `M_USER_IN_USE`, `M_WEAK_PASSWORD`, `M_MISSING_PARAM` without a password, `M_RESOURCE_LIMIT_EXCEEDED` if the tenant may
/// have no more users.
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
    room_for_one()?;
    // Said before the stages, so that a person can choose another name.
    if let Some(username) = &body.username {
        free(username)?;
    }
    if let Some(password) = &body.password {
        password::check_new(password)?;
    }
    let asked: Object = request.json()?;
    let passed = match uia::check(&Asking::of(request, &asked), &[vec![Stage::Dummy]])? {
        Checked::Passed(passed) => passed,
        Checked::Ask(question) => return Answer::json_with_status(401, &question),
    };
    let password = body.password.as_deref();
    let password = password.ok_or_else(|| Error::missing_param("password is missing"))?;
    let (username, displayname) = modules::names(Stage::Dummy.name(), request.body());
    let localpart = username.or(body.username);
    let shadow_banned =
        modules::check_registration(localpart.clone(), "password", &passed.requests)?;
    let localpart = localpart.unwrap_or_else(|| random::letters(12).to_ascii_lowercase());
    let user = ids::check_new_localpart(&localpart)?;
    let account = NewAccount {
        user: user.clone(),
        password: Some(password.to_owned()),
        displayname,
        shadow_banned,
        ..NewAccount::default()
    };
    let batch = create(Batch::new(), &account);
    if body.inhibit_login {
        commit(batch, None)?;
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
        kind: "register".to_owned(),
    };
    let (batch, issued) = session::log_in(batch, &wish)?;
    commit(batch, None)?;
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

/// How often a registration is tried that met another in the database.
const TRIES: usize = 5;

/// An account to be made.
#[derive(Debug, Clone, Default)]
pub struct NewAccount {
    /// Full id.
    pub user: String,
    /// None: no password fits.
    pub password: Option<String>,
    /// Shown to others.
    pub displayname: Option<String>,
    /// An administrator of this server.
    pub admin: bool,
    /// See `tessera:hooks/account-policy`.
    pub shadow_banned: bool,
    /// Made by somebody else than the user.
    pub by_admin: bool,
}

/// Adds a new user to an empty batch, and counts it: two statements. Deactivated users keep their names.
pub fn create(batch: Batch, account: &NewAccount) -> Batch {
    let user = account.user.as_str();
    let message = json!({ "user_id": user, "change": "registered", "by_admin": account.by_admin });
    batch
        .run(
            "INSERT INTO accounts_users (user_id, password_hash, created_ms, deactivated, guest, admin, \
             displayname, avatar_url, revision, shadow_banned) \
             VALUES ($1, $2, $3, FALSE, FALSE, $4, $5, NULL, 0, $6)",
            params![
                user,
                account.password.as_deref().map(crypto::hash_password),
                clock::now_ms(),
                account.admin,
                account.displayname.as_deref(),
                account.shadow_banned
            ],
        )
        // The guard of the cap: whoever registers at the same moment waits here.
        .run(
            "UPDATE accounts_counts SET users = users + 1 WHERE id = 1 AND users < $1",
            params![cap()],
        )
        .expect(1)
        .emit(topics::USERS, user, message.to_string())
}

/// How many users there may be.
fn cap() -> i64 {
    limits::cap("users").map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX))
}

/// Checks that there may be one more user.
///
/// # Errors
/// `M_RESOURCE_LIMIT_EXCEEDED`.
pub fn room_for_one() -> std::result::Result<(), Error> {
    let cap = cap();
    if cap == i64::MAX {
        return Ok(());
    }
    let users: Option<(i64,)> =
        query("SELECT users FROM accounts_counts WHERE id = 1", params![])?.first()?;
    if users.is_some_and(|(users,)| users < cap) {
        return Ok(());
    }
    let text = "this server has as many users as it may have";
    Err(Error::new(ErrorCode::ResourceLimitExceeded, text))
}

/// Commits a batch that begins with [`create`]. `spent`: the error where a further guard of the caller's does not hold.
///
/// # Errors
/// `M_USER_IN_USE` if somebody was quicker, `M_RESOURCE_LIMIT_EXCEEDED` if there may be no more users.
pub fn commit(batch: Batch, spent: Option<Error>) -> std::result::Result<(), Error> {
    for _ in 0..TRIES {
        match batch.clone().commit() {
            Ok(_) => return Ok(()),
            Err(storage::Error::Conflict(0)) => return Err(in_use()),
            Err(storage::Error::Conflict(1)) => room_for_one()?,
            Err(storage::Error::Conflict(_)) if spent.is_some() => break,
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(spent.unwrap_or_else(|| storage::Error::Busy.into()))
}
