//! Who is in which room, from the view of `rooms`.

use tessera_sdk::{
    matrix::Error,
    params,
    storage::{Rows, Select, select},
};

/// For [`member`].
pub(crate) fn membership(user: &str, room: &str) -> Select {
    select(
        "SELECT user_id FROM rooms_v1_memberships WHERE room_id = $1 AND user_id = $2 AND membership = 'join'",
        params![room, user],
    )
}

/// # Errors
/// `M_FORBIDDEN` for who is not in the room.
pub(crate) fn member(rows: &Rows) -> Result<(), Error> {
    match rows.rows.is_empty() {
        true => Err(Error::forbidden("you are not in this room")),
        false => Ok(()),
    }
}

/// Users who share a room with `user`, themselves included; `most` of them at most.
pub(crate) fn neighbours(user: &str, most: i64) -> Select {
    select(
        "SELECT DISTINCT b.user_id FROM rooms_v1_memberships a JOIN rooms_v1_memberships b ON b.room_id = a.room_id \
         WHERE a.user_id = $1 AND a.membership = 'join' AND b.membership = 'join' LIMIT $2",
        params![user, most],
    )
}
