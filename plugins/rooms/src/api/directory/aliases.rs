//! GET, PUT and DELETE /directory/room/{roomAlias}, GET /rooms/{roomId}/aliases.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias>
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias>
//! <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias>
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases>
//!
//! Errors: `M_NOT_FOUND`, `M_INVALID_PARAM`, `M_FORBIDDEN`, 409 `M_UNKNOWN` (the alias is taken), what modules refuse.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use ruma::state_res::events::RoomPowerLevelsEvent;
use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, Failure, race};
use tessera_sdk::{clock, crypto, hooks, params};

use crate::access::Standing;
use crate::act::{Act, Step};
use crate::asker::Asker;
use crate::core::Draft;
use crate::core::power::Power;
use crate::core::visibility::Visibility;
use crate::policy::ROOM_POLICY;
use crate::store::{Needs, View};
use crate::{api::body, directory, ids};

/// A room may have so many aliases here.
const MAX_PER_ROOM: i64 = 200;
/// How often a room that changes meanwhile is looked at again.
const ATTEMPTS: usize = 20;

#[derive(Serialize)]
struct Found {
    room_id: String,
    servers: [String; 1],
}

#[derive(Serialize)]
struct OfRoom {
    aliases: Vec<String>,
}

#[derive(Deserialize)]
struct Target {
    room_id: Option<String>,
}

fn unknown() -> Error {
    Error::not_found("the alias is unknown")
}

/// Tells where an alias leads.
pub fn get(request: &Request) -> Result {
    let room_id = directory::room_of(request.param("roomAlias"))?.ok_or_else(unknown)?;
    Answer::json(&Found { room_id, servers: [crypto::tenant_name()] })
}

/// Makes an alias lead to a room that the user is in.
pub fn put(request: &Request) -> Result {
    let alias = ids::alias(request.param("roomAlias"))?;
    let target: Target = body::of(request)?;
    let room_id = target.room_id.ok_or_else(|| Error::missing_param("room_id is missing"))?;
    let room_id = ids::room(&room_id)?;
    if !ids::is_local(alias) {
        return Err(Error::invalid_param("the alias belongs to another server"));
    }
    let asker = Asker::of(request)?;
    let user = asker.user();
    if Standing::of(room_id, user)?.membership != "join" {
        return Err(crate::access::not_there());
    }
    count(room_id)?;
    if hooks::answered(ROOM_POLICY) {
        hooks::may_create_alias(asker.who(), alias, room_id)?;
    }
    if asker.is_shadow_banned() {
        return Answer::empty();
    }
    race(ATTEMPTS, || add(alias, room_id, user))?;
    Answer::empty()
}

/// How many aliases a room has, and its revision.
fn count(room_id: &str) -> std::result::Result<i64, Error> {
    let rows = storage::query(
        "SELECT r.revision AS revision, (SELECT COUNT(a.alias) FROM rooms_aliases a WHERE a.room_id = r.room_id) AS n
         FROM rooms_rooms r WHERE r.room_id = $1",
        params![room_id],
    )?;
    let (revision, n) = rows.first::<(i64, i64)>()?.ok_or_else(crate::access::not_there)?;
    if n >= MAX_PER_ROOM {
        return Err(Error::forbidden("the room has too many aliases"));
    }
    Ok(revision)
}

/// The room's revision is the guard: of two who add the last one that fits, one counts again.
fn add(alias: &str, room_id: &str, user: &str) -> std::result::Result<(), Failure> {
    let revision = count(room_id)?;
    let added = Batch::new()
        .run(
            "UPDATE rooms_rooms SET revision = revision + 1 WHERE room_id = $1 AND revision = $2",
            params![room_id, revision],
        )
        .expect(1)
        .run(
            "INSERT INTO rooms_aliases (alias, room_id, creator, created_ms) VALUES ($1, $2, $3, $4)",
            params![alias, room_id, user, clock::now_ms()],
        )
        .commit();
    match added {
        Ok(_) => Ok(()),
        Err(storage::Error::Conflict(1)) => {
            Err(Error::new(ErrorCode::Unknown, "the alias is taken").status(409).into())
        }
        Err(error) => Err(Failure::of(error)),
    }
}

/// Takes an alias away: its maker may, and who may set the room's canonical alias.
pub fn delete(request: &Request) -> Result {
    let alias = ids::alias(request.param("roomAlias"))?;
    let user = request.user()?;
    let rows = storage::query(
        "SELECT room_id, creator FROM rooms_aliases WHERE alias = $1",
        params![alias],
    )?;
    let (room_id, creator) = rows.first::<(String, String)>()?.ok_or_else(unknown)?;
    if creator != user && !may_name(&room_id, user)? {
        return Err(Error::forbidden("the alias is another user's"));
    }
    Batch::new().run("DELETE FROM rooms_aliases WHERE alias = $1", params![alias]).commit()?;
    unname(&room_id, user, alias)?;
    Answer::empty()
}

/// Takes an alias that is no more out of the room's canonical ones, as far as the user may.
fn unname(room_id: &str, user: &str, alias: &str) -> std::result::Result<(), Error> {
    let needs = Needs::of(user).types(["m.room.canonical_alias"]);
    let said = Act { room_id, needs, transaction: None, asker: None }.run(|view| {
        let names = view.state.get("m.room.canonical_alias", "");
        let mut content: CanonicalJsonObject =
            names.and_then(|event| event.content_as()).unwrap_or_default();
        let before = content.clone();
        content.retain(|key, value| key != "alias" || value.as_str() != Some(alias));
        if let Some(CanonicalJsonValue::Array(others)) = content.get_mut("alt_aliases") {
            others.retain(|other| other.as_str() != Some(alias));
            if others.is_empty() {
                content.remove("alt_aliases");
            }
        }
        if content == before {
            return Ok(Step::Done(String::new()));
        }
        Ok(Draft::state("m.room.canonical_alias", "", user, content).into())
    });
    match said {
        Err(error) if error.http_status() >= 500 => Err(error),
        _ => Ok(()),
    }
}

/// Whether a user may set the room's canonical alias, which is also the power to list the room.
pub(super) fn may_name(room_id: &str, user: &str) -> std::result::Result<bool, Error> {
    let Some(view) = View::load(room_id, &Needs::of(user))? else {
        return Ok(false);
    };
    if view.state.membership(user) != "join" {
        return Ok(false);
    }
    let needed = view
        .state
        .get("m.room.power_levels", "")
        .and_then(|event| {
            RoomPowerLevelsEvent::new(event.as_ref())
                .event_power_level(
                    &"m.room.canonical_alias".into(),
                    Some(""),
                    &view.room.version.rules().authorization,
                )
                .ok()
        })
        .unwrap_or_default();
    Ok(Power::of(&view.room.version, &view.state).user(user) >= needed)
}

/// Lists a room's aliases for its members, and for everyone if it is world readable.
pub fn of_room(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let standing = Standing::of(room_id, request.user()?)?;
    if standing.membership != "join" && standing.visibility != Visibility::WorldReadable {
        return Err(crate::access::not_there());
    }
    let rows = storage::query(
        "SELECT alias FROM rooms_aliases WHERE room_id = $1 ORDER BY alias",
        params![room_id],
    )?;
    let aliases = rows.all::<(String,)>()?.into_iter().map(|(alias,)| alias).collect();
    Answer::json(&OfRoom { aliases })
}
