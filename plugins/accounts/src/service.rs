//! `tessera:services/accounts`, for other plug-ins.

use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::{
    Account, Error, Guest, NewUser, Profile, Proof, Proven, Session, Sessions,
};
use tessera_sdk::hooks::RequestInfo;
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{crypto, digest, matrix, params};

use crate::account_data::{self, Failure};
use crate::admin::cross_signing;
use crate::endpoints::login::revision;
use crate::endpoints::profile_field_set::MAX_SHOWN;
use crate::registration::{self, NewAccount};
use crate::session::{self, Wish};
use crate::uia::{self, Asking, Checked, Stage};
use crate::{Plugin, endpoints, login_token, password};

/// Users asked for at once.
const MAX_USERS: usize = 1000;

/// The scope in which `keys` asks before cross-signing keys are replaced.
const CROSS_SIGNING: &str = "keys.device-signing";

fn unavailable(error: impl std::fmt::Debug) -> Error {
    Error::Unavailable(format!("{error:?}"))
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Storage(storage::Error::Timeout) => Self::Unknown("storage: time-out".into()),
            other => unavailable(other),
        }
    }
}

fn not_found(error: &matrix::Error) -> Error {
    if error.http_status() == 404 { Error::NotFound } else { unavailable(error) }
}

/// What is the client's doing is refused, the rest is nobody's.
fn refused(error: matrix::Error) -> Error {
    match error.http_status() {
        404 => Error::NotFound,
        400..500 => Error::Refused((error.errcode().to_owned(), error.message().to_owned())),
        _ => unavailable(error),
    }
}

/// What is the client's doing.
fn no(error: &matrix::Error) -> Proven {
    Proven::No((error.http_status(), error.body().to_string()))
}

/// The revision of an account that is there and not deactivated.
fn present(user: &str) -> Result<i64, Error> {
    revision(user).map_err(refused)?.ok_or(Error::NotFound)
}

/// As [`Account`].
type AccountRow = (String, u64, bool, bool, bool, bool, Option<u64>);

impl Guest for Plugin {
    fn prove(proof: Proof) -> Result<Proven, Error> {
        // Where nobody is there to prove anything, nothing is to be asked.
        present(&proof.user)?;
        if proof.scope == CROSS_SIGNING && cross_signing::spent(&proof.user).map_err(unavailable)? {
            return Ok(Proven::Yes);
        }
        let body: uia::Object = match serde_json::from_str(&proof.body) {
            Ok(body) => body,
            Err(error) => return Ok(no(&matrix::Error::bad_json(error.to_string()))),
        };
        let scope = format!("service:{}", proof.scope);
        let (id, remote, user_agent) = proof.request;
        let asking = Asking {
            scope: scope.into(),
            user: Some(&proof.user),
            body: &body,
            request: RequestInfo { id, remote, user_agent },
            keep: None,
        };
        match uia::check(&asking, &[vec![Stage::Password]]) {
            Ok(Checked::Passed(_)) => Ok(Proven::Yes),
            Ok(Checked::Ask(question)) => Ok(Proven::No((401, question.to_string()))),
            Err(error) if error.http_status() < 500 => Ok(no(&error)),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn profiles(users: Vec<String>) -> Result<Vec<Profile>, Error> {
        let rows = query(
            "SELECT user_id, displayname, avatar_url FROM accounts_users \
             WHERE user_id IN ($1) AND deactivated = FALSE",
            params![users],
        )
        .map_err(unavailable)?;
        let rows: Vec<(String, Option<String>, Option<String>)> =
            rows.all().map_err(unavailable)?;
        let profile = |(user, displayname, avatar_url)| Profile { user, displayname, avatar_url };
        Ok(rows.into_iter().map(profile).collect())
    }

    fn filter(user: String, id: String) -> Result<String, Error> {
        endpoints::filter::get(&user, &id).map_err(|error| not_found(&error))
    }

    fn account_data(
        user: String,
        room: Option<String>,
        kind: String,
    ) -> Result<Option<String>, Error> {
        let entry = account_data::get(&user, room.as_deref().unwrap_or_default(), &kind);
        Ok(entry.map_err(unavailable)?.map(|(content, _)| content))
    }

    fn put_account_data(
        user: String,
        room: Option<String>,
        kind: String,
        content: String,
    ) -> Result<(), Error> {
        account_data::check(content.as_bytes()).map_err(unavailable)?;
        let room = room.unwrap_or_default();
        account_data::put(&user, &room, &kind, &content).map_err(Error::from)
    }

    fn swap_account_data(
        user: String,
        room: Option<String>,
        kind: String,
        expected: Option<String>,
        content: String,
    ) -> Result<bool, Error> {
        account_data::check(content.as_bytes()).map_err(unavailable)?;
        let room = room.unwrap_or_default();
        let entry = account_data::get(&user, &room, &kind).map_err(unavailable)?;
        let (now, before) = entry.unzip();
        if now != expected {
            return Ok(false);
        }
        match account_data::replace(&user, &room, &kind, before, &content) {
            Ok(()) => Ok(true),
            Err(account_data::Failure::Conflict) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    fn users(users: Vec<String>) -> Result<Vec<Account>, Error> {
        if users.len() > MAX_USERS {
            let text = format!("at most {MAX_USERS} users at once");
            return Err(refused(matrix::Error::too_large(text)));
        }
        let rows = query(
            "SELECT user_id, created_ms, admin, guest, deactivated, shadow_banned, last_seen_ms \
             FROM accounts_users WHERE user_id IN ($1)",
            params![users],
        );
        let rows: Vec<AccountRow> = rows.map_err(unavailable)?.all().map_err(unavailable)?;
        let account =
            |(user, created_ms, admin, guest, deactivated, shadow_banned, last_seen_ms)| Account {
                user,
                created_ms,
                admin,
                guest,
                deactivated,
                shadow_banned,
                last_seen_ms,
            };
        Ok(rows.into_iter().map(account).collect())
    }

    fn active_users(since_ms: u64) -> Result<u64, Error> {
        let rows = query(
            "SELECT COUNT(*) FROM accounts_users WHERE last_seen_ms >= $1 AND deactivated = FALSE",
            params![since_ms],
        );
        let count = rows.map_err(unavailable)?.first::<(u64,)>().map_err(unavailable)?;
        Ok(count.map_or(0, |(count,)| count))
    }

    fn register(user: NewUser) -> Result<String, Error> {
        let NewUser { localpart, password, displayname, admin } = user;
        if let Some(password) = &password {
            password::check_new(password).map_err(refused)?;
        }
        if displayname.as_ref().is_some_and(|name| name.len() > MAX_SHOWN) {
            return Err(refused(matrix::Error::invalid_param("the display name is too long")));
        }
        registration::room_for_one().map_err(refused)?;
        let user = registration::free(&localpart).map_err(refused)?;
        let account = NewAccount {
            user: user.clone(),
            password_hash: password.as_deref().map(crypto::hash_password),
            displayname: displayname.filter(|name| !name.is_empty()),
            admin,
            shadow_banned: false,
            by_admin: true,
            guest: false,
        };
        registration::commit(registration::create(Batch::new(), &account), |_| None)
            .map_err(refused)?;
        Ok(user)
    }

    fn log_in(
        user: String,
        device: Option<String>,
        device_name: Option<String>,
    ) -> Result<Session, Error> {
        let revision = present(&user)?;
        let guard = Batch::new()
            .run(
                "UPDATE accounts_users SET revision = revision WHERE user_id = $1 AND revision = $2",
                params![&user, revision],
            )
            .expect(1);
        let wish = Wish {
            user,
            device_id: device,
            display_name: device_name,
            refresh: false,
            remote: String::new(),
            kind: "service".to_owned(),
        };
        let (batch, issued) = session::log_in(guard, &wish).map_err(refused)?;
        let committed = batch.commit().map_err(unavailable)?;
        session::ended(committed, &[]).map_err(unavailable)?;
        let device = issued.device_id.unwrap_or_default();
        Ok(Session { access_token: issued.access_token, device })
    }

    fn login_token(user: String, lifetime_ms: u64) -> Result<String, Error> {
        present(&user)?;
        login_token::issue(&user, lifetime_ms).map_err(unavailable)
    }

    fn log_out(sessions: Sessions) -> Result<(), Error> {
        let (user, device) = match sessions {
            Sessions::All(user) => {
                present(&user)?;
                let batch = session::remove_all(Batch::new(), &user, None).map_err(unavailable)?;
                return batch.commit_blind().map(drop).map_err(unavailable);
            }
            Sessions::Device((user, device)) => {
                let sql = "SELECT user_id, device_id FROM accounts_devices WHERE user_id = $1 AND device_id = $2";
                one(query(sql, params![&user, &device]))?
            }
            Sessions::Token(token) => {
                let sql = "SELECT user_id, device_id FROM accounts_tokens WHERE hash = $1";
                let hash = digest::sha256(token.as_bytes());
                let (user, device) = one(query(sql, params![&hash]))?;
                if device.is_empty() {
                    return session::end_acting(&hash).map_err(unavailable);
                }
                (user, device)
            }
        };
        session::remove_devices(&user, &[device]).map_err(unavailable)
    }
}

fn one(rows: Result<storage::Rows, storage::Error>) -> Result<(String, String), Error> {
    rows.map_err(unavailable)?.first().map_err(unavailable)?.ok_or(Error::NotFound)
}
