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
    thread_id: Option<serde_json::Value>,
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

/// What events relate to, up to three steps on. Spec: client-server API, Threaded read receipts.
const RELATIONS: &str = "SELECT a.event_id, a.rel_type AS kind_1, a.relates_to AS to_1, b.rel_type AS kind_2, b.relates_to AS to_2, \
     c.rel_type AS kind_3, c.relates_to AS to_3 \
     FROM rooms_v1_relations a LEFT JOIN rooms_v1_relations b ON b.event_id = a.relates_to \
     LEFT JOIN rooms_v1_relations c ON c.event_id = b.relates_to WHERE a.event_id IN ($1)";

/// A row of `RELATIONS`.
type Relations =
    (String, String, String, Option<String>, Option<String>, Option<String>, Option<String>);

/// Whether the receipt's event belongs to the receipt's thread. A root belongs to its thread, too: clients that show a thread without
/// answers say that it has been read.
fn is_of_thread(receipt: &Receipt, relations: &[Relations]) -> bool {
    if receipt.thread_id.is_empty() || receipt.thread_id == receipt.event_id {
        return true;
    }
    let row = relations.iter().find(|row| row.0 == receipt.event_id);
    let root = row.and_then(|(_, kind, to, kind_2, to_2, kind_3, to_3)| {
        let steps = [
            (Some(kind), Some(to)),
            (kind_2.as_ref(), to_2.as_ref()),
            (kind_3.as_ref(), to_3.as_ref()),
        ];
        steps.into_iter().find(|(kind, _)| kind.is_some_and(|kind| kind == "m.thread"))?.1
    });
    match root {
        Some(root) => *root == receipt.thread_id,
        None => receipt.thread_id == MAIN,
    }
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
        None => String::new(),
        Some(_) if kind == "m.fully_read" => {
            return Err(Error::invalid_param("m.fully_read belongs to no thread"));
        }
        Some(thread) => match thread.as_str() {
            Some(thread) if thread == MAIN || thread.starts_with('$') => thread.to_owned(),
            _ => return Err(Error::invalid_param("thread_id must be main or an event id")),
        },
    };
    let receipt =
        Receipt { kind: kind.to_owned(), event_id: request.param("eventId").to_owned(), thread_id };
    store(request.user()?, request.param("roomId"), &[receipt])?;
    Answer::empty()
}

/// Stores receipts that move forward; the others are no error. Two storage calls.
///
/// # Errors
/// `M_FORBIDDEN` outside the room; `M_NOT_FOUND` for an event or a thread root that is not in it; `M_INVALID_PARAM` for an event that is not
/// of the thread.
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
            "SELECT event_id, position, redacted_by FROM rooms_v1_events WHERE event_id IN ($1) AND room_id = $2",
            params![ids.clone(), room_id],
        ),
        select(RELATIONS, params![ids]),
        select(
            "SELECT type, thread_id, event_position FROM presence_receipts \
             WHERE room_id = $1 AND user_id = $2",
            params![room_id, user],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    room::require_joined(&next()?)?;
    let events: Vec<(String, u64, Option<String>)> = next()?.all()?;
    let relations: Vec<Relations> = next()?.all()?;
    let before: Vec<(String, String, u64)> = next()?.all()?;
    let is_ahead = |receipt: &Receipt, at: u64| {
        before.iter().any(|(kind, thread, position)| {
            *kind == receipt.kind && *thread == receipt.thread_id && *position >= at
        })
    };

    let mut batch = Batch::new();
    let mut fully_read = None;
    for receipt in receipts {
        let known = events.iter().find(|(id, ..)| *id == receipt.event_id);
        let threaded = !receipt.thread_id.is_empty() && receipt.thread_id != MAIN;
        let rooted = !threaded || events.iter().any(|(id, ..)| *id == receipt.thread_id);
        let Some((_, at, redacted_by)) = known.filter(|_| rooted) else {
            return Err(Error::new(ErrorCode::NotFound, "this room has no such event"));
        };
        // What is redacted does not say any more where it belonged.
        if redacted_by.is_none() && !is_of_thread(receipt, &relations) {
            return Err(Error::invalid_param("this event is not of that thread"));
        }
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
