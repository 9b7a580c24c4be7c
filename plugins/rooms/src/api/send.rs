//! Sending events. <https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room>

pub mod message;
pub mod redact;
pub mod state;
