//! POST /_synapse/admin/v1/purge_history/{roomId}[/{eventId}], GET /_synapse/admin/v1/purge_history_status/{purgeId}.
//!
//! Errors: `M_NOT_FOUND`, `M_BAD_JSON`, 400 `M_UNKNOWN` (the event is of another room), `M_LIMIT_EXCEEDED`.

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::admin::{self, history, jobs};
use crate::{api::body, ids};

#[derive(Deserialize)]
struct Wish {
    #[serde(default)]
    delete_local_events: bool,
    purge_up_to_event_id: Option<String>,
    purge_up_to_ts: Option<i64>,
}

#[derive(Serialize)]
struct Begun {
    purge_id: String,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Has what lies before an event or a time go, but for state and, unless it is wanted, what users of this server sent.
pub fn begin(request: &Request) -> Result {
    admin::only(request)?;
    let room_id = admin::room(request, "roomId")?;
    let wish: Wish = body::of(request)?;
    let in_path = Some(request.param("eventId")).filter(|id| !id.is_empty());
    let before = match (in_path.or(wish.purge_up_to_event_id.as_deref()), wish.purge_up_to_ts) {
        (Some(event_id), _) => history::before_event(room_id, ids::event(event_id)?)?,
        (None, Some(ts)) => history::before_time(room_id, ts)?,
        (None, None) => {
            let text = "purge_up_to_event_id or purge_up_to_ts must be given";
            return Err(Error::bad_json(text));
        }
    };
    let wish = history::Wish { before, delete_local: wish.delete_local_events };
    let purge_id = jobs::begin(room_id, &jobs::Wish::History(wish), 0)?;
    Answer::json(&Begun { purge_id })
}

/// Tells how far it has come.
pub fn status(request: &Request) -> Result {
    admin::only(request)?;
    let job = jobs::find(request.param("purgeId"))?;
    let job = job.filter(|job| matches!(job.wish, jobs::Wish::History(_)));
    let job = job.ok_or_else(|| Error::not_found("there is no such purge"))?;
    let status = match job.status.as_str() {
        "complete" => "complete",
        "failed" => "failed",
        _ => "active",
    };
    Answer::json(&Status { status, error: job.progress.error })
}
