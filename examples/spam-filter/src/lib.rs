//! Refuses the same text sent again and again: an event policy with a table of its own, a timer that forgets, and a route
//! for administrators.

mod admin;
mod config;
mod store;

use serde::Deserialize;
use tessera_sdk::bindings::{
    lifecycle::exports::tessera::plugin::lifecycle, timer::exports::tessera::plugin::timer,
};
use tessera_sdk::hooks::Refusal;
use tessera_sdk::http::Route;
use tessera_sdk::module::event_policy::{Guest, Objection, Origin};
use tessera_sdk::{clock, digest, log, timers};

use crate::config::Config;

/// The timer's name.
const FORGET: &str = "forget";

/// The module.
#[derive(Debug)]
pub struct SpamFilter;

const ROUTES: &[Route] =
    &[Route::new("refusals", admin::refusals), Route::new("forgive", admin::forgive)];

tessera_sdk::serve_http!(SpamFilter, ROUTES);

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_event_policy!(SpamFilter);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_lifecycle!(SpamFilter);
#[cfg(target_arch = "wasm32")]
tessera_sdk::export_timer!(SpamFilter);

/// The part of an event that is looked at.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    content: serde_json::Value,
}

impl Guest for SpamFilter {
    fn check_event(event: String, origin: Origin) -> Result<(), Objection> {
        let config = Config::get().map_err(|reason| broken("configuration", &reason))?;
        if origin.admin || config.trusted.contains(&origin.sender) {
            return Ok(());
        }
        let Some(text) = text_of(&event, config.min_length) else { return Ok(()) };
        let now = clock::now_ms();
        let times =
            store::sent(&origin.sender, &digest::sha256(text.as_bytes()), now, config.window_ms())
                .map_err(|error| broken("storage", &format!("{error:?}")))?;
        if times <= config.copies {
            return Ok(());
        }
        // The refusal stands, whether or not it can be counted.
        if let Err(error) = store::refused(&origin.sender, now) {
            log::warn("a refusal was not counted", &[("reason", &format!("{error:?}"))]);
        }
        if config.pretend {
            return Err(Objection::Pretend);
        }
        Err(refuse("M_FORBIDDEN", "You have sent this often enough"))
    }
}

impl lifecycle::Guest for SpamFilter {
    fn start() -> Result<(), String> {
        forget_later(&Config::get()?)
    }
}

impl timer::Guest for SpamFilter {
    fn fire(_name: String, _payload: String) -> Result<(), String> {
        let config = Config::get()?;
        store::forget(clock::now_ms().saturating_sub(config.window_ms()))
            .map_err(|error| format!("{error:?}"))?;
        forget_later(&config)
    }
}

/// Rows outlive their window by at most as long again; what is too old counts for nothing anyway.
fn forget_later(config: &Config) -> Result<(), String> {
    timers::set(FORGET, clock::now_ms().saturating_add(config.window_ms()), "")
}

/// The text of a message, if it is long enough to be looked at.
fn text_of(event: &str, min_length: usize) -> Option<String> {
    let event: Event = serde_json::from_str(event).ok()?;
    if event.kind != "m.room.message" {
        return None;
    }
    let body = event.content.get("body")?.as_str()?;
    let words: Vec<String> = body.split_whitespace().map(str::to_lowercase).collect();
    let text = words.join(" ");
    (text.chars().count() >= min_length).then_some(text)
}

fn refuse(errcode: &str, error: &str) -> Objection {
    Objection::Refuse(Refusal { status: 403, errcode: errcode.to_owned(), error: error.to_owned() })
}

fn broken(what: &str, reason: &str) -> Objection {
    log::error("the spam filter cannot do its work", &[("what", what), ("reason", reason)]);
    refuse("M_UNKNOWN", "The spam filter of this server is out of order")
}
