//! Any change of a membership, for other plug-ins: `tessera:services/rooms.set-membership`.

use tessera_sdk::matrix::Error;

use super::change::{Verdict, Wish, change};
use super::restricted::authoriser;
use crate::asker::Asker;
use crate::ids;

/// Makes `membership` that of `target`; the event's id, or an empty text if it is so already.
///
/// # Errors
/// `M_INVALID_PARAM` for another word than join, invite, knock, leave and ban, a malformed id, or somebody else's join; `M_FORBIDDEN`, and what
/// the endpoint of that change says.
pub fn set(
    asker: &Asker,
    room_id: &str,
    target: &str,
    membership: &str,
    reason: Option<&str>,
) -> Result<String, Error> {
    let (room_id, target) = (ids::room(room_id)?, ids::user(target)?);
    let own = ids::user(asker.user())? == target;
    let authoriser = match membership {
        "join" | "knock" if !own => {
            return Err(Error::invalid_param(format!("a {membership} is one's own")));
        }
        "join" => authoriser(room_id, target)?,
        "invite" | "knock" | "leave" | "ban" => None,
        other => return Err(Error::invalid_param(format!("membership {other:?} is unknown"))),
    };
    let wish = Wish {
        room_id,
        asker,
        target,
        membership,
        reason,
        content: Default::default(),
        authoriser: authoriser.as_deref(),
    };
    change(&wish, |before, _| match (membership, before) {
        ("leave", "") => Err(Error::forbidden("the user is not in the room")),
        (wanted, now) if wanted == now => Ok(Verdict::Nothing),
        _ => Ok(Verdict::Send),
    })
}
