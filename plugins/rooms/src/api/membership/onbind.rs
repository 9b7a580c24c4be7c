//! PUT /_matrix/federation/v1/3pid/onbind: an identity server tells that an address has become a user's.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind>
//!
//! Pending invites of users of this server become the user's. One that does not fit is passed over: the others are not to
//! suffer. Errors: `M_BAD_JSON`, `M_INVALID_PARAM` (another server's user), and what is said of the last invite where none fits. Whoever has no proof gets
//! the same `M_FORBIDDEN`, whatever the room and the user are.

use ruma::canonical_json::CanonicalJsonObject;
use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::log;
use tessera_sdk::matrix::Error;

use super::third_party::bound as become_invite;
use crate::{api::body, ids};

/// Invites of one address that are looked at.
const MAX_INVITES: usize = 100;

#[derive(Deserialize)]
struct Bound {
    mxid: String,
    invites: Vec<Invite>,
}

#[derive(Deserialize)]
struct Invite {
    room_id: String,
    sender: String,
    signed: CanonicalJsonObject,
}

/// Invites the user to where the address was invited.
pub fn handle(request: &Request) -> Result {
    let bound: Bound = body::of(request)?;
    let user = ids::user(&bound.mxid)?;
    if !ids::is_local(user) {
        return Err(Error::invalid_param("the user is of another server"));
    }
    let (mut taken, mut refusal, mut fault) = (false, None, None);
    for invite in bound.invites.iter().take(MAX_INVITES) {
        match become_invite(&invite.room_id, user, &invite.sender, &invite.signed) {
            Err(error) => {
                let fields = [("room", invite.room_id.as_str()), ("reason", error.message())];
                log::info("a third-party invite is not taken", &fields);
                // What was the server's fault, or an identity server's, may go well when this is told again.
                let kept = if error.http_status() >= 500 { &mut fault } else { &mut refusal };
                *kept = Some(error);
            }
            Ok(()) => taken = true,
        }
    }
    match (fault, refusal) {
        (Some(error), _) => Err(error),
        (None, Some(error)) if !taken => Err(error),
        _ => Answer::empty(),
    }
}
