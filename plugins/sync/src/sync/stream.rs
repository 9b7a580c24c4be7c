//! GET /_matrix/client/v3/events: what happens, event by event, as clients got it before /sync; with `room_id` that of one room, which
//! those may follow, too, who only look into it.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events>
//!
//! Of a room in which more than a thousand things happened since the token the newest are told.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Parked, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{bus, clock, params};

use super::ask::{Ask, MAX_TIMEOUT_MS};
use super::draft::drafts;
use super::{ephemeral, initial, read};
use crate::event::{COLUMNS, EventRow, TRANSACTION};
use crate::filter::{EventFilter, Filter, RoomFilter};
use crate::history::{self, Reader};
use crate::near::Presence;
use crate::token::Token;
use crate::visibility;
use crate::{old, online};

/// Where the client names no time.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;
/// Events of one room told at once.
const MAX_EVENTS: u64 = 1000;
/// Events of a followed room looked at at once.
const MAX_LOOKS: usize = 200;
/// Receipts told at once, the newest.
const MAX_RECEIPTS: i64 = 1000;
/// First byte of the parked state.
const STATE_VERSION: u8 = 1;

/// A request, as it is kept while parked.
#[derive(Debug, Serialize, Deserialize)]
struct Following {
    #[serde(skip)]
    user: String,
    /// The position come to; none: now.
    from: Option<i64>,
    room: Option<String>,
    deadline_ms: u64,
}

/// What was found: events, and how far that is.
struct Found {
    chunk: Vec<Value>,
    end: i64,
}

/// # Errors
/// `M_INVALID_PARAM` for malformed parameters; `M_FORBIDDEN` for a room that the user may not read; `M_GUEST_ACCESS_FORBIDDEN` for a
/// guest who names no room.
pub(crate) fn handle(request: &Request) -> Result {
    let from = request.query("from").filter(|token| !token.is_empty() && *token != "END");
    let timeout = request.query_as("timeout")?.unwrap_or(DEFAULT_TIMEOUT_MS).min(MAX_TIMEOUT_MS);
    // Not of the specification any more. Clients of old give it, and a malformed one is their mistake.
    request.query_as::<u32>("limit")?;
    let room = request.query("room_id").map(str::to_owned);
    let guest = request.principal()?.marks.iter().any(|mark| mark == "guest");
    if guest && room.is_none() {
        let text = "guests may only follow a room";
        return Err(Error::with_status(403, "M_GUEST_ACCESS_FORBIDDEN", text));
    }
    let following = Following {
        user: request.user()?.to_owned(),
        from: from.map(str::parse::<Token>).transpose()?.map(|token| token.0),
        room,
        deadline_ms: clock::now_ms().saturating_add(timeout),
    };
    online::mark(request)?;
    follow(following)
}

/// # Errors
/// As [`handle`].
pub(crate) fn resume(parked: &Parked) -> Result {
    let principal = parked.principal.as_ref().ok_or_else(Error::missing_token)?;
    let following: Following = match parked.state.split_first() {
        Some((&STATE_VERSION, json)) => serde_json::from_slice(json).map_err(Error::internal)?,
        _ => return Err(Error::internal("parked by an unknown version")),
    };
    follow(Following { user: principal.user.clone(), ..following })
}

fn follow(following: Following) -> Result {
    let now = clock::now_ms();
    let ask = Ask::plain(&following.user, following.from, following.deadline_ms);
    let basics = read::basics(&ask)?;
    let from = following.from.unwrap_or(basics.horizon).min(basics.horizon);
    let topics = match &following.room {
        Some(room) => vec![format!("room:{room}")],
        None => super::topics(&ask, basics.joined),
    };
    let watch = (now < following.deadline_ms).then(|| bus::watch(&topics));
    let found = match &following.room {
        Some(room) => in_room(&following.user, room, from)?,
        None => everywhere(&Ask { since: Some(from), ..ask })?,
    };
    if let Some(watch) = watch.filter(|_| found.chunk.is_empty()) {
        let wait = following.deadline_ms.saturating_sub(now);
        let kept = Following { from: Some(found.end), ..following };
        let mut state = vec![STATE_VERSION];
        serde_json::to_writer(&mut state, &kept).map_err(Error::internal)?;
        return Ok(Answer::park(watch, u32::try_from(wait).unwrap_or(u32::MAX), state));
    }
    Answer::json(&json!({
        "start": Token(from).to_string(),
        "end": Token(found.end).to_string(),
        "chunk": found.chunk,
    }))
}

/// Events of one room, whoever may read it.
fn in_room(user: &str, room: &str, from: i64) -> std::result::Result<Found, Error> {
    let reader = Reader::find(user, None, room)?;
    let size = i64::try_from(MAX_LOOKS).unwrap_or(i64::MAX);
    let moment = storage::snapshot(&[
        select(
            &format!(
                "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.room_id = $3 AND e.position > $4 \
                 AND e.position <= $5 AND e.stream AND NOT e.rejected ORDER BY e.position LIMIT $6"
            ),
            params![user, "", room, from, reader.last_position(), size],
        ),
        select(
            "SELECT room_id, user_id, type, thread_id, event_id, ts, position FROM presence_v1_receipts \
             WHERE room_id = $1 AND position > $2 ORDER BY position DESC LIMIT $3",
            params![room, from, MAX_RECEIPTS],
        ),
        select(
            "SELECT room_id, user_id, until_ms, position FROM presence_v1_typing WHERE room_id = $1 AND until_ms > 0 \
             UNION SELECT room_id, user_id, until_ms, position FROM presence_v1_typing \
             WHERE room_id = $1 AND position > $2",
            params![room, from],
        ),
        select(
            "SELECT p.user_id, p.presence, p.status_msg, p.last_active_ms, p.currently_active, p.position \
             FROM (SELECT user_id, presence, status_msg, last_active_ms, currently_active, position \
             FROM presence_v1_presence WHERE position > $2 ORDER BY position DESC LIMIT $3) p \
             JOIN rooms_v1_memberships m ON m.room_id = $1 AND m.user_id = p.user_id \
             WHERE m.membership = 'join' AND $4 = 1",
            // It is for those who share a room.
            params![room, from, size, i64::from(reader.is_in())],
        ),
    ])?;
    let horizon = i64::try_from(moment.horizon).unwrap_or(i64::MAX);
    let mut answers = moment.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let mut rows: Vec<EventRow> = next()?.all()?;
    let full = rows.len() >= MAX_LOOKS;
    rows.retain(|row| row.position <= horizon);
    let end = rows.last().filter(|_| full).map_or(horizon.max(from), |row| row.position);
    rows.retain(|row| reader.reads(row));
    let mut chunk = old::events(&reader.write(&rows, false)?.chunk)?;
    // The rest is of members, or of now: who has left gets none of it.
    if reader.last_position() != i64::MAX {
        return Ok(Found { chunk, end });
    }
    let now = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    let told = |position: i64| position > from && position <= end;
    let receipts: Vec<read::Receipt> = next()?.all()?;
    let receipts = receipts.into_iter().filter(|receipt| told(receipt.6));
    for event in ephemeral::receipts(receipts, user, &reader.ignored)?.values() {
        chunk.push(old::of_room(event, room)?);
    }
    let typing: Vec<read::Typing> = next()?.all()?;
    if typing.iter().any(|typing| told(typing.3)) {
        for (_, event) in ephemeral::typing(typing, now)?.values() {
            chunk.push(old::of_room(event, room)?);
        }
    }
    for row in next()?.all::<Presence>()?.into_iter().filter(|row| told(row.5)) {
        chunk.push(old::presence(row, now)?);
    }
    Ok(Found { chunk, end })
}

/// Everything that the user would be told by /sync, but no state.
fn everywhere(ask: &Ask) -> std::result::Result<Found, Error> {
    let filter = Filter {
        room: RoomFilter {
            timeline: EventFilter { limit: Some(MAX_EVENTS), ..EventFilter::default() },
            ..RoomFilter::default()
        },
        ..Filter::default()
    };
    let now = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    let mut news = read::news(ask, &filter, None)?;
    let drafts = drafts(ask, &filter, &mut news);
    let unknown: Vec<String> =
        drafts.iter().filter(|d| d.needs_view()).map(|d| d.room_id.clone()).collect();
    let views = visibility::views(&ask.user, &unknown, news.horizon)?;
    let mut rows: Vec<(&EventRow, &str)> = Vec::new();
    for draft in &drafts {
        let view = draft.view.as_ref().or_else(|| views.get(&draft.room_id));
        for event in draft.events.iter().filter(|event| event.position > ask.from()) {
            let own = draft.own_event.as_deref() == Some(&event.event_id);
            match view {
                Some(view) if own || view.sees_event(event) => {
                    rows.push((event, view.membership_after(event)));
                }
                Some(_) => {}
                None => rows.push((event, draft.membership_at(event.position))),
            }
        }
    }
    rows.sort_by_key(|(event, _)| event.position);
    let memberships: HashMap<&str, &str> =
        rows.iter().map(|(event, membership)| (event.event_id.as_str(), *membership)).collect();
    let events: Vec<&EventRow> = rows.iter().map(|(event, _)| *event).collect();
    let membership = |event: &EventRow| {
        memberships.get(event.event_id.as_str()).copied().unwrap_or("join").to_owned()
    };
    let written =
        history::write(&ask.user, None, &news.ignored, &events, news.horizon, None, membership)?;
    let mut chunk = old::events(&written.chunk)?;
    for row in &news.memberships {
        if row.membership == "invite"
            && row.position > ask.from()
            && !news.no_invites
            && !news.ignored.contains(&row.sender)
        {
            chunk.push(initial::invite(&ask.user, row));
        }
    }
    let receipts = std::mem::take(&mut news.receipts);
    for (room, event) in ephemeral::receipts(receipts, &ask.user, &news.ignored)? {
        chunk.push(old::of_room(&event, &room)?);
    }
    for (room, (_, event)) in ephemeral::typing(std::mem::take(&mut news.typing), now)? {
        chunk.push(old::of_room(&event, &room)?);
    }
    for (room, kind, content, _) in std::mem::take(&mut news.account_data) {
        let event = ephemeral::account_data(&kind, &content)?;
        chunk.push(match room.as_str() {
            "" => serde_json::from_str(event.get()).map_err(Error::internal)?,
            room => old::of_room(&event, room)?,
        });
    }
    for row in std::mem::take(&mut news.presence) {
        chunk.push(old::presence(row, now)?);
    }
    Ok(Found { chunk, end: news.horizon })
}
