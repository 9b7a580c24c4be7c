//! Checks that the room endpoints share.

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Rows, Select, select};

/// Reads whether a user is in a room: the answer is for [`require_joined`].
pub(crate) fn select_joined(user: &str, room_id: &str) -> Select {
    select(
        "SELECT user_id FROM rooms_v1_memberships \
         WHERE room_id = $1 AND user_id = $2 AND membership = 'join'",
        params![room_id, user],
    )
}

/// # Errors
/// `M_FORBIDDEN` for who is not in the room.
pub(crate) fn require_joined(rows: &Rows) -> Result<(), Error> {
    if rows.rows.is_empty() {
        return Err(Error::forbidden("you are not in this room"));
    }
    Ok(())
}

/// The wake-up topic of a room.
pub(crate) fn topic(room_id: &str) -> String {
    format!("room:{room_id}")
}
