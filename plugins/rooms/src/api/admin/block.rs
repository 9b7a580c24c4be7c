//! GET and PUT /_synapse/admin/v1/rooms/{roomId}/block.
//!
//! Whether users of this server may come in. The room need not be known. Errors: `M_INVALID_PARAM`, `M_BAD_JSON`, `M_MISSING_PARAM`.

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

use crate::admin::{self, delete};
use crate::{api::body, ids};

#[derive(Deserialize)]
struct Wish {
    block: Option<bool>,
}

#[derive(Serialize)]
struct Response {
    block: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
}

/// Tells whether it is blocked, and by whom.
pub fn get(request: &Request) -> Result {
    admin::only(request)?;
    let room_id = ids::room(request.param("roomId"))?;
    let blocked = storage::query(
        "SELECT user_id FROM rooms_blocked WHERE room_id = $1
         UNION SELECT '' FROM rooms_rooms WHERE room_id = $1 AND blocked = TRUE ORDER BY user_id DESC LIMIT 1",
        params![room_id],
    )?;
    let user_id = blocked.first::<(String,)>()?.map(|(user,)| user);
    Answer::json(&Response { block: user_id.is_some(), user_id })
}

/// Blocks it, or no longer.
pub fn put(request: &Request) -> Result {
    let asker = admin::only(request)?;
    let room_id = ids::room(request.param("roomId"))?;
    let wish: Wish = body::of(request)?;
    let block = wish.block.ok_or_else(|| Error::missing_param("block is missing"))?;
    let batch = Batch::new();
    let batch = match block {
        true => delete::block(batch, room_id, asker.user()),
        false => delete::unblock(batch, room_id),
    };
    batch.commit_blind()?;
    Answer::json(&Response { block, user_id: None })
}
