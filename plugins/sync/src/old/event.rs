//! GET /_matrix/client/v3/events/{eventId}
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid>

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::event::{COLUMNS, EventRow, TRANSACTION};
use crate::history::Reader;

/// # Errors
/// `M_NOT_FOUND` for an event that is not there or not to be seen.
pub(crate) fn handle(request: &Request) -> Result {
    let none = || Error::not_found("there is no such event");
    let user = request.user()?;
    let row: Option<EventRow> = storage::query(
        &format!(
            "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} \
             WHERE e.event_id = $3 AND e.stream AND NOT e.rejected"
        ),
        params![user, request.device().unwrap_or(""), request.param("eventId")],
    )?
    .first()?;
    let row = row.ok_or_else(none)?;
    let reader = match Reader::in_room(request, &row.room_id) {
        Err(error) if error.http_status() == 403 => return Err(none()),
        reader => reader?,
    };
    if !reader.reads(&row) {
        return Err(none());
    }
    let chunk = reader.write(std::slice::from_ref(&row), false)?.chunk;
    let event = chunk.into_iter().next().ok_or_else(none)?;
    Answer::json(&super::event(&event)?)
}
