//! User, device and room ids as clients give them.

use tessera_sdk::crypto;
use tessera_sdk::matrix::{Error, ErrorCode, is_user_id, localpart, server_name};

/// The full id of a local user.
pub fn local_user(localpart: &str) -> String {
    format!("@{localpart}:{}", crypto::tenant_name())
}

/// Checks a localpart that somebody wants to register.
/// Spec: appendices, User identifiers.
///
/// # Errors
/// `M_INVALID_USERNAME`.
pub fn check_new_localpart(localpart: &str) -> Result<String, Error> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._=-/+".contains(&b);
    let invalid = |why: &str| Err(Error::new(ErrorCode::InvalidUsername, why));
    if localpart.is_empty() {
        return invalid("the user name is empty");
    }
    if !localpart.bytes().all(allowed) {
        return invalid("a user name has only a-z, 0-9 and . _ = - / +");
    }
    let user = local_user(localpart);
    if user.len() > 255 {
        return invalid("the user name is too long");
    }
    Ok(user)
}

/// A name as it is registered: in small letters.
pub fn small(localpart: &str) -> String {
    localpart.to_ascii_lowercase()
}

/// Checks a localpart that a person wants; capitals count as small letters. Names that begin with `_` are for services.
///
/// # Errors
/// `M_INVALID_USERNAME`.
pub fn check_chosen_localpart(localpart: &str) -> Result<String, Error> {
    if localpart.starts_with('_') {
        let text = "names that begin with _ are for services";
        return Err(Error::new(ErrorCode::InvalidUsername, text));
    }
    check_new_localpart(&small(localpart))
}

/// What a client means by `user` at login: a localpart or a full id. `None`: nobody here.
pub fn user_at_login(user: &str) -> Option<String> {
    if user.starts_with('@') {
        let here = server_name(user) == crypto::tenant_name();
        return here.then(|| local_user(&localpart(user).to_ascii_lowercase()));
    }
    let localpart = user.to_ascii_lowercase();
    (!localpart.is_empty() && localpart.len() <= 255).then(|| local_user(&localpart))
}

/// A user id out of a path.
///
/// # Errors
/// `M_INVALID_PARAM` if it is none.
pub fn user_in_path(user: &str) -> Result<&str, Error> {
    if is_user_id(user) { Ok(user) } else { Err(Error::invalid_param("not a user id")) }
}

/// A room id out of a path.
///
/// # Errors
/// `M_INVALID_PARAM` if it is none.
pub fn room_in_path(room: &str) -> Result<&str, Error> {
    let fits = room.starts_with('!') && room.len() > 1 && room.len() <= 255;
    if fits { Ok(room) } else { Err(Error::invalid_param("not a room id")) }
}

/// A device id that a client chose.
///
/// # Errors
/// `M_INVALID_PARAM` if it is empty or longer than 255 bytes.
pub fn check_device(device: &str) -> Result<(), Error> {
    if device.is_empty() || device.len() > 255 || device.contains('\0') {
        return Err(Error::invalid_param("device ids have 1 to 255 bytes"));
    }
    Ok(())
}

/// Lets users touch only what is theirs.
///
/// # Errors
/// `M_FORBIDDEN`, or `M_INVALID_PARAM` if `named` is no user id.
pub fn own(asking: &str, named: &str) -> Result<(), Error> {
    if asking == user_in_path(named)? {
        return Ok(());
    }
    Err(Error::forbidden("this belongs to another user"))
}
