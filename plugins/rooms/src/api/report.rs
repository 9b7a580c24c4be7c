//! POST /rooms/{roomId}/report, /rooms/{roomId}/report/{eventId} and /users/{userId}/report.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport>
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid>
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport>
//!
//! Reports are kept in a table and told on `rooms.reports`. Errors: `M_NOT_FOUND`, `M_MISSING_PARAM`, `M_BAD_JSON`,
//! `M_TOO_LARGE`, `M_LIMIT_EXCEEDED` (the descriptor's `[limits.reports]`, by reporter).

use serde::Serialize;
use serde_json::{Map, Value};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, limits, params, random};

use crate::access::Standing;
use crate::ids;

/// Reports that are kept; older ones go.
const MAX_REPORTS: u32 = 10_000;
/// As many old ones go with a new one at most.
const SWEEP: u32 = 100;
/// Longest reason in bytes.
const MAX_REASON: usize = 8_192;

/// A report, as it is told.
#[derive(Debug, Default, Serialize)]
struct Report<'a> {
    report_id: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    room_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    event_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_id: &'a str,
    reporter: &'a str,
    reason: String,
}

/// Reports a room, which the reporter need not be in.
pub fn room(request: &Request) -> Result {
    let reason = reason(request)?.ok_or_else(missing)?;
    let room_id = ids::room(request.param("roomId"))?;
    let rows =
        storage::query("SELECT version FROM rooms_rooms WHERE room_id = $1", params![room_id])?;
    if rows.first::<(String,)>()?.is_none() {
        return Err(Error::not_found("there is no such room here"));
    }
    keep(Report { kind: "room", room_id, reporter: request.user()?, reason, ..Report::default() })
}

/// Reports an event of a room that the reporter is in.
pub fn event(request: &Request) -> Result {
    let reason = reason(request)?.unwrap_or_default();
    let room_id = ids::room(request.param("roomId"))?;
    let event_id = ids::event(request.param("eventId"))?;
    let reporter = request.user()?;
    let unknown = || Error::not_found("there is no such event, or the user is not in its room");
    let standing = Standing::of(room_id, reporter).map_err(|_| unknown())?;
    if standing.membership != "join" {
        return Err(unknown());
    }
    let rows = storage::query(
        "SELECT sender FROM rooms_events
         WHERE event_id = $1 AND room_id = $2 AND stream = TRUE AND rejected = FALSE",
        params![event_id, room_id],
    )?;
    let (sender,) = rows.first::<(String,)>()?.ok_or_else(unknown)?;
    let report_id = String::new();
    keep(Report { report_id, kind: "event", room_id, event_id, user_id: &sender, reporter, reason })
}

/// Reports a user.
pub fn user(request: &Request) -> Result {
    let reason = reason(request)?.ok_or_else(missing)?;
    let user_id = ids::user(request.param("userId"))?;
    let known = if ids::is_local(user_id) {
        "SELECT user_id FROM accounts_v1_users WHERE user_id = $1"
    } else {
        "SELECT user_id FROM rooms_memberships WHERE user_id = $1 LIMIT 1"
    };
    if storage::query(known, params![user_id])?.first::<(String,)>()?.is_none() {
        return Err(Error::not_found("there is no such user here"));
    }
    keep(Report { kind: "user", user_id, reporter: request.user()?, reason, ..Report::default() })
}

fn missing() -> Error {
    Error::missing_param("reason is missing")
}

/// Why, as far as it is said.
fn reason(request: &Request) -> std::result::Result<Option<String>, Error> {
    let mut body: Map<String, Value> = request.json()?;
    if body.get("score").is_some_and(|score| !score.is_i64()) {
        return Err(Error::bad_json("score is no integer"));
    }
    match body.remove("reason") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(reason)) if reason.len() > MAX_REASON => {
            Err(Error::too_large(format!("reason is longer than {MAX_REASON} bytes")))
        }
        Some(Value::String(reason)) => Ok(Some(reason.replace('\0', "\u{fffd}"))),
        Some(_) => Err(Error::bad_json("reason is no text")),
    }
}

fn keep(mut report: Report<'_>) -> Result {
    limits::take("reports", report.reporter, 1).map_err(Error::limit_exceeded)?;
    report.report_id = random::letters(24);
    let payload = serde_json::to_string(&report).map_err(Error::internal)?;
    let key = if report.room_id.is_empty() { report.user_id } else { report.room_id };
    let mut batch = Batch::new();
    let number = batch.take_positions(1);
    batch
        .run(
            "INSERT INTO rooms_reports (report_id, kind, room_id, event_id, user_id, reporter, reason, created_ms, number)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            params![
                &report.report_id,
                report.kind,
                report.room_id,
                report.event_id,
                report.user_id,
                report.reporter,
                &report.reason,
                clock::now_ms(),
                storage::position(number),
            ],
        )
        .run(
            "DELETE FROM rooms_reports WHERE report_id IN
               (SELECT report_id FROM rooms_reports ORDER BY created_ms DESC, report_id LIMIT $1 OFFSET $2)",
            params![SWEEP, MAX_REPORTS],
        )
        .emit("rooms.reports", key, payload)
        .commit_blind()?;
    Answer::empty()
}
