//! POST /_synapse/admin/v1/join/{roomIdOrAlias}.
//!
//! Has a user of this server join a room; where it is not public the administrator, who must be in it, invites them first.
//! Errors: `M_MISSING_PARAM`, `M_INVALID_PARAM`, `M_NOT_FOUND`, 400 `M_UNKNOWN` (a user of another server), what joining says.

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::api::membership::restricted::is_public;
use crate::api::membership::set::set;
use crate::asker::Asker;
use crate::directory::resolve;
use crate::store::{Needs, View};
use crate::{admin, api::body, ids};

#[derive(Deserialize)]
struct Wish {
    user_id: Option<String>,
}

#[derive(Serialize)]
struct Response {
    room_id: String,
}

/// Has them join.
pub fn handle(request: &Request) -> Result {
    let asker = admin::only(request)?;
    let wish: Wish = body::of(request)?;
    let user = wish.user_id.ok_or_else(|| Error::missing_param("user_id is missing"))?;
    let user = ids::user(&user)?;
    if !ids::is_local(user) {
        let text = format!("{user} is no user of this server");
        return Err(Error::new(ErrorCode::Unknown, text).status(400));
    }
    let known = storage::query(
        "SELECT user_id FROM accounts_v1_users WHERE user_id = $1 AND deactivated = FALSE",
        params![user],
    )?;
    if known.first::<(String,)>()?.is_none() {
        return Err(Error::not_found("there is no such user"));
    }
    let room_id = resolve(request.param("roomIdOrAlias"))?;
    let unknown = || Error::not_found("there is no such room here");
    let view = View::load(&room_id, &Needs::of_member(user, user))?.ok_or_else(unknown)?;
    let there = view.state.membership(user);
    if !matches!(there.as_str(), "join" | "invite") && !is_public(&view.state) {
        set(&asker, &room_id, user, "invite", None)?;
    }
    set(&Asker::on_behalf_of(user), &room_id, user, "join", None)?;
    Answer::json(&Response { room_id })
}
