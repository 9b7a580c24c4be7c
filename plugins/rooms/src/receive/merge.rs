//! Ends of a room that are more than one event may follow: some are joined by an event that nobody is shown, until an
//! event of a user of this server can follow all that are left.

use ruma::canonical_json::CanonicalJsonObject;
use tessera_sdk::matrix::Error;
use tessera_sdk::{clock, crypto, random};

use super::placing::{keys_for, plan_after};
use super::{Outcome, settle};
use crate::core::build::{self, MAX_PREV_EVENTS};
use crate::core::{Draft, Place, Signer, incoming};
use crate::store::RoomRow;
use crate::store::states::pick;

/// The type that other servers use for this, too, and hide from clients.
pub(super) const DUMMY: &str = "org.matrix.dummy_event";

/// Joins the deepest ends into one, by the hand of a user who is in the room; what became of that.
///
/// # Errors
/// Storage failed; the event cannot be made.
pub fn merge(room: &RoomRow, user: &str) -> Result<Outcome, Error> {
    let mut ends = room.extremities.clone();
    ends.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
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
