//! POST /rooms/{roomId}/kick.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick>
//!
//! Errors: `M_FORBIDDEN` (no power, or the user is not in the room), `M_MISSING_PARAM`, `M_INVALID_PARAM`.

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use super::change::{Change, Verdict, Wish, change};
use crate::asker::Asker;
use crate::{api::body, ids};

/// Removes a user, or takes back an invite.
pub fn handle(request: &Request) -> Result {
    let wished: Change = body::of(request)?;
    let asker = Asker::of(request)?;
    let wish = Wish {
        room_id: ids::room(request.param("roomId"))?,
        asker: &asker,
        target: wished.user()?,
        membership: "leave",
        reason: wished.reason.as_deref(),
        content: Default::default(),
        authoriser: None,
    };
    change(&wish, |before, _| match before {
        "join" | "invite" | "knock" => Ok(Verdict::Send),
        _ => Err(Error::forbidden("the user is not in the room")),
    })?;
    Answer::empty()
}
