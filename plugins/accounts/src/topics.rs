//! Names of wake-up and durable topics (`docs/views.md`).

/// Durable: registrations and deactivations.
pub const USERS: &str = "accounts.users";
/// Durable: changed display names and avatars.
pub const PROFILES: &str = "accounts.profiles";

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
