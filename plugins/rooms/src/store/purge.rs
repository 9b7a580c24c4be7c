//! Rows of rooms and of history that go.

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

/// One slice of a room's history at the positions `from..before`; where to go on.
///
/// # Errors
/// Storage failed.
pub fn history(
    _room_id: &str,
    _from: i64,
    _before: i64,
    _delete_local: bool,
) -> Result<Option<i64>, Error> {
    Err(Error::internal("history cannot go yet"))
}

/// One slice of all that is known of a room; whether it was the last.
///
/// # Errors
/// Storage failed.
pub fn room(room_id: &str) -> Result<bool, Error> {
    let tables = [
        "rooms_rooms",
        "rooms_memberships",
        "rooms_membership_changes",
        "rooms_current_state",
        "rooms_state_deltas",
        "rooms_relations",
        "rooms_state_groups",
        "rooms_events",
    ];
    let delete = |batch: Batch, table: &&str| {
        batch.run(&format!("DELETE FROM {table} WHERE room_id = $1"), params![room_id])
    };
    tables.iter().fold(Batch::new(), delete).commit_blind()?;
    Ok(true)
}
