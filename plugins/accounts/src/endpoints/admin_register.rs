//! `GET` and `POST /_synapse/admin/v1/register`: registration by who knows the shared secret.
//!
//! Not in the Matrix specification; tools and test suites speak it.
//! https://element-hq.github.io/synapse/latest/admin_api/register_api.html

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::json;
use sha1::Sha1;
use tessera_sdk::crypto;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::Batch;

use super::login::LoggedIn;
use super::profile_field_set::MAX_SHOWN;
use crate::registration::{self, NewAccount};
use crate::session::{self, Wish};
use crate::{config, ids, modules, password, uia};

/// Nonces are sessions of this scope.
const SCOPE: &str = "admin-register";

#[derive(Debug, Deserialize)]
struct Body {
    nonce: Option<String>,
    username: Option<String>,
    displayname: Option<String>,
    password: Option<String>,
    #[serde(default)]
    admin: bool,
    user_type: Option<String>,
    mac: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
}

/// The secret, if there is one; otherwise the endpoint is not there.
fn secret() -> std::result::Result<String, Error> {
    let secret = config::get()?.shared_secret;
    secret.ok_or_else(|| Error::new(ErrorCode::Unrecognized, "no shared secret is configured"))
}

/// A nonce for one registration within half an hour.
pub fn nonce(request: &Request) -> Result {
    secret()?;
    Answer::json(&json!({ "nonce": uia::open(SCOPE, request)? }))
}

/// Registers a user, with admin rights if asked for.
///
/// `M_FORBIDDEN` for a wrong HMAC, `M_UNKNOWN` for an unknown nonce, and what registration says.
pub fn register(request: &Request) -> Result {
    let secret = secret()?;
    let body: Body = request.json()?;
    let needed = |text: Option<String>, name: &str| {
        text.ok_or_else(|| Error::missing_param(format!("{name} is missing")))
    };
    let nonce = needed(body.nonce, "nonce")?;
    let username = needed(body.username, "username")?;
    let given = needed(body.password, "password")?;
    let mac = needed(body.mac, "mac")?;
    let admin = if body.admin { "admin" } else { "notadmin" };
    let mut signed = vec![nonce.as_str(), &username, &given, admin];
    signed.extend(body.user_type.as_deref());
    if !fits(&secret, &signed.join("\0"), &mac) {
        return Err(Error::forbidden("the HMAC is wrong"));
    }
    let spent = || Error::new(ErrorCode::Unknown, "the nonce is unknown or over").status(400);
    if !uia::is_open(&nonce, SCOPE)? {
        return Err(spent());
    }
    password::check_new(&given)?;
    let username = ids::small(&username);
    let user = registration::free(&username)?;
    if body.displayname.as_ref().is_some_and(|name| name.len() > MAX_SHOWN) {
        return Err(Error::invalid_param("the display name is too long"));
    }
    let requests = [request.info()];
    let shadow_banned =
        modules::check_registration(Some(username), None, "shared-secret", &requests)?;
    let account = NewAccount {
        user: user.clone(),
        password_hash: Some(crypto::hash_password(&given)),
        displayname: body.displayname,
        admin: body.admin,
        shadow_banned,
        by_admin: true,
        guest: false,
    };
    // A nonce is good once.
    let batch = uia::close(registration::create(Batch::new(), &account), &nonce);
    let told = |at| (at == 2).then(spent);
    if body.inhibit_login {
        registration::commit(batch, told)?;
        return Answer::json(&LoggedIn::new(user, None));
    }
    let wish = Wish {
        user: user.clone(),
        device_id: None,
        display_name: None,
        refresh: false,
        remote: request.remote().to_owned(),
        kind: "register".to_owned(),
    };
    let (batch, issued) = session::log_in(batch, &wish)?;
    registration::commit(batch, told)?;
    Answer::json(&LoggedIn::new(user, Some(issued)))
}

/// Whether `mac` is the HMAC-SHA1 in hexadecimal. Takes as long for a wrong one.
fn fits(secret: &str, signed: &str, mac: &str) -> bool {
    let Ok(mut hmac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return false };
    hmac.update(signed.as_bytes());
    hex::decode(mac).is_ok_and(|mac| hmac.verify_slice(&mac).is_ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn hmac_is_the_one_of_rfc_2202() {
        let mac = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        assert!(super::fits("Jefe", "what do ya want for nothing?", mac));
        assert!(!super::fits("Jefe", "what do ya want for something?", mac));
    }
}
