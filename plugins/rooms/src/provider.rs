//! `tessera:services/rooms`: what other plug-ins ask of this one.

use tessera_sdk::bindings::rooms::exports::tessera::services::rooms::{Error, Guest, StateEntry};
use tessera_sdk::matrix;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::api::send;
use crate::core::content;
use crate::store::state_at;
use crate::{Plugin, ids, profiles};

fn refused(error: matrix::Error) -> Error {
    if error.http_status() == 404 {
        return Error::NotFound;
    }
    Error::Refused((error.errcode().to_owned(), error.message().to_owned()))
}

fn state_group(event_id: &str, after: bool) -> Result<Option<i64>, matrix::Error> {
    let rows = storage::query(
        "SELECT state_before, state_after FROM rooms_events WHERE event_id = $1 AND stream = TRUE",
        params![event_id],
    )?;
    let row = rows.first::<(Option<i64>, Option<i64>)>()?;
    Ok(row.map(|(before, now)| if after { now } else { before }.unwrap_or(0)))
}

impl Guest for Plugin {
    fn state_at(
        event_id: String,
        after: bool,
        kinds: Vec<String>,
    ) -> Result<Vec<StateEntry>, Error> {
        let group = state_group(&event_id, after).map_err(refused)?.ok_or(Error::NotFound)?;
        let entries = state_at::resolve(group, &kinds).map_err(refused)?;
        Ok(entries
            .into_iter()
            .map(|(kind, state_key, event_id)| StateEntry { kind, state_key, event_id })
            .collect())
    }

    fn send_as(
        user: String,
        room_id: String,
        kind: String,
        state_key: Option<String>,
        content: String,
    ) -> Result<String, Error> {
        let content = content::parse(content.as_bytes()).map_err(|e| refused(e.into()))?;
        let room_id = ids::room(&room_id).map_err(refused)?;
        ids::user(&user).map_err(refused)?;
        match state_key {
            Some(key) => send::state::send(room_id, &user, &kind, &key, content),
            None => send::message::any(room_id, &user, &kind, content, None),
        }
        .map_err(refused)
    }

    fn profile_changed(
        user: String,
        displayname: Option<String>,
        avatar_url: Option<String>,
    ) -> Result<(), Error> {
        profiles::apply(&user, displayname.as_deref(), avatar_url.as_deref()).map_err(refused)
    }
}
