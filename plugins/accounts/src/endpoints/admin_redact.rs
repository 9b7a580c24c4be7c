//! `/_synapse/admin/v1/user/{userId}/redact`: all that a user said is taken back.
//!
//! Not in the Matrix specification; moderation bots speak it.
//! https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html#redact-all-the-events-of-a-user

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::admin::redactions::{self, Wish};
use crate::{admin, ids};

#[derive(Debug, Deserialize)]
struct Body {
    rooms: Option<Vec<String>>,
    reason: Option<String>,
    limit: Option<i64>,
    use_admin: Option<bool>,
    before_ts: Option<i64>,
    after_ts: Option<i64>,
}

/// Bytes of a reason.
const MAX_REASON: usize = 1000;

/// Begins; the job's id. `M_INVALID_PARAM`, `M_MISSING_PARAM`, 400 `M_UNKNOWN` where it is under way already, 429 for too many.
pub fn begin(request: &Request) -> Result {
    admin::only(request)?;
    let user = ids::user_in_path(request.param("userId"))?;
    let body: Body = request.json()?;
    let rooms = body.rooms.ok_or_else(|| Error::missing_param("rooms is missing"))?;
    for room in &rooms {
        ids::room_in_path(room)?;
    }
    let most = match body.limit {
        None => redactions::EVENTS,
        Some(limit) => u64::try_from(limit)
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| Error::invalid_param("limit is greater than 0"))?,
    };
    let time = |name: &str, given: Option<i64>, else_ms: i64| {
        u64::try_from(given.unwrap_or(else_ms))
            .map_err(|_| Error::invalid_param(format!("{name} is a time in milliseconds")))
    };
    let reason = body.reason.unwrap_or_default();
    if reason.len() > MAX_REASON {
        return Err(Error::invalid_param(format!("a reason has at most {MAX_REASON} bytes")));
    }
    let id = redactions::begin(&Wish {
        user: user.to_owned(),
        admin: request.user()?.to_owned(),
        by_admin: body.use_admin.unwrap_or(false),
        reason,
        rooms,
        most,
        after_ms: time("after_ts", body.after_ts, 0)?,
        before_ms: time("before_ts", body.before_ts, i64::MAX)?,
    })?;
    Answer::json(&json!({ "redact_id": id }))
}

/// How far a job is. `M_NOT_FOUND`.
pub fn status(request: &Request) -> Result {
    admin::only(request)?;
    match redactions::state(request.param("redactId"))? {
        None => Err(Error::not_found("no such redaction")),
        Some(state) if state.done => {
            Answer::json(&json!({ "status": "complete", "failed_redactions": state.failed }))
        }
        Some(_) => Answer::json(&json!({ "status": "active" })),
    }
}
