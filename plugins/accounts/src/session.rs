//! Devices and their tokens. Only hashes of tokens are stored.
//!
//! Whoever writes goes through the tables in one order, so that no two wait for each other: users, tokens, refresh tokens, devices.

use serde::Serialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{
    Batch, Failure, Moment, Select, position, query, race, select, snapshot,
};
use tessera_sdk::{clock, digest, params, random};

use crate::authenticator::locked_out;
use crate::{config, ids, topics};

/// Bytes of a device's name: whoever asks for its keys gets it.
pub const MAX_NAME: usize = 512;
/// Devices of one user; at this number a log-in without a known device is refused.
const MAX_DEVICES: i64 = 1000;

/// What a client asks for at login and registration.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Full id.
    pub user: String,
    /// `None`: a new one with an id of ours.
    pub device_id: Option<String>,
    /// Only used where the device is new.
    pub display_name: Option<String>,
    /// Wants a refresh token.
    pub refresh: bool,
    /// The client's address.
    pub remote: String,
    /// The login type, such as `m.login.password`, for those who are told of it.
    pub kind: String,
}

/// What it gets.
#[derive(Debug, Clone, Serialize)]
pub struct Issued {
    /// The secret.
    pub access_token: String,
    /// Of a log-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

/// The tokens a device has now, and how many devices there are: what [`log_in`] needs to know.
struct Before {
    hashes: Vec<String>,
    devices: i64,
    known: bool,
}

fn before_queries(user: &str, device: &str) -> [Select; 3] {
    [
        select(
            "SELECT hash FROM accounts_tokens WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        ),
        select("SELECT COUNT(*) FROM accounts_devices WHERE user_id = $1", params![user]),
        select(
            "SELECT device_id FROM accounts_devices WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        ),
    ]
}

fn before(moment: Moment) -> Result<Before, Error> {
    let mut answers = moment.answers();
    let hashes = answers.next().map(|rows| rows.all::<(String,)>()).transpose()?;
    let devices = answers.next().map(|rows| rows.first::<(i64,)>()).transpose()?.flatten();
    let known = answers.next().map(|rows| rows.first::<(String,)>()).transpose()?.flatten();
    Ok(Before {
        hashes: hashes.unwrap_or_default().into_iter().map(|(hash,)| hash).collect(),
        devices: devices.map_or(0, |(n,)| n),
        known: known.is_some(),
    })
}

/// Adds a log-in to a batch: the device, in place of what it had before, and new tokens.
///
/// # Errors
/// `M_INVALID_PARAM` for a device id that cannot be, `M_TOO_LARGE` for a name, `M_FORBIDDEN` for too many devices, storage.
pub fn log_in(batch: Batch, wish: &Wish) -> Result<(Batch, Issued), Error> {
    if let Some(device) = &wish.device_id {
        ids::check_device(device)?;
    }
    check_name(wish.display_name.as_deref())?;
    let device = wish.device_id.clone().unwrap_or_else(|| random::letters(10));
    let before = before(snapshot(&before_queries(&wish.user, &device))?)?;
    if !before.known && before.devices >= MAX_DEVICES {
        return Err(Error::forbidden("too many devices: log some of them out"));
    }
    let batch = batch.run(
        "UPDATE accounts_users SET last_seen_ms = $2 WHERE user_id = $1",
        params![&wish.user, clock::now_ms()],
    );
    let mut batch = revoke(batch, &wish.user, &device, &before.hashes);
    let at = batch.take_positions(1);
    let batch = batch.run(
        "INSERT INTO accounts_devices (user_id, device_id, display_name, position, last_seen_ms, last_seen_ip) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, device_id) DO UPDATE SET \
         last_seen_ms = excluded.last_seen_ms, last_seen_ip = excluded.last_seen_ip",
        params![
            &wish.user,
            &device,
            wish.display_name.as_deref(),
            position(at),
            clock::now_ms(),
            &wish.remote
        ],
    );
    let (batch, mut issued) = issue(batch, &wish.user, &device, wish.refresh, None)?;
    let told = topics::logged_in(&wish.user, &device, &wish.kind);
    issued.device_id = Some(device);
    Ok((batch.emit(topics::SESSIONS, &wish.user, told), issued))
}

/// # Errors
/// `M_TOO_LARGE`.
pub fn check_name(name: Option<&str>) -> Result<(), Error> {
    match name {
        Some(name) if name.len() > MAX_NAME => {
            Err(Error::too_large(format!("a name has at most {MAX_NAME} bytes")))
        }
        _ => Ok(()),
    }
}

/// New tokens for a device; `replaces`: hash of the refresh token that they take the place of.
fn issue(
    batch: Batch,
    user: &str,
    device: &str,
    refresh: bool,
    replaces: Option<&str>,
) -> Result<(Batch, Issued), Error> {
    let lifetime = refresh.then_some(config::get()?.access_token_lifetime_ms);
    let access_token = random::token();
    let expires = lifetime.map(|ms| clock::now_ms() + ms);
    let mut batch = batch.run(
        "INSERT INTO accounts_tokens (hash, user_id, device_id, expires_ms, replaces) \
         VALUES ($1, $2, $3, $4, $5)",
        params![digest::sha256(access_token.as_bytes()), user, device, expires, replaces],
    );
    let refresh_token = refresh.then(random::token);
    if let Some(token) = &refresh_token {
        batch = batch.run(
            "INSERT INTO accounts_refresh_tokens (hash, user_id, device_id, replaces) \
             VALUES ($1, $2, $3, $4)",
            params![digest::sha256(token.as_bytes()), user, device, replaces],
        );
    }
    let issued = Issued { access_token, device_id: None, refresh_token, expires_in_ms: lifetime };
    Ok((batch, issued))
}

/// Takes a device's tokens away and ends what runs under them.
fn revoke(batch: Batch, user: &str, device: &str, hashes: &[String]) -> Batch {
    let batch = batch
        .run(
            "DELETE FROM accounts_tokens WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        )
        .run(
            "DELETE FROM accounts_refresh_tokens WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        );
    hashes.iter().fold(batch, |batch, hash| batch.wake(topics::session(hash)))
}

/// How often a refresh is tried when another uses the token at the same moment.
const TRIES: usize = 3;

/// New tokens for a refresh token. The old one stays good until one of the new is used, so a lost answer
/// can be asked for again. `None`: the token is unknown.
/// Spec: client-server API, Refreshing access tokens.
///
/// # Errors
/// Storage.
pub fn refresh(token: &str) -> Result<Option<Issued>, Error> {
    let hash = digest::sha256(token.as_bytes());
    // Used or revoked at the same moment by another: the next look tells.
    race(TRIES, || exchange(&hash))
}

fn exchange(hash: &str) -> Result<Option<Issued>, Failure> {
    let known: Option<(String, String, Option<String>, bool)> = query(
        "SELECT t.user_id, t.device_id, t.replaces, u.locked FROM accounts_refresh_tokens AS t \
         JOIN accounts_users AS u ON u.user_id = t.user_id WHERE t.hash = $1",
        params![hash],
    )?
    .first()?;
    let Some((user, device, replaces, locked)) = known else { return Ok(None) };
    if locked {
        return Err(locked_out().into());
    }
    // The token is used now: the one that it replaced is void, and so are siblings whose answer was lost.
    let void = "SELECT hash FROM accounts_tokens WHERE user_id = $1 AND device_id = $2";
    let void: Vec<(String,)> = query(void, params![&user, &device])?.all()?;
    let mut batch = Batch::new()
        .run(
            "DELETE FROM accounts_tokens WHERE user_id = $1 AND device_id = $2",
            params![&user, &device],
        )
        .run("UPDATE accounts_refresh_tokens SET replaces = NULL WHERE hash = $1", params![hash])
        .expect(1)
        .run(
            "DELETE FROM accounts_refresh_tokens WHERE user_id = $1 AND device_id = $2 AND \
             (hash = $3 OR replaces = $4)",
            params![&user, &device, replaces.unwrap_or_default(), hash],
        );
    for (hash,) in &void {
        batch = batch.wake(topics::session(hash));
    }
    let (batch, issued) = issue(batch, &user, &device, true, Some(hash))?;
    batch.commit().map_err(Failure::of)?;
    Ok(Some(issued))
}

/// Removes some devices of a user, their tokens with them.
///
/// # Errors
/// Storage.
pub fn remove_devices(user: &str, devices: &[String]) -> Result<(), Error> {
    remove(Batch::new(), user, devices)?.commit_blind()?;
    Ok(())
}

fn remove(batch: Batch, user: &str, devices: &[String]) -> Result<Batch, Error> {
    let hashes: Vec<(String,)> = query(
        "SELECT hash FROM accounts_tokens WHERE user_id = $1 AND device_id IN ($2)",
        params![user, devices],
    )?
    .all()?;
    let mut batch = batch;
    for table in ["accounts_tokens", "accounts_refresh_tokens", "accounts_devices"] {
        let sql = format!("DELETE FROM {table} WHERE user_id = $1 AND device_id IN ($2)");
        batch = batch.run(&sql, params![user, devices]);
    }
    for device in devices {
        batch = batch.emit(topics::SESSIONS, user, topics::logged_out(user, Some(device), None));
    }
    Ok(hashes.iter().fold(batch, |batch, (hash,)| batch.wake(topics::session(hash))))
}

/// Adds the end of every session of a user to a batch, `keep` excepted.
///
/// # Errors
/// Storage.
pub fn remove_all(batch: Batch, user: &str, keep: Option<&str>) -> Result<Batch, Error> {
    let batch = batch
        .run("DELETE FROM accounts_login_tokens WHERE user_id = $1", params![user])
        .emit(topics::SESSIONS, user, topics::logged_out(user, None, keep));
    match keep {
        None => {
            let mut batch = batch.wake(topics::sessions(user));
            for table in ["accounts_tokens", "accounts_refresh_tokens", "accounts_devices"] {
                batch =
                    batch.run(&format!("DELETE FROM {table} WHERE user_id = $1"), params![user]);
            }
            Ok(batch)
        }
        Some(keep) => {
            let hashes: Vec<(String,)> = query(
                "SELECT hash FROM accounts_tokens WHERE user_id = $1 AND device_id <> $2",
                params![user, keep],
            )?
            .all()?;
            // Whoever logged in since that look goes, too.
            let mut batch = batch;
            for table in ["accounts_tokens", "accounts_refresh_tokens", "accounts_devices"] {
                let sql = format!("DELETE FROM {table} WHERE user_id = $1 AND device_id <> $2");
                batch = batch.run(&sql, params![user, keep]);
            }
            Ok(hashes.iter().fold(batch, |batch, (hash,)| batch.wake(topics::session(hash))))
        }
    }
}
