//! `GET /_matrix/client/v3/voip/turnServer`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha1::Sha1;
use tessera_sdk::clock;
use tessera_sdk::http::{Answer, Request, Result};

use crate::config;

/// Credentials for the operator's TURN servers; `{}` where there are none. With a shared secret the name says until when it is good and the
/// password is its HMAC-SHA1, as TURN servers check it.
pub fn handle(request: &Request) -> Result {
    let Some(turn) = config::get()?.turn.filter(|turn| !turn.uris.is_empty()) else {
        return Answer::empty();
    };
    let ttl = turn.lifetime_ms / 1000;
    let (username, password) = match &turn.secret {
        Some(secret) => {
            let username = format!("{}:{}", clock::now_ms() / 1000 + ttl, request.user()?);
            let password = sign(secret, &username);
            (username, password)
        }
        None => (turn.username.unwrap_or_default(), turn.password.unwrap_or_default()),
    };
    Answer::json(
        &json!({ "username": username, "password": password, "uris": turn.uris, "ttl": ttl }),
    )
}

fn sign(secret: &str, username: &str) -> String {
    let Ok(mut hmac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    hmac.update(username.as_bytes());
    STANDARD.encode(hmac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn password_is_the_hmac_in_base64() {
        assert_eq!(
            super::sign("Jefe", "what do ya want for nothing?"),
            "7/zfauXrL6LSdBbV8YTfnCWafHk="
        );
    }
}
