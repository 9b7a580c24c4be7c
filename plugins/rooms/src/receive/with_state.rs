//! An event with the state before it, as another server tells it: where the room is not known it begins here, as after a
//! join through that server.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ruma::state_res::Event as _;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, Value};
use tessera_sdk::{clock, params};

use super::look::{KnownRow, Missing, acl_of};
use super::outliers::known_version;
use super::placing::Given;
use super::{OTHER_ROOM, Outcome, Received, settle, state_of, version_of};
use crate::core::incoming::{self, Incoming};
use crate::core::{Decision, StoredEvent, Version, decide, power, reads};
use crate::store::new_event::search_text;
use crate::store::states::Key;
use crate::store::write::{Id, Marks, Rows, announce};
use crate::store::{NewEvent, RoomRow, auth};
use crate::{filling, ids};

/// Most entries of a state.
const MOST: usize = 100_000;
/// Events read at a time.
const PAGE: usize = 1_000;
/// A room of more members begins in several commits: those of members from elsewhere come first, as nobody here sees them before the
/// room is there.
const TOGETHER: usize = 5_000;

/// Takes an event with the ids of the state events before it.
///
/// # Errors
/// `M_UNSUPPORTED_ROOM_VERSION`, too large a state, storage, or the room is too busy.
pub fn receive_with_state(
    room_id: &str,
    room_version: &str,
    origin: &str,
    event: &str,
    state: &[String],
) -> Result<Received, Error> {
    if state.len() > MOST {
        return Err(Error::invalid_param(format!("a state has at most {MOST} entries")));
    }
    let version = known_version(room_id, room_version)?;
    let incoming = match incoming::read(&version, room_id, event) {
        Ok(incoming) => incoming,
        Err(reason) => return Ok((String::new(), Outcome::Rejected(reason))),
    };
    let id = incoming.event.id().to_owned();
    let given = match given(room_id, state)? {
        Ok(given) => given,
        Err(auth_events) => {
            let missing = Missing { auth_events, ..Missing::default() };
            return Ok((id, Outcome::Needs(missing)));
        }
    };
    if version_of(room_id)?.is_none() {
        // None: somebody else has made the room meanwhile.
        if let Some(outcome) = begin(&version, room_id, origin, &incoming, &given)? {
            return Ok((id, outcome));
        }
    }
    Ok((id, settle(&version, room_id, origin, &incoming, Some(&given))?))
}

/// The state's entries, or what is not known of it. What was refused here is left out.
fn given(room_id: &str, ids: &[String]) -> Result<Result<Given, Vec<String>>, Error> {
    let mut entries: HashMap<Key, String> = HashMap::new();
    let mut unknown: BTreeSet<&String> = ids.iter().collect();
    for page in ids.chunks(PAGE) {
        let rows = storage::query(
            "SELECT event_id, type, state_key, rejected FROM rooms_events WHERE event_id IN ($1) AND room_id = $2",
            params![page.to_vec(), room_id],
        )?;
        for (id, kind, key, rejected) in rows.all::<(String, String, Option<String>, bool)>()? {
            unknown.remove(&id);
            if let (Some(key), false) = (key, rejected) {
                entries.insert((kind, key), id);
            }
        }
    }
    if unknown.is_empty() {
        return Ok(Ok(Given { entries }));
    }
    Ok(Err(unknown.into_iter().cloned().collect()))
}

fn load(version: &Version, ids: &[String]) -> Result<Vec<Arc<StoredEvent>>, Error> {
    let rows = storage::query(
        "SELECT event_id, json, rejected FROM rooms_events WHERE event_id IN ($1)",
        params![ids.to_vec()],
    )?;
    let event = |(id, json, rejected): (String, String, bool)| {
        auth::parse(version, &id, &json, rejected).map(Arc::new)
    };
    rows.all()?.into_iter().map(event).collect()
}

/// Makes a room of a state and the first event after it; none if there is such a room by now.
fn begin(
    version: &Version,
    room_id: &str,
    origin: &str,
    incoming: &Incoming,
    given: &Given,
) -> Result<Option<Outcome>, Error> {
    let event = &incoming.event;
    let known = storage::snapshot(&[KnownRow::select(event.id())])?.answers().next();
    let known = known.map(KnownRow::read).transpose()?.flatten();
    if known.is_some_and(|known| !known.is_of(room_id)) {
        return Ok(Some(Outcome::Rejected(OTHER_ROOM.to_owned())));
    }
    let ids: Vec<String> = event
        .auth_events()
        .map(ToString::to_string)
        .chain(version.room_id_is_hash().then(|| room_id.replacen('!', "$", 1)))
        .collect();
    let rests = load(version, &ids)?;
    let auth_events: Vec<String> =
        ids.iter().filter(|id| !rests.iter().any(|known| known.id() == *id)).cloned().collect();
    if !auth_events.is_empty() {
        return Ok(Some(Outcome::Needs(Missing { auth_events, ..Missing::default() })));
    }
    let read: BTreeSet<Key> = reads(version, event).collect();
    // All members would be much; the rest is little.
    let wanted =
        given.entries.iter().filter(|(key, _)| key.0 != "m.room.member" || read.contains(*key));
    let wanted: Vec<String> = wanted.map(|(_, id)| id.clone()).collect();
    let state = state_of(&load(version, &wanted)?);
    if let Some(acl) = state.get("m.room.server_acl", "").map(|event| acl_of(event))
        && !acl.allows(origin)
    {
        return Ok(Some(Outcome::Rejected(format!("the room does not allow {origin}"))));
    }
    let Some(create) = state.get("m.room.create", "").filter(|create| {
        version.room_id_is_hash() || create.room_id().is_some_and(|id| id.as_str() == room_id)
    }) else {
        return Ok(Some(Outcome::Rejected("the state has no create event".to_owned())));
    };
    if let Decision::Reject(reason) | Decision::SoftFail(reason) =
        decide(version, event, &state_of(&rests), &state, None)
    {
        return Ok(Some(Outcome::Rejected(reason)));
    }
    if crate::admin::closed(room_id)? {
        return Ok(Some(Outcome::SoftFailed("the room is shut down on this server".to_owned())));
    }
    let own: Option<Key> = event.state_key().map(|key| (event.kind(), key.to_owned()));
    if given.entries.len() > TOGETHER {
        members_before(version, room_id, given, own.as_ref())?;
    }
    let creator = power::creator(&state);
    let replaced = event.state_key().and_then(|key| state.get(&event.kind(), key)).cloned();
    let batch =
        batch(version, room_id, incoming, given, (&creator, create.id()), replaced.as_ref())?;
    match batch.commit() {
        Ok(_) => {
            // The database knows by now what lists tell of it; if that fails it is done later.
            filling::now(room_id);
            Ok(Some(Outcome::Accepted))
        }
        Err(storage::Error::Conflict(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn batch(
    version: &Version,
    room_id: &str,
    incoming: &Incoming,
    given: &Given,
    (creator, create): (&str, &str),
    replaced: Option<&Arc<StoredEvent>>,
) -> Result<Batch, Error> {
    let event = &incoming.event;
    let room = RoomRow::nascent(version, room_id);
    let new = NewEvent {
        event: Arc::clone(event),
        json: incoming.json.clone(),
        extremity: incoming.extremity.clone(),
        replaces: replaced.cloned(),
        stripped: None,
        relation: incoming.relation.clone(),
        text: search_text(event),
    };
    let mut batch = Batch::new();
    let before = Id::New(batch.take_positions(1));
    let offset = batch.take_positions(1);
    let place = Id::New(offset);
    let own: Option<Key> = event.state_key().map(|key| (event.kind(), key.to_owned()));
    let after = if own.is_some() { place } else { before };
    let extremities = serde_json::to_string(&[&new.extremity]).map_err(Error::internal)?;
    let create =
        storage::query("SELECT position FROM rooms_events WHERE event_id = $1", params![create])?;
    let create = create.first::<(i64,)>()?.map_or(0, |(position,)| position);
    batch = batch
        .run(
            "INSERT INTO rooms_rooms (room_id, version, creator, position, revision, extremities, depth,
               state_group, state_base, state_chain, published, created_ms, auth_edges)
             VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, FALSE, $10, TRUE)",
            params![
                room_id,
                version.name(),
                creator,
                create,
                extremities,
                new.extremity.2,
                after,
                before,
                i64::from(own.is_some()),
                clock::now_ms(),
            ],
        )
        .run(
            "DELETE FROM rooms_events WHERE event_id = $1 AND room_id = $2 AND outlier = TRUE",
            params![event.id(), room_id],
        );
    let mut rows = Rows::default();
    rows.groups.push(params![before, room_id, Value::Null, before]);
    rows.event(&room, place, &new, (before, after), Marks::default());
    if let Some((kind, key)) = &own {
        rows.groups.push(params![place, room_id, before, before]);
        rows.entries.push(params![place, kind.as_str(), key.as_str(), event.id()]);
        rows.current.push(params![room_id, kind.as_str(), key.as_str(), event.id(), place]);
        rows.change(&room, place, (kind, key), Some(event), replaced);
        if kind == "m.room.member" {
            rows.membership(&room, place, key, (Some(event), replaced), None);
        }
    }
    members(version, given, own.as_ref(), |user, member| {
        if given.entries.len() <= TOGETHER || ids::is_local(user) {
            rows.membership(&room, place, user, (Some(member), None), None);
        }
        Ok(())
    })?;
    let mut ids: Vec<String> = given.entries.values().cloned().collect();
    ids.sort();
    for page in ids.chunks(PAGE) {
        batch = batch.run(
            "INSERT INTO rooms_state_entries (group_id, type, state_key, event_id)
             SELECT r.state_base, e.type, e.state_key, e.event_id FROM rooms_rooms r
             CROSS JOIN rooms_events e WHERE r.room_id = $1 AND e.event_id IN ($2)",
            params![room_id, page.to_vec()],
        );
        batch = batch.run(
            "INSERT INTO rooms_current_state (room_id, type, state_key, event_id, position)
             SELECT e.room_id, e.type, e.state_key, e.event_id, e.position FROM rooms_events e
             WHERE e.event_id IN ($1)",
            params![page.to_vec()],
        );
    }
    // Readers tell from the changes what could be seen when: this one holds from before the first event on.
    let visibility: Key = ("m.room.history_visibility".to_owned(), String::new());
    if let Some(id) = given.entries.get(&visibility) {
        let (kind, key) = (visibility.0.as_str(), visibility.1.as_str());
        rows.deltas.push(params![before, room_id, kind, key, id.as_str(), Value::Null]);
    }
    batch = rows.statements(batch);
    for prev in event.prev_events() {
        batch = batch.run(
            "INSERT INTO rooms_followed (event_id, follower, room_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            params![prev.as_str(), event.id(), room_id],
        );
    }
    batch = announce(batch, &room, offset, &new)?;
    Ok(batch.wake(format!("room:{room_id}")))
}

/// Stores the memberships of users of other servers, page by page. A repetition writes them again.
fn members_before(
    version: &Version,
    room_id: &str,
    given: &Given,
    own: Option<&Key>,
) -> Result<(), Error> {
    let room = RoomRow::nascent(version, room_id);
    let (mut rows, mut count) = (Rows::default(), 0);
    let store = |rows: &mut Rows| {
        let rows = std::mem::take(rows);
        let mut batch = Batch::new();
        batch.take_positions(1);
        rows.statements(batch).commit_blind()
    };
    members(version, given, own, |user, member| {
        if !ids::is_local(user) {
            rows.membership(&room, Id::New(0), user, (Some(member), None), None);
            count += 1;
            if count % PAGE == 0 {
                store(&mut rows)?;
            }
        }
        Ok(())
    })?;
    if count % PAGE != 0 {
        store(&mut rows)?;
    }
    Ok(())
}

/// Goes through the member events of a state but for the one that the event replaces.
fn members(
    version: &Version,
    given: &Given,
    own: Option<&Key>,
    mut each: impl FnMut(&str, &Arc<StoredEvent>) -> Result<(), Error>,
) -> Result<(), Error> {
    let members = given.entries.iter().filter(|(key, _)| key.0 == "m.room.member");
    let ids: Vec<String> =
        members.filter(|(key, _)| Some(*key) != own).map(|(_, id)| id.clone()).collect();
    for page in ids.chunks(PAGE) {
        for event in load(version, page)? {
            each(event.state_key().unwrap_or_default(), &event)?;
        }
    }
    Ok(())
}
