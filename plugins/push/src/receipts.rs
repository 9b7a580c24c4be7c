//! `presence.receipts`: what is read does not count any more.

use serde::Deserialize;
use std::collections::BTreeSet;

use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::Message;
use tessera_sdk::log;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, Value, position};

use crate::pushers::{self, Key, Pusher};
use crate::recount;

/// Pushers that one batch touches; the badges of others change with their next notification.
const MAX_PUSHERS: i64 = 2000;

/// How the main timeline is called in receipts. Empty: all threads at once.
const MAIN: &str = "main";

#[derive(Deserialize)]
struct Receipt {
    user_id: String,
    room_id: String,
    thread_id: String,
    event_position: i64,
}

/// Takes the locks of rooms, in the order of their ids. Whoever raises the counts of a room does so in one transaction, of which another
/// sees nothing or all: counting in the middle of it would miss an event for good.
pub(crate) const LOCK: &str = "INSERT INTO push_rooms (room_id, position) VALUES ($1, 0) \
     ON CONFLICT (room_id) DO UPDATE SET position = push_rooms.position";

/// One commit for all messages. A receipt that was handled before changes nothing.
///
/// # Errors
/// Storage.
pub(crate) fn handle(messages: &[Message]) -> Result<(), String> {
    let mut batch = Batch::new();
    let first = batch.take_positions(1);
    let (mut all, mut one) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let (mut rooms, mut users) = (BTreeSet::new(), BTreeSet::new());
    for message in messages {
        let receipt: Receipt = match serde_json::from_str(&message.payload) {
            Ok(receipt) => receipt,
            Err(error) => {
                log::error("malformed receipt", &[("reason", &error.to_string())]);
                continue;
            }
        };
        let Receipt { user_id, room_id, thread_id, event_position } = receipt;
        batch = batch.wake(format!("user:{user_id}"));
        users.insert(user_id.clone());
        rooms.insert(room_id.clone());
        let mut read = params![&room_id, &user_id, event_position];
        let mut recount: Vec<Value> =
            params![0_i64, 0_i64, position(first), &room_id, &user_id, event_position];
        if thread_id.is_empty() {
            all.0.push(read);
            all.1.push(recount);
        } else {
            let thread = if thread_id == MAIN { "" } else { &thread_id };
            read.extend(params![thread]);
            recount.extend(params![thread]);
            one.0.push(read);
            one.1.push(recount);
        }
    }
    // Marks that were read further already are neither moved nor counted.
    const READ: &str = "UPDATE push_marks SET read_position = $3 \
         WHERE room_id = $1 AND user_id = $2 AND read_position < $3";
    const CHOSEN: &str = "room_id = $4 AND user_id = $5 AND read_position = $6";
    // Their badges may be others now.
    let users: Vec<String> = users.into_iter().collect();
    let rows: Vec<(String, String, String, i64)> = storage::query(
        "SELECT user_id, app_id, pushkey, shard FROM push_pushers WHERE user_id IN ($1) AND kind = 'http' \
         AND enabled = TRUE ORDER BY user_id, app_id, pushkey LIMIT $2",
        params![users, MAX_PUSHERS],
    )
    .and_then(|rows| rows.all().map_err(|error| storage::Error::Invalid(error.to_string())))
    .map_err(|error| format!("storage: {error:?}"))?;
    let touched: Vec<Pusher> = rows
        .into_iter()
        .map(|(user_id, app_id, pushkey, shard)| {
            let key = Key { user_id, app_id, pushkey };
            Pusher { key, shard, email: false, slow: false }
        })
        .collect();
    let batch = batch
        .run_many(LOCK, rooms.iter().map(|room| params![room]).collect())
        .run_many(READ, all.0)
        .run_many(&format!("{READ} AND thread_id = $4"), one.0)
        .run_many(&recount::sql(CHOSEN), all.1)
        .run_many(&recount::sql(&format!("{CHOSEN} AND thread_id = $7")), one.1);
    if batch.is_empty() {
        return Ok(());
    }
    let shards: BTreeSet<i64> = touched.iter().map(|pusher| pusher.shard).collect();
    pushers::serve(&shards, false);
    let batch = pushers::touch(batch, &touched, 0);
    batch.commit_blind().map_err(|error| format!("storage: {error:?}"))?;
    pushers::serve(&shards, true);
    Ok(())
}
