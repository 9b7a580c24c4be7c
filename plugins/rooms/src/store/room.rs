//! The row of a room, which guards every write into it.

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Rows, Select, select};

use crate::core::{Extremity, Version};

/// A room as it stands.
#[derive(Debug, Clone)]
pub struct RoomRow {
    /// Room id.
    pub room_id: String,
    /// Its version.
    pub version: Version,
    /// Raised by every write.
    pub revision: i64,
    /// Forward extremities.
    pub extremities: Vec<Extremity>,
    /// State group of the current state.
    pub group: i64,
    /// The full group under it.
    pub base: i64,
    /// Groups between the two.
    pub chain: i64,
    /// Shut down: no user of this server comes in.
    pub blocked: bool,
}

impl RoomRow {
    /// A room as it is about to be made.
    pub fn nascent(version: &Version, room_id: &str) -> Self {
        Self {
            room_id: room_id.to_owned(),
            version: version.clone(),
            revision: 0,
            extremities: Vec::new(),
            group: 0,
            base: 0,
            chain: 0,
            blocked: false,
        }
    }

    /// The SELECT that [`RoomRow::read`] takes.
    pub fn select(room_id: &str) -> Select {
        select(
            "SELECT version, revision, extremities, state_group, state_base, state_chain, blocked
             FROM rooms_rooms WHERE room_id = $1",
            params![room_id],
        )
    }

    /// Reads the answer; `None` if there is no such room.
    ///
    /// # Errors
    /// The row is of another layout or version: a fault.
    pub fn read(room_id: &str, rows: Rows) -> Result<Option<Self>, Error> {
        let row = rows.first::<(String, i64, String, i64, i64, i64, bool)>()?;
        let Some((version, revision, extremities, group, base, chain, blocked)) = row else {
            return Ok(None);
        };
        let version = Version::named(&version)
            .ok_or_else(|| Error::internal(format!("room of unknown version {version}")))?;
        let extremities = serde_json::from_str(&extremities).map_err(Error::internal)?;
        Ok(Some(Self {
            room_id: room_id.to_owned(),
            version,
            revision,
            extremities,
            group,
            base,
            chain,
            blocked,
        }))
    }
}
