//! GET and DELETE /_synapse/admin/v1/rooms/{roomIdOrAlias}/forward_extremities.
//!
//! The ends of the room's graph; all but the newest can be forgotten, where there are too many. Errors: `M_NOT_FOUND`, `M_INVALID_PARAM`.

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, Failure, race};

use crate::admin;
use crate::core::Extremity;
use crate::directory::resolve;
use crate::store::RoomRow;

/// How often a room that changes meanwhile is read again.
const ATTEMPTS: usize = 20;

#[derive(Serialize)]
struct End {
    event_id: String,
    state_group: Option<i64>,
    depth: i64,
    received_ts: Option<i64>,
}

#[derive(Serialize)]
struct Ends {
    count: usize,
    results: Vec<End>,
}

#[derive(Serialize)]
struct Deleted {
    deleted: usize,
}

fn room(room_id: &str) -> std::result::Result<RoomRow, Error> {
    let select = RoomRow::select(room_id);
    let row = RoomRow::read(room_id, storage::query(&select.sql, select.params)?)?;
    row.ok_or_else(|| Error::not_found("there is no such room here"))
}

/// The ends, the newest first.
fn ends(room: &RoomRow) -> std::result::Result<Vec<End>, Error> {
    let ids: Vec<String> = room.extremities.iter().map(|Extremity(id, ..)| id.clone()).collect();
    let rows = storage::query(
        "SELECT event_id, state_after, depth, origin_ts FROM rooms_events WHERE event_id IN ($1) ORDER BY position DESC",
        params![ids],
    )?;
    let rows = rows.all::<(String, Option<i64>, i64, i64)>()?.into_iter();
    Ok(rows
        .map(|(event_id, state_group, depth, ts)| End {
            event_id,
            state_group,
            depth,
            received_ts: Some(ts),
        })
        .collect())
}

/// Tells the ends.
pub fn get(request: &Request) -> Result {
    admin::only(request)?;
    let results = ends(&room(&resolve(request.param("roomId"))?)?)?;
    Answer::json(&Ends { count: results.len(), results })
}

/// Forgets all but the newest. The room's state stays what it is.
pub fn delete(request: &Request) -> Result {
    admin::only(request)?;
    let room_id = resolve(request.param("roomId"))?;
    let deleted = race(ATTEMPTS, || {
        let room = room(&room_id)?;
        let Some(newest) = ends(&room)?.into_iter().next() else {
            return Ok(0);
        };
        let mut kept = room.extremities.clone();
        kept.retain(|Extremity(id, ..)| *id == newest.event_id);
        let gone = room.extremities.len() - kept.len();
        if gone == 0 {
            return Ok(0);
        }
        let kept = serde_json::to_string(&kept).map_err(Error::internal)?;
        Batch::new()
            .run(
                "UPDATE rooms_rooms SET revision = revision + 1, extremities = $3
                 WHERE room_id = $1 AND revision = $2",
                params![&room_id, room.revision, kept],
            )
            .expect(1)
            // What the ends were resolved to is what the next event rests on.
            .run("DELETE FROM rooms_idle_groups WHERE group_id = $1", params![room.group])
            .commit()
            .map_err(Failure::of)?;
        Ok(gone)
    })?;
    Answer::json(&Deleted { deleted })
}
