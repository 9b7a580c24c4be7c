//! Names of wake-up topics (`docs/views.md`) and of durable ones (`docs/modules/topics.md`).

use serde_json::json;

/// Durable: registrations and deactivations.
pub const USERS: &str = "accounts.users";
/// Durable: changed display names and avatars.
pub const PROFILES: &str = "accounts.profiles";
/// Durable: log-ins and log-outs.
pub const SESSIONS: &str = "accounts.sessions";
/// Durable: changed account data.
pub const DATA: &str = "accounts.data";

/// Durable: addresses that users get and lose.
pub const THREEPIDS: &str = "accounts.threepids";

/// Bytes of account data that a message of [`DATA`] carries; of more it tells only that it changed.
const MAX_CONTENT: usize = 128 * 1024;

/// Something that the user's syncs show.
pub fn user(user: &str) -> String {
    format!("user:{user}")
}

/// One access token.
pub fn session(hash: &str) -> String {
    format!("session:{hash}")
}

/// Every access token of a user.
pub fn sessions(user: &str) -> String {
    format!("sessions:{user}")
}

/// Every token by which somebody acts for others.
pub fn acting(admin: &str) -> String {
    format!("acting:{admin}")
}

/// Payload of [`SESSIONS`] for a log-in; `kind`: the login type.
pub fn logged_in(user: &str, device: &str, kind: &str) -> String {
    json!({ "user_id": user, "change": "login", "device_id": device, "kind": kind }).to_string()
}

/// Payload of [`SESSIONS`] for a log-out; no device: all of them, `kept` excepted.
pub fn logged_out(user: &str, device: Option<&str>, kept: Option<&str>) -> String {
    let mut payload = json!({ "user_id": user, "change": "logout", "device_id": device });
    if let (Some(kept), Some(map)) = (kept, payload.as_object_mut()) {
        map.insert("kept_device_id".to_owned(), kept.into());
    }
    payload.to_string()
}

/// Payload of [`SESSIONS`] for a device with a new name.
pub fn renamed(user: &str, device: &str) -> String {
    json!({ "user_id": user, "change": "renamed", "device_id": device }).to_string()
}

/// Payload of [`THREEPIDS`]; `change`: `added` or `removed`.
pub fn threepid(user: &str, change: &str, medium: &str, address: &str) -> String {
    json!({ "user_id": user, "change": change, "medium": medium, "address": address }).to_string()
}

/// Payload of [`DATA`]. `room`: empty for global.
pub fn data(user: &str, room: &str, kind: &str, content: &str) -> String {
    let room = (!room.is_empty()).then_some(room);
    let content = (content.len() <= MAX_CONTENT)
        .then(|| serde_json::from_str::<serde_json::Value>(content).ok())
        .flatten();
    json!({ "user_id": user, "room_id": room, "type": kind, "content": content }).to_string()
}
