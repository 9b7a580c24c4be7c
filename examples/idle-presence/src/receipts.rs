//! POST /rooms/{roomId}/receipt/{receiptType}/{eventId} and /read_markers

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::{
    clock,
    http::{Answer, Request, Result},
    matrix::{Error, ErrorCode},
    params, services,
    storage::{self, Batch, position, select},
};

use crate::{rooms, seen};

const FULLY_READ: &str = "m.fully_read";
const PRIVATE: &str = "m.read.private";
const TYPES: [&str; 3] = ["m.read", PRIVATE, FULLY_READ];

#[derive(Deserialize)]
struct Body {
    thread_id: Option<String>,
}

struct Receipt<'a> {
    kind: &'a str,
    event: &'a str,
    /// Empty: unthreaded. `main`, or the id of a thread's root.
    thread: &'a str,
}

/// # Errors
/// `M_INVALID_PARAM` for an unknown type or a malformed thread; else as [`store`].
pub(crate) fn post(request: &Request) -> Result {
    let kind = request.param("receiptType");
    if !TYPES.contains(&kind) {
        return Err(Error::invalid_param(format!(
            "receiptType must be one of {}",
            TYPES.join(", ")
        )));
    }
    let body: Body = request.json()?;
    let thread = body.thread_id.as_deref();
    match thread {
        Some(_) if kind == FULLY_READ => {
            return Err(Error::invalid_param("m.fully_read belongs to no thread"));
        }
        Some(thread) if thread != "main" && !thread.starts_with('$') => {
            return Err(Error::invalid_param("thread_id must be main or an event id"));
        }
        _ => {}
    }
    let receipt = Receipt { kind, event: request.param("eventId"), thread: thread.unwrap_or("") };
    store(request, &[receipt])
}

/// # Errors
/// As [`store`].
pub(crate) fn markers(request: &Request) -> Result {
    let body: BTreeMap<String, serde_json::Value> = request.json()?;
    let mut receipts = Vec::new();
    for kind in TYPES {
        let Some(event) = body.get(kind) else { continue };
        let event = event
            .as_str()
            .ok_or_else(|| Error::new(ErrorCode::BadJson, format!("{kind} must be an event id")))?;
        receipts.push(Receipt { kind, event, thread: "" });
    }
    match receipts.is_empty() {
        true => Answer::empty(),
        false => store(request, &receipts),
    }
}

/// Stores the receipts that move forward; the others are no error.
///
/// # Errors
/// `M_FORBIDDEN` outside the room; `M_NOT_FOUND` for an event or a thread root that is not in it.
fn store(request: &Request, receipts: &[Receipt<'_>]) -> Result {
    let (user, room) = (request.user()?, request.param("roomId"));
    let named: Vec<String> =
        receipts.iter().flat_map(|it| [it.event, it.thread]).map(ToOwned::to_owned).collect();
    let read = storage::snapshot(&[
        rooms::membership(user, room),
        select(
            "SELECT event_id, position FROM rooms_v1_events WHERE event_id IN ($1) AND room_id = $2",
            params![named, room],
        ),
    ])?;
    let mut answers = read.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    rooms::member(&next()?)?;
    let events: BTreeMap<String, u64> = next()?.all::<(String, u64)>()?.into_iter().collect();
    let mut fully_read = None;
    for receipt in receipts {
        let root = receipt.thread.starts_with('$').then_some(receipt.thread);
        let position = events.get(receipt.event);
        let Some(at) = position.filter(|_| root.is_none_or(|root| events.contains_key(root)))
        else {
            return Err(Error::new(ErrorCode::NotFound, "this room has no such event"));
        };
        match receipt.kind {
            FULLY_READ => fully_read = Some(receipt.event),
            _ => keep(user, room, receipt, *at)?,
        }
    }
    if let Some(event_id) = fully_read {
        let content = json!({ "event_id": event_id }).to_string();
        services::put_account_data(user, Some(room), FULLY_READ, &content)
            .map_err(|error| Error::internal(format!("{FULLY_READ}: {error:?}")))?;
    }
    Answer::empty()
}

/// The row decides whether a receipt moves forward: one that does not conflicts with the guard, and nothing is told.
fn keep(user: &str, room: &str, receipt: &Receipt<'_>, at: u64) -> std::result::Result<(), Error> {
    let mut batch = Batch::new();
    let first = batch.take_positions(1);
    let topic = match receipt.kind {
        PRIVATE => format!("user:{user}"),
        _ => format!("room:{room}"),
    };
    let told = json!({
        "user_id": user, "room_id": room, "thread_id": receipt.thread,
        "event_id": receipt.event, "event_position": at,
    });
    batch = batch
        .run(
            "INSERT INTO presence_receipts (room_id, user_id, type, thread_id, event_id, event_position, ts, position) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (room_id, user_id, type, thread_id) DO UPDATE \
             SET event_id = excluded.event_id, event_position = excluded.event_position, ts = excluded.ts, \
             position = excluded.position WHERE presence_receipts.event_position < excluded.event_position",
            params![room, user, receipt.kind, receipt.thread, receipt.event, at, clock::now_ms(), position(first)],
        )
        .expect(1)
        .emit("presence.receipts", user, told.to_string())
        .wake(topic);
    match seen::note(batch, user)?.commit() {
        Ok(_) | Err(storage::Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
