//! A room that is deleted: it is closed, users of this server leave it (into another room, if one is wanted), and all that is
//! known of it goes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, log, params};

use super::jobs::{Job, Purged, Slice};
use super::known;
use crate::api::body::{object, text};
use crate::api::{create, membership, send};
use crate::asker::Asker;
use crate::shut_down::{TOGETHER, all_leave, local_members};
use crate::store::purge;
use crate::transactions::Transaction;

/// The name of the room that users are moved to, where none is given.
const NAME: &str = "Content Violation Notification";
/// What they read there, where nothing is given.
const MESSAGE: &str = "Sharing illegal content on this server is not permitted and rooms in violation will be blocked.";
/// Users and aliases that an answer names; more are moved all the same.
const MAX_NAMED: u32 = 10_000;
/// So long after users have left nothing goes yet: their clients are told of it first.
const GRACE_MS: u64 = 5_000;

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wish {
    /// The administrator.
    pub requester: String,
    /// Who makes the room that users are moved to; none: there is none.
    pub new_room_user: Option<String>,
    /// Its name.
    pub room_name: Option<String>,
    /// What is said there.
    pub message: Option<String>,
    /// Nobody of this server comes in again.
    pub block: bool,
    /// All that is known of the room goes.
    pub purge: bool,
    /// Even if somebody could not be made to leave.
    pub force: bool,
    /// Clients are given a moment to hear that their users have left.
    pub patient: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    #[default]
    Close,
    Leave,
    Move,
    Check,
    Purge,
}

/// How far it has come.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    stage: Stage,
    /// The last user who was looked at.
    last: String,
    /// There are no more.
    all: bool,
}

/// What became of users and aliases, as administrators are told.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    kicked_users: Vec<String>,
    failed_to_kick_users: Vec<String>,
    local_aliases: Vec<String>,
    new_room_id: Option<String>,
}

/// What became of users and aliases of each of these jobs, in their order; together at most [`MAX_NAMED`] of them.
///
/// # Errors
/// Storage failed.
pub fn outcomes(jobs: &[Job]) -> Result<Vec<Outcome>, Error> {
    let ids: Vec<String> = jobs.iter().map(|job| job.id.clone()).collect();
    let rows = storage::query(
        "SELECT purge_id, outcome, name FROM rooms_purge_names
         WHERE purge_id IN ($1) AND outcome IN ('kicked', 'failed', 'alias') ORDER BY purge_id, name LIMIT $2",
        params![ids, MAX_NAMED],
    )?;
    let mut found: HashMap<String, Outcome> = HashMap::new();
    for (id, outcome, name) in rows.all::<(String, String, String)>()? {
        let told = found.entry(id).or_default();
        match outcome.as_str() {
            "kicked" => told.kicked_users.push(name),
            "failed" => told.failed_to_kick_users.push(name),
            _ => told.local_aliases.push(name),
        }
    }
    let told = jobs.iter().map(|job| Outcome {
        new_room_id: job.new_room.clone(),
        ..found.remove(&job.id).unwrap_or_default()
    });
    Ok(told.collect())
}

/// One slice. Each can be repeated: what is done already is found done.
///
/// # Errors
/// What ends the job (a status below 500), or storage.
pub fn slice(job: &mut Job, wish: &Wish) -> Result<Slice, Error> {
    let room_id = job.room_id.as_str();
    job.progress.room.stage = match job.progress.room.stage {
        Stage::Close => {
            if !close(job, wish)? {
                return Ok(Slice::Done(None));
            }
            Stage::Leave
        }
        Stage::Leave => {
            if leave(job, wish)? {
                Stage::Move
            } else {
                Stage::Leave
            }
        }
        Stage::Move => {
            move_on(job, wish)?;
            if !wish.purge {
                return Ok(Slice::Done(None));
            }
            if wish.patient && !named(&job.id, "kicked", 1)?.is_empty() {
                job.progress.not_before_ms = clock::now_ms() + GRACE_MS;
            }
            Stage::Check
        }
        Stage::Check => {
            if !wish.force && !local_members(room_id, "", 1)?.0.is_empty() {
                let text = "users of this server are still in the room";
                return Err(Error::new(ErrorCode::Unknown, text).status(400));
            }
            Batch::new()
                .run("DELETE FROM rooms_aliases WHERE room_id = $1", params![room_id])
                .run("DELETE FROM rooms_delayed WHERE room_id = $1", params![room_id])
                .commit_blind()?;
            Stage::Purge
        }
        Stage::Purge => {
            if purge::room(room_id)? {
                let purged = Purged { room_id: room_id.to_owned(), gone: true, before: 0 };
                return Ok(Slice::Done(Some(purged)));
            }
            Stage::Purge
        }
    };
    Ok(Slice::More)
}

/// Blocks a room, known or not.
pub fn block(batch: Batch, room_id: &str, user: &str) -> Batch {
    batch
        .run(
            "INSERT INTO rooms_blocked (room_id, user_id, created_ms) VALUES ($1, $2, $3)
             ON CONFLICT (room_id) DO UPDATE SET user_id = excluded.user_id, created_ms = excluded.created_ms",
            params![room_id, user, clock::now_ms()],
        )
        // The revision is raised so that a join which has looked already finds itself too late.
        .run(
            "UPDATE rooms_rooms SET revision = revision + 1, blocked = TRUE WHERE room_id = $1",
            params![room_id],
        )
}

/// Lets users of this server into a room again.
pub fn unblock(batch: Batch, room_id: &str) -> Batch {
    batch.run("DELETE FROM rooms_blocked WHERE room_id = $1", params![room_id]).run(
        "UPDATE rooms_rooms SET blocked = FALSE WHERE room_id = $1 AND blocked = TRUE",
        params![room_id],
    )
}

/// False where the room is not known here: only a block remains of it.
fn close(job: &mut Job, wish: &Wish) -> Result<bool, Error> {
    let room_id = job.room_id.as_str();
    let mut batch = Batch::new();
    if wish.block {
        batch = block(batch, room_id, &wish.requester);
    }
    batch
        .run(
            "UPDATE rooms_rooms SET revision = revision + 1, published = FALSE WHERE room_id = $1",
            params![room_id],
        )
        .run("UPDATE rooms_about SET published = FALSE WHERE room_id = $1", params![room_id])
        .commit_blind()?;
    if !known(room_id)? {
        return Ok(false);
    }
    if let (Some(user), None) = (&wish.new_room_user, &job.new_room) {
        let body = json!({
            "preset": "public_chat",
            "name": wish.room_name.as_deref().unwrap_or(NAME),
            "power_level_content_override": {"users_default": -10},
        });
        let body: Map<String, Value> = serde_json::from_value(body).map_err(Error::internal)?;
        let once = |batch: Batch, new: &str| {
            batch
                .run(
                    "UPDATE rooms_purges SET new_room_id = $2 WHERE purge_id = $1 AND new_room_id IS NULL",
                    params![&job.id, new],
                )
                .expect(1)
        };
        let new = create::create_along(&Asker::on_behalf_of(user), body, Some(&once))?;
        job.new_room = Some(new);
    }
    Ok(true)
}

/// Users of the job of whom this is said, with whether they were in the room.
fn named(purge_id: &str, outcome: &str, limit: u32) -> Result<Vec<(String, bool)>, Error> {
    let rows = storage::query(
        "SELECT name, joined FROM rooms_purge_names WHERE purge_id = $1 AND outcome = $2 ORDER BY name LIMIT $3",
        params![purge_id, outcome, limit],
    )?;
    Ok(rows.all()?)
}

/// Some users are written down, or those who are leave; whether there are no more. They are written down before they leave: whoever has left is
/// still known to have been there.
fn leave(job: &mut Job, wish: &Wish) -> Result<bool, Error> {
    let waiting = named(&job.id, "waiting", u32::try_from(TOGETHER).unwrap_or(1))?;
    if !waiting.is_empty() {
        all_move(job, wish, &waiting)?;
        return Ok(false);
    }
    let room = &mut job.progress.room;
    if room.all {
        return Ok(true);
    }
    let (members, last) = local_members(&job.room_id, &room.last, TOGETHER)?;
    let mut batch = Batch::new();
    for (user, membership) in &members {
        batch = batch.run(
            "INSERT INTO rooms_purge_names (purge_id, name, outcome, joined) VALUES ($1, $2, 'waiting', $3)
             ON CONFLICT (purge_id, name) DO NOTHING",
            params![&job.id, user, membership == "join"],
        );
    }
    if !members.is_empty() {
        batch.commit_blind()?;
    }
    match last {
        Some(last) => room.last = last,
        None => room.all = true,
    }
    Ok(false)
}

/// Users leave, and come into the new room.
fn all_move(job: &Job, wish: &Wish, waiting: &[(String, bool)]) -> Result<(), Error> {
    let room_id = job.room_id.as_str();
    let users: Vec<String> = waiting.iter().map(|(user, _)| user.clone()).collect();
    let failed = match all_leave(room_id, &users) {
        Ok(()) => Vec::new(),
        Err(error) if error.http_status() < 500 => one_by_one(room_id, &users)?,
        Err(error) => return Err(error),
    };
    let mut batch = Batch::new();
    for (user, joined) in waiting {
        let moved = match &job.new_room {
            Some(new) if *joined && wish.new_room_user.as_ref() != Some(user) => join(new, user)?,
            _ => true,
        };
        let outcome = if moved && !failed.contains(user) { "kicked" } else { "failed" };
        batch = batch.run(
            "UPDATE rooms_purge_names SET outcome = $3 WHERE purge_id = $1 AND name = $2",
            params![&job.id, user, outcome],
        );
    }
    batch.commit_blind()?;
    Ok(())
}

/// Those who could not be made to leave.
fn one_by_one(room_id: &str, users: &[String]) -> Result<Vec<String>, Error> {
    let mut failed = Vec::new();
    for user in users {
        match all_leave(room_id, std::slice::from_ref(user)) {
            Ok(()) => {}
            Err(error) if error.http_status() < 500 => {
                let fields = [("room", room_id), ("reason", error.message())];
                log::warn("a user stays in a room that is deleted", &fields);
                failed.push(user.clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(failed)
}

fn join(room_id: &str, user: &str) -> Result<bool, Error> {
    match membership::set::set(&Asker::on_behalf_of(user), room_id, user, "join", None) {
        Ok(_) => Ok(true),
        Err(error) if error.http_status() < 500 => {
            let fields = [("room", room_id), ("reason", error.message())];
            log::warn("a user is not moved to the room that replaces another", &fields);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Says in the new room what happened, and has the aliases lead there.
fn move_on(job: &Job, wish: &Wish) -> Result<(), Error> {
    let (room_id, id) = (job.room_id.as_str(), job.id.as_str());
    let mut batch = Batch::new();
    if let (Some(user), Some(new)) = (&wish.new_room_user, &job.new_room) {
        let said = wish.message.as_deref().unwrap_or(MESSAGE);
        let content = object([("msgtype", text(Some("m.text"))), ("body", text(Some(said)))]);
        let once = Transaction::named(user, "", &format!("purge/{new}"), id);
        let asker = Asker::on_behalf_of(user);
        send::message::any(new, &asker, "m.room.message", content, Some(once))?;
        batch = batch
            .run(
                "INSERT INTO rooms_purge_names (purge_id, name, outcome, joined)
                 SELECT CAST($2 AS text), alias, 'alias', FALSE FROM rooms_aliases WHERE room_id = $1
                 ON CONFLICT (purge_id, name) DO NOTHING",
                params![room_id, id],
            )
            .run(
                "UPDATE rooms_aliases SET room_id = $2, creator = $3 WHERE room_id = $1",
                params![room_id, new, user],
            );
    } else {
        batch = batch.run("DELETE FROM rooms_aliases WHERE room_id = $1", params![room_id]);
    }
    batch.commit_blind()?;
    Ok(())
}
