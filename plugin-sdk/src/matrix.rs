//! What Matrix plug-ins share: the table of error codes, events in client format, identifiers.

mod error;
mod event;
mod id;
mod identity;

pub use error::{Error, ErrorCode};
pub use event::{ClientFormat, Pdu, Unsigned, room_id_of_create};
pub use id::{is_user_id, localpart, server_name};
pub use identity::{identity_server_scheme, is_identity_server};
