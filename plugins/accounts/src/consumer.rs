//! What `rooms` tells: rooms that are gone.

use serde::Deserialize;
use tessera_sdk::consumer::{self, Guest, Message};
use tessera_sdk::matrix::Error;

use crate::{Plugin, account_data};

#[derive(Deserialize)]
struct Purged {
    room_id: String,
    gone: bool,
}

impl Guest for Plugin {
    fn handle(messages: Vec<Message>) -> Result<u32, String> {
        consumer::each(&messages, one)
    }
}

fn one(message: &Message) -> Result<(), Error> {
    let purged: Purged = consumer::payload(message)?;
    if purged.gone && !purged.room_id.is_empty() {
        account_data::forget_room(&purged.room_id)?;
    }
    Ok(())
}
