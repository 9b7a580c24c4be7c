//! A room that is deleted: it is closed, users of this server leave it (into another room, if one is wanted), and all that is
//! known of it goes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, log, params};

use super::jobs::{self, Purged, Slice};
use crate::api::body::{object, text};
use crate::api::{create, membership, send};
use crate::asker::Asker;
use crate::shut_down::{TOGETHER, all_leave, local_members};
use crate::store::purge;

/// The name of the room that users are moved to, where none is given.
const NAME: &str = "Content Violation Notification";
/// What they read there, where nothing is given.
const MESSAGE: &str = "Sharing illegal content on this server is not permitted and rooms in violation will be blocked.";
/// Users that a job names; more are moved all the same.
const MAX_NAMED: usize = 10_000;
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
    /// As it is told.
    pub result: Outcome,
}

/// What became of users and aliases, as administrators are told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    kicked_users: Vec<String>,
    failed_to_kick_users: Vec<String>,
    local_aliases: Vec<String>,
    new_room_id: Option<String>,
}

/// One slice.
///
/// # Errors
/// What ends the job (a status below 500), or storage.
pub fn slice(room_id: &str, wish: &Wish, progress: &mut jobs::Progress) -> Result<Slice, Error> {
    let room = &mut progress.room;
    room.stage = match room.stage {
        Stage::Close => {
            close(room_id, wish, &mut room.result)?;
            Stage::Leave
        }
        Stage::Leave => {
            if leave(room_id, wish, room)? {
                Stage::Move
            } else {
                Stage::Leave
            }
        }
        Stage::Move => {
            move_on(room_id, wish, &mut room.result)?;
            if !wish.purge {
                return Ok(Slice::Done(None));
            }
            if wish.patient && !room.result.kicked_users.is_empty() {
                progress.not_before_ms = clock::now_ms() + GRACE_MS;
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

fn close(room_id: &str, wish: &Wish, result: &mut Outcome) -> Result<(), Error> {
    let mut batch = Batch::new();
    if wish.block {
        batch = block(batch, room_id, &wish.requester);
    }
    batch
        .run("UPDATE rooms_rooms SET published = FALSE WHERE room_id = $1", params![room_id])
        .run("UPDATE rooms_about SET published = FALSE WHERE room_id = $1", params![room_id])
        .commit_blind()?;
    if let (Some(user), None) = (&wish.new_room_user, &result.new_room_id) {
        let body = json!({
            "preset": "public_chat",
            "name": wish.room_name.as_deref().unwrap_or(NAME),
            "power_level_content_override": {"users_default": -10},
        });
        let body: Map<String, Value> = serde_json::from_value(body).map_err(Error::internal)?;
        result.new_room_id = Some(create::create(&Asker::on_behalf_of(user), body)?);
    }
    Ok(())
}

/// Some users leave; whether those were the last.
fn leave(room_id: &str, wish: &Wish, room: &mut Progress) -> Result<bool, Error> {
    let (members, last) = local_members(room_id, &room.last, TOGETHER)?;
    let users: Vec<String> = members.iter().map(|(user, _)| user.clone()).collect();
    let failed = match all_leave(room_id, &users) {
        Ok(()) => Vec::new(),
        Err(error) if error.http_status() < 500 => one_by_one(room_id, &users)?,
        Err(error) => return Err(error),
    };
    for (user, before) in &members {
        let moved = match &room.result.new_room_id {
            Some(new) if before == "join" && wish.new_room_user.as_ref() != Some(user) => {
                join(new, user)?
            }
            _ => true,
        };
        let gone = moved && !failed.contains(user);
        let named = if gone {
            &mut room.result.kicked_users
        } else {
            &mut room.result.failed_to_kick_users
        };
        if named.len() < MAX_NAMED && !named.contains(user) {
            named.push(user.clone());
        }
    }
    match last {
        Some(last) => {
            room.last = last;
            Ok(false)
        }
        None => Ok(true),
    }
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
fn move_on(room_id: &str, wish: &Wish, result: &mut Outcome) -> Result<(), Error> {
    if let (Some(user), Some(new)) = (&wish.new_room_user, &result.new_room_id) {
        let said = wish.message.as_deref().unwrap_or(MESSAGE);
        let content = object([("msgtype", text(Some("m.text"))), ("body", text(Some(said)))]);
        let asker = Asker::on_behalf_of(user);
        send::message::any(new, &asker, "m.room.message", content, None)?;
        let aliases = storage::query(
            "SELECT alias FROM rooms_aliases WHERE room_id = $1 ORDER BY alias",
            params![room_id],
        )?;
        let aliases = aliases.all::<(String,)>()?.into_iter().map(|(alias,)| alias);
        result.local_aliases = aliases.collect();
        Batch::new()
            .run(
                "UPDATE rooms_aliases SET room_id = $2, creator = $3 WHERE room_id = $1",
                params![room_id, new, user],
            )
            .commit_blind()?;
        return Ok(());
    }
    Batch::new()
        .run("DELETE FROM rooms_aliases WHERE room_id = $1", params![room_id])
        .commit_blind()?;
    Ok(())
}
