//! DELETE /_synapse/admin/v1/rooms/{roomId} (answers when users have left) and DELETE /_synapse/admin/v2/rooms/{roomId} (at once).
//!
//! Errors: `M_NOT_FOUND`, `M_INVALID_PARAM`, `M_BAD_JSON`, 400 `M_UNKNOWN` (it is being deleted already, somebody cannot be made to leave), what modules
//! refuse, `M_LIMIT_EXCEEDED`.

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::{clock, hooks};

use crate::admin::{self, delete, jobs};
use crate::policy::ROOM_RULES;
use crate::{api::body, ids};

/// The first version works on a room so long before it answers; the timer does the rest.
const AT_ONCE_MS: u64 = 10_000;

#[derive(Deserialize)]
struct Wish {
    new_room_user_id: Option<String>,
    room_name: Option<String>,
    message: Option<String>,
    #[serde(default)]
    block: bool,
    #[serde(default = "yes")]
    purge: bool,
    #[serde(default)]
    force_purge: bool,
}

fn yes() -> bool {
    true
}

#[derive(Serialize)]
struct Begun {
    delete_id: String,
}

/// The room, and what is to be done with it.
fn wish(request: &Request, patient: bool) -> std::result::Result<(String, delete::Wish), Error> {
    let asker = admin::only(request)?;
    let room_id = ids::room(request.param("roomId"))?;
    let wish: Wish = body::of(request)?;
    if let Some(user) = &wish.new_room_user_id
        && !ids::is_local(ids::user(user)?)
    {
        let text = format!("{user} is no user of this server");
        return Err(Error::new(ErrorCode::Unknown, text).status(400));
    }
    if hooks::answered(ROOM_RULES) {
        hooks::can_shut_down(asker.who(), room_id)?;
    }
    let wish = delete::Wish {
        requester: asker.user().to_owned(),
        new_room_user: wish.new_room_user_id,
        room_name: wish.room_name,
        message: wish.message,
        block: wish.block,
        purge: wish.purge,
        force: wish.force_purge,
        patient,
    };
    Ok((room_id.to_owned(), wish))
}

/// Deletes a room, as much of it as can be done at once, and tells what became of its users. Of an unknown room there is nothing to be purged.
pub fn at_once(request: &Request) -> Result {
    let (room_id, wish) = wish(request, false)?;
    if wish.purge && !wish.block && !admin::known(&room_id)? {
        return Err(Error::not_found("there is no such room here"));
    }
    let id = jobs::begin(&room_id, &jobs::Wish::Room(wish), 2 * AT_ONCE_MS)?;
    let gone = || Error::not_found("the job is gone");
    let mut job = jobs::find(&id)?.ok_or_else(gone)?;
    if jobs::claim(&mut job)? {
        let worked = jobs::work(&mut job, u32::MAX, clock::now_ms() + AT_ONCE_MS);
        jobs::release(&job)?;
        worked?;
    }
    if !job.done {
        jobs::go_on(&room_id)?;
    }
    if let Some(text) = &job.progress.error {
        return Err(Error::new(ErrorCode::Unknown, text.clone()).status(400));
    }
    let outcome = delete::outcomes(std::slice::from_ref(&job))?.pop();
    Answer::json(&outcome.unwrap_or_default())
}

/// Has a room deleted. It need not be known: then it is only blocked, if that is wanted.
pub fn later(request: &Request) -> Result {
    let (room_id, wish) = wish(request, true)?;
    let delete_id = jobs::begin(&room_id, &jobs::Wish::Room(wish), 0)?;
    Answer::json(&Begun { delete_id })
}
