//! Joins the rooms that users are invited to: a consumer of the topic `rooms.events`, so that no invite is missed, whatever
//! stops in between.

mod direct;
mod invites;

use serde::Deserialize;
use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::{Guest, Message};
use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle;
use tessera_sdk::services::{self, RoomsError};
use tessera_sdk::{config, crypto, log, matrix};

use crate::invites::Invite;

/// `[plugins.auto-accept-invites.config]` of the descriptor; `plugin.toml` has the defaults and the schema.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    /// Only invites to direct chats.
    only_direct: bool,
    /// Only invites by users of this server.
    only_local: bool,
    /// Direct chats are noted in `m.direct`.
    mark_direct: bool,
}

/// The module.
#[derive(Debug)]
pub struct AutoAcceptInvites;

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_consumer!(AutoAcceptInvites);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_lifecycle!(AutoAcceptInvites);

impl lifecycle::Guest for AutoAcceptInvites {
    fn start() -> Result<(), String> {
        config::get::<Config>().map(|_| ())
    }
}

impl Guest for AutoAcceptInvites {
    fn handle(messages: Vec<Message>) -> Result<u32, String> {
        let config: Config = config::get()?;
        let server = crypto::tenant_name();
        let open = invites::open(&messages, &server)?;
        let mut done = 0;
        for message in &messages {
            for invite in open.iter().filter(|invite| invite.message == message.id) {
                if let Err(reason) = accept(invite, &config, &server) {
                    // The messages before this one are done; it and the rest come again.
                    return if done > 0 { Ok(done) } else { Err(reason) };
                }
            }
            done += 1;
        }
        Ok(done)
    }
}

/// Joins, if the operator wants it so.
///
/// # Errors
/// It could not be done now, or it is not known whether it was: try again. To join twice is to join once.
fn accept(invite: &Invite, config: &Config, server: &str) -> Result<(), String> {
    let local = matrix::server_name(&invite.inviter) == server;
    if (config.only_direct && !invite.direct) || (config.only_local && !local) {
        return Ok(());
    }
    let (user, room) = (invite.user.as_str(), invite.room.as_str());
    match services::set_membership(user, room, user, "join", None) {
        Ok(()) => {}
        Err(RoomsError::Unavailable(reason) | RoomsError::Unknown(reason)) => return Err(reason),
        // Taken back, banned, refused by another module: nothing that a second try would change.
        Err(RoomsError::NotFound) => return Ok(()),
        Err(RoomsError::Refused((errcode, error))) => {
            let fields = [("user", user), ("room", room), ("errcode", &errcode), ("error", &error)];
            log::info("an invite was not accepted", &fields);
            return Ok(());
        }
    }
    if invite.direct && config.mark_direct {
        direct::mark(user, &invite.inviter, room)?;
    }
    Ok(())
}
