//! Devices and their tokens. Only hashes of tokens are stored.
//!
//! Whoever writes goes through the tables in one order, so that no two wait for each other: users, tokens, refresh tokens, devices.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Value, json};
use tessera_sdk::http::Principal;
use tessera_sdk::matrix::Error;
use tessera_sdk::services;
use tessera_sdk::storage::{
    Batch, Committed, Failure, Moment, Select, position, query, race, select, snapshot,
};
use tessera_sdk::{bus, clock, digest, log, params, random};

use crate::authenticator::locked_out;
use crate::{config, ids, topics};

/// Bytes of a device's name: whoever asks for its keys gets it.
pub const MAX_NAME: usize = 512;
/// Devices of one user; at this number a log-in without a known device is refused.
const MAX_DEVICES: i64 = 1000;
/// Tokens by which one administrator acts for others.
const MAX_ACTING: i64 = 100;
/// Topics that one commit wakes, or one notice names; those of further tokens are notified after it.
const MAX_WAKES: usize = 500;

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

/// Adds a log-in to a batch: the device, in place of what it had before, and new tokens. Where it may have been there, [`ended`] comes after
/// the commit.
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
    if !before.known && wish.device_id.is_some() && names_a_key(&wish.user, &device) {
        return Err(Error::forbidden("one of your cross-signing keys has the id of this device"));
    }
    let batch = batch.run(
        "UPDATE accounts_users SET last_seen_ms = $2 WHERE user_id = $1",
        params![&wish.user, clock::now_ms()],
    );
    let batch = revoke(batch, &wish.user, &device, &before.hashes);
    let batch = add(batch, wish, &device);
    let (batch, mut issued) = issue(batch, &wish.user, &device, wish.refresh, None)?;
    issued.device_id = Some(device);
    Ok((batch, issued))
}

/// Characters of a public key, unpadded base64 of 32 bytes.
const KEY_LENGTH: usize = 43;

/// Whether a device's id is that of one of the user's cross-signing keys: signatures of the one would be taken for the other's.
/// Spec: client-server API, `POST /login`, 403.
fn names_a_key(user: &str, device: &str) -> bool {
    // No other ids are public keys, so nobody else waits for the answer.
    if device.len() != KEY_LENGTH {
        return false;
    }
    let asked = json!({ "device_keys": { user: [device] } }).to_string();
    let answer: Value = match services::query_keys(&asked, Some(user)) {
        Ok(answer) => serde_json::from_str(&answer).unwrap_or_default(),
        Err(error) => {
            log::warn("cross-signing keys are not known", &[("reason", &format!("{error:?}"))]);
            return false;
        }
    };
    ["master_keys", "self_signing_keys", "user_signing_keys"].iter().any(|kind| {
        let keys = answer.get(kind).and_then(|keys| keys.get(user)?.get("keys")?.as_object());
        keys.into_iter().flatten().any(|(_, key)| key == device)
    })
}

/// Adds a device to a batch, and tells of it.
fn add(mut batch: Batch, wish: &Wish, device: &str) -> Batch {
    let at = batch.take_positions(1);
    batch
        .run(
            "INSERT INTO accounts_devices (user_id, device_id, display_name, position, last_seen_ms, last_seen_ip) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, device_id) DO UPDATE SET \
             last_seen_ms = excluded.last_seen_ms, last_seen_ip = excluded.last_seen_ip",
            params![
                &wish.user,
                device,
                wish.display_name.as_deref(),
                position(at),
                clock::now_ms(),
                &wish.remote
            ],
        )
        .emit(topics::SESSIONS, &wish.user, topics::logged_in(&wish.user, device, &wish.kind))
}

/// Makes the device that a wish names, without tokens. One that is there stays as it is.
///
/// # Errors
/// As [`log_in`].
pub fn make_device(wish: &Wish, device: &str) -> Result<(), Error> {
    ids::check_device(device)?;
    check_name(wish.display_name.as_deref())?;
    let before = before(snapshot(&before_queries(&wish.user, device))?)?;
    if before.known {
        return Ok(());
    }
    if before.devices >= MAX_DEVICES {
        return Err(Error::forbidden("too many devices: log some of them out"));
    }
    add(Batch::new(), wish, device).commit()?;
    Ok(())
}

/// What the mark of a principal begins with who acts for a user by a token of [`act_as`]; the token's hash follows.
pub const TOKEN_MARK: &str = "token:";

/// A token by which an administrator acts for a user. It has no device and the user does not see it; it ends with itself, with all sessions
/// of either, or at `expires_ms`.
///
/// # Errors
/// `M_FORBIDDEN` for too many of them and for who is no administrator (any more), `M_NOT_FOUND` for who is not there, storage.
pub fn act_as(admin: &str, user: &str, expires_ms: Option<u64>) -> Result<String, Error> {
    race(TRIES, || try_to_act(admin, user, expires_ms))
}

fn try_to_act(admin: &str, user: &str, expires_ms: Option<u64>) -> Result<String, Failure> {
    let now = clock::now_ms();
    let maker = crate::admin::standing(admin)?;
    if !maker.is_some_and(|maker| maker.admin && !maker.locked) {
        return Err(Error::forbidden("only administrators act for others").into());
    }
    if crate::admin::standing(user)?.is_none() {
        return Err(Error::not_found("this account is deactivated").into());
    }
    let sql = "SELECT COUNT(*) FROM accounts_tokens WHERE made_by = $1 AND made_by <> '' \
               AND (expires_ms IS NULL OR expires_ms > $2)";
    let count: Option<(i64,)> = query(sql, params![admin, now])?.first()?;
    if count.is_some_and(|(count,)| count >= MAX_ACTING) {
        return Err(Error::forbidden("too many such tokens: log out of some of them").into());
    }
    // Both stay as they are until the token is there, and whoever makes another for this administrator waits. In order of their ids, so that
    // no two wait for each other.
    let guards = [
        (
            admin,
            "UPDATE accounts_users SET revision = revision WHERE user_id = $1 AND admin = TRUE \
             AND locked = FALSE AND deactivated = FALSE",
        ),
        (
            user,
            "UPDATE accounts_users SET revision = revision WHERE user_id = $1 AND deactivated = FALSE",
        ),
    ];
    let order = if admin < user { [0, 1] } else { [1, 0] };
    let mut batch = Batch::new();
    for (user, sql) in order.iter().filter_map(|at| guards.get(*at)) {
        batch = batch.run(sql, params![*user]).expect(1);
    }
    let token = random::token();
    batch
        .run(
            "DELETE FROM accounts_tokens WHERE made_by = $1 AND made_by <> '' AND expires_ms <= $2",
            params![admin, now],
        )
        .run(
            "INSERT INTO accounts_tokens (hash, user_id, device_id, expires_ms, replaces, made_by) \
             SELECT $1, u.user_id, '', CAST($3 AS bigint), NULL, $4 FROM accounts_users AS u \
             WHERE u.user_id = $2 AND $5 > (SELECT COUNT(*) FROM accounts_tokens AS t \
             WHERE t.made_by = $4 AND t.made_by <> '')",
            params![digest::sha256(token.as_bytes()), user, expires_ms, admin, MAX_ACTING],
        )
        .expect(1)
        .commit()
        .map_err(Failure::of)?;
    Ok(token)
}

/// Whether somebody acts for the user by a token of [`act_as`].
pub fn acts(principal: &Principal) -> bool {
    principal.marks.iter().any(|mark| mark.starts_with(TOKEN_MARK))
}

/// Ends one token of [`act_as`].
///
/// # Errors
/// Storage.
pub fn end_acting(hash: &str) -> Result<(), Error> {
    let sql = "DELETE FROM accounts_tokens WHERE hash = $1 AND made_by <> ''";
    Batch::new().run(sql, params![hash]).wake(topics::session(hash)).commit_blind()?;
    Ok(())
}

/// Adds the end of all tokens by which somebody acts for others to a batch that wakes all sessions of the administrator, or
/// [`topics::acting`].
pub fn end_all_acting(batch: Batch, admin: &str) -> Batch {
    batch.run("DELETE FROM accounts_tokens WHERE made_by = $1 AND made_by <> ''", params![admin])
}

/// Wakes as many of these sessions as one commit may; [`ended`] sees to the others.
fn wake(batch: Batch, hashes: &[String]) -> Batch {
    let hashes = hashes.iter().take(MAX_WAKES);
    hashes.fold(batch, |batch, hash| batch.wake(topics::session(hash)))
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
            "DELETE FROM accounts_tokens WHERE user_id = $1 AND device_id = $2 RETURNING hash",
            params![user, device],
        )
        .run(
            "DELETE FROM accounts_refresh_tokens WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        );
    wake(batch, hashes)
}

/// How often it is tried what meets another at the same moment, such as the use of a refresh token.
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
            "DELETE FROM accounts_tokens WHERE user_id = $1 AND device_id = $2 RETURNING hash",
            params![&user, &device],
        )
        .run("UPDATE accounts_refresh_tokens SET replaces = NULL WHERE hash = $1", params![hash])
        .expect(1)
        .run(
            "DELETE FROM accounts_refresh_tokens WHERE user_id = $1 AND device_id = $2 AND \
             (hash = $3 OR replaces = $4)",
            params![&user, &device, replaces.unwrap_or_default(), hash],
        );
    let void: Vec<String> = void.into_iter().map(|(hash,)| hash).collect();
    batch = wake(batch, &void);
    let (batch, issued) = issue(batch, &user, &device, true, Some(hash))?;
    let committed = batch.commit().map_err(Failure::of)?;
    ended(committed, &void)?;
    Ok(Some(issued))
}

/// Removes some devices of a user, their tokens with them; of those that are not there nothing is told.
///
/// # Errors
/// Storage.
pub fn remove_devices(user: &str, devices: &[String]) -> Result<(), Error> {
    let moment = snapshot(&[
        select(
            "SELECT device_id FROM accounts_devices WHERE user_id = $1 AND device_id IN ($2)",
            params![user, devices],
        ),
        select(
            "SELECT hash FROM accounts_tokens WHERE user_id = $1 AND device_id IN ($2)",
            params![user, devices],
        ),
    ])?;
    let mut answers = moment.answers();
    let mut texts = || -> Result<Vec<String>, Error> {
        let rows = answers.next().map(|rows| rows.all::<(String,)>()).transpose()?;
        Ok(rows.unwrap_or_default().into_iter().map(|(text,)| text).collect())
    };
    let (known, hashes) = (texts()?, texts()?);
    if known.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new().run(
        "DELETE FROM accounts_tokens WHERE user_id = $1 AND device_id IN ($2) RETURNING hash",
        params![user, known.as_slice()],
    );
    for table in ["accounts_refresh_tokens", "accounts_devices"] {
        let sql = format!("DELETE FROM {table} WHERE user_id = $1 AND device_id IN ($2)");
        batch = batch.run(&sql, params![user, known.as_slice()]);
    }
    for device in &known {
        batch = batch.emit(topics::SESSIONS, user, topics::logged_out(user, Some(device), None));
    }
    ended(wake(batch, &hashes).commit_blind()?, &hashes)
}

/// Ends what runs under the tokens that a commit has deleted beside those that it woke, which are the first of `woken`: a refresh may have
/// made some after they were looked up.
///
/// # Errors
/// Storage.
pub fn ended(committed: Committed, woken: &[String]) -> Result<(), Error> {
    let mut missed = Vec::new();
    for rows in committed.returned {
        let hashes: Vec<(String,)> = rows.all()?;
        let woken: HashSet<&String> = woken.iter().take(MAX_WAKES).collect();
        let hashes = hashes.iter().filter(|(hash,)| !woken.contains(hash));
        missed.extend(hashes.map(|(hash,)| topics::session(hash)));
    }
    for some in missed.chunks(MAX_WAKES) {
        bus::notify(some);
    }
    Ok(())
}

/// Adds the end of every session of a user to a batch, `keep` excepted. With `keep`, [`ended`] comes after the commit.
///
/// # Errors
/// Storage.
pub fn remove_all(batch: Batch, user: &str, keep: Option<&str>) -> Result<Batch, Error> {
    let batch = end_all_acting(batch, user)
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
            let mut batch = batch.run(
                "DELETE FROM accounts_tokens WHERE user_id = $1 AND device_id <> $2 RETURNING hash",
                params![user, keep],
            );
            for table in ["accounts_refresh_tokens", "accounts_devices"] {
                let sql = format!("DELETE FROM {table} WHERE user_id = $1 AND device_id <> $2");
                batch = batch.run(&sql, params![user, keep]);
            }
            let hashes: Vec<String> = hashes.into_iter().map(|(hash,)| hash).collect();
            Ok(wake(batch.wake(topics::acting(user)), &hashes))
        }
    }
}
