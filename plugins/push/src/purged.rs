//! `rooms.purged`: what is gone does not count, and of a room that is gone nothing stays.

use serde::Deserialize;
use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::Message;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, position};

use crate::receipts::LOCK;
use crate::recount;

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
    let purged: Purged = serde_json::from_str(&message.payload).map_err(Error::internal)?;
    let batch = Batch::new().done(message.id);
    let room = &purged.room_id;
    let batch = if purged.gone { gone(batch, room) } else { history(batch, room, purged.before) };
    batch.commit_blind()?;
    Ok(())
}

/// Events that still wait to be evaluated find no room, and make no new rows.
fn gone(batch: Batch, room: &str) -> Batch {
    const FROM: [&str; 6] = [
        "DELETE FROM push_rooms WHERE room_id = $1",
        "DELETE FROM push_marks WHERE room_id = $1",
        "DELETE FROM push_totals WHERE room_id = $1",
        "DELETE FROM push_exceptions WHERE room_id = $1",
        "DELETE FROM push_events WHERE room_id = $1",
        "DELETE FROM push_queue WHERE room_id = $1",
    ];
    let batch = batch.run(LOCK, params![room]);
    FROM.iter().fold(batch, |batch, sql| batch.run(sql, params![room]))
}

/// Whoever had not read that far has now: nobody can.
fn history(mut batch: Batch, room: &str, before: i64) -> Batch {
    let at = position(batch.take_positions(1));
    let read = before.saturating_sub(1);
    batch
        .run(LOCK, params![room])
        .run(
            "UPDATE push_marks SET read_position = $2 WHERE room_id = $1 AND read_position < $2",
            params![room, read],
        )
        .run(
            &recount::sql("room_id = $4 AND read_position = $5"),
            params![0_i64, 0_i64, at, room, read],
        )
        .run(
            "DELETE FROM push_events WHERE room_id = $1 AND position < $2 AND NOT EXISTS \
             (SELECT 1 FROM rooms_v1_events e WHERE e.event_id = push_events.event_id)",
            params![room, before],
        )
        .run(
            "DELETE FROM push_exceptions WHERE room_id = $1 AND position < $2 AND NOT EXISTS \
             (SELECT 1 FROM push_events e WHERE e.position = push_exceptions.position)",
            params![room, before],
        )
        .run("DELETE FROM push_queue WHERE room_id = $1 AND position < $2", params![room, before])
        .wake(format!("room:{room}"))
}
