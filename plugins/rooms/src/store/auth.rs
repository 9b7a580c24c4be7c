//! Auth chains, read from the table of edges in one statement instead of event by event.

use std::sync::Arc;

use ruma::EventId;
use ruma::state_res::Event as _;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, Value};

use crate::core::resolve::Known;
use crate::core::{StoredEvent, Version, build};

/// Most events whose edges are looked up again in one commit.
const PAGE: u32 = 500;

/// Statement that stores what state events rest on.
pub const INSERT_EDGE: &str =
    "INSERT INTO rooms_auth_edges (event_id, auth_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// The rows of [`INSERT_EDGE`] for an event; none unless it is a state event.
pub fn edges(event: &StoredEvent) -> Vec<Vec<Value>> {
    if event.state_key().is_none() {
        return Vec::new();
    }
    event.auth_events().map(|auth| params![event.id(), auth.as_str()]).collect()
}

/// Reads a stored event; with its hash where its room version quotes it.
///
/// # Errors
/// It is none: a fault.
pub fn parse(
    version: &Version,
    id: &str,
    json: &str,
    rejected: bool,
) -> Result<StoredEvent, Error> {
    let event = StoredEvent::parse(id, json, rejected).map_err(Error::internal)?;
    if !version.refers_with_hashes() {
        return Ok(event);
    }
    let hash = build::reference_hash(version, json).map_err(Error::internal)?;
    Ok(event.with_hash(hash))
}

/// Adds these events and all that they rest on. What is known already is not read again.
///
/// # Errors
/// Storage failed.
pub fn load_chain(ids: &[String], known: &mut Known) -> Result<(), Error> {
    let unknown =
        |id: &&String| <&EventId>::try_from(id.as_str()).is_ok_and(|id| !known.contains_key(id));
    let ids: Vec<String> = ids.iter().filter(unknown).cloned().collect();
    if ids.is_empty() {
        return Ok(());
    }
    let rows = storage::query(
        "WITH RECURSIVE chain(id) AS (
           SELECT event_id FROM rooms_events WHERE event_id IN ($1)
           UNION SELECT a.auth_id FROM rooms_auth_edges a JOIN chain c ON a.event_id = c.id)
         SELECT e.event_id, e.json, e.rejected FROM chain c JOIN rooms_events e ON e.event_id = c.id",
        params![ids],
    )?;
    for (id, json, rejected) in rows.all::<(String, String, bool)>()? {
        let event = StoredEvent::parse(&id, &json, rejected).map_err(Error::internal)?;
        known.insert(event.event_id().clone(), Arc::new(event));
    }
    Ok(())
}

/// One event, for what was not foreseen.
pub fn load_one(version: &Version, id: &EventId) -> Option<Arc<StoredEvent>> {
    let rows = storage::query(
        "SELECT json, rejected FROM rooms_events WHERE event_id = $1",
        params![id.as_str()],
    );
    let (json, rejected) = rows.ok()?.first::<(String, bool)>().ok()??;
    parse(version, id.as_str(), &json, rejected).ok().map(Arc::new)
}

/// Which of `open` are what a state rests on, or in it: that of the full group `base` but for the events `except`, and `events`.
///
/// # Errors
/// Storage failed.
pub fn rested_on(
    base: Option<i64>,
    events: Vec<String>,
    except: &[String],
    open: &[String],
) -> Result<Vec<String>, Error> {
    let rows = storage::query(
        "WITH RECURSIVE chain(id) AS (
           SELECT s.event_id FROM rooms_state_entries s WHERE s.group_id = $1 AND s.event_id NOT IN ($2)
           UNION SELECT e.event_id FROM rooms_events e WHERE e.event_id IN ($3)
           UNION SELECT a.auth_id FROM rooms_auth_edges a JOIN chain c ON a.event_id = c.id)
         SELECT id FROM chain WHERE id IN ($4)",
        params![base.unwrap_or(-1), except, events, open],
    )?;
    Ok(rows.all::<(String,)>()?.into_iter().map(|(id,)| id).collect())
}

/// The auth chain of events of a room: ids, without those asked for unless others rest on them.
///
/// # Errors
/// Storage failed; more than the caps allow.
pub fn chain(room_id: &str, ids: &[String]) -> Result<Vec<String>, Error> {
    complete(room_id)?;
    // Events that are no state events have no edges; what they rest on stands in them.
    let rows = storage::query(
        "SELECT event_id, json FROM rooms_events WHERE event_id IN ($1) AND room_id = $2",
        params![ids, room_id],
    )?;
    let mut start = Vec::new();
    for (id, json) in rows.all::<(String, String)>()? {
        let event = StoredEvent::parse(&id, &json, false).map_err(Error::internal)?;
        start.extend(event.auth_events().map(ToString::to_string));
    }
    start.sort();
    start.dedup();
    let rows = storage::query(
        "WITH RECURSIVE chain(id) AS (
           SELECT event_id FROM rooms_events WHERE event_id IN ($1)
           UNION SELECT a.auth_id FROM rooms_auth_edges a JOIN chain c ON a.event_id = c.id)
         SELECT id FROM chain ORDER BY id",
        params![start],
    )?;
    Ok(rows.all::<(String,)>()?.into_iter().map(|(id,)| id).collect())
}

/// Makes the edges of a room complete, page by page. A room that says so costs one query.
///
/// # Errors
/// Storage failed; what was done stays done.
pub fn complete(room_id: &str) -> Result<(), Error> {
    let row =
        storage::query("SELECT auth_edges FROM rooms_rooms WHERE room_id = $1", params![room_id])?;
    if row.first::<(bool,)>()?.is_none_or(|(complete,)| complete) {
        return Ok(());
    }
    let mut last = -1_i64;
    loop {
        let rows = storage::query(
            "SELECT position, event_id, json FROM rooms_events
             WHERE room_id = $1 AND position > $2 AND state_key IS NOT NULL ORDER BY position LIMIT $3",
            params![room_id, last, PAGE],
        )?
        .all::<(i64, String, String)>()?;
        let mut all = Vec::new();
        for (_, id, json) in &rows {
            all.extend(edges(&StoredEvent::parse(id, json, false).map_err(Error::internal)?));
        }
        let mut batch = Batch::new();
        if !all.is_empty() {
            batch = batch.run_many(INSERT_EDGE, all);
        }
        match rows.last() {
            // Whoever writes meanwhile writes edges, too: nothing is missed above the last.
            None => {
                batch = batch.run(
                    "UPDATE rooms_rooms SET auth_edges = TRUE WHERE room_id = $1",
                    params![room_id],
                );
                batch.commit()?;
                return Ok(());
            }
            Some((position, ..)) => last = *position,
        }
        if !batch.is_empty() {
            batch.commit()?;
        }
    }
}
