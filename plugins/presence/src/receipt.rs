//! POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid>

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, Value, position, select};
use tessera_sdk::{clock, params, services};

use crate::{room, seen};

/// Thread id of what belongs to no thread.
const MAIN: &str = "main";

#[derive(Deserialize)]
struct Body {
    thread_id: Option<String>,
}

/// A receipt to store.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    /// `m.read`, `m.read.private` or `m.fully_read`.
    pub kind: String,
    pub event_id: String,
    /// Empty: unthreaded.
    pub thread_id: String,
}

/// # Errors
/// `M_INVALID_PARAM` for an unknown type or a malformed thread id; `M_FORBIDDEN` outside the room; `M_NOT_FOUND` for an
/// unknown event.
pub(crate) fn handle(request: &Request) -> Result {
    let kind = request.param("receiptType");
    if !matches!(kind, "m.read" | "m.read.private" | "m.fully_read") {
        return Err(Error::invalid_param(
            "receiptType must be m.read, m.read.private or m.fully_read",
        ));
    }
    let body: Body = request.json()?;
    let thread_id = match body.thread_id {
        Some(thread) if thread != MAIN && !thread.starts_with('$') => {
            return Err(Error::invalid_param("thread_id must be main or an event id"));
        }
        Some(_) if kind == "m.fully_read" => {
            return Err(Error::invalid_param("m.fully_read belongs to no thread"));
        }
        thread => thread.unwrap_or_default(),
    };
    let receipt =
        Receipt { kind: kind.to_owned(), event_id: request.param("eventId").to_owned(), thread_id };
    store(request.user()?, request.param("roomId"), &[receipt])?;
    Answer::empty()
}

/// Stores receipts that move forward; the others are no error. Two storage calls.
///
/// # Errors
/// `M_FORBIDDEN` outside the room; `M_NOT_FOUND` for an event or a thread root that is not in it.
pub(crate) fn store(
    user: &str,
    room_id: &str,
    receipts: &[Receipt],
) -> std::result::Result<(), Error> {
    let mut ids: Vec<String> = receipts.iter().map(|receipt| receipt.event_id.clone()).collect();
    ids.extend(receipts.iter().map(|receipt| receipt.thread_id.clone()));
    let mut answers = storage::snapshot(&[
        room::select_joined(user, room_id),
        select(
            "SELECT event_id, position FROM rooms_v1_events WHERE event_id IN ($1) AND room_id = $2",
            params![ids, room_id],
        ),
        select(
            "SELECT type, thread_id, event_position FROM presence_receipts \
             WHERE room_id = $1 AND user_id = $2",
            params![room_id, user],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    room::require_joined(&next()?)?;
    let events: Vec<(String, u64)> = next()?.all()?;
    let before: Vec<(String, String, u64)> = next()?.all()?;
    let is_ahead = |receipt: &Receipt, at: u64| {
        before.iter().any(|(kind, thread, position)| {
            *kind == receipt.kind && *thread == receipt.thread_id && *position >= at
        })
    };

    let mut batch = Batch::new();
    let mut fully_read = None;
    for receipt in receipts {
        let known = events.iter().find(|(id, _)| *id == receipt.event_id);
        let threaded = !receipt.thread_id.is_empty() && receipt.thread_id != MAIN;
        let rooted = !threaded || events.iter().any(|(id, _)| *id == receipt.thread_id);
        let Some((_, at)) = known.filter(|_| rooted) else {
            return Err(Error::new(ErrorCode::NotFound, "this room has no such event"));
        };
        if receipt.kind == "m.fully_read" {
            fully_read = Some(&receipt.event_id);
            continue;
        }
        if is_ahead(receipt, *at) {
            continue;
        }
        let first = batch.take_positions(1);
        let row: Vec<Value> = params![
            room_id,
            user,
            &receipt.kind,
            &receipt.thread_id,
            &receipt.event_id,
            *at,
            clock::now_ms(),
            position(first),
        ];
        let payload = json!({
            "user_id": user, "room_id": room_id, "thread_id": receipt.thread_id,
            "event_id": receipt.event_id, "event_position": at,
        });
        batch = batch
            .run(
                "INSERT INTO presence_receipts \
                 (room_id, user_id, type, thread_id, event_id, event_position, ts, position) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (room_id, user_id, type, thread_id) DO UPDATE \
                 SET event_id = excluded.event_id, event_position = excluded.event_position, \
                 ts = excluded.ts, position = excluded.position \
                 WHERE presence_receipts.event_position < excluded.event_position",
                row,
            )
            .emit("presence.receipts", user, payload.to_string());
        batch = match receipt.kind.as_str() {
            "m.read.private" => batch.wake(format!("user:{user}")),
            _ => batch.wake(room::topic(room_id)),
        };
    }
    if !batch.is_empty() {
        seen::note(batch, user)?.commit_blind()?;
    }
    if let Some(event_id) = fully_read {
        let content = json!({ "event_id": event_id }).to_string();
        services::put_account_data(user, Some(room_id), "m.fully_read", &content)
            .map_err(|error| Error::internal(format!("m.fully_read: {error:?}")))?;
    }
    Ok(())
}
