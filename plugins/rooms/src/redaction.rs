//! Redactions: what is pruned, and who may.

use ruma::canonical_json::{CanonicalJsonObject, redact_in_place};
use serde_json::{Map, Value as Json};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, Select, Value, select};

use crate::asker::Asker;
use crate::core::Version;
use crate::core::power::Power;
use crate::store::View;
use crate::store::about::columns;

/// The type of a state event that lists tell of, and what they tell by it: columns of the room's row.
type Told = (String, Vec<(&'static str, Value)>);

/// An event that is to be redacted.
#[derive(Debug, Clone)]
pub struct Target {
    event_id: String,
    room_id: String,
    /// None if it is pruned already.
    pruned: Option<String>,
    /// Of a state event that lists tell of: its type, and what they tell now.
    told: Option<Told>,
}

impl Target {
    /// The SELECT whose answer [`Target::read`] takes.
    pub fn select(event_id: &str) -> Select {
        select(
            "SELECT room_id, type, sender, redacted_by, json FROM rooms_events
             WHERE event_id = $1 AND stream = TRUE AND rejected = FALSE",
            params![event_id],
        )
    }

    /// Reads the event and checks that the asker may redact it. `extra` is the number of its SELECT in the view.
    /// Spec: client-server API, Redactions, and room version 3, Handling redactions.
    ///
    /// # Errors
    /// `M_NOT_FOUND` if the room has no such event, `M_FORBIDDEN` if the user has not the power, `M_USER_SUSPENDED`.
    pub fn read(
        view: &mut View,
        extra: usize,
        event_id: &str,
        asker: &Asker,
    ) -> Result<Self, Error> {
        let user = asker.user();
        let row = view.extra(extra).first::<(String, String, String, Option<String>, String)>()?;
        let Some((room_id, kind, sender, redacted_by, json)) = row else {
            return Err(Error::not_found("the room has no such event"));
        };
        if room_id != view.room.room_id {
            return Err(Error::invalid_param("the event is of another room"));
        }
        if kind == "m.room.create" {
            return Err(Error::forbidden("the create event cannot be redacted"));
        }
        if asker.is_suspended() && sender != user {
            return Err(suspended("a suspended user redacts their own events only"));
        }
        if !Power::of(&view.room.version, &view.state).may_redact(user, &sender) {
            return Err(Error::forbidden("not enough power to redact the event of another user"));
        }
        Self::of_row(&view.room.version, event_id, &room_id, redacted_by.is_some(), &json)
    }

    /// An event that is stored as `json` and may be redacted.
    ///
    /// # Errors
    /// It is no event: a fault.
    pub fn of_row(
        version: &Version,
        event_id: &str,
        room_id: &str,
        redacted: bool,
        json: &str,
    ) -> Result<Self, Error> {
        let pruned = if redacted { None } else { Some(prune(version, json)?) };
        let told = pruned.as_deref().map(told).transpose()?.flatten();
        Ok(Self { event_id: event_id.to_owned(), room_id: room_id.to_owned(), pruned, told })
    }

    /// Prunes the event in the commit that stores the redaction.
    pub fn write(self, mut batch: Batch, redaction: &str) -> Batch {
        let Some(pruned) = self.pruned else {
            return batch;
        };
        if let Some((kind, columns)) = self.told {
            let mut values = params![&self.room_id, kind, &self.event_id];
            let mut sets = Vec::new();
            for (column, value) in columns {
                values.push(value);
                sets.push(format!("{column} = ${}", values.len()));
            }
            let sql = format!(
                "UPDATE rooms_about SET {} WHERE room_id = $1 AND EXISTS
                   (SELECT s.event_id FROM rooms_current_state s
                    WHERE s.room_id = $1 AND s.type = $2 AND s.state_key = '' AND s.event_id = $3)",
                sets.join(", ")
            );
            batch = batch.run(&sql, values);
        }
        batch
            .run(
                "UPDATE rooms_events SET json = $2, redacted_by = $3 WHERE event_id = $1 AND room_id = $4",
                params![&self.event_id, pruned, redaction, &self.room_id],
            )
            .run("DELETE FROM rooms_relations WHERE event_id = $1", params![&self.event_id])
            .run(
                "UPDATE rooms_memberships SET display_name = NULL, avatar_url = NULL
                 WHERE room_id = $1 AND event_id = $2",
                params![&self.room_id, &self.event_id],
            )
            .text("messages", &self.event_id, &self.room_id, None)
    }
}

/// What lists tell of a room by a state event, and its type.
fn told(json: &str) -> Result<Option<Told>, Error> {
    let event: Map<String, Json> = serde_json::from_str(json).map_err(Error::internal)?;
    let text = |key: &str| event.get(key).and_then(Json::as_str);
    let (Some(kind), Some("")) = (text("type"), text("state_key")) else {
        return Ok(None);
    };
    let content = event.get("content").and_then(Json::as_object).cloned().unwrap_or_default();
    let columns = columns(kind, &content);
    Ok((!columns.is_empty()).then(|| (kind.to_owned(), columns)))
}

/// The answer to what suspended users may not do.
pub fn suspended(text: &str) -> Error {
    Error::new(ErrorCode::UserSuspended, text)
}

/// The event without what a redaction takes away. Spec: room versions, Redactions.
///
/// # Errors
/// It is no event: a fault.
pub fn prune(version: &Version, json: &str) -> Result<String, Error> {
    let mut object: CanonicalJsonObject = serde_json::from_str(json).map_err(Error::internal)?;
    redact_in_place(&mut object, &version.rules().redaction, None).map_err(Error::internal)?;
    serde_json::to_string(&object).map_err(Error::internal)
}
