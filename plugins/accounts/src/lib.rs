//! Users: registration, log-in, tokens and refresh, devices, profiles, account data, filters, openid; the
//! authenticator of all routes.

pub mod account_data;
mod authenticator;
pub mod config;
pub mod endpoints;
pub mod ids;
pub mod login_token;
pub mod modules;
pub mod password;
mod service;
pub mod session;
pub mod topics;
pub mod uia;

use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle;

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

tessera_sdk::serve_http!(Plugin, endpoints::ROUTES);

impl lifecycle::Guest for Plugin {
    fn start() -> Result<(), String> {
        let config: config::Config = tessera_sdk::config::get()?;
        if config.registration == config::Registration::SharedSecret
            && config.shared_secret.is_none()
        {
            return Err("registration = \"shared-secret\" needs `shared-secret`".to_owned());
        }
        Ok(())
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_authenticator!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_accounts!(Plugin);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_lifecycle!(Plugin);
