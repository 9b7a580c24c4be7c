//! POST /knock/{roomIdOrAlias}.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>
//!
//! Errors: `M_FORBIDDEN` (the join rules or a ban stand against it, or the user is in the room), `M_NOT_FOUND`, `M_INVALID_PARAM`.

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use super::change::{Verdict, Wish, change};
use crate::api::body;
use crate::asker::Asker;
use crate::directory::resolve;

#[derive(Debug, Default, Deserialize)]
struct Body {
    reason: Option<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    room_id: &'a str,
}

/// Asks to be let in.
pub fn handle(request: &Request) -> Result {
    let body: Body = body::of(request)?;
    let asker = Asker::of(request)?;
    let room_id = resolve(request.param("roomIdOrAlias"))?;
    let known =
        storage::query("SELECT version FROM rooms_rooms WHERE room_id = $1", params![&room_id])?;
    if known.first::<(String,)>()?.is_none() {
        return Err(Error::not_found("there is no such room here"));
    }
    let wish = Wish {
        room_id: &room_id,
        asker: &asker,
        target: asker.user(),
        membership: "knock",
        reason: body.reason.as_deref(),
        content: Default::default(),
        authoriser: None,
    };
    change(&wish, |_, _| Ok(Verdict::Send))?;
    Answer::json(&Response { room_id: &room_id })
}
