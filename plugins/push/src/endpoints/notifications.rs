//! GET /_matrix/client/v3/notifications
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications>

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Parked, Request, Result};
use tessera_sdk::matrix::{ClientFormat, Error, Pdu, Unsigned};
use tessera_sdk::storage;
use tessera_sdk::{bus, clock, params};

use crate::events::PROGRESS;

/// Notifications of one answer, unless fewer are asked for.
const DEFAULT_LIMIT: u32 = 20;
/// Most of one answer.
const MAX_LIMIT: u32 = 100;

/// How long an answer may wait for the evaluation of what was sent just before it was asked for: as long as /sync waits.
const MAX_WAIT_MS: u64 = 50;
/// First byte of the parked state.
const STATE_VERSION: u8 = 1;

/// A request, as it is kept while parked.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    #[serde(skip)]
    user: String,
    /// Older ones than this are asked for.
    before: i64,
    limit: u32,
    only_highlights: i64,
    /// The newest event when it was asked for; none where older ones are wanted, or once nothing is to be waited for.
    newest: Option<i64>,
    /// Milliseconds since the Unix epoch.
    deadline_ms: u64,
}

/// `position, event_id, room_id, created_ms, actions, read_position, json, origin_ts`
type Row = (i64, String, String, i64, String, i64, String, i64);

/// The newest events that notified the user, newest first. Tokens are positions. Only the newest events of each room are
/// kept. What was there when it was asked for is evaluated first, unless that takes too long.
///
/// # Errors
/// `M_INVALID_PARAM` for a malformed token, limit or filter.
pub(crate) fn handle(request: &Request) -> Result {
    let from = request.query_as::<u64>("from")?;
    let limit = request.query_as::<u32>("limit")?.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let only_highlights = match request.query("only") {
        None | Some("") => 0,
        Some("highlight") => 1,
        Some(_) => return Err(Error::invalid_param("only can be highlight")),
    };
    wait_or_tell(Ask {
        user: request.user()?.to_owned(),
        before: from.and_then(|from| i64::try_from(from).ok()).unwrap_or(i64::MAX),
        limit,
        only_highlights,
        newest: from.is_none().then_some(i64::MAX),
        deadline_ms: clock::now_ms().saturating_add(MAX_WAIT_MS),
    })
}

/// Looks again when more is evaluated.
///
/// # Errors
/// Storage.
pub(crate) fn resume(parked: &Parked) -> Result {
    let principal = parked.principal.as_ref().ok_or_else(Error::missing_token)?;
    let ask: Ask = match parked.state.split_first() {
        Some((&STATE_VERSION, json)) => serde_json::from_slice(json).map_err(Error::internal)?,
        _ => return Err(Error::internal("parked by an unknown version")),
    };
    let newest = ask.newest.filter(|_| !parked.timed_out);
    wait_or_tell(Ask { user: principal.user.clone(), newest, ..ask })
}

fn wait_or_tell(ask: Ask) -> Result {
    let now = clock::now_ms();
    let Some(upto) = ask.newest.filter(|_| now < ask.deadline_ms) else { return tell(&ask) };
    // Taken before looking, so that nothing falls between.
    let watch = bus::watch(&[PROGRESS.to_owned()]);
    match unevaluated(&ask.user, upto)? {
        None => tell(&ask),
        newest => {
            let wait = ask.deadline_ms.saturating_sub(now);
            let mut state = vec![STATE_VERSION];
            serde_json::to_writer(&mut state, &Ask { newest, ..ask }).map_err(Error::internal)?;
            Ok(Answer::park(watch, u32::try_from(wait).unwrap_or(u32::MAX), state))
        }
    }
}

/// The newest event up to a position that may concern the user and is not evaluated yet.
fn unevaluated(user: &str, upto: i64) -> std::result::Result<Option<i64>, Error> {
    let found: Option<(Option<i64>,)> = storage::query(
        "SELECT MAX(e.position) FROM rooms_v1_memberships m LEFT JOIN push_rooms g ON g.room_id = m.room_id \
         CROSS JOIN rooms_v1_events e WHERE m.user_id = $1 AND e.room_id = m.room_id \
         AND e.position > COALESCE(g.position, 0) AND e.position <= $2 AND e.stream AND NOT e.rejected \
         AND e.sender <> $1 AND (m.membership = 'join' OR (m.membership = 'invite' AND e.position = m.position))",
        params![user, upto],
    )?
    .first()?;
    Ok(found.and_then(|(newest,)| newest))
}

fn tell(ask: &Ask) -> Result {
    let Ask { user, before, limit, only_highlights, .. } = ask;
    let rows: Vec<Row> = storage::query(
        "SELECT n.position, n.event_id, n.room_id, n.created_ms, n.actions, n.read_position, v.json, v.origin_ts FROM ( \
         SELECT e.position AS position, e.event_id AS event_id, e.room_id AS room_id, e.created_ms AS created_ms, \
         COALESCE(x.actions, e.actions) AS actions, k.read_position AS read_position \
         FROM push_marks k JOIN rooms_v1_memberships j ON j.room_id = k.room_id AND j.user_id = k.user_id \
         AND j.membership = 'join' JOIN push_events e ON e.room_id = k.room_id AND e.thread_id = k.thread_id \
         LEFT JOIN push_exceptions x ON x.room_id = e.room_id AND x.position = e.position AND x.user_id = k.user_id \
         WHERE k.user_id = $1 AND e.position > k.since AND e.position < $2 AND e.sender <> k.user_id \
         AND COALESCE(x.notify, e.notify) = 1 AND COALESCE(x.highlight, e.highlight) >= $3 \
         UNION ALL \
         SELECT e.position, e.event_id, e.room_id, e.created_ms, x.actions, 0 \
         FROM rooms_v1_memberships m JOIN push_events e ON e.position = m.position \
         JOIN push_exceptions x ON x.room_id = e.room_id AND x.position = e.position AND x.user_id = m.user_id \
         WHERE m.user_id = $1 AND m.membership = 'invite' AND e.position < $2 AND x.notify = 1 AND x.highlight >= $3 \
         ) n JOIN rooms_v1_events v ON v.event_id = n.event_id ORDER BY n.position DESC LIMIT $4",
        params![user, *before, *only_highlights, *limit],
    )?
    .all()?;
    let full = rows.len() >= *limit as usize;
    let next = rows.last().map(|row| row.0).filter(|_| full);
    let now = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    let notifications = rows
        .into_iter()
        .map(|row| notification(row, now))
        .collect::<std::result::Result<Vec<Value>, _>>()
        .map_err(Error::internal)?;
    let mut body = json!({ "notifications": notifications });
    if let (Some(next), Some(map)) = (next, body.as_object_mut()) {
        map.insert("next_token".to_owned(), next.to_string().into());
    }
    Answer::json(&body)
}

fn notification(row: Row, now: i64) -> serde_json::Result<Value> {
    let (position, event_id, room_id, ts, actions, read_position, event, origin_ts) = row;
    let unsigned = Unsigned { age: Some(now.saturating_sub(origin_ts)), ..Unsigned::default() };
    let event: Box<RawValue> = Pdu::parse(&event)?.to_client(
        &event_id,
        &room_id,
        ClientFormat::WithoutRoomId,
        &unsigned,
    )?;
    Ok(json!({
        "actions": serde_json::from_str::<Value>(&actions)?,
        "event": event,
        // No rule has one; clients of old look for it.
        "profile_tag": null,
        "read": position <= read_position,
        "room_id": room_id,
        "ts": ts,
    }))
}
