//! GET /room_summary/{roomIdOrAlias}.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>
//!
//! Who is not logged in is told of rooms that anybody may join, knock on or read. Errors: `M_NOT_FOUND` (no such room or
//! alias here, or it is not for the user to see), `M_INVALID_PARAM`.

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::{params, storage};

use crate::about::{self, About, More, Viewer};

#[derive(Serialize)]
struct Response<'a> {
    #[serde(flatten)]
    about: &'a About,
    #[serde(flatten)]
    more: &'a More,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'a str>,
    /// Names from before the endpoint was in the specification (MSC3266).
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    old: Option<Old<'a>>,
}

#[derive(Serialize)]
struct Old<'a> {
    #[serde(rename = "im.nheko.summary.version")]
    version: &'a str,
    #[serde(rename = "im.nheko.summary.room_version")]
    room_version: &'a str,
    #[serde(rename = "im.nheko.summary.encryption", skip_serializing_if = "Option::is_none")]
    encryption: Option<&'a str>,
}

/// Tells of a room.
pub(super) fn handle(request: &Request) -> Result {
    summary(request, false)
}

/// The same with the names of fields that clients knew first.
pub(super) fn unstable(request: &Request) -> Result {
    summary(request, true)
}

fn summary(request: &Request, old: bool) -> Result {
    let room_id = resolve(request.param("roomIdOrAlias"))?;
    let mut about =
        about::load(std::slice::from_ref(&room_id))?.remove(&room_id).ok_or_else(not_found)?;
    let viewer = match request.user() {
        Ok(user) => Some(Viewer::of(user, [&about])?),
        Err(_) => None,
    };
    let visible = match &viewer {
        Some(viewer) => viewer.may_see(&about),
        None => about.is_open(),
    };
    if !visible {
        return Err(not_found());
    }
    about::count([&mut about])?;
    let more = &about.more;
    let old = old.then(|| Old {
        version: &more.room_version,
        room_version: &more.room_version,
        encryption: more.encryption.as_deref(),
    });
    let membership =
        viewer.as_ref().map(|viewer| viewer.membership(&about.room_id).unwrap_or("leave"));
    Answer::json(&Response { about: &about, more, membership, old })
}

fn not_found() -> Error {
    Error::not_found("there is no such room here, or it is not for the user to see")
}

fn resolve(id_or_alias: &str) -> std::result::Result<String, Error> {
    match id_or_alias.as_bytes().first() {
        Some(b'!') => Ok(id_or_alias.to_owned()),
        Some(b'#') => {
            let rows = storage::query(
                "SELECT room_id FROM rooms_v1_aliases WHERE alias = $1",
                params![id_or_alias],
            )?;
            rows.first::<(String,)>()?.map(|(room_id,)| room_id).ok_or_else(not_found)
        }
        _ => Err(Error::invalid_param(format!("{id_or_alias:?} is neither room id nor alias"))),
    }
}
