//! Who came near and who went: users with whom a room is shared since the token, and users with whom none is shared any more.

use std::collections::BTreeSet;

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Rows, Select, select};

use crate::devices::shares;

/// Presence of newcomers told in one answer.
const MAX_PRESENCE: i64 = 2000;
/// So many newcomers of whom nothing is known are told to be offline. In larger rooms clients take that for granted.
const MAX_OFFLINE: usize = 100;

/// Rooms where somebody came or went.
#[derive(Debug, Default)]
pub(crate) struct Movements {
    /// The user's rooms where others' memberships have changed.
    pub changed: BTreeSet<String>,
    /// Rooms that the user has come into.
    pub entered: BTreeSet<String>,
    /// Rooms that the user has left.
    pub left: BTreeSet<String>,
}

/// `user_id, presence, status_msg, last_active_ms, currently_active, position`
pub(crate) type Presence = (String, String, Option<String>, i64, bool, i64);

/// Whom it concerned.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Users with whom a room is shared now.
    pub came: BTreeSet<String>,
    /// Users with whom none is shared any more.
    pub gone: BTreeSet<String>,
    /// Presence of those who came.
    pub presence: Vec<Presence>,
}

fn list(set: &BTreeSet<String>) -> Vec<String> {
    set.iter().cloned().collect()
}

impl Movements {
    /// Whether nothing is to be asked.
    pub(crate) fn none(&self) -> bool {
        self.changed.is_empty() && self.entered.is_empty() && self.left.is_empty()
    }

    /// Reads whom it concerned since a position: four answers, for [`Moved::read`].
    pub(crate) fn selects(&self, user: &str, since: i64, horizon: i64) -> [Select; 4] {
        let (changed, entered, left) = (list(&self.changed), list(&self.entered), list(&self.left));
        // `$2` the token, `$3` the horizon, `$4` rooms.
        const CHANGES: &str = "rooms_v1_membership_changes c WHERE c.position > $2 AND c.position <= $3 \
             AND c.user_id <> $1 AND c.room_id IN ($4)";
        const MEMBERS: &str =
            "rooms_v1_memberships m WHERE m.membership = 'join' AND m.user_id <> $1";
        [
            select(
                &format!(
                    "SELECT DISTINCT c.user_id, c.membership = 'join' AS came, {} AS near FROM {CHANGES} \
                     AND c.membership <> c.prev_membership AND (c.membership = 'join' OR c.prev_membership = 'join')",
                    shares("c.user_id")
                ),
                params![user, since, horizon, changed.clone()],
            ),
            select(
                &format!("SELECT DISTINCT m.user_id FROM {MEMBERS} AND m.room_id IN ($2)"),
                params![user, entered.clone()],
            ),
            select(
                &format!(
                    "SELECT w.user_id FROM (SELECT m.user_id FROM {MEMBERS} AND m.room_id IN ($5) \
                     UNION SELECT c.user_id FROM {CHANGES} AND c.prev_membership = 'join') w WHERE NOT {}",
                    shares("w.user_id")
                ),
                params![user, since, horizon, left.clone(), left],
            ),
            select(
                &format!(
                    "SELECT w.user_id, p.presence, p.status_msg, p.last_active_ms, p.currently_active, p.position \
                     FROM (SELECT m.user_id FROM {MEMBERS} AND m.room_id IN ($5) UNION SELECT c.user_id FROM {CHANGES} \
                     AND c.membership = 'join' AND c.prev_membership <> 'join') w \
                     LEFT JOIN presence_v1_presence p ON p.user_id = w.user_id \
                     WHERE p.position IS NULL OR p.position <= $2 LIMIT $6"
                ),
                params![user, since, horizon, changed, entered, MAX_PRESENCE],
            ),
        ]
    }
}

/// [`Presence`], of which nothing but the user is there where they never told any.
type Known = (String, Option<String>, Option<String>, Option<i64>, Option<bool>, Option<i64>);

impl Moved {
    /// From the answers to [`Movements::selects`].
    ///
    /// # Errors
    /// A view is not as documented.
    pub(crate) fn read(mut next: impl FnMut() -> Result<Rows, Error>) -> Result<Self, Error> {
        let mut moved = Self::default();
        for (user, came, near) in next()?.all::<(String, bool, bool)>()? {
            match (near, came) {
                (true, _) => moved.came.insert(user),
                (false, false) => moved.gone.insert(user),
                // Came and left again: the leave tells.
                (false, true) => false,
            };
        }
        moved.came.extend(next()?.all::<(String,)>()?.into_iter().map(|(user,)| user));
        moved.gone.extend(next()?.all::<(String,)>()?.into_iter().map(|(user,)| user));
        let mut unknown = 0;
        for (user, presence, status, last_active, active, position) in next()?.all::<Known>()? {
            let known = presence.is_some();
            unknown += usize::from(!known);
            if known || unknown <= MAX_OFFLINE {
                moved.presence.push((
                    user,
                    presence.unwrap_or_else(|| "offline".to_owned()),
                    status,
                    last_active.unwrap_or(0),
                    active.unwrap_or(false),
                    position.unwrap_or(0),
                ));
            }
        }
        Ok(moved)
    }
}
