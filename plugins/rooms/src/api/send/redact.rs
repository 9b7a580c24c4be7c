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
    let path = format!("redact/{}/{}", request.param("roomId"), request.param("eventId"));
    answer(request, Some(Transaction::of(request, path)?))
}

/// The same without a transaction id: POST on the same path without it, as older clients have it.
pub fn plain(request: &Request) -> Result {
    answer(request, None)
}

fn answer(request: &Request, transaction: Option<Transaction>) -> Result {
    let body: Body = body::of(request)?;
    let room_id = ids::room(request.param("roomId"))?;
    let target = ids::event(request.param("eventId"))?;
    let content = object([("reason", text(body.reason.as_deref()))]);
    let event_id = redact(room_id, &Asker::of(request)?, target, content, transaction)?;
    Answer::json(&Response { event_id: &event_id })
}
