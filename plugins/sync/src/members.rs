//! How many are in a room, and who has been there the longest: what a summary tells, and what a room without a name is named after.
//!
//! Neither looks at all members, of whom there may be many.

use std::collections::HashMap;

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{FromRow, RowError, Rows, Select, Value, select};

use crate::event::EventRow;

/// Members named where a room has no name. Spec: /sync, `m.heroes`.
pub(crate) const HEROES: usize = 5;

/// Joined and invited, by room: two answers, for [`read_counts`]. The rooms are such that the user has a membership in.
pub(crate) fn select_counts(user: &str, rooms: &[String]) -> [Select; 2] {
    [
        select(
            "SELECT room_id, joined, invited FROM rooms_v1_counts WHERE room_id IN ($1)",
            params![rooms],
        ),
        // Of rooms from before there were such counts.
        select(
            "SELECT m.room_id, m.membership, COUNT(*) FROM rooms_v1_memberships o CROSS JOIN rooms_v1_memberships m \
             WHERE o.user_id = $1 AND o.room_id IN ($2) \
             AND NOT EXISTS (SELECT 1 FROM rooms_v1_counts c WHERE c.room_id = o.room_id) \
             AND m.room_id = o.room_id AND m.membership IN ('join', 'invite') GROUP BY m.room_id, m.membership",
            params![user, rooms],
        ),
    ]
}

/// From the answers to [`select_counts`].
///
/// # Errors
/// A view is not as documented.
pub(crate) fn read_counts(
    mut next: impl FnMut() -> Result<Rows, Error>,
) -> Result<HashMap<String, (i64, i64)>, Error> {
    let known = next()?.all::<(String, i64, i64)>()?.into_iter();
    let mut counts: HashMap<String, (i64, i64)> =
        known.map(|(room, joined, invited)| (room, (joined, invited))).collect();
    for (room, membership, count) in next()?.all::<(String, String, i64)>()? {
        let (joined, invited) = counts.entry(room).or_default();
        match membership.as_str() {
            "join" => *joined = count,
            _ => *invited = count,
        }
    }
    Ok(counts)
}

/// One of those who came first.
#[derive(Debug)]
pub(crate) struct First {
    /// Joined or invited; else they have gone.
    pub present: bool,
    pub name: Option<String>,
    pub avatar: Option<String>,
    /// The member event.
    pub event: EventRow,
}

impl FromRow for First {
    fn from_row(mut row: Vec<Value>) -> Result<Self, RowError> {
        let event = row.split_off(row.len().min(3));
        let (present, name, avatar): (i64, _, _) = <_>::from_row(row)?;
        Ok(Self { present: present > 0, name, avatar, event: EventRow::from_row(event)? })
    }
}

/// Who came first into rooms in which the user has a membership; one more than [`HEROES`] of each kind, as the user may be among them.
/// `named`: whether rooms that have a name, or had one, are looked at as well. The answer is for [`read_first`].
pub(crate) fn select_first(user: &str, rooms: &[String], named: bool) -> Select {
    let unnamed = "AND NOT EXISTS (SELECT 1 FROM rooms_v1_current_state n WHERE n.room_id = o.room_id \
         AND n.type IN ('m.room.name', 'm.room.canonical_alias') AND n.state_key = '')";
    let unnamed = if named { "" } else { unnamed };
    let kinds = [("join", 1), ("invite", 1), ("leave", 0), ("ban", 0)].map(|(membership, present)| {
        format!(
            "SELECT {present} AS present, m.display_name, m.avatar_url, e.position, e.event_id, e.room_id, e.type, \
             e.state_key, e.sender, e.json, NULL, NULL \
             FROM rooms_v1_memberships o CROSS JOIN rooms_v1_memberships m CROSS JOIN rooms_v1_events e \
             WHERE o.user_id = $1 AND o.room_id IN ($2) {unnamed} AND m.room_id = o.room_id \
             AND m.membership = '{membership}' AND m.position <= COALESCE((SELECT l.position FROM rooms_v1_memberships l \
             WHERE l.room_id = o.room_id AND l.membership = '{membership}' ORDER BY l.position LIMIT 1 OFFSET $3), $4) \
             AND e.event_id = m.event_id"
        )
    });
    select(
        &kinds.join(" UNION ALL "),
        params![user, rooms, i64::try_from(HEROES).unwrap_or(i64::MAX), i64::MAX],
    )
}

/// By room: those who are there before those who have gone, who came first before who came later.
///
/// # Errors
/// A view is not as documented.
pub(crate) fn read_first(rows: Rows) -> Result<HashMap<String, Vec<First>>, Error> {
    let mut rooms: HashMap<String, Vec<First>> = HashMap::new();
    for first in rows.all::<First>()? {
        rooms.entry(first.event.room_id.clone()).or_default().push(first);
    }
    for list in rooms.values_mut() {
        list.sort_by_key(|first| (!first.present, first.event.position));
    }
    Ok(rooms)
}
