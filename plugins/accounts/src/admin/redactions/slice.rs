//! One step of a job: a few events of one room.

use serde_json::{Map, Value, json};
use tessera_sdk::matrix::{Error, server_name};
use tessera_sdk::services::{self, RoomsError};
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, crypto, log, params};

/// Events of a room that are looked through at once.
const LOOK: i64 = 2_000;
/// Redactions of one step.
const STEP: i64 = 20;
/// Failures that are kept.
const MAX_FAILED: usize = 1_000;
/// How often a step is tried that fails for a reason that may be over soon: for about five minutes.
const TRIES: u32 = 10;
/// The longest pause between two tries.
const MAX_PAUSE_MS: u64 = 60_000;

/// User, administrator, whether the latter redacts, reason, most, from, to.
type Wish = (String, String, bool, String, i64, i64, i64);
/// Below, found, failures, tries.
type Progress = (i64, i64, String, i64);
/// Next, everywhere, after which room, the room under way, revision.
type Place = (i64, bool, String, String, i64);

struct Job {
    id: String,
    wish: Wish,
    failed: Map<String, Value>,
    below: i64,
    found: i64,
    tries: u32,
    next: i64,
    everywhere: bool,
    after_room: String,
    room: String,
    revision: i64,
    done: bool,
}

/// Position, id, type and JSON.
type Event = (i64, String, String, String);

/// Why a step ended early, and at which event.
struct Stopped {
    reason: String,
    at: Option<(i64, String)>,
}

impl<E: std::fmt::Debug> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self { reason: format!("{error:?}"), at: None }
    }
}

/// Takes a step of the job whose turn it is. False: there is nothing left to be done now.
pub(super) fn one() -> Result<bool, Error> {
    let now = clock::now_ms();
    let sql = "SELECT id FROM accounts_redactions WHERE done = FALSE AND resume_ms <= $1 \
               ORDER BY turn, created_ms, id LIMIT 1";
    let Some((id,)) = query(sql, params![now])?.first::<(String,)>()? else { return Ok(false) };
    let Some(mut job) = Job::read(&id)? else { return Ok(true) };
    let mut resume_ms = 0;
    match job.step() {
        Ok(()) => job.tries = 0,
        Err(stopped) => {
            let text = format!("a redaction failed: {}", stopped.reason);
            log::warn(&text, &[("job", &id)]);
            job.tries += 1;
            if job.tries < TRIES {
                resume_ms = now + MAX_PAUSE_MS.min(1_000 << job.tries.min(16));
            } else {
                job.give_up(stopped);
            }
        }
    }
    job.save(resume_ms)?;
    Ok(true)
}

impl Job {
    fn read(id: &str) -> Result<Option<Self>, Error> {
        let sql = "SELECT user_id, admin_id, by_admin, reason, most, after_ms, before_ms \
                   FROM accounts_redactions WHERE id = $1";
        let wish: Option<Wish> = query(sql, params![id])?.first()?;
        let sql = "SELECT below, found, failed, tries FROM accounts_redactions WHERE id = $1";
        let progress: Option<Progress> = query(sql, params![id])?.first()?;
        let sql = "SELECT next, everywhere, after_room, room, revision FROM accounts_redactions WHERE id = $1";
        let place: Option<Place> = query(sql, params![id])?.first()?;
        let (Some(wish), Some((below, found, failed, tries)), Some(place)) =
            (wish, progress, place)
        else {
            return Ok(None);
        };
        let (next, everywhere, after_room, room, revision) = place;
        let failed = serde_json::from_str(&failed).map_err(Error::internal)?;
        let tries = u32::try_from(tries).unwrap_or(TRIES);
        let (id, done) = (id.to_owned(), false);
        Ok(Some(Self {
            id,
            wish,
            failed,
            below,
            found,
            tries,
            next,
            everywhere,
            after_room,
            room,
            revision,
            done,
        }))
    }

    /// The room that comes next. `None`: there is none.
    fn choose(&mut self) -> Result<Option<String>, Error> {
        let room = if self.everywhere {
            let sql = "SELECT room_id FROM rooms_v1_memberships WHERE user_id = $1 \
                       AND membership IN ('join', 'ban') AND room_id > $2 ORDER BY room_id LIMIT 1";
            let found: Option<(String,)> =
                query(sql, params![&self.wish.0, &self.after_room])?.first()?;
            found.map(|(room,)| room)
        } else {
            let sql = "SELECT rooms FROM accounts_redactions WHERE id = $1";
            let found: Option<(String,)> = query(sql, params![&self.id])?.first()?;
            let rooms = found.map_or_else(|| "[]".to_owned(), |(rooms,)| rooms);
            let rooms: Vec<String> = serde_json::from_str(&rooms).map_err(Error::internal)?;
            let next = usize::try_from(self.next).unwrap_or(usize::MAX);
            self.next += 1;
            rooms.into_iter().nth(next)
        };
        Ok(room.filter(|room| !room.is_empty()))
    }

    /// Some events of the room under way, or of the next one.
    fn step(&mut self) -> Result<(), Stopped> {
        if self.room.is_empty() {
            match self.choose()? {
                Some(room) => self.room = room,
                None => {
                    self.done = true;
                    return Ok(());
                }
            }
        }
        let room = self.room.clone();
        let sql = "SELECT position FROM rooms_v1_events WHERE room_id = $1 AND position < $2 \
                   ORDER BY position DESC LIMIT 1 OFFSET $3";
        let from = query(sql, params![&room, self.below, LOOK - 1])?.first::<(i64,)>()?;
        let from = from.map_or(0, |(position,)| position);
        let (user, _, _, reason, most, after, before) = &self.wish;
        let most = *most;
        let sql = "SELECT position, event_id, type, json FROM rooms_v1_events WHERE room_id = $1 \
                   AND position >= $2 AND position < $3 AND sender = $4 AND origin_ts >= $5 AND origin_ts <= $6 \
                   AND type IN ('m.room.member', 'm.room.message', 'm.room.encrypted') AND stream = TRUE \
                   AND rejected = FALSE AND redacted_by IS NULL ORDER BY position DESC LIMIT $7";
        let args = params![&room, from, self.below, user, *after, *before, STEP];
        let events: Vec<Event> = query(sql, args)?.all()?;
        let whole = (events.len() as i64) < STEP;
        let sender = self.sender(&room)?;
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
                match services::send_as(&sender, &room, "m.room.redaction", None, &text) {
                    Ok(_) => {}
                    Err(RoomsError::Refused((code, text))) => {
                        self.fail(event, format!("{code}: {text}"));
                    }
                    Err(RoomsError::NotFound) => self.fail(event, "it is not there".to_owned()),
                    Err(RoomsError::Unavailable(reason) | RoomsError::Unknown(reason)) => {
                        return Err(Stopped { reason, at: Some((position, event)) });
                    }
                }
                self.found += 1;
                // What went well is not counted with what fails next.
                self.tries = 0;
            }
            self.below = position;
        }
        if self.found >= most || (whole && from == 0) {
            self.leave();
        } else if whole {
            self.below = from;
        }
        Ok(())
    }

    /// The room under way is done.
    fn leave(&mut self) {
        self.after_room = std::mem::take(&mut self.room);
        (self.below, self.found) = (i64::MAX, 0);
    }

    /// What failed too often is noted and passed over: the event, or else the room.
    fn give_up(&mut self, stopped: Stopped) {
        self.tries = 0;
        match stopped.at {
            Some((position, event)) => {
                self.fail(event, stopped.reason);
                self.found += 1;
                self.below = position;
            }
            None if self.room.is_empty() => {
                self.fail("rooms".to_owned(), stopped.reason);
                self.done = true;
            }
            None => {
                self.fail(self.room.clone(), stopped.reason);
                self.leave();
            }
        }
    }

    /// Who redacts in a room: the user if they are in it and it is to be them, else the administrator.
    fn sender(&self, room: &str) -> Result<String, Error> {
        let (user, admin, by_admin, ..) = &self.wish;
        let local = server_name(user) == crypto::tenant_name();
        let sql = "SELECT membership FROM rooms_v1_memberships WHERE room_id = $1 AND user_id = $2 AND membership = 'join'";
        let own =
            !*by_admin && local && query(sql, params![room, user])?.first::<(String,)>()?.is_some();
        Ok(if own { user.clone() } else { admin.clone() })
    }

    fn fail(&mut self, what: String, why: String) {
        if self.failed.len() < MAX_FAILED {
            self.failed.insert(what, why.into());
        }
    }

    fn save(&self, resume_ms: u64) -> Result<(), Error> {
        let failed = Value::Object(self.failed.clone()).to_string();
        let sql = "SELECT MAX(turn) FROM accounts_redactions WHERE done = FALSE";
        let last = query(sql, params![])?.first::<(Option<i64>,)>()?;
        let turn = last.and_then(|(turn,)| turn).unwrap_or(0) + 1;
        let mut batch = Batch::new()
            .run(
                "UPDATE accounts_redactions SET below = $2, found = $3, failed = $4, done = $5, tries = $6, \
                 resume_ms = $7, turn = $8, revision = revision + 1 WHERE id = $1 AND revision = $9",
                params![
                    &self.id,
                    self.below,
                    self.found,
                    failed,
                    self.done,
                    i64::from(self.tries),
                    resume_ms,
                    turn,
                    self.revision
                ],
            )
            .expect(1)
            .run(
                "UPDATE accounts_redactions SET next = $2, after_room = $3, room = $4 WHERE id = $1",
                params![&self.id, self.next, &self.after_room, &self.room],
            );
        if self.done {
            let sql = "DELETE FROM accounts_redacting WHERE user_id = $1 AND id = $2";
            batch = batch.run(sql, params![&self.wish.0, &self.id]);
        }
        match batch.commit() {
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
