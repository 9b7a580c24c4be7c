//! GET /_matrix/client/v3/initialSync: everything at once, as clients got it before /sync.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync>

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{ClientFormat, Error};
use tessera_sdk::{clock, params, presentation, storage};

use super::ask::Ask;
use super::read::{self, Membership};
use super::response::{Events, Room};
use super::rooms;
use crate::filter::{EventFilter, Filter, RoomFilter};
use crate::{history, old, online};

/// An invite as an event. What the room told of itself with it may hold the event.
pub(super) fn invite(user: &str, row: &Membership) -> Value {
    let told: Vec<Value> = row
        .stripped_state
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let own = |event: &&Value| {
        event.get("type").and_then(Value::as_str) == Some("m.room.member")
            && event.get("state_key").and_then(Value::as_str) == Some(user)
    };
    let content = told.iter().find(own).and_then(|event| event.get("content").cloned());
    json!({
        "type": "m.room.member",
        "state_key": user,
        "sender": row.sender,
        "user_id": row.sender,
        "room_id": row.room_id,
        "event_id": row.event_id,
        "content": content.unwrap_or_else(|| json!({ "membership": row.membership })),
    })
}

/// # Errors
/// `M_INVALID_PARAM` for malformed parameters.
pub(crate) fn handle(request: &Request) -> Result {
    let limit = u64::try_from(history::limit(request)?).unwrap_or(u64::MAX);
    let archived = request.query_as("archived")?.unwrap_or(false);
    online::mark(request)?;
    let filter = Filter {
        room: RoomFilter {
            include_leave: archived,
            timeline: EventFilter { limit: Some(limit), ..EventFilter::default() },
            ..RoomFilter::default()
        },
        // They were asked for elsewhere then.
        account_data: EventFilter {
            not_types: vec!["m.push_rules".to_owned()],
            ..EventFilter::default()
        },
        ..Filter::default()
    };
    let ask = Ask { use_state_after: true, ..Ask::plain(request.user()?, None, clock::now_ms()) };
    let news = read::news(&ask, &filter, None)?;
    let now = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    let presence = news.presence.iter().cloned().map(|row| old::presence(row, now));
    let presence = presence.collect::<std::result::Result<Vec<_>, Error>>()?;
    let memberships: HashMap<String, Membership> =
        news.memberships.iter().map(|row| (row.room_id.clone(), row.clone())).collect();
    let mut response = rooms::assemble(&ask, &filter, news, ClientFormat::WithRoomId)?;
    presentation::add_fields(response.events(), &ask.user);
    let end = response.next_batch.clone();

    let told: Vec<String> =
        response.rooms.join.keys().chain(response.rooms.leave.keys()).cloned().collect();
    let listed: BTreeSet<String> =
        storage::query("SELECT room_id FROM rooms_v1_listed WHERE room_id IN ($1)", params![told])?
            .all::<(String,)>()?
            .into_iter()
            .map(|(room,)| room)
            .collect();
    let (mut list, mut receipts) = (Vec::new(), Vec::new());
    let rooms = std::mem::take(&mut response.rooms);
    for (id, room) in rooms.join.into_iter().chain(rooms.leave) {
        let membership = memberships.get(&id).map_or("join", |row| &row.membership);
        for event in room.ephemeral.iter().flat_map(|ephemeral| &ephemeral.events) {
            let event = old::of_room(event, &id)?;
            if event.get("type").and_then(Value::as_str) == Some("m.receipt") {
                receipts.push(event);
            }
        }
        list.push(one(&id, room, membership, &end, listed.contains(&id))?);
    }
    for (id, membership) in rooms.invite.into_keys().map(|id| (id, "invite")) {
        let Some(row) = memberships.get(&id) else { continue };
        list.push(json!({
            "room_id": id,
            "membership": membership,
            "inviter": row.sender,
            "invite": invite(&ask.user, row),
        }));
    }
    Answer::json(&json!({
        "end": end,
        "rooms": list,
        "presence": presence,
        "receipts": receipts,
        "account_data": response.account_data.events,
    }))
}

fn one(
    id: &str,
    room: Room,
    membership: &str,
    end: &str,
    listed: bool,
) -> std::result::Result<Value, Error> {
    let state: Events = room.state_after.unwrap_or_default();
    Ok(json!({
        "room_id": id,
        "membership": membership,
        "messages": {
            "chunk": old::events(&room.timeline.events)?,
            "start": room.timeline.prev_batch,
            "end": end,
        },
        "state": old::events(&state.events)?,
        "visibility": if listed { "public" } else { "private" },
        "account_data": room.account_data.events,
    }))
}
