//! The durable topics that are consumed.

use tessera_sdk::consumer::{self, Guest, Message};

use crate::{Plugin, events, purged, receipts};

impl Guest for Plugin {
    fn handle(messages: Vec<Message>) -> Result<u32, String> {
        let mut count = messages.len();
        match messages.first().map(|message| message.topic.as_str()) {
            None => {}
            Some("rooms.events") => count = events::handle(&messages)?,
            Some("presence.receipts") => receipts::handle(&messages)?,
            Some("rooms.purged") => return consumer::each(&messages, purged::one),
            Some(topic) => return Err(format!("no consumer for {topic}")),
        }
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
