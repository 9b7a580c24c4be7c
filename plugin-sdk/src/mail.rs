//! Mail to people: `tessera:host/mail`.

use crate::backend;
pub use crate::bindings::host::mail::{Error, Message};

/// Hands a message to the operator's relay.
///
/// # Errors
/// See [`Error`].
pub fn send(message: &Message) -> Result<(), Error> {
    backend::with(|host| host.mail(message))
}
