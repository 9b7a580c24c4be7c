//! GET /_synapse/admin/v2/rooms/{roomId}/delete_status and /_synapse/admin/v2/rooms/delete_status/{deleteId}.
//!
//! Errors: `M_NOT_FOUND`, `M_INVALID_PARAM`.

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::admin::{self, delete, jobs};
use crate::ids;

#[derive(Serialize)]
struct Status {
    delete_id: String,
    room_id: String,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    shutdown_room: delete::Outcome,
}

#[derive(Serialize)]
struct OfRoom {
    results: Vec<Status>,
}

fn told(jobs: Vec<jobs::Job>) -> std::result::Result<Vec<Status>, Error> {
    let outcomes = delete::outcomes(&jobs)?;
    let told = jobs.into_iter().zip(outcomes).map(|(job, outcome)| Status {
        delete_id: job.id,
        room_id: job.room_id,
        status: job.status,
        error: job.progress.error,
        shutdown_room: outcome,
    });
    Ok(told.collect())
}

/// Tells of the deletions of a room.
pub fn of_room(request: &Request) -> Result {
    admin::only(request)?;
    let jobs = jobs::of_room(ids::room(request.param("roomId"))?)?;
    if jobs.is_empty() {
        return Err(Error::not_found("the room has not been deleted"));
    }
    Answer::json(&OfRoom { results: told(jobs)? })
}

/// Tells of one deletion.
pub fn one(request: &Request) -> Result {
    admin::only(request)?;
    let job = jobs::find(request.param("deleteId"))?;
    let job = job.filter(|job| matches!(job.wish, jobs::Wish::Room(_)));
    let found = told(job.into_iter().collect())?.pop();
    Answer::json(&found.ok_or_else(|| Error::not_found("there is no such deletion"))?)
}
