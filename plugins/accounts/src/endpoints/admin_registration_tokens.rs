//! `/_synapse/admin/v1/registration_tokens`: tokens that let people register.
//!
//! Not in the Matrix specification; tools speak it.
//! https://element-hq.github.io/synapse/latest/usage/administration/admin_api/registration_tokens.html

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, params, random};

use crate::admin;
use crate::registration_token::{pending, pending_of};
use crate::uia::Object;

/// Tokens kept at once.
const MAX_TOKENS: i64 = 100_000;
/// Tokens in one answer.
const MAX_LISTED: i64 = 10_000;
/// Characters of a token. Spec: Token-authenticated registration.
const MAX_LENGTH: usize = 64;
/// Characters of a token that we choose, if not said.
const LENGTH: usize = 16;

type Row = (String, Option<i64>, i64, Option<u64>);

const COLUMNS: &str =
    "SELECT token, uses_allowed, completed, expires_ms FROM accounts_registration_tokens";

/// All of them, or with `valid` those that may or may not be used.
pub fn list(request: &Request) -> Result {
    admin::only(request)?;
    let valid: Option<bool> = request.query_as("valid")?;
    let rows: Vec<Row> =
        query(&format!("{COLUMNS} ORDER BY token LIMIT $1"), params![MAX_LISTED])?.all()?;
    let tokens: Vec<String> = rows.iter().map(|row| row.0.clone()).collect();
    let all = pending_of(&tokens)?;
    let mut told = Vec::new();
    for row in rows {
        let pending = all.get(&row.0).copied().unwrap_or_default();
        let used_up = row.1.is_some_and(|allowed| row.2 + pending >= allowed);
        let over = row.3.is_some_and(|at| at <= clock::now_ms());
        if valid.is_none_or(|valid| valid != (used_up || over)) {
            told.push(shown(row, pending));
        }
    }
    Answer::json(&json!({ "registration_tokens": told }))
}

/// One. `M_NOT_FOUND`.
pub fn get(request: &Request) -> Result {
    admin::only(request)?;
    answer(request.param("token"))
}

/// Makes one. `M_INVALID_PARAM` for one that cannot be or is there already.
pub fn new(request: &Request) -> Result {
    admin::only(request)?;
    let body: Object = request.json()?;
    let token = match body.get("token") {
        None | Some(Value::Null) => generated(&body)?,
        Some(Value::String(token)) => {
            check(token)?;
            token.clone()
        }
        Some(_) => return Err(Error::invalid_param("token is a string")),
    };
    let (uses, expires) = (uses(&body)?, expires(&body)?);
    let count: Option<(i64,)> =
        query("SELECT COUNT(*) FROM accounts_registration_tokens", params![])?.first()?;
    if count.is_some_and(|(count,)| count >= MAX_TOKENS) {
        return Err(Error::forbidden("too many tokens: delete some"));
    }
    let made = Batch::new()
        .run(
            "INSERT INTO accounts_registration_tokens (token, uses_allowed, completed, expires_ms) \
             VALUES ($1, $2, 0, $3)",
            params![&token, uses.flatten(), expires.flatten()],
        )
        .commit();
    match made {
        Ok(_) => answer(&token),
        Err(storage::Error::Conflict(_)) => {
            Err(Error::invalid_param("this token is there already"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Changes uses and end of one. `M_NOT_FOUND`.
pub fn update(request: &Request) -> Result {
    admin::only(request)?;
    let token = request.param("token");
    let body: Object = request.json()?;
    let mut batch = Batch::new();
    if let Some(uses) = uses(&body)? {
        let sql = "UPDATE accounts_registration_tokens SET uses_allowed = $2 WHERE token = $1";
        batch = batch.run(sql, params![token, uses]);
    }
    if let Some(expires) = expires(&body)? {
        let sql = "UPDATE accounts_registration_tokens SET expires_ms = $2 WHERE token = $1";
        batch = batch.run(sql, params![token, expires]);
    }
    if !batch.is_empty() {
        batch.commit_blind()?;
    }
    answer(token)
}

/// Takes one away. `M_NOT_FOUND`.
pub fn delete(request: &Request) -> Result {
    admin::only(request)?;
    let sql = "DELETE FROM accounts_registration_tokens WHERE token = $1";
    let gone = Batch::new().run(sql, params![request.param("token")]).commit_blind()?;
    if gone.affected.first() == Some(&1) {
        return Answer::empty();
    }
    Err(Error::not_found("no such token"))
}

fn answer(token: &str) -> Result {
    let row: Option<Row> =
        query(&format!("{COLUMNS} WHERE token = $1"), params![token])?.first()?;
    match row {
        Some(row) => Answer::json(&shown(row, pending(token, "")?)),
        None => Err(Error::not_found("no such token")),
    }
}

fn shown((token, uses_allowed, completed, expiry_time): Row, pending: i64) -> Value {
    json!({
        "token": token, "uses_allowed": uses_allowed, "pending": pending, "completed": completed,
        "expiry_time": expiry_time,
    })
}

fn check(token: &str) -> std::result::Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
    if token.is_empty() || token.len() > MAX_LENGTH || !token.bytes().all(allowed) {
        return Err(Error::invalid_param("a token has 1 to 64 of 0-9 a-z A-Z . _ ~ -"));
    }
    Ok(())
}

fn generated(body: &Object) -> std::result::Result<String, Error> {
    let wrong = || Error::invalid_param("length is 1 to 64");
    let length = match body.get("length") {
        None | Some(Value::Null) => LENGTH,
        Some(length) => {
            let length = length.as_u64().and_then(|it| usize::try_from(it).ok());
            length.filter(|it| (1..=MAX_LENGTH).contains(it)).ok_or_else(wrong)?
        }
    };
    Ok(random::letters(length))
}

/// `None`: not said. `Some(None)`: without end.
fn number(body: &Object, name: &str) -> std::result::Result<Option<Option<i64>>, Error> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => {
            let value = value.as_i64().filter(|it| *it >= 0);
            let wrong = || Error::invalid_param(format!("{name} is a number from 0, or null"));
            value.map(|value| Some(Some(value))).ok_or_else(wrong)
        }
    }
}

fn uses(body: &Object) -> std::result::Result<Option<Option<i64>>, Error> {
    number(body, "uses_allowed")
}

fn expires(body: &Object) -> std::result::Result<Option<Option<i64>>, Error> {
    let expires = number(body, "expiry_time")?;
    let now = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    if expires.flatten().is_some_and(|at| at < now) {
        return Err(Error::invalid_param("expiry_time is past"));
    }
    Ok(expires)
}
