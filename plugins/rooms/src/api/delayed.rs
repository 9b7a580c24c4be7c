//! GET /delayed_events and POST /delayed_events/{delayId} (MSC4140, unstable).
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4140>
//!
//! Errors: `M_NOT_FOUND`, `M_MISSING_PARAM`, `M_INVALID_PARAM`, what sending the event says.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::delayed::{self, Action, Delayed};

#[derive(Serialize)]
struct Entry<'a> {
    delay_id: &'a str,
    room_id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    delay: i64,
    running_since: i64,
    content: &'a RawValue,
}

#[derive(Serialize)]
struct Response<'a> {
    delayed_events: Vec<Entry<'a>>,
}

/// The answer to a request that delays an event.
#[derive(Debug, Serialize)]
pub struct Scheduled<'a> {
    /// Names it from now on.
    pub delay_id: &'a str,
}

fn entry(delayed: &Delayed) -> Entry<'_> {
    Entry {
        delay_id: &delayed.delay_id,
        room_id: &delayed.room_id,
        kind: &delayed.kind,
        state_key: delayed.state_key.as_deref(),
        delay: delayed.delay_ms,
        running_since: delayed.started_ms,
        content: &delayed.content,
    }
}

/// Lists what of the user's waits.
pub fn list(request: &Request) -> Result {
    let delayed = delayed::of(request.user()?)?;
    Answer::json(&Response { delayed_events: delayed.iter().map(entry).collect() })
}

/// Cancels, restarts or sends a delayed event; the action stands in the path or in the body.
pub fn update(request: &Request) -> Result {
    let delay_id = request.param("delayId");
    match action(request)? {
        Action::Cancel => delayed::cancel(delay_id)?,
        Action::Restart => delayed::restart(delay_id)?,
        Action::Send => delayed::send(delay_id)?,
    }
    Answer::empty()
}

fn action(request: &Request) -> std::result::Result<Action, Error> {
    let named = match request.param("action") {
        "" => {
            let mut body: Map<String, Value> = request.json()?;
            body.remove("action").ok_or_else(|| Error::missing_param("action is missing"))?
        }
        named => named.into(),
    };
    serde_json::from_value(named)
        .map_err(|_| Error::invalid_param("action is none of cancel, restart and send"))
}
