//! Guests come in where the room lets them. Spec: client-server API, Guest access.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::{log, params, storage};

use crate::asker::Asker;
use crate::shut_down::all_leave;
use crate::store::View;

/// The state event that says so; the view must hold it.
pub(crate) const GUEST_ACCESS: &str = "m.room.guest_access";

/// So many guests leave in one commit.
const TOGETHER: u32 = 50;

/// Refuses a guest's join of a room that is not for guests.
///
/// # Errors
/// 403 `M_GUEST_ACCESS_FORBIDDEN`.
pub(crate) fn admit(asker: &Asker, view: &View) -> Result<(), Error> {
    let access = view.state.get(GUEST_ACCESS, "").and_then(|event| event.content_as());
    if !asker.is_guest() || access.is_some_and(|content| lets_in(&content)) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::GuestAccessForbidden, "guests cannot join the room"))
}

/// Whether such a content lets guests in.
pub(crate) fn lets_in(content: &CanonicalJsonObject) -> bool {
    content.get("guest_access").and_then(CanonicalJsonValue::as_str) == Some("can_join")
}

/// Makes the guests of a room leave, after it was closed to them. What stands against it is logged: the room is closed.
pub(crate) fn turn_out(room_id: &str) {
    if let Err(error) = try_turn_out(room_id) {
        let fields = [("room", room_id), ("reason", error.message())];
        log::warn("guests stay in a room that is closed to them", &fields);
    }
}

fn try_turn_out(room_id: &str) -> Result<(), Error> {
    let mut last = String::new();
    loop {
        let rows = storage::query(
            "SELECT m.user_id AS user_id FROM rooms_memberships m
             JOIN accounts_v1_users u ON u.user_id = m.user_id
             WHERE m.room_id = $1 AND m.membership = 'join' AND u.guest = TRUE AND m.user_id > $2
             ORDER BY user_id LIMIT $3",
            params![room_id, &last, TOGETHER],
        )?;
        let guests: Vec<String> = rows.all::<(String,)>()?.into_iter().map(|row| row.0).collect();
        let Some(end) = guests.last().cloned() else {
            return Ok(());
        };
        all_leave(room_id, &guests)?;
        last = end;
    }
}
