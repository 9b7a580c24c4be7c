//! Events without a place in the timeline: a state and what it rests on. Authorised by their auth events alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ruma::state_res::Event as _;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, IntoValue, Value, position};
use tessera_sdk::{log, params};

use super::look::{Missing, Waiting, read_waiting, waiting_select};
use super::{ATTEMPTS, Outcome, Received, state_of, version_of};
use crate::core::incoming::{self, Incoming};
use crate::core::{Decision, StoredEvent, Version, decide};
use crate::redaction::prune;
use crate::store::auth;

/// Most events of one call.
const MOST: usize = 500;

/// Takes events of a room that may not be known here.
///
/// # Errors
/// `M_UNSUPPORTED_ROOM_VERSION`, too many events, storage.
pub fn receive_outliers(
    room_id: &str,
    room_version: &str,
    events: &[String],
) -> Result<Vec<Received>, Error> {
    if events.len() > MOST {
        return Err(Error::invalid_param(format!("at most {MOST} events can be received at once")));
    }
    let version = known_version(room_id, room_version)?;
    let read: Vec<Result<Incoming, String>> =
        events.iter().map(|json| incoming::read(&version, room_id, json)).collect();
    for _ in 0..ATTEMPTS {
        let (outcomes, batch) = decide_all(&version, room_id, &read)?;
        let committed = match batch {
            Some(batch) => batch.commit(),
            None => return Ok(outcomes),
        };
        match committed {
            Ok(_) => return Ok(outcomes),
            // Some of them have arrived by another way meanwhile.
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    log::warn("a room is too busy", &[("room", room_id)]);
    Err(Error::new(ErrorCode::Unknown, "the room is busy; try again").status(503))
}

/// The version of a room: as it is known, else as the caller says.
pub(super) fn known_version(room_id: &str, named: &str) -> Result<Version, Error> {
    match version_of(room_id)? {
        Some(version) => Ok(version),
        None => Version::named(named).ok_or_else(|| {
            Error::new(ErrorCode::UnsupportedRoomVersion, "the room version is not supported")
        }),
    }
}

type Known = HashMap<String, Arc<StoredEvent>>;

fn known(
    version: &Version,
    room_id: &str,
    read: &[Result<Incoming, String>],
) -> Result<Known, Error> {
    let mut ids: HashSet<String> = HashSet::from([room_id.replacen('!', "$", 1)]);
    for incoming in read.iter().flatten() {
        ids.insert(incoming.event.id().to_owned());
        ids.extend(incoming.event.auth_events().map(ToString::to_string));
    }
    let rows = storage::query(
        "SELECT event_id, json, rejected FROM rooms_events WHERE event_id IN ($1)",
        params![ids.into_iter().collect::<Vec<_>>()],
    )?;
    let mut known = Known::new();
    for (id, json, rejected) in rows.all::<(String, String, bool)>()? {
        let event = auth::parse(version, &id, &json, rejected)?;
        known.insert(id, Arc::new(event));
    }
    Ok(known)
}

/// Redactions that wait for these events, by what they redact.
fn held(
    version: &Version,
    room_id: &str,
    read: &[Result<Incoming, String>],
) -> Result<HashMap<String, Vec<Waiting>>, Error> {
    let ids = read.iter().flatten().map(|incoming| incoming.event.id().to_owned());
    let waits = storage::query(
        "SELECT DISTINCT target FROM rooms_held_redactions WHERE target IN ($1) AND room_id = $2",
        params![ids.collect::<Vec<_>>(), room_id],
    )?;
    let waits: HashSet<String> = waits.all::<(String,)>()?.into_iter().map(|(id,)| id).collect();
    let waits = read.iter().flatten().filter(|incoming| waits.contains(incoming.event.id()));
    let mut held = HashMap::new();
    for event in waits.map(|incoming| &incoming.event) {
        let select = waiting_select(room_id, event.id(), event.sender().as_str());
        let rows = storage::query(&select.sql, select.params)?;
        held.insert(event.id().to_owned(), read_waiting(version, rows)?);
    }
    Ok(held)
}

fn decide_all(
    version: &Version,
    room_id: &str,
    read: &[Result<Incoming, String>],
) -> Result<(Vec<Received>, Option<Batch>), Error> {
    let mut known = known(version, room_id, read)?;
    let held = held(version, room_id, read)?;
    let create = room_id.replacen('!', "$", 1);
    let mut outcomes: Vec<Option<Received>> = read
        .iter()
        .map(|read| match read {
            Err(reason) => Some((String::new(), Outcome::Rejected(reason.clone()))),
            Ok(incoming) => {
                let id = incoming.event.id().to_owned();
                known.contains_key(&id).then_some((id, Outcome::Duplicate))
            }
        })
        .collect();
    let (mut rows, mut edges) = (Vec::new(), Vec::new());
    // Each round takes those whose auth events are there by now; a round that takes none is the last.
    loop {
        let mut taken = false;
        for (incoming, outcome) in read.iter().zip(&mut outcomes) {
            let (Ok(incoming), None) = (incoming, outcome.as_ref()) else {
                continue;
            };
            let event = &incoming.event;
            let rests: Option<Vec<_>> =
                event.auth_events().map(|id| known.get(id.as_str()).cloned()).collect();
            let Some(mut rests) = rests else {
                continue;
            };
            taken = true;
            let id = event.id().to_owned();
            if known.contains_key(&id) {
                *outcome = Some((id, Outcome::Duplicate));
                continue;
            }
            if version.room_id_is_hash() {
                rests.extend(known.get(&create).cloned());
            }
            let state = state_of(&rests);
            let decision = decide(version, event, &state, &state, None);
            let rejected = decision != Decision::Allow;
            // A redaction that came first: it is shown once the event has its place.
            let sender = event.sender().as_str();
            let redaction = held.get(&id).and_then(|held| held.iter().find(|h| h.may(sender)));
            let redaction = redaction.filter(|_| event.kind() != "m.room.create");
            let json = match redaction {
                Some(_) => prune(version, &incoming.json)?,
                None => incoming.json.clone(),
            };
            let redacted_by = redaction.map(|redaction| redaction.event.id());
            if !rejected {
                edges.extend(auth::edges(event));
            }
            let kept = auth::parse(version, &id, &json, rejected)?;
            rows.push(row(room_id, incoming, (json, redacted_by), rejected, rows.len()));
            known.insert(id.clone(), Arc::new(kept));
            let said = match decision.refusal() {
                Some(reason) => Outcome::Rejected(reason.to_owned()),
                None => Outcome::Accepted,
            };
            *outcome = Some((id, said));
        }
        if !taken {
            break;
        }
    }
    let told = read.iter().zip(outcomes).map(|(incoming, outcome)| match (outcome, incoming) {
        (Some(outcome), _) => outcome,
        (None, Err(reason)) => (String::new(), Outcome::Rejected(reason.clone())),
        (None, Ok(incoming)) => {
            let auth = incoming.event.auth_events().map(ToString::to_string);
            let auth_events = auth.filter(|id| !known.contains_key(id)).collect();
            let missing = Missing { auth_events, ..Missing::default() };
            (incoming.event.id().to_owned(), Outcome::Needs(missing))
        }
    });
    let told: Vec<Received> = told.collect();
    if rows.is_empty() {
        return Ok((told, None));
    }
    let mut batch = Batch::new();
    batch.take_positions(u32::try_from(rows.len()).map_err(Error::internal)?);
    let batch = batch
        .run_many(
            "INSERT INTO rooms_events (position, event_id, room_id, type, state_key, sender, origin_ts, depth,
               json, rejected, redacted_by, outlier, stream)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, TRUE, FALSE)",
            rows,
        )
        .run_many(auth::INSERT_EDGE, edges);
    Ok((told, Some(batch)))
}

fn row(
    room_id: &str,
    incoming: &Incoming,
    (json, redacted_by): (String, Option<&str>),
    rejected: bool,
    number: usize,
) -> Vec<Value> {
    let event = &incoming.event;
    vec![
        position(u32::try_from(number).unwrap_or(u32::MAX)),
        event.id().into_value(),
        room_id.into_value(),
        event.kind().into_value(),
        event.state_key().into_value(),
        event.sender().as_str().into_value(),
        Value::Integer(
            i64::try_from(u64::from(event.origin_server_ts().get())).unwrap_or(i64::MAX),
        ),
        Value::Integer(i64::try_from(event.depth()).unwrap_or(i64::MAX)),
        json.into_value(),
        Value::Boolean(rejected),
        redacted_by.into_value(),
    ]
}
