//! Identifiers in requests. Spec: appendices, Common Identifier Format.

use tessera_sdk::crypto;
use tessera_sdk::matrix::{Error, is_user_id, server_name};

/// A room id: `!`, at most 255 bytes; from version 12 it has no server name.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub fn room(id: &str) -> Result<&str, Error> {
    if id.starts_with('!') && (2..=255).contains(&id.len()) && !id.contains('\0') {
        Ok(id)
    } else {
        Err(Error::invalid_param(format!("{id:?} is no room id")))
    }
}

/// A user id, historical ones included.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub fn user(id: &str) -> Result<&str, Error> {
    if is_user_id(id) && <&ruma::UserId>::try_from(id).is_ok() {
        Ok(id)
    } else {
        Err(Error::invalid_param(format!("{id:?} is no user id")))
    }
}

/// An event id: `$`, at most 255 bytes.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub fn event(id: &str) -> Result<&str, Error> {
    if id.starts_with('$') && (2..=255).contains(&id.len()) && !id.contains('\0') {
        Ok(id)
    } else {
        Err(Error::invalid_param(format!("{id:?} is no event id")))
    }
}

/// A room alias: `#`, a localpart without colon and NUL, `:`, a server name; at most 255 bytes.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub fn alias(id: &str) -> Result<&str, Error> {
    let fits = id.starts_with('#')
        && id.len() <= 255
        && !id.contains(['\0', ' ', '\n', '\t', '\r'])
        && !server_name(id).is_empty()
        && !tessera_sdk::matrix::localpart(id).is_empty();
    if fits { Ok(id) } else { Err(Error::invalid_param(format!("{id:?} is no room alias"))) }
}

/// Whether an id belongs to this server.
pub fn is_local(id: &str) -> bool {
    server_name(id) == crypto::tenant_name()
}
