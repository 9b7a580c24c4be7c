//! POST /rooms/{roomId}/ban.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban>
//!
//! Errors: `M_FORBIDDEN` (no power), `M_MISSING_PARAM`, `M_INVALID_PARAM`.

use tessera_sdk::http::{Answer, Request, Result};

use super::change::{Change, Verdict, Wish, change};
use crate::asker::Asker;
use crate::{api::body, ids};

/// Bans a user, who need not be in the room.
pub fn handle(request: &Request) -> Result {
    let wished: Change = body::of(request)?;
    let asker = Asker::of(request)?;
    let wish = Wish {
        room_id: ids::room(request.param("roomId"))?,
        asker: &asker,
        target: wished.user()?,
        membership: "ban",
        reason: wished.reason.as_deref(),
        content: Default::default(),
        authoriser: None,
    };
    change(&wish, |_, _| Ok(Verdict::Send))?;
    Answer::empty()
}
