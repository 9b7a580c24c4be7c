//! POST /rooms/{roomId}/unban.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban>
//!
//! Errors: `M_FORBIDDEN` (no power), `M_BAD_STATE` with 403 (the user is not banned), `M_MISSING_PARAM`,
//! `M_INVALID_PARAM`.

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};

use super::change::{Change, Verdict, Wish, change};
use crate::asker::Asker;
use crate::{api::body, ids};

/// Lifts a ban. The user may join or be invited again.
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
        "ban" => Ok(Verdict::Send),
        _ => Err(Error::new(ErrorCode::BadState, "the user is not banned").status(403)),
    })?;
    Answer::empty()
}
