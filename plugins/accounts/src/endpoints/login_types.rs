//! `GET /_matrix/client/v3/login`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login

use serde_json::json;
use tessera_sdk::hooks;
use tessera_sdk::http::{Answer, Request, Result};

use crate::config;

/// Types that the server itself checks.
pub const OWN: [&str; 2] = ["m.login.password", "m.login.token"];

/// The ways to log in: the server's own, then those of modules.
pub fn handle(_: &Request) -> Result {
    let config = config::get()?;
    let off = |kind: &str| kind == "m.login.token" && !config.token_login;
    let own = OWN.iter().filter(|kind| !off(kind));
    let mut kinds: Vec<String> = own.map(|kind| (*kind).to_owned()).collect();
    if hooks::answered("tessera:hooks/login") {
        for kind in hooks::login_types().into_iter().map(|login| login.kind) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    let flow = |kind: &String| match kind.as_str() {
        "m.login.token" => json!({ "type": kind, "get_login_token": config.get_login_token }),
        _ => json!({ "type": kind }),
    };
    let flows: Vec<_> = kinds.iter().map(flow).collect();
    Answer::json(&json!({ "flows": flows }))
}
