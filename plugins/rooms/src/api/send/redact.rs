//! PUT /rooms/{roomId}/redact/{eventId}/{txnId}.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid>
//!
//! Errors: `M_FORBIDDEN` (no power), `M_NOT_FOUND` (the room has no such event), `M_INVALID_PARAM`, what a policy refuses.

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};

use super::message::{Response, redact};
use crate::api::body::{self, object, text};
use crate::asker::Asker;
use crate::ids;
use crate::transactions::Transaction;

#[derive(Debug, Default, Deserialize)]
struct Body {
    reason: Option<String>,
}

/// Redacts an event.
pub fn handle(request: &Request) -> Result {
    let body: Body = body::of(request)?;
    let room_id = ids::room(request.param("roomId"))?;
    let target = ids::event(request.param("eventId"))?;
    let transaction = Transaction::of(request, format!("redact/{room_id}/{target}"))?;
    let content = object([("reason", text(body.reason.as_deref()))]);
    let event_id = redact(room_id, &Asker::of(request)?, target, content, Some(transaction))?;
    Answer::json(&Response { event_id: &event_id })
}
