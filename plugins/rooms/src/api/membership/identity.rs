//! Identity servers: who is behind an address, and invites to those whom nobody knows yet.
//!
//! Spec: identity service API, `/v2/hash_details`, `/v2/lookup`, `/v2/store-invite`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tessera_sdk::digest;
use tessera_sdk::fetch::{self, Body, Request};
use tessera_sdk::matrix::{Error, identity_server_scheme, is_identity_server};

use crate::settings::Settings;

/// An identity server answers within this, with at most so much.
const TIMEOUT_MS: u32 = 10_000;
const MAX_BYTES: u64 = 64 * 1024;

/// An identity server that the configuration allows.
#[derive(Debug, Clone)]
pub(super) struct IdentityServer<'a> {
    /// `https` or `http`.
    scheme: &'static str,
    name: &'a str,
    token: Option<&'a str>,
}

/// Whom an invite is for. Spec: client-server API, Invite3pid.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Invite3pid {
    pub(super) id_server: Option<String>,
    pub(super) id_access_token: Option<String>,
    pub(super) medium: Option<String>,
    pub(super) address: Option<String>,
}

/// A key of an invite.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PublicKey {
    pub(super) public_key: String,
    pub(super) key_validity_url: Option<String>,
}

/// A pending invite, as the identity server keeps it.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    pub(super) token: String,
    #[serde(default)]
    pub(super) public_keys: Vec<PublicKey>,
    pub(super) display_name: String,
}

#[derive(Deserialize)]
struct HashDetails {
    algorithms: Vec<String>,
    lookup_pepper: String,
}

#[derive(Default, Deserialize)]
struct Refusal {
    errcode: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Mappings {
    /// Some servers write null for whom they do not know.
    mappings: HashMap<String, Option<String>>,
}

fn unusable(name: &str, what: impl std::fmt::Display) -> Error {
    Error::with_status(
        502,
        "M_UNKNOWN",
        format!("the identity server {name} cannot be used: {what}"),
    )
}

impl<'a> IdentityServer<'a> {
    /// # Errors
    /// `M_INVALID_PARAM` if it is no server name, 403 `M_SERVER_NOT_TRUSTED` if the configuration does not name it.
    pub(super) fn new(name: &'a str, token: Option<&'a str>) -> Result<Self, Error> {
        if !is_identity_server(name) {
            return Err(Error::invalid_param("id_server is no server name"));
        }
        let allowed = &Settings::get().identity_servers;
        let scheme = identity_server_scheme(allowed, name).ok_or_else(|| {
            let text = format!("this server invites nobody through {name}");
            Error::with_status(403, "M_SERVER_NOT_TRUSTED", text)
        })?;
        Ok(Self { scheme, name, token })
    }

    /// Full id of the user whose address it is, if the server knows.
    ///
    /// # Errors
    /// 502 if the server does not answer as it should; its own 400s.
    pub(super) fn lookup(&self, medium: &str, address: &str) -> Result<Option<String>, Error> {
        let details: HashDetails = self.ask("GET", "hash_details", None)?;
        let pepper = &details.lookup_pepper;
        let knows = |wanted: &str| details.algorithms.iter().any(|known| known == wanted);
        let (algorithm, asked) = if knows("sha256") {
            ("sha256", digest::sha256(format!("{address} {medium} {pepper}").as_bytes()))
        } else if knows("none") {
            ("none", format!("{address} {medium}"))
        } else {
            return Err(unusable(self.name, "it knows no usable hash"));
        };
        let body = json!({"algorithm": algorithm, "pepper": pepper, "addresses": [asked]});
        let mut found: Mappings = self.ask("POST", "lookup", Some(&body))?;
        Ok(found.mappings.remove(&asked).flatten())
    }

    /// Leaves an invite with the server, which tells the address of it.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub(super) fn store_invite(&self, body: &Value) -> Result<Stored, Error> {
        let stored: Stored = self.ask("POST", "store-invite", Some(body))?;
        if stored.public_keys.is_empty() || stored.token.is_empty() || stored.token.len() > 255 {
            return Err(unusable(self.name, "its invite has no key or no token"));
        }
        Ok(stored)
    }

    fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        if let Some(token) = self.token {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        let body = body.map_or(Body::None, |body| {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
            Body::Bytes(body.to_string().into_bytes())
        });
        let url = format!("{}://{}/_matrix/identity/v2/{path}", self.scheme, self.name);
        let (status, answer) =
            send(method, &url, headers, body).map_err(|e| unusable(self.name, e))?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&answer).map_err(|error| unusable(self.name, error));
        }
        // What it says of the client's token or of its terms is for the client to hear.
        let said: Refusal = serde_json::from_slice(&answer).unwrap_or_default();
        match (status, said.errcode) {
            (400..=499, Some(errcode)) => {
                let text = said.error.unwrap_or_else(|| "the identity server refuses".to_owned());
                Err(Error::with_status(status, &errcode, text))
            }
            _ => Err(unusable(self.name, format!("it answers {status}"))),
        }
    }
}

fn send(
    method: &str,
    url: &str,
    headers: Vec<(String, String)>,
    body: Body,
) -> Result<(u16, Vec<u8>), String> {
    let request = Request {
        headers,
        body,
        timeout_ms: TIMEOUT_MS,
        max_bytes: MAX_BYTES,
        ..fetch::request(method, url)
    };
    let response = fetch::send(&request).map_err(|error| format!("{error:?}"))?;
    let body = match response.body {
        Body::Bytes(bytes) => bytes,
        Body::None | Body::Blob(_) => Vec::new(),
    };
    Ok((response.status, body))
}

/// Whether a key is still good, by the URL in the room's invite.
///
/// # Errors
/// 403 `M_SERVER_NOT_TRUSTED` if the URL is of no allowed server; 502.
pub(super) fn is_valid(key: &PublicKey) -> Result<bool, Error> {
    #[derive(Deserialize)]
    struct Validity {
        valid: bool,
    }
    let Some(url) = key.key_validity_url.as_deref() else {
        return Ok(true);
    };
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let server = IdentityServer::new(host, None)?;
    if scheme != server.scheme {
        return Err(unusable(host, "its key is to be checked elsewhere"));
    }
    let join = if url.contains('?') { '&' } else { '?' };
    let encoded = key.public_key.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let url = format!("{url}{join}public_key={encoded}");
    let answer = send("GET", &url, Vec::new(), Body::None);
    let (status, body) = answer.map_err(|error| unusable(server.name, error))?;
    match serde_json::from_slice::<Validity>(&body) {
        Ok(validity) if status == 200 => Ok(validity.valid),
        _ => Err(unusable(server.name, format!("it answers {status}"))),
    }
}
