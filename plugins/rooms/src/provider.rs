//! `tessera:services/rooms`: what other plug-ins ask of this one.

use tessera_sdk::bindings::rooms::exports::tessera::services::rooms::{
    Error, Found, Guest, Missing, Outcome, Received, StateEntry,
};
use tessera_sdk::limits;
use tessera_sdk::matrix;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::api::directory::visibility;
use crate::api::{create, membership, send};
use crate::asker::Asker;
use crate::core::{StoredEvent, content};
use crate::store::{auth, state_at};
use crate::{Plugin, directory, ids, profiles, receive, shut_down};

/// Rooms that one search looks into.
const MAX_SEARCHED: usize = 1_000;
/// What one search gives.
const MAX_FOUND: u32 = 500;
/// Events whose auth chain is told at once.
const MAX_CHAINED: usize = 1_000;

fn refused(error: matrix::Error) -> Error {
    match error.http_status() {
        404 => Error::NotFound,
        400..500 => Error::Refused((error.errcode().to_owned(), error.message().to_owned())),
        // Busy, or storage is away: it may go well the next time.
        _ => Error::Unavailable(error.to_string()),
    }
}

fn state_group(event_id: &str, after: bool) -> Result<Option<i64>, matrix::Error> {
    let rows = storage::query(
        "SELECT state_before, state_after FROM rooms_events WHERE event_id = $1 AND stream = TRUE",
        params![event_id],
    )?;
    let row = rows.first::<(Option<i64>, Option<i64>)>()?;
    Ok(row.map(|(before, now)| if after { now } else { before }.unwrap_or(0)))
}

/// A user of this server, for whom another plug-in acts.
fn acting_for(user: &str) -> Result<Asker, Error> {
    ids::user(user).map_err(refused)?;
    if !ids::is_local(user) {
        return Err(refused(matrix::Error::forbidden(format!("{user} is not of this server"))));
    }
    Ok(Asker::on_behalf_of(user))
}

fn state(room_id: &str, kinds: &[String]) -> Result<Vec<String>, matrix::Error> {
    let room_id = ids::room(room_id)?;
    let known =
        storage::query("SELECT version FROM rooms_rooms WHERE room_id = $1", params![room_id])?;
    if known.first::<(String,)>()?.is_none() {
        return Err(matrix::Error::not_found("there is no such room here"));
    }
    let all = "SELECT s.event_id, e.json FROM rooms_current_state s
         JOIN rooms_events e ON e.position = s.position WHERE s.room_id = $1";
    let rows = if kinds.is_empty() {
        storage::query(&format!("{all} ORDER BY s.position"), params![room_id])?
    } else {
        let some = format!("{all} AND s.type IN ($2) ORDER BY s.position");
        storage::query(&some, params![room_id, kinds])?
    };
    let event = |(id, json): (String, String)| {
        let event = StoredEvent::parse(&id, &json, false).map_err(matrix::Error::internal)?;
        Ok(event.to_client(room_id))
    };
    rows.all()?.into_iter().map(event).collect()
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
        let asker = acting_for(&user)?;
        match state_key {
            Some(key) => send::state::send(room_id, &asker, &kind, &key, content),
            None => send::message::any(room_id, &asker, &kind, content, None),
        }
        .map_err(refused)
    }

    fn state(room_id: String, kinds: Vec<String>) -> Result<Vec<String>, Error> {
        state(&room_id, &kinds).map_err(refused)
    }

    fn create_room(user: String, request: String) -> Result<String, Error> {
        let asker = acting_for(&user)?;
        let body = serde_json::from_str(&request)
            .map_err(|error| refused(matrix::Error::bad_json(error.to_string())))?;
        create::create(&asker, body).map_err(refused)
    }

    fn set_membership(
        user: String,
        room_id: String,
        target: String,
        membership: String,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let asker = acting_for(&user)?;
        if membership == "invite" {
            limits::take("invites", &user, 1)
                .map_err(|ms| refused(matrix::Error::limit_exceeded(ms)))?;
        }
        membership::set::set(&asker, &room_id, &target, &membership, reason.as_deref())
            .map(|_| ())
            .map_err(refused)
    }

    fn delete_room(user: String, room_id: String, block: bool) -> Result<u32, Error> {
        let asker = acting_for(&user)?.as_admin();
        shut_down::shut_down(&asker, &room_id, block).map_err(refused)
    }

    fn room_of_alias(alias: String) -> Result<Option<String>, Error> {
        directory::room_of(&alias).map_err(refused)
    }

    fn search(
        words: String,
        rooms: Vec<String>,
        newest: bool,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<Found>, Error> {
        if rooms.len() > MAX_SEARCHED {
            let text = format!("at most {MAX_SEARCHED} rooms can be searched at once");
            return Err(refused(matrix::Error::invalid_param(text)));
        }
        let limit = limit.min(MAX_FOUND);
        let search = if newest { storage::search_newest } else { storage::search };
        let hits = search("messages", &words, Some(&rooms), limit, offset)
            .map_err(|error| refused(error.into()))?;
        Ok(hits
            .into_iter()
            .map(|hit| Found { event_id: hit.key, room_id: hit.group, rank: hit.rank })
            .collect())
    }

    fn set_listed(room_id: String, listed: bool) -> Result<(), Error> {
        visibility::list(&room_id, listed).map_err(refused)
    }

    fn profile_changed(
        user: String,
        displayname: Option<String>,
        avatar_url: Option<String>,
    ) -> Result<(), Error> {
        profiles::apply(&user, displayname.as_deref(), avatar_url.as_deref()).map_err(refused)
    }

    fn receive(
        room_id: String,
        origin: String,
        events: Vec<String>,
    ) -> Result<Vec<Received>, Error> {
        let received = receive::receive(&room_id, &origin, &events).map_err(refused)?;
        Ok(received.into_iter().map(told).collect())
    }

    fn receive_outliers(
        room_id: String,
        room_version: String,
        events: Vec<String>,
    ) -> Result<Vec<Received>, Error> {
        let room_id = ids::room(&room_id).map_err(refused)?;
        let received = receive::receive_outliers(room_id, &room_version, &events);
        Ok(received.map_err(refused)?.into_iter().map(told).collect())
    }

    fn receive_with_state(
        room_id: String,
        room_version: String,
        origin: String,
        event: String,
        state: Vec<String>,
    ) -> Result<Received, Error> {
        let room_id = ids::room(&room_id).map_err(refused)?;
        receive::receive_with_state(room_id, &room_version, &origin, &event, &state)
            .map(told)
            .map_err(refused)
    }

    fn auth_chain(room_id: String, events: Vec<String>) -> Result<Vec<String>, Error> {
        if events.len() > MAX_CHAINED {
            let text = format!("at most {MAX_CHAINED} auth chains can be asked for at once");
            return Err(refused(matrix::Error::invalid_param(text)));
        }
        auth::chain(&room_id, &events).map_err(refused)
    }

    fn acl_allows(room_id: String, server: String) -> Result<bool, Error> {
        receive::acl_allows(&room_id, &server).map_err(refused)
    }
}

fn told((event_id, outcome): receive::Received) -> Received {
    let outcome = match outcome {
        receive::Outcome::Accepted => Outcome::Accepted,
        receive::Outcome::Duplicate => Outcome::Duplicate,
        receive::Outcome::Rejected(reason) => Outcome::Rejected(reason),
        receive::Outcome::SoftFailed(reason) => Outcome::SoftFailed(reason),
        receive::Outcome::Needs(missing) => Outcome::Needs(Missing {
            prev_events: missing.prev_events,
            auth_events: missing.auth_events,
        }),
    };
    Received { event_id, outcome }
}
