//! One step of the oldest job: a few events of one room.

use serde_json::{Map, Value, json};
use tessera_sdk::crypto;
use tessera_sdk::matrix::{Error, server_name};
use tessera_sdk::params;
use tessera_sdk::services::{self, RoomsError};
use tessera_sdk::storage::{self, Batch, query};

/// Events of a room that are looked through at once.
const LOOK: i64 = 2_000;
/// Redactions of one step.
const STEP: i64 = 20;
/// Failures that are kept.
const MAX_FAILED: usize = 1_000;

/// Id, user, administrator, whether the latter redacts, reason, rooms, below, found, most, from, to, failures, revision.
type Row = (String, String, String, bool, String, String, i64, i64, i64, i64, i64, String, i64);

struct Job {
    row: Row,
    rooms: Vec<String>,
    failed: Map<String, Value>,
    below: i64,
    found: i64,
}

/// Position, id, type and JSON.
type Event = (i64, String, String, String);

/// Takes a step. False: there is nothing left to be done.
pub(super) fn one() -> Result<bool, Error> {
    let sql = "SELECT id, user_id, admin_id, by_admin, reason, rooms, below, found, most, after_ms, before_ms, failed, \
               revision FROM accounts_redactions WHERE done = FALSE ORDER BY created_ms, id LIMIT 1";
    let Some(row) = query(sql, params![])?.first::<Row>()? else { return Ok(false) };
    let mut job = Job {
        rooms: serde_json::from_str(&row.5).map_err(Error::internal)?,
        failed: serde_json::from_str(&row.11).map_err(Error::internal)?,
        below: row.6,
        found: row.7,
        row,
    };
    let stopped = match job.rooms.first().cloned() {
        Some(room) => job.step(&room)?,
        None => None,
    };
    job.save()?;
    // What was done is kept before it is tried again.
    match stopped {
        Some(error) => Err(error),
        None => Ok(true),
    }
}

impl Job {
    /// Some events of the room; an error that is nobody's fault and may be over soon ends the step.
    fn step(&mut self, room: &str) -> Result<Option<Error>, Error> {
        let sql = "SELECT position FROM rooms_v1_events WHERE room_id = $1 AND position < $2 \
                   ORDER BY position DESC LIMIT 1 OFFSET $3";
        let from = query(sql, params![room, self.below, LOOK - 1])?.first::<(i64,)>()?;
        let from = from.map_or(0, |(position,)| position);
        let (_, user, _, _, reason, _, _, _, most, after, before, ..) = &self.row;
        let most = *most;
        let sql = "SELECT position, event_id, type, json FROM rooms_v1_events WHERE room_id = $1 \
                   AND position >= $2 AND position < $3 AND sender = $4 AND origin_ts >= $5 AND origin_ts <= $6 \
                   AND type IN ('m.room.member', 'm.room.message', 'm.room.encrypted') AND stream = TRUE \
                   AND rejected = FALSE AND redacted_by IS NULL ORDER BY position DESC LIMIT $7";
        let args = params![room, from, self.below, user, *after, *before, STEP];
        let events: Vec<Event> = query(sql, args)?.all()?;
        let whole = (events.len() as i64) < STEP;
        let sender = self.sender(room)?;
        let mut content = json!({});
        if let (false, Some(map)) = (reason.is_empty(), content.as_object_mut()) {
            map.insert("reason".to_owned(), reason.as_str().into());
        }
        for (position, event, kind, json) in events {
            if self.found >= most {
                break;
            }
            if kind != "m.room.member" || joins(&json) {
                if let Some(map) = content.as_object_mut() {
                    map.insert("redacts".to_owned(), event.as_str().into());
                }
                let text = content.to_string();
                match services::send_as(&sender, room, "m.room.redaction", None, &text) {
                    Ok(_) => {}
                    Err(RoomsError::Refused((code, text))) => {
                        self.fail(event, format!("{code}: {text}"));
                    }
                    Err(RoomsError::NotFound) => self.fail(event, "it is not there".to_owned()),
                    Err(RoomsError::Unavailable(reason) | RoomsError::Unknown(reason)) => {
                        return Ok(Some(Error::internal(reason)));
                    }
                }
                self.found += 1;
            }
            self.below = position;
        }
        if self.found >= most || (whole && from == 0) {
            self.rooms.remove(0);
            (self.below, self.found) = (i64::MAX, 0);
        } else if whole {
            self.below = from;
        }
        Ok(None)
    }

    /// Who redacts in a room: the user if they are in it and it is to be them, else the administrator.
    fn sender(&self, room: &str) -> Result<String, Error> {
        let (_, user, admin, by_admin, ..) = &self.row;
        let local = server_name(user) == crypto::tenant_name();
        let sql = "SELECT membership FROM rooms_v1_memberships WHERE room_id = $1 AND user_id = $2 AND membership = 'join'";
        let own =
            !*by_admin && local && query(sql, params![room, user])?.first::<(String,)>()?.is_some();
        Ok(if own { user.clone() } else { admin.clone() })
    }

    fn fail(&mut self, event: String, why: String) {
        if self.failed.len() < MAX_FAILED {
            self.failed.insert(event, why.into());
        }
    }

    fn save(&self) -> Result<(), Error> {
        let (id, .., revision) = &self.row;
        let rooms = serde_json::to_string(&self.rooms).map_err(Error::internal)?;
        let failed = Value::Object(self.failed.clone()).to_string();
        let saved = Batch::new()
            .run(
                "UPDATE accounts_redactions SET rooms = $2, below = $3, found = $4, failed = $5, done = $6, \
                 revision = revision + 1 WHERE id = $1 AND revision = $7",
                params![
                    id,
                    rooms,
                    self.below,
                    self.found,
                    failed,
                    self.rooms.is_empty(),
                    *revision
                ],
            )
            .expect(1)
            .commit();
        match saved {
            // Another node does the same; no event is redacted twice.
            Ok(_) | Err(storage::Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Of memberships only joins carry what a user says of themselves.
fn joins(json: &str) -> bool {
    let event: Value = serde_json::from_str(json).unwrap_or_default();
    event.pointer("/content/membership").is_some_and(|membership| membership == "join")
}
