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

/// Who is told of a change of `user`: those who share a room with them, themselves included, and those who asked for it by a
/// module; `most` of them at most.
pub(crate) fn viewers(user: &str, most: i64) -> Select {
    select(
        "SELECT DISTINCT b.user_id FROM rooms_v1_memberships a JOIN rooms_v1_memberships b ON b.room_id = a.room_id \
         WHERE a.user_id = $1 AND a.membership = 'join' AND b.membership = 'join' \
         UNION SELECT r.viewer FROM presence_routes r WHERE r.user_id = $1 LIMIT $2",
        params![user, most],
    )
}

/// Whether `viewer` may see `user`: one row if so.
pub(crate) fn sees(viewer: &str, user: &str) -> Select {
    select(
        "SELECT a.room_id FROM rooms_v1_memberships a JOIN rooms_v1_memberships b ON b.room_id = a.room_id \
         WHERE a.user_id = $1 AND a.membership = 'join' AND b.user_id = $2 AND b.membership = 'join' \
         UNION ALL SELECT r.user_id FROM presence_routes r WHERE r.viewer = $1 AND r.user_id = $2 LIMIT 1",
        params![viewer, user],
    )
}
