//! Work that is due at a time: the timers of this plug-in by the beginning of their names.

use tessera_sdk::bindings::timer::exports::tessera::plugin::timer::Guest;

use crate::admin::jobs;
use crate::store::idle;
use crate::{Plugin, delayed, filling};

impl Guest for Plugin {
    fn fire(name: String, payload: String) -> Result<(), String> {
        if let Some(delay_id) = name.strip_prefix(delayed::TIMER) {
            return delayed::fire(delay_id).map_err(|error| error.to_string());
        }
        if name.starts_with(jobs::TIMER) {
            return jobs::fire(&payload).map_err(|error| error.to_string());
        }
        if name == filling::TIMER {
            return filling::fire(&payload).map_err(|error| error.to_string());
        }
        if name == idle::TIMER {
            return idle::fire(&payload).map_err(|error| error.to_string());
        }
        Err(format!("no timer is called {name}"))
    }
}
