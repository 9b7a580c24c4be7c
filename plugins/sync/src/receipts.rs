//! Receipts that are read in number. Old ones of large rooms are many and tell a client nothing: they are of events that it does not
//! know.

use tessera_sdk::params;
use tessera_sdk::storage::{Select, Value, select};

/// Of each room the newest so many are told.
const MAX_IN_ROOM: i64 = 500;
/// Of all rooms together.
const MAX_RECEIPTS: i64 = 20_000;

const ROWS: &str = "SELECT r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, r.position \
     FROM rooms_v1_memberships m CROSS JOIN presence_v1_receipts r \
     WHERE m.user_id = $1 AND m.membership = 'join' AND r.room_id = m.room_id AND r.position > $2";

/// Receipts after a position in joined rooms: the user's own, and of others the newest. May give one twice. `within`: a condition on
/// `m.room_id` to be appended, for which it adds parameters; see [`of`] for one.
pub(crate) fn newest(
    user: &str,
    from: i64,
    within: impl FnOnce(&mut Vec<Value>) -> String,
) -> Select {
    let mut params = params![user, from, MAX_IN_ROOM, MAX_RECEIPTS];
    let within = within(&mut params);
    let columns = "a.room_id, a.user_id, a.type, a.thread_id, a.event_id, a.ts, a.position";
    select(
        &format!(
            "SELECT {columns} FROM ({ROWS}{within} AND r.position > COALESCE((SELECT l.position FROM presence_v1_receipts l \
             WHERE l.room_id = m.room_id AND l.position > $2 ORDER BY l.position DESC LIMIT 1 OFFSET $3), $2) \
             AND r.user_id <> $1 AND r.type <> 'm.read.private' ORDER BY r.position DESC LIMIT $4) a \
             UNION ALL {ROWS}{within} AND r.user_id = $1"
        ),
        params,
    )
}

/// None but those of some rooms.
pub(crate) fn of(rooms: &[String]) -> impl FnOnce(&mut Vec<Value>) -> String {
    move |params| {
        params.extend(params![rooms]);
        format!(" AND m.room_id IN (${})", params.len())
    }
}
