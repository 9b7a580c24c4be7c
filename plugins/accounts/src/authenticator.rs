//! The authenticator `access-token`: who holds this token.
//!
//! Spec: client-server API, Using access tokens.

use serde_json::json;
use tessera_sdk::bindings::authenticator::exports::tessera::plugin::authenticator::{
    Credentials, Denial, Grant, Guest,
};
use tessera_sdk::http::{Principal, decode_query};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{clock, digest, params};

use crate::{Plugin, topics};

/// How long the host may keep an answer: a logout voids it at once by its topics, so only its table bounds this. Where a node may
/// miss a wake-up of another, the host keeps it for a few seconds at most.
const CACHE_MS: u64 = 300_000;

impl Guest for Plugin {
    fn authenticate(credentials: Credentials) -> Result<Option<Grant>, Denial> {
        // The edge has no words of its own for a missing token, and no route of ours is `auth-optional`.
        token(&credentials)
            .ok_or_else(Error::missing_token)
            .and_then(|token| grant(&token))
            .map(Some)
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

type Row = (String, String, Option<u64>, Option<String>, bool, bool, bool);

fn grant(token: &str) -> Result<Grant, Error> {
    let hash = digest::sha256(token.as_bytes());
    let row: Option<Row> = query(
        "SELECT t.user_id, t.device_id, t.expires_ms, t.replaces, u.deactivated, u.guest, u.admin \
         FROM accounts_tokens AS t JOIN accounts_users AS u ON u.user_id = t.user_id \
         WHERE t.hash = $1",
        params![&hash],
    )?
    .first()?;
    let unknown = |soft: bool| {
        Error::new(ErrorCode::UnknownToken, "this access token is unknown or expired")
            .and("soft_logout", json!(soft))
    };
    let Some((user, device, expires, replaces, deactivated, guest, admin)) = row else {
        return Err(unknown(false));
    };
    if deactivated {
        return Err(unknown(false));
    }
    let left = expires.map_or(CACHE_MS, |at| at.saturating_sub(clock::now_ms()));
    if left == 0 {
        return Err(unknown(true));
    }
    if let Some(replaced) = replaces {
        first_use(&hash, &replaced)?;
    }
    let marks = [(guest, "guest"), (admin, "admin")];
    let marks = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| (*mark).to_owned());
    Ok(Grant {
        topics: vec![topics::session(&hash), topics::sessions(&user)],
        principal: Principal {
            user,
            device: Some(device),
            service: None,
            marks: marks.collect(),
            unlimited: false,
        },
        cache_ms: u32::try_from(left.min(CACHE_MS)).unwrap_or(u32::MAX),
    })
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
