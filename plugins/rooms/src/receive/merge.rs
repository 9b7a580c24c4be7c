//! Ends of a room that are more than one event may follow: some are joined by an event that nobody is shown, until an
//! event of a user of this server can follow all that are left.

use std::collections::HashMap;

use ruma::canonical_json::CanonicalJsonObject;
use ruma::state_res::Event as _;
use tessera_sdk::matrix::Error;
use tessera_sdk::{clock, crypto, log, params, random, storage};

use super::placing::{keys_for, plan_after};
use super::{Outcome, settle};
use crate::core::build::{self, MAX_PREV_EVENTS};
use crate::core::{Draft, Extremity, Place, Signer, StoredEvent, incoming};
use crate::ids;
use crate::store::RoomRow;
use crate::store::states::pick;

/// The type that other servers use for this, too, and hide from clients.
const DUMMY: &str = "org.matrix.dummy_event";

/// Members that are looked at for one of this server, and of those so many may try.
const LOOKED_AT: u32 = 1_000;
const TRY: usize = 3;

/// Whether an event is there to join ends.
pub(super) fn is_merge(event: &StoredEvent) -> bool {
    event.kind() == DUMMY && event.state_key().is_none()
}

/// Joins ends by the hand of a user who is in the room, if there is one who may: nobody here may send anything for long.
pub(super) fn by_anybody(room_id: &str) {
    let done = || -> Result<bool, Error> {
        let room = storage::snapshot(&[RoomRow::select(room_id)])?.answers().next();
        let Some(room) = room.map(|rows| RoomRow::read(room_id, rows)).transpose()?.flatten()
        else {
            return Ok(true);
        };
        let members = storage::query(
            "SELECT user_id FROM rooms_memberships WHERE room_id = $1 AND membership = 'join'
             ORDER BY position LIMIT $2",
            params![room_id, LOOKED_AT],
        )?;
        let members = members.all::<(String,)>()?.into_iter().map(|(user,)| user);
        for user in members.filter(|user| ids::is_local(user)).take(TRY) {
            if merge(&room, &user)? == Outcome::Accepted {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match done() {
        Ok(true) => {}
        Ok(false) => log::debug("nobody here may join the ends of a room", &[("room", room_id)]),
        Err(error) => {
            let reason = error.to_string();
            log::warn("ends of a room were not joined", &[("room", room_id), ("reason", &reason)]);
        }
    }
}

/// Joins the deepest ends, those of users here before others, into one, by the hand of a user who is in the room; what became of that.
///
/// # Errors
/// Storage failed; the event cannot be made.
pub fn merge(room: &RoomRow, user: &str) -> Result<Outcome, Error> {
    let mut ends = room.extremities.clone();
    let ids: Vec<String> = ends.iter().map(|end| end.0.clone()).collect();
    let senders = storage::query(
        "SELECT event_id, sender FROM rooms_events WHERE event_id IN ($1)",
        params![ids],
    )?;
    let senders: HashMap<String, String> = senders.all::<(String, String)>()?.into_iter().collect();
    // Where the user's own join is an end, they are nobody to the others.
    let elsewhere = |id: &String| !senders.get(id).is_some_and(|sender| ids::is_local(sender));
    let place = |end: &Extremity| (elsewhere(&end.0), std::cmp::Reverse(end.2), end.0.clone());
    ends.sort_by_cached_key(place);
    ends.truncate(MAX_PREV_EVENTS);
    let draft = Draft::message(DUMMY, user, CanonicalJsonObject::new());
    let plan = plan_after(room, &ends)?;
    let (state, _) = pick(&room.version, &plan, &keys_for(user))?;
    let chosen_id = room
        .version
        .chooses_event_ids()
        .then(|| format!("${}:{}", random::letters(24), crypto::tenant_name()));
    let place = Place {
        version: &room.version,
        room_id: Some(&room.room_id),
        extremities: &ends,
        state: &state,
        now_ms: clock::now_ms(),
        chosen_id: chosen_id.as_deref(),
    };
    let built = build::build(&place, &draft)?;
    let signatures = crypto::sign(std::slice::from_ref(&built.to_sign));
    let signature = signatures.first().ok_or_else(|| Error::internal("a signature is missing"))?;
    let signer = Signer { server: crypto::tenant_name(), key_id: crypto::key().id };
    let json = built.signed(&signer, signature)?;
    let incoming = incoming::read(&room.version, &room.room_id, &json).map_err(Error::internal)?;
    // Who is not in the room there cannot join its ends: their event follows as many as it may.
    settle(&room.version, &room.room_id, &signer.server, &incoming, None)
}
