//! GET /rooms/{roomId}/event/{eventId}.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid>
//!
//! Errors: `M_NOT_FOUND` if there is no such event or the user may not see it.

use serde_json::Value;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{ClientFormat, Error, Pdu, Unsigned};
use tessera_sdk::storage::{self, select};
use tessera_sdk::{params, presentation};

use super::client_event::age;
use crate::access::{visibility_at, visibility_of};
use crate::core::visibility::Visibility;
use crate::ids;

struct Row {
    position: i64,
    kind: String,
    state_key: Option<String>,
    redacted_by: Option<String>,
    before: i64,
    json: String,
}

/// What else is told beside the event.
struct Beside {
    /// The reader's memberships at the event: before and after it.
    then: (String, String),
    /// They joined later, or by what the event knows nothing of.
    joined_since: bool,
    transaction_id: Option<String>,
    replaces: Option<(String, String)>,
    redaction: Option<(String, String)>,
}

fn hidden() -> Error {
    Error::not_found("there is no such event, or it is not for the user to see")
}

/// Gives the event.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let event_id = ids::event(request.param("eventId"))?;
    let user = request.user()?;
    let row = row(room_id, event_id)?;
    let beside = beside(&row, room_id, event_id, user, request.device().unwrap_or_default())?;
    if !may_see(&row, &beside, user)? {
        return Err(hidden());
    }
    let pdu = Pdu::parse(&row.json).map_err(Error::internal)?;
    let unsigned = unsigned(&pdu, beside, room_id)?;
    let event = pdu.to_client(event_id, room_id, ClientFormat::WithRoomId, &unsigned);
    let mut event = event.map_err(Error::internal)?;
    presentation::add_fields([(None, &mut event)], user);
    Answer::json(&event)
}

fn row(room_id: &str, event_id: &str) -> std::result::Result<Row, Error> {
    let rows = storage::query(
        "SELECT position, type, state_key, redacted_by, state_before, json FROM rooms_events
         WHERE event_id = $1 AND room_id = $2 AND stream = TRUE AND rejected = FALSE",
        params![event_id, room_id],
    )?;
    let row = rows.first::<(i64, String, Option<String>, Option<String>, Option<i64>, String)>()?;
    let (position, kind, state_key, redacted_by, before, json) = row.ok_or_else(hidden)?;
    Ok(Row { position, kind, state_key, redacted_by, before: before.unwrap_or(0), json })
}

fn beside(
    row: &Row,
    room_id: &str,
    event_id: &str,
    user: &str,
    device: &str,
) -> std::result::Result<Beside, Error> {
    let mut answers = storage::snapshot(&[
        select(
            "SELECT position, membership, prev_membership FROM rooms_membership_changes
             WHERE room_id = $1 AND user_id = $2 AND position <= $3 ORDER BY position DESC LIMIT 1",
            params![room_id, user, row.position],
        ),
        select(
            "SELECT position FROM rooms_membership_changes WHERE room_id = $1 AND user_id = $2 AND position > $3
               AND membership = 'join' LIMIT 1",
            params![room_id, user, row.position],
        ),
        select(
            "SELECT txn_id FROM rooms_transactions WHERE event_id = $1 AND user_id = $2 AND device_id = $3",
            params![event_id, user, device],
        ),
        select(
            "SELECT e.event_id, e.json FROM rooms_state_deltas d JOIN rooms_events e ON e.event_id = d.prev_event_id
             WHERE d.position = $1 AND d.event_id = $2",
            params![row.position, event_id],
        ),
        select(
            "SELECT event_id, json FROM rooms_events WHERE event_id = $1",
            params![row.redacted_by.as_deref().unwrap_or_default()],
        ),
        select(
            "SELECT user_id, value_before, value_after FROM rooms_late
             WHERE position = $1 AND user_id IN ('*', $2) ORDER BY user_id DESC LIMIT 1",
            params![row.position, user],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let then = match next()?.first::<(i64, String, String)>()? {
        Some((position, membership, before)) if position == row.position => (before, membership),
        Some((_, membership, _)) => (membership.clone(), membership),
        None => (String::new(), String::new()),
    };
    let mut beside = Beside {
        then,
        joined_since: next()?.first::<(i64,)>()?.is_some(),
        transaction_id: next()?.first::<(String,)>()?.map(|(id,)| id),
        replaces: next()?.first()?,
        redaction: next()?.first()?,
    };
    // Its own past says otherwise than the order of arrival.
    if let Some((_, before, after)) = next()?.first::<(String, String, String)>()? {
        beside.joined_since |= beside.then.1 == "join" && after != "join";
        beside.then = (before, after);
    }
    Ok(beside)
}

/// Spec: client-server API, Room history visibility: of a change of the setting, and of one's own membership, the more
/// generous side counts.
fn may_see(row: &Row, beside: &Beside, user: &str) -> std::result::Result<bool, Error> {
    if beside.then.1 == "join" || beside.then.0 == "join" {
        return Ok(true);
    }
    let mut settings = Vec::new();
    if row.before > 0 {
        settings.push(visibility_at(row.before)?);
    } else {
        settings.push(Visibility::named(None));
    }
    if row.kind == "m.room.history_visibility" && row.state_key.as_deref() == Some("") {
        settings.push(visibility_of(&row.json));
    }
    let own = row.kind == "m.room.member" && row.state_key.as_deref() == Some(user);
    let memberships = if own { vec![&beside.then.0, &beside.then.1] } else { vec![&beside.then.1] };
    Ok(settings.iter().any(|setting| {
        memberships.iter().any(|membership| setting.allows(membership, beside.joined_since))
    }))
}

fn unsigned(pdu: &Pdu<'_>, beside: Beside, room_id: &str) -> std::result::Result<Unsigned, Error> {
    let mut unsigned = Unsigned {
        age: age(pdu),
        transaction_id: beside.transaction_id,
        membership: Some(match beside.then.1.as_str() {
            "" => "leave".to_owned(),
            membership => membership.to_owned(),
        }),
        ..Unsigned::default()
    };
    if let Some((id, json)) = beside.replaces {
        let old = Pdu::parse(&json).map_err(Error::internal)?;
        unsigned.prev_content = serde_json::from_str::<Value>(old.content.get()).ok();
        unsigned.replaces_state = Some(id);
    }
    if let Some((id, json)) = beside.redaction {
        let redaction = Pdu::parse(&json).map_err(Error::internal)?;
        let plain = Unsigned { age: age(&redaction), ..Unsigned::default() };
        let client = redaction.to_client(&id, room_id, ClientFormat::WithRoomId, &plain);
        let client = client.map_err(Error::internal)?;
        unsigned.redacted_because = serde_json::from_str(client.get()).ok();
    }
    Ok(unsigned)
}
