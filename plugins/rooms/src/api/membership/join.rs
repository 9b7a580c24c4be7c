//! POST /join/{roomIdOrAlias} and POST /rooms/{roomId}/join.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin>
//!
//! Errors: `M_NOT_FOUND` (no such room or alias here), `M_FORBIDDEN`, `M_UNABLE_TO_GRANT_JOIN` (restricted, and nobody
//! here may let the user in), `M_INVALID_PARAM`.

use ruma::canonical_json::CanonicalJsonObject;
use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Request, Result};

use super::change::{Verdict, Wish, change};
use super::restricted::authoriser;
use super::third_party;
use crate::asker::Asker;
use crate::directory::resolve;
use crate::{api::body, ids};

#[derive(Debug, Default, Deserialize)]
struct Body {
    reason: Option<String>,
    third_party_signed: Option<CanonicalJsonObject>,
    /// What else stands in the body becomes part of the event.
    #[serde(flatten)]
    content: CanonicalJsonObject,
}

#[derive(Serialize)]
struct Response<'a> {
    room_id: &'a str,
}

/// POST /join/{roomIdOrAlias}.
pub fn by_id_or_alias(request: &Request) -> Result {
    let room_id = resolve(request.param("roomIdOrAlias"))?;
    join(request, &room_id)
}

/// POST /rooms/{roomId}/join.
pub fn by_id(request: &Request) -> Result {
    join(request, ids::room(request.param("roomId"))?)
}

fn join(request: &Request, room_id: &str) -> Result {
    let mut body: Body = body::of(request)?;
    // Of these the server knows better.
    for key in ["membership", "join_authorised_via_users_server", "third_party_invite"] {
        body.content.remove(key);
    }
    let asker = Asker::of(request)?;
    if let Some(signed) = &body.third_party_signed {
        third_party::accept(room_id, asker.user(), signed)?;
    }
    let authoriser = authoriser(room_id, asker.user())?;
    let wish = Wish {
        room_id,
        asker: &asker,
        target: asker.user(),
        membership: "join",
        reason: body.reason.as_deref(),
        content: body.content,
        authoriser: authoriser.as_deref(),
    };
    change(&wish, |before, _| Ok(if before == "join" { Verdict::Nothing } else { Verdict::Send }))?;
    Answer::json(&Response { room_id })
}
