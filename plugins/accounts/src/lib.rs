//! Users: registration, log-in, tokens and refresh, devices, addresses, profiles, account data, filters, openid; the
//! authenticator of all routes.

pub mod account_data;
pub mod admin;
mod authenticator;
pub mod captcha;
pub mod config;
mod consumer;
pub mod endpoints;
pub mod identity;
pub mod ids;
pub mod login_token;
pub mod mails;
pub mod modules;
pub mod outside;
pub mod page;
pub mod password;
pub mod registration;
pub mod registration_token;
pub mod restrictions;
pub mod secret;
mod service;
pub mod session;
pub mod threepids;
pub mod topics;
pub mod uia;
pub mod validation;

use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle;
use tessera_sdk::bindings::timer::exports::tessera::plugin::timer;

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, endpoints::ROUTES);
tessera_sdk::serve_pieces!(Plugin, endpoints::ROUTES);

impl lifecycle::Guest for Plugin {
    fn start() -> Result<(), String> {
        let config: config::Config = tessera_sdk::config::get()?;
        config.check()
    }
}

impl timer::Guest for Plugin {
    fn fire(name: String, _payload: String) -> Result<(), String> {
        match name.as_str() {
            admin::redactions::TIMER => admin::redactions::run().map_err(|error| error.to_string()),
            _ => Err(format!("no timer is called {name}")),
        }
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_authenticator!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_accounts!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_lifecycle!(Plugin);
