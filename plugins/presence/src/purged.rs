//! `rooms.purged`: of a room that is gone nothing stays.

use serde::Deserialize;
use tessera_sdk::consumer::{self, Guest, Message};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use crate::Plugin;

/// Payload of `rooms.purged`; see `docs/views.md`.
#[derive(Deserialize)]
struct Purged {
    room_id: String,
    /// The whole room, not only a part of its history: receipts of that still tell up to where somebody has read.
    gone: bool,
}

impl Guest for Plugin {
    fn handle(messages: Vec<Message>) -> Result<u32, String> {
        consumer::each(&messages, one)
    }
}

fn one(message: &Message) -> Result<(), Error> {
    let purged: Purged = consumer::payload(message)?;
    if !purged.gone {
        return Ok(());
    }
    let row = params![purged.room_id];
    Batch::new()
        .done(message.id)
        .run("DELETE FROM presence_typing WHERE room_id = $1", row.clone())
        .run("DELETE FROM presence_receipts WHERE room_id = $1", row)
        .commit_blind()?;
    Ok(())
}
