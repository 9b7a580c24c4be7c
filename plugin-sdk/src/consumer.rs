//! Messages of durable topics.

pub use crate::bindings::consumer::exports::tessera::plugin::consumer::{Guest, Message};
use serde::de::DeserializeOwned;

use crate::matrix::Error;

/// Hands each message to `one`, in order.
///
/// # Errors
/// The first one's, with the message's id: it and those behind it come again.
pub fn each(
    messages: &[Message],
    mut one: impl FnMut(&Message) -> Result<(), Error>,
) -> Result<u32, String> {
    for message in messages {
        one(message).map_err(|error| format!("message {}: {error}", message.id))?;
    }
    Ok(u32::try_from(messages.len()).unwrap_or(u32::MAX))
}

/// What a message says: its payload, JSON.
///
/// # Errors
/// `M_UNKNOWN` if it does not have this form; the message comes again, as if the handler had failed.
pub fn payload<T: DeserializeOwned>(message: &Message) -> Result<T, Error> {
    serde_json::from_str(&message.payload).map_err(Error::internal)
}
