//! Calls to other plug-ins, linked by the host.

use crate::backend;
pub use crate::bindings::service_caller::accounts::Error as AccountsError;
pub use crate::bindings::service_caller::push::Error as PushError;
pub use crate::bindings::service_caller::rooms::Error as RoomsError;

/// Stores account data on behalf of another service and wakes the user's syncs.
///
/// # Errors
/// See `tessera:services/accounts`.
pub fn put_account_data(
    user: &str,
    room: Option<&str>,
    kind: &str,
    content: &str,
) -> Result<(), AccountsError> {
    backend::with(|host| host.put_account_data(user, room, kind, content))
}

/// Tells every room of a user of a changed profile.
///
/// # Errors
/// See `tessera:services/rooms`.
pub fn profile_changed(
    user: &str,
    displayname: Option<&str>,
    avatar_url: Option<&str>,
) -> Result<(), RoomsError> {
    backend::with(|host| host.profile_changed(user, displayname, avatar_url))
}

/// A local user's push rules as the content of `m.push_rules`.
///
/// # Errors
/// See `tessera:services/push`.
pub fn push_rules(user: &str) -> Result<String, PushError> {
    backend::with(|host| host.push_rules(user))
}
