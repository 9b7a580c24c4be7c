//! POST /rooms/{roomId}/leave.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave>
//!
//! Takes back an invite's or a knock's claim, too. Leaving twice is no error. Errors: `M_FORBIDDEN` (was never there, or is
//! banned).

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use super::change::{Change, Verdict, Wish, change};
use crate::asker::Asker;
use crate::{api::body, ids};

/// Leaves the room.
pub fn handle(request: &Request) -> Result {
    let wished: Change = body::of(request)?;
    let asker = Asker::of(request)?;
    let wish = Wish {
        room_id: ids::room(request.param("roomId"))?,
        asker: &asker,
        target: asker.user(),
        membership: "leave",
        reason: wished.reason.as_deref(),
        content: Default::default(),
        authoriser: None,
    };
    change(&wish, |before, _| match before {
        "" => Err(Error::forbidden("the user is not in the room")),
        "leave" => Ok(Verdict::Nothing),
        _ => Ok(Verdict::Send),
    })?;
    Answer::empty()
}
