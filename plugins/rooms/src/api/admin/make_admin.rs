//! POST /_synapse/admin/v1/rooms/{roomIdOrAlias}/make_room_admin.
//!
//! A user gets the power of the most powerful member of this server, who gives it; where the room is not public they are invited.
//! Errors: `M_NOT_FOUND`, `M_INVALID_PARAM`, 400 `M_UNKNOWN` (nobody here has the power).

use std::cmp::Reverse;

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use ruma::events::room::power_levels::UserPowerLevel;
use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::api::membership::restricted::is_public;
use crate::api::membership::set::set;
use crate::api::send;
use crate::asker::Asker;
use crate::core::power::Power;
use crate::directory::resolve;
use crate::store::{Needs, View};
use crate::{admin, api::body, ids};

/// What a user gets whose giver has power without bound, or where no levels are set.
const FULL: i64 = 100;

#[derive(Deserialize)]
struct Wish {
    user_id: Option<String>,
}

fn nobody(text: &str) -> Error {
    Error::new(ErrorCode::Unknown, text).status(400)
}

/// Gives the power.
pub fn handle(request: &Request) -> Result {
    let asker = admin::only(request)?;
    let wish: Wish = body::of(request)?;
    let user = wish.user_id.as_deref().unwrap_or(asker.user());
    let user = ids::user(user)?;
    let room_id = resolve(request.param("roomId"))?;
    let unknown = || Error::not_found("there is no such room here");
    let view = View::load(&room_id, &Needs::of_member(user, user))?.ok_or_else(unknown)?;
    let power = Power::of(&view.room.version, &view.state);
    let giver = giver(&room_id, &power)?
        .ok_or_else(|| nobody("nobody of this server has power in the room"))?;
    let level = match power.user(&giver) {
        UserPowerLevel::Int(level) => i64::from(level),
        _ => FULL,
    };
    let by = Asker::on_behalf_of(&giver);
    if power.user(user) < power.user(&giver) {
        let levels = view.state.get("m.room.power_levels", "");
        let mut content: CanonicalJsonObject =
            levels.and_then(|event| event.content_as()).unwrap_or_default();
        let users = content
            .entry("users".to_owned())
            .or_insert_with(|| CanonicalJsonValue::Object(CanonicalJsonObject::new()));
        if let CanonicalJsonValue::Object(users) = users {
            let level = ruma::Int::try_from(level).map_err(Error::internal)?;
            users.insert(user.to_owned(), CanonicalJsonValue::Integer(level));
        }
        let sent = send::state::send(&room_id, &by, "m.room.power_levels", "", content);
        sent.map_err(|error| match error.http_status() {
            403 => nobody("nobody of this server has the power to change power levels"),
            _ => error,
        })?;
    }
    let there = view.state.membership(user);
    if !matches!(there.as_str(), "join" | "invite") && !is_public(&view.state) {
        set(&by, &room_id, user, "invite", None)?;
    }
    Answer::empty()
}

/// The most powerful member of this server.
fn giver(room_id: &str, power: &Power<'_>) -> std::result::Result<Option<String>, Error> {
    let mut named: Vec<String> = power.creators().to_vec();
    named.extend(power.named());
    named.retain(|user| ids::is_local(user));
    let joined = storage::query(
        "SELECT user_id FROM rooms_memberships WHERE room_id = $1 AND membership = 'join' AND user_id IN ($2)",
        params![room_id, named],
    )?;
    let mut joined: Vec<String> = joined.all::<(String,)>()?.into_iter().map(|(u,)| u).collect();
    joined.sort_by_key(|user| Reverse(power.user(user)));
    Ok(joined.into_iter().next())
}
