//! The authenticator `access-token`: who holds this token.
//!
//! Spec: client-server API, Using access tokens.

use serde_json::json;
use tessera_sdk::bindings::authenticator::exports::tessera::plugin::authenticator::{
    Credentials, Denial, Grant, Guest,
};
use tessera_sdk::bindings::http::tessera::plugin::identity::RateOverride;
use tessera_sdk::http::{Principal, decode_query};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{clock, digest, log, params};

use crate::{Plugin, modules, restrictions, session, topics};

/// How long the host may keep an answer: a logout voids it at once by its topics, so only its table bounds this. Where a node may
/// miss a wake-up of another, the host keeps it for a few seconds at most.
const CACHE_MS: u64 = 300_000;
/// How often it is noted that a user was seen.
const SEEN_MS: u64 = 3_600_000;
/// Bytes of a `user-agent` that are kept.
const MAX_AGENT: usize = 512;
/// The mark of a principal who is to be seen by nobody else; `rooms` knows it by this name.
pub(crate) const SHADOW_BANNED: &str = "shadow-banned";
/// What requests of an expired account are told. Clients know this code from other servers.
const EXPIRED: &str = "ORG_MATRIX_EXPIRED_ACCOUNT";

impl Guest for Plugin {
    fn authenticate(credentials: Credentials) -> Result<Option<Grant>, Denial> {
        // The edge has no words of its own for a missing token.
        let answer = match token(&credentials) {
            Some(token) => grant(&token, &credentials).map(Some),
            None if restrictions::token_is_optional(&credentials.method, &credentials.path) => {
                Ok(None)
            }
            None => Err(Error::missing_token()),
        };
        answer
            .map_err(|error| Denial { status: error.http_status(), body: error.body().to_string() })
    }
}

/// The token in the header, or else in the query.
fn token(credentials: &Credentials) -> Option<String> {
    let header = credentials.headers.iter().find(|(name, _)| name == "authorization");
    if let Some((_, value)) = header {
        let (scheme, token) = value.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned());
    }
    let query = decode_query(&credentials.query);
    query.into_iter().find(|(name, _)| name == "access_token").map(|(_, token)| token)
}

type Marks = (bool, bool, bool, bool);
type Rate = (Option<u64>, Option<u64>);
type Row = (
    String,
    String,
    Option<u64>,
    Option<String>,
    bool,
    bool,
    bool,
    bool,
    Option<u64>,
    bool,
    bool,
    Option<u64>,
    Option<u64>,
    String,
);
/// What `[rates]` calls the sending of messages.
const MESSAGES: &str = "messages";

fn grant(token: &str, credentials: &Credentials) -> Result<Grant, Error> {
    let hash = digest::sha256(token.as_bytes());
    let row: Option<Row> = query(
        "SELECT t.user_id, t.device_id, t.expires_ms, t.replaces, u.deactivated, u.guest, u.admin, \
         u.shadow_banned, u.last_seen_ms, u.locked, u.suspended, u.rate_per_second, u.rate_burst, t.made_by \
         FROM accounts_tokens AS t JOIN accounts_users AS u ON u.user_id = t.user_id \
         WHERE t.hash = $1 AND (t.made_by = '' OR EXISTS (SELECT m.user_id FROM accounts_users AS m \
         WHERE m.user_id = t.made_by AND m.admin = TRUE AND m.locked = FALSE AND m.deactivated = FALSE))",
        params![&hash],
    )?
    .first()?;
    let unknown = |soft: bool| {
        Error::new(ErrorCode::UnknownToken, "this access token is unknown or expired")
            .and("soft_logout", json!(soft))
    };
    let Some(row) = row else { return Err(unknown(false)) };
    let (
        user,
        device,
        expires,
        replaces,
        deactivated,
        guest,
        admin,
        shadow,
        seen,
        locked,
        suspended,
        per_second,
        burst,
        maker,
    ) = row;
    if deactivated {
        return Err(unknown(false));
    }
    let now = clock::now_ms();
    let left = expires.map_or(CACHE_MS, |at| at.saturating_sub(now));
    if left == 0 {
        return Err(unknown(true));
    }
    if let Some(replaced) = replaces {
        first_use(&hash, &replaced)?;
    }
    let mut keep_ms = left.min(CACHE_MS);
    if guest || suspended || locked {
        restricted((guest, suspended, locked), credentials)?;
        // Good for this request only: the same credentials do not open everything.
        keep_ms = 0;
    }
    // An administrator's word about this one user goes before that of modules.
    let (unlimited, mut rates) = own_rate((per_second, burst));
    if let Some(standing) = modules::standing(&user) {
        keep_ms = keep_ms.min(modules::FRESH_MS.into());
        rates.extend(standing.rates());
        if standing.expired {
            if !restrictions::is_logout(&credentials.path) {
                return Err(run_out());
            }
            // Good for this request only: the same credentials open nothing else.
            keep_ms = 0;
        }
    }
    let mut marks = marks((guest, admin, shadow, suspended));
    if device.is_empty() {
        // An administrator acts for the user, who is not to notice.
        marks.push(format!("{}{hash}", session::TOKEN_MARK));
    } else if seen.is_none_or(|at| at.saturating_add(SEEN_MS) <= now) {
        see(&user, &device, credentials, now);
    }
    let mut topics = vec![topics::session(&hash), topics::sessions(&user)];
    if !maker.is_empty() {
        // What ends or changes the administrator's own sessions says whether they may still act.
        topics.extend([topics::acting(&maker), topics::sessions(&maker)]);
    }
    Ok(Grant {
        topics,
        principal: Principal {
            user,
            device: (!device.is_empty()).then_some(device),
            service: None,
            marks,
            unlimited,
            rates,
        },
        cache_ms: u32::try_from(keep_ms).unwrap_or(u32::MAX),
    })
}

/// A user's own rate of messages: whether there is none at all, and what goes in place of everybody's.
fn own_rate((per_second, burst): Rate) -> (bool, Vec<RateOverride>) {
    match per_second {
        None => (false, Vec::new()),
        Some(0) => (true, Vec::new()),
        Some(per_second) => {
            let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            let (per_second, burst) = (small(per_second).into(), small(burst.unwrap_or_default()));
            (false, vec![RateOverride { class: MESSAGES.to_owned(), per_second, burst }])
        }
    }
}

fn marks((guest, admin, shadow, suspended): Marks) -> Vec<String> {
    let marks =
        [(guest, "guest"), (admin, "admin"), (shadow, SHADOW_BANNED), (suspended, "suspended")];
    marks.iter().filter(|(is, _)| *is).map(|(_, mark)| (*mark).to_owned()).collect()
}

/// Refuses what guests (first), suspended and locked users may not do.
fn restricted(
    (guest, suspended, locked): (bool, bool, bool),
    credentials: &Credentials,
) -> Result<(), Error> {
    let (method, path) = (credentials.method.as_str(), credentials.path.as_str());
    if locked && !restrictions::is_logout(path) {
        return Err(locked_out());
    }
    if suspended && !restrictions::suspended_may(method, path) {
        let text = "you cannot do this while your account is suspended";
        return Err(Error::new(ErrorCode::UserSuspended, text));
    }
    if guest && !restrictions::guest_may(method, path, &decode_query(&credentials.query)) {
        return Err(Error::new(ErrorCode::GuestAccessForbidden, "guests may not do this"));
    }
    Ok(())
}

/// Whether somebody may act who proved who they are without a token: what [`grant`] holds against those who have one.
///
/// # Errors
/// `M_USER_LOCKED`, `M_USER_DEACTIVATED`, `ORG_MATRIX_EXPIRED_ACCOUNT`, storage.
pub(crate) fn may_act(user: &str) -> Result<(), Error> {
    crate::endpoints::login::revision(user)?;
    match modules::standing(user) {
        Some(standing) if standing.expired => Err(run_out()),
        _ => Ok(()),
    }
}

fn run_out() -> Error {
    Error::with_status(403, EXPIRED, "this account has run out")
}

/// What users of locked accounts are told.
pub(crate) fn locked_out() -> Error {
    Error::new(ErrorCode::UserLocked, "this account is locked").and("soft_logout", json!(true))
}

/// Notes that a user and a device are in use. Nothing rests on it, so nothing fails for it.
fn see(user: &str, device: &str, credentials: &Credentials, now: u64) {
    let agent = credentials.headers.iter().find(|(name, _)| name == "user-agent");
    let agent = agent.map_or("", |(_, value)| value.as_str());
    let agent = agent.get(..agent.floor_char_boundary(MAX_AGENT)).unwrap_or_default();
    let seen = Batch::new()
        .relaxed()
        .run("UPDATE accounts_users SET last_seen_ms = $2 WHERE user_id = $1", params![user, now])
        .run(
            "UPDATE accounts_devices SET last_seen_ms = $3, last_seen_ip = $4, user_agent = $5 \
             WHERE user_id = $1 AND device_id = $2",
            params![user, device, now, &credentials.remote, agent],
        )
        .commit_blind();
    if let Err(error) = seen {
        log::warn("when a user was seen is not noted", &[("reason", &format!("{error:?}"))]);
    }
}

/// A refreshed token is used for the first time: the refresh token that it came from is void.
fn first_use(hash: &str, replaced: &str) -> Result<(), Error> {
    Batch::new()
        .run("UPDATE accounts_tokens SET replaces = NULL WHERE hash = $1", params![hash])
        .run("DELETE FROM accounts_refresh_tokens WHERE hash = $1", params![replaced])
        .run(
            "UPDATE accounts_refresh_tokens SET replaces = NULL WHERE replaces = $1",
            params![replaced],
        )
        .commit_blind()?;
    Ok(())
}
