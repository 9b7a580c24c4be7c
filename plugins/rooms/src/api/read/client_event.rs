//! Stored events in client format.

use serde_json::value::RawValue;
use tessera_sdk::clock;
use tessera_sdk::matrix::{ClientFormat, Error, Pdu, Unsigned};

/// An event that was found.
#[derive(Debug, Clone)]
pub(in crate::api) struct Found {
    /// Its id.
    pub(in crate::api) event_id: String,
    /// In federation format.
    pub(in crate::api) json: String,
}

/// Milliseconds since the event was made, by its own clock; never negative.
pub(in crate::api) fn age(pdu: &Pdu<'_>) -> Option<i64> {
    let now = i64::try_from(clock::now_ms()).ok()?;
    Some(now.saturating_sub(pdu.origin_server_ts).max(0))
}

/// With the room id and its age.
pub(in crate::api) fn with_room_id(found: &Found, room_id: &str) -> Result<Box<RawValue>, Error> {
    let pdu = Pdu::parse(&found.json).map_err(Error::internal)?;
    let unsigned = Unsigned { age: age(&pdu), ..Unsigned::default() };
    pdu.to_client(&found.event_id, room_id, ClientFormat::WithRoomId, &unsigned)
        .map_err(Error::internal)
}
