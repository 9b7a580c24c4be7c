//! Identity servers: told of a user's addresses when the user asks for it, and told to forget them.
//!
//! Spec: Identity Service API, Establishing associations.

use serde_json::{Value, json};
use tessera_sdk::fetch::{self, Body};
use tessera_sdk::matrix::{Error, identity_server_scheme, is_identity_server};
use tessera_sdk::storage::{Batch, query};
use tessera_sdk::{clock, crypto, log, params};

use crate::config;
use crate::outside::{self, Kind};

/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024;
/// How long one of them may take: callers wait for it.
const TIMEOUT_MS: u32 = 5_000;
/// How long all of those together may take that are told to forget somebody.
const PATIENCE_MS: u64 = 10_000;
/// Bytes of an address in an answer.
const MAX_ADDRESS: usize = 500;
/// Identity servers that are told of one user's addresses.
const MAX_BINDINGS: i64 = 200;

/// Checks the name of an identity server; how it is spoken to.
///
/// # Errors
/// `M_INVALID_PARAM` if it cannot be one, `M_SERVER_NOT_TRUSTED` if the operator does not want it.
fn check(server: &str) -> Result<&'static str, Error> {
    if !is_identity_server(server) {
        return Err(Error::invalid_param("id_server is no host"));
    }
    identity_server_scheme(&config::get()?.identity_servers, server).ok_or_else(|| {
        let text = "this identity server is not to be used here";
        Error::with_status(400, "M_SERVER_NOT_TRUSTED", text)
    })
}

fn post(
    scheme: &str,
    server: &str,
    path: &str,
    authorization: &str,
    body: &Value,
) -> Result<Result<(u16, Value), String>, Error> {
    let headers = [("content-type", "application/json"), ("authorization", authorization)];
    let request = fetch::Request {
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: Body::Bytes(body.to_string().into_bytes()),
        timeout_ms: TIMEOUT_MS,
        max_bytes: MAX_ANSWER,
        ..fetch::request("POST", &format!("{scheme}://{server}{path}"))
    };
    let answer = outside::send(Kind::Identity, &request)?;
    Ok(answer.map(|answer| {
        let body = match answer.body {
            Body::Bytes(bytes) => serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            Body::None | Body::Blob(_) => Value::Null,
        };
        (answer.status, body)
    }))
}

/// Tells an identity server that what a session of its own proved belongs to a user.
///
/// # Errors
/// What the identity server says; 502 if it cannot be asked, 429 where too many are waited for.
pub fn bind(user: &str, server: &str, token: &str, sid: &str, secret: &str) -> Result<(), Error> {
    let scheme = check(server)?;
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::invalid_param("id_access_token cannot be one"));
    }
    let known: Option<(i64,)> =
        query("SELECT COUNT(*) FROM accounts_bindings WHERE user_id = $1", params![user])?
            .first()?;
    if known.is_some_and(|(count,)| count >= MAX_BINDINGS) {
        return Err(Error::forbidden("too many addresses are bound: unbind some"));
    }
    let body = json!({ "sid": sid, "client_secret": secret, "mxid": user });
    let path = "/_matrix/identity/v2/3pid/bind";
    let (status, said) =
        post(scheme, server, path, &format!("Bearer {token}"), &body)?.map_err(|reason| {
            log::warn("an identity server could not be asked", &[("reason", &reason)]);
            Error::with_status(502, "M_UNKNOWN", "the identity server cannot be reached")
        })?;
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    if status != 200 {
        let errcode = text("errcode").filter(|it| it.len() < 100).unwrap_or("M_UNKNOWN");
        let error = text("error").filter(|it| it.len() < 1000);
        let status = if (400..500).contains(&status) && status != 401 { status } else { 502 };
        let error = error.unwrap_or("the identity server refused");
        return Err(Error::with_status(status, errcode, error));
    }
    let medium = text("medium").filter(|medium| matches!(*medium, "email" | "msisdn"));
    let address = text("address").filter(|address| address.len() <= MAX_ADDRESS);
    if let (Some(medium), Some(address)) = (medium, address) {
        Batch::new()
            .run(
                "INSERT INTO accounts_bindings (user_id, medium, address, id_server) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT DO NOTHING",
                params![user, medium, address, server],
            )
            .commit_blind()?;
    }
    Ok(())
}

/// An address that an identity server may know: medium, address, server.
pub type Binding = (String, String, String);

/// Tells identity servers to forget a user's address: the one that is named, else those that were told through us. Whether all of them
/// did; false, too, where none is known.
///
/// # Errors
/// `M_INVALID_PARAM`, `M_SERVER_NOT_TRUSTED`, storage.
pub fn unbind(
    user: &str,
    medium: &str,
    address: &str,
    server: Option<&str>,
) -> Result<bool, Error> {
    let sql = "SELECT medium, address, id_server FROM accounts_bindings \
               WHERE user_id = $1 AND medium = $2 AND address = $3";
    let bound = match server {
        Some(server) => {
            check(server)?;
            vec![(medium.to_owned(), address.to_owned(), server.to_owned())]
        }
        None => query(sql, params![user, medium, address])?.all()?,
    };
    Ok(!bound.is_empty() & forget_each(user, &bound)?)
}

/// Where identity servers may know a user: at the one that is named all addresses, else where they were told through us.
///
/// # Errors
/// `M_INVALID_PARAM`, `M_SERVER_NOT_TRUSTED`, storage.
pub fn bound(user: &str, server: Option<&str>) -> Result<Vec<Binding>, Error> {
    let Some(server) = server else {
        let sql = "SELECT medium, address, id_server FROM accounts_bindings WHERE user_id = $1";
        return Ok(query(sql, params![user])?.all()?);
    };
    check(server)?;
    let sql = "SELECT medium, address FROM accounts_bindings WHERE user_id = $1 \
               UNION SELECT medium, address FROM accounts_threepids WHERE user_id = $1";
    let known: Vec<(String, String)> = query(sql, params![user])?.all()?;
    Ok(known.into_iter().map(|(medium, address)| (medium, address, server.to_owned())).collect())
}

/// Has them forget all of these. Those that are left when it has taken too long stay bound: nobody is kept by it.
///
/// # Errors
/// Storage.
pub fn forget_each(user: &str, bound: &[Binding]) -> Result<bool, Error> {
    let deadline_ms = clock::now_ms().saturating_add(PATIENCE_MS);
    let mut all = true;
    for (medium, address, server) in bound {
        if clock::now_ms() >= deadline_ms || !forget(user, medium, address, server) {
            all = false;
            continue;
        }
        Batch::new()
            .run(
                "DELETE FROM accounts_bindings WHERE user_id = $1 AND medium = $2 AND address = $3 \
                 AND id_server = $4",
                params![user, medium, address, server],
            )
            .commit_blind()?;
    }
    Ok(all)
}

/// `id_server_unbind_result`.
pub fn result(all: bool) -> &'static str {
    if all { "success" } else { "no-support" }
}

/// One request, signed by this server. Spec: Server-Server API, Request Authentication.
fn forget(user: &str, medium: &str, address: &str, server: &str) -> bool {
    let path = "/_matrix/identity/v2/3pid/unbind";
    let body = json!({ "mxid": user, "threepid": { "medium": medium, "address": address } });
    let origin = crypto::tenant_name();
    // Keys of JSON objects are in order here, so this is canonical.
    let signed = json!({
        "method": "POST", "uri": path, "origin": origin, "destination": server, "content": body,
    });
    let signature = crypto::sign(&[signed.to_string()]).pop().unwrap_or_default();
    let key = crypto::key().id;
    let header = format!(
        "X-Matrix origin=\"{origin}\",destination=\"{server}\",key=\"{key}\",sig=\"{signature}\""
    );
    // Configured since: it is not asked any more.
    let Ok(scheme) = check(server) else { return false };
    match post(scheme, server, path, &header, &body) {
        Ok(Ok((200, _))) => true,
        Ok(Ok((status, _))) => {
            log::warn("an identity server did not unbind", &[("status", &status.to_string())]);
            false
        }
        Ok(Err(reason)) => {
            log::warn("an identity server could not be asked", &[("reason", &reason)]);
            false
        }
        Err(_) => {
            log::warn("an identity server was not asked: too many are waited for", &[]);
            false
        }
    }
}
