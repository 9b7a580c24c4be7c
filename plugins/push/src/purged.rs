//! `rooms.purged`: what is gone does not count, and of a room that is gone nothing stays.
//!
//! Of history the commit only notes what went. The events go in slices, and then those marks are counted anew that one of them may have
//! counted for. Until then they count on: whatever is read meanwhile is right all the same.

use std::collections::BTreeMap;

use serde::Deserialize;
use tessera_sdk::consumer::{self, Message};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, position};

use crate::receipts::LOCK;
use crate::{later, recount};

/// Events that go in one commit: each has a row for every member to whom it was something else.
const EVENTS: i64 = 32;
/// Marks counted anew in one commit, which keeps the room's lock: each looks at the events that are kept.
const MARKS: u32 = 100;

/// Payload; see `docs/views.md`.
#[derive(Deserialize)]
struct Purged {
    room_id: String,
    /// The whole room; otherwise what lies below `before`.
    gone: bool,
    #[serde(default)]
    before: i64,
}

/// One commit.
///
/// # Errors
/// Storage.
pub(crate) fn one(message: &Message) -> Result<(), Error> {
    let purged: Purged = consumer::payload(message)?;
    let batch = Batch::new().done(message.id);
    let room = &purged.room_id;
    if purged.gone {
        gone(batch, room).commit_blind()?;
    } else {
        later::serve(false);
        history(batch, room, purged.before).commit_blind()?;
        later::serve(true);
    }
    Ok(())
}

/// Events that still wait to be evaluated find no room, and make no new rows.
fn gone(batch: Batch, room: &str) -> Batch {
    const FROM: [&str; 9] = [
        "DELETE FROM push_rooms WHERE room_id = $1",
        "DELETE FROM push_marks WHERE room_id = $1",
        "DELETE FROM push_totals WHERE room_id = $1",
        "DELETE FROM push_exceptions WHERE room_id = $1",
        "DELETE FROM push_events WHERE room_id = $1",
        "DELETE FROM push_queue WHERE room_id = $1",
        "DELETE FROM push_purges WHERE room_id = $1",
        "DELETE FROM push_recounts WHERE room_id = $1",
        "DELETE FROM push_upgrades WHERE new_room = $1",
    ];
    let batch = batch.run(LOCK, params![room]);
    FROM.iter().fold(batch, |batch, sql| batch.run(sql, params![room]))
}

/// Below `before` some events may have stayed: those of users of this server.
fn history(batch: Batch, room: &str, before: i64) -> Batch {
    batch
        .run(
            "INSERT INTO push_purges (room_id, upto) VALUES ($1, $2) ON CONFLICT (room_id) DO UPDATE \
             SET upto = excluded.upto WHERE push_purges.upto < excluded.upto",
            params![room, before],
        )
        .run(
            "DELETE FROM push_queue WHERE room_id = $1 AND position < $2 AND NOT EXISTS \
             (SELECT 1 FROM rooms_v1_events e WHERE e.event_id = push_queue.event_id)",
            params![room, before],
        )
}

/// One slice of what went; whether there was something to do.
///
/// # Errors
/// Storage.
pub(crate) fn slice() -> Result<bool, Error> {
    let purge: Option<(String, i64)> = storage::query(
        "SELECT room_id, upto FROM push_purges ORDER BY room_id LIMIT 1",
        params![],
    )?
    .first()?;
    if let Some((room, upto)) = purge {
        return events(&room, upto).map(|()| true);
    }
    let recount: Option<Recount> = storage::query(
        "SELECT room_id, thread_id, upto, user_id FROM push_recounts ORDER BY room_id, thread_id LIMIT 1",
        params![],
    )?
    .first()?;
    match recount {
        Some(recount) => marks(recount).map(|()| true),
        None => Ok(false),
    }
}

/// `room_id, thread_id, upto, user_id`
type Recount = (String, String, i64, String);

/// Events that are no more, oldest first.
fn events(room: &str, upto: i64) -> Result<(), Error> {
    let going: Vec<(i64, String)> = storage::query(
        "SELECT p.position, p.thread_id FROM push_events p WHERE p.room_id = $1 AND p.position < $2 AND NOT EXISTS \
         (SELECT 1 FROM rooms_v1_events e WHERE e.event_id = p.event_id) ORDER BY p.position LIMIT $3",
        params![room, upto, EVENTS],
    )?
    .all()?;
    if going.is_empty() {
        // One that came meanwhile and goes further is another.
        let sql = "DELETE FROM push_purges WHERE room_id = $1 AND upto = $2";
        Batch::new().run(sql, params![room, upto]).commit_blind()?;
        return Ok(());
    }
    let positions: Vec<i64> = going.iter().map(|(position, _)| *position).collect();
    let threads: BTreeMap<String, i64> =
        going.into_iter().map(|(position, thread)| (thread, position)).collect();
    let threads = threads.into_iter().map(|(thread, last)| params![room, thread, last + 1]);
    Batch::new()
        .run(LOCK, params![room])
        .run_many(
            "INSERT INTO push_recounts (room_id, thread_id, upto, user_id) VALUES ($1, $2, $3, '') \
             ON CONFLICT (room_id, thread_id) DO UPDATE SET user_id = '', upto = CASE \
             WHEN excluded.upto > push_recounts.upto THEN excluded.upto ELSE push_recounts.upto END",
            threads.collect(),
        )
        .run(
            "DELETE FROM push_exceptions WHERE room_id = $1 AND position IN ($2)",
            params![room, positions.clone()],
        )
        .run("DELETE FROM push_events WHERE position IN ($1)", params![positions])
        .commit_blind()?;
    Ok(())
}

/// Counts the next marks anew.
fn marks((room, thread, upto, after): Recount) -> Result<(), Error> {
    let users: Vec<(String,)> = storage::query(
        "SELECT user_id FROM push_marks WHERE room_id = $1 AND thread_id = $2 AND read_position < $3 - 1 \
         AND user_id > $4 ORDER BY user_id LIMIT $5",
        params![&room, &thread, upto, &after, MARKS],
    )?
    .all()?;
    let users: Vec<String> = users.into_iter().map(|(user,)| user).collect();
    let mut batch = Batch::new();
    let at = position(batch.take_positions(1));
    let place = params![&room, &thread, upto, &after];
    let batch = batch.run(LOCK, params![&room]);
    // Who goes on from the same place at the same time finds it moved.
    let batch = match users.last().filter(|_| users.len() == MARKS as usize) {
        Some(last) => {
            let mut place = place;
            place.extend(params![last]);
            batch.run(
                "UPDATE push_recounts SET user_id = $5 WHERE room_id = $1 AND thread_id = $2 AND upto = $3 \
                 AND user_id = $4",
                place,
            )
        }
        None => batch
            .run(
                "DELETE FROM push_recounts WHERE room_id = $1 AND thread_id = $2 AND upto = $3 \
                 AND user_id = $4",
                place,
            )
            .wake(format!("room:{room}")),
    };
    let counted = batch.expect(1).run(
        &recount::sql("room_id = $4 AND thread_id = $5 AND user_id IN ($6)"),
        params![0_i64, 0_i64, at, &room, &thread, users],
    );
    match counted.commit() {
        Ok(_) | Err(storage::Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
