//! What of a room a user may read. Spec: client-server API, Room history visibility.

use serde::Deserialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, select};

use crate::core::visibility::Visibility;
use crate::store::state_at;

/// Which state a user may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The current one.
    Now,
    /// The one in which they left.
    Until(Left),
}

/// When a user left a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Of the event by which they left.
    pub position: i64,
    /// State group after it; none where history has gone meanwhile: what changed since then tells the state all the same.
    pub group: Option<i64>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    history_visibility: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct HistoryEvent<'a> {
    #[serde(borrow)]
    content: Content<'a>,
}

/// The setting in a history visibility event (its JSON).
pub fn visibility_of(json: &str) -> Visibility {
    let event = serde_json::from_str::<HistoryEvent<'_>>(json).ok();
    Visibility::named(event.and_then(|event| event.content.history_visibility).as_deref())
}

/// How a user stands to a room.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Their membership now; empty if there is none.
    pub membership: String,
    /// They asked to forget the room.
    pub forgotten: bool,
    /// The last time they left the room, having been in it.
    pub left_at: Option<Left>,
    /// Setting in force.
    pub visibility: Visibility,
}

impl Standing {
    /// Looks a user up.
    ///
    /// # Errors
    /// `M_FORBIDDEN` if there is no such room: whether there is one is nobody's business.
    pub fn of(room_id: &str, user: &str) -> Result<Self, Error> {
        let mut answers = storage::snapshot(&[
            select("SELECT version FROM rooms_rooms WHERE room_id = $1", params![room_id]),
            select(
                "SELECT membership, forgotten FROM rooms_memberships WHERE room_id = $1 AND user_id = $2",
                params![room_id, user],
            ),
            select(
                "SELECT c.position AS position, e.state_after FROM rooms_membership_changes c
                 LEFT JOIN rooms_events e ON e.position = c.position
                 WHERE c.room_id = $1 AND c.user_id = $2 AND c.prev_membership = 'join' AND c.membership <> 'join'
                 ORDER BY c.position DESC LIMIT 1",
                params![room_id, user],
            ),
            select(
                "SELECT e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position
                 WHERE s.room_id = $1 AND s.type = 'm.room.history_visibility' AND s.state_key = ''",
                params![room_id],
            ),
        ])?
        .answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        if next()?.first::<(String,)>()?.is_none() {
            return Err(not_there());
        }
        let (membership, forgotten) = next()?.first::<(String, bool)>()?.unwrap_or_default();
        let left_at = next()?.first::<(i64, Option<i64>)>()?;
        let left_at = left_at.map(|(position, group)| Left { position, group });
        let visibility = visibility_in(next()?)?;
        Ok(Self { membership, forgotten, left_at, visibility })
    }

    /// Which state they may read.
    ///
    /// # Errors
    /// `M_FORBIDDEN` if none.
    pub fn access(&self) -> Result<Access, Error> {
        if self.membership == "join" || self.visibility == Visibility::WorldReadable {
            return Ok(Access::Now);
        }
        match self.left_at {
            Some(left)
                if !self.forgotten && matches!(self.membership.as_str(), "leave" | "ban") =>
            {
                Ok(Access::Until(left))
            }
            _ => Err(not_there()),
        }
    }
}

fn visibility_in(rows: Rows) -> Result<Visibility, Error> {
    let json = rows.first::<(String,)>()?.map(|(json,)| json).unwrap_or_default();
    Ok(visibility_of(&json))
}

/// The answer to whoever has no business in a room.
pub fn not_there() -> Error {
    Error::forbidden("the user is not in the room")
}

/// Settings of history visibility in a state group.
///
/// # Errors
/// Storage failed.
pub fn visibility_at(group: i64) -> Result<Visibility, Error> {
    let kind = "m.room.history_visibility".to_owned();
    let entries = state_at::resolve(group, &[kind])?;
    let Some((_, _, event_id)) = entries.into_iter().find(|(_, key, _)| key.is_empty()) else {
        return Ok(Visibility::named(None));
    };
    visibility_in(storage::query(
        "SELECT json FROM rooms_events WHERE event_id = $1",
        params![event_id],
    )?)
}
