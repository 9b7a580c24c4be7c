//! POST /rooms/{roomId}/invite.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite>
//!
//! With an address in place of a user id: see [`super::threepid`].
//! Errors: `M_FORBIDDEN` (not in the room, no power, the user is banned or there already), `M_MISSING_PARAM`,
//! `M_INVALID_PARAM`, `M_INVITE_BLOCKED`, `M_LIMIT_EXCEEDED` (the descriptor's `[limits.invites]`, by sender).

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::limits;
use tessera_sdk::matrix::Error;

use super::change::{Change, Verdict, Wish, change};
use super::threepid::{self, Invite3pid};
use crate::asker::Asker;
use crate::{api::body, ids};

/// Invites a user, or whoever has an address.
pub fn handle(request: &Request) -> Result {
    let wished: Change = body::of(request)?;
    let asker = Asker::of(request)?;
    if wished.user_id.is_none() {
        let threepid: Invite3pid = body::of(request)?;
        if threepid.is_meant() {
            let room_id = ids::room(request.param("roomId"))?;
            threepid.check()?;
            limits::take("invites", asker.user(), 1).map_err(Error::limit_exceeded)?;
            threepid::invite(room_id, &asker, &threepid, wished.reason.as_deref())?;
            return Answer::empty();
        }
    }
    let wish = Wish {
        room_id: ids::room(request.param("roomId"))?,
        asker: &asker,
        target: wished.user()?,
        membership: "invite",
        reason: wished.reason.as_deref(),
        content: Default::default(),
        authoriser: None,
    };
    limits::take("invites", asker.user(), 1).map_err(Error::limit_exceeded)?;
    change(&wish, |_, _| Ok(Verdict::Send))?;
    Answer::empty()
}
