//! `PUT` and `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
//! https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{Batch, Failure, race};
use tessera_sdk::{log, params, services};

use super::profile;
use crate::authenticator::SHADOW_BANNED;
use crate::{ids, topics};

/// Bytes of a whole profile. Spec: Profiles, size limits.
const MAX_PROFILE: usize = 64 * 1024;
/// Bytes of a field's name.
const MAX_NAME: usize = 255;
/// How often a change is tried that meets another.
const TRIES: usize = 5;
/// Bytes of display name and avatar: they are copied into a member event for each room.
pub const MAX_SHOWN: usize = 1024;

/// Sets a field of the user's own profile.
///
/// `M_FORBIDDEN` for another's, `M_MISSING_PARAM` if the body does not have the field, `M_INVALID_PARAM`,
/// `M_KEY_TOO_LARGE`, `M_PROFILE_TOO_LARGE`.
pub fn set(request: &Request) -> Result {
    let (user, name) = target(request)?;
    let mut body: Map<String, Value> = request.json()?;
    let value = body.remove(name);
    let value = value.ok_or_else(|| Error::missing_param(format!("{name} is missing")))?;
    change(request, user, name, Some(value))
}

/// Removes a field of the user's own profile. No error if it is not set.
pub fn delete(request: &Request) -> Result {
    let (user, name) = target(request)?;
    change(request, user, name, None)
}

fn target(request: &Request) -> std::result::Result<(&str, &str), Error> {
    let user = request.user()?;
    ids::own(user, request.param("userId"))?;
    let name = request.param("keyName");
    if name.len() > MAX_NAME {
        let message = format!("names have at most {MAX_NAME} bytes");
        return Err(Error::new(ErrorCode::KeyTooLarge, message));
    }
    // Spec: appendices, Common Namespaced Identifier Grammar.
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if !name.bytes().all(allowed) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(Error::invalid_param("a field's name has only a-z, 0-9 and . _ -"));
    }
    Ok((user, name))
}

fn change(request: &Request, user: &str, name: &str, value: Option<Value>) -> Result {
    let hidden = request.principal()?.marks.iter().any(|mark| mark == SHADOW_BANNED);
    store(user, name, value, hidden)?;
    Answer::empty()
}

/// Sets a field of a user's profile, or removes it; `hidden`: nobody else is to learn of it.
///
/// # Errors
/// `M_NOT_FOUND` for who is not there, `M_INVALID_PARAM`, `M_PROFILE_TOO_LARGE`.
pub fn store(
    user: &str,
    name: &str,
    value: Option<Value>,
    hidden: bool,
) -> std::result::Result<(), Error> {
    match race(TRIES, || attempt(user, name, value.clone(), hidden))? {
        Some(shown) if !hidden => tell(user, shown),
        _ => Ok(()),
    }
}

/// Display name and avatar.
type Shown = (Option<String>, Option<String>);

/// What rooms show from now on, if that has changed.
fn attempt(
    user: &str,
    name: &str,
    value: Option<Value>,
    hidden: bool,
) -> std::result::Result<Option<Shown>, Failure> {
    let mut profile = profile::read(user)?;
    let read = shown_of(&profile);
    let before = profile.remove(name);
    let shown = matches!(name, "displayname" | "avatar_url");
    // An empty or null name or avatar means none.
    let value = value.filter(|value| !shown || !(value.is_null() || value == ""));
    if before == value {
        return Ok(None);
    }
    if let Some(value) = &value {
        if shown && value.as_str().is_none_or(|text| text.len() > MAX_SHOWN) {
            let message = format!("{name} is a string of at most {MAX_SHOWN} bytes");
            return Err(Error::invalid_param(message).into());
        }
        profile.insert(name.to_owned(), value.clone());
    }
    let size = serde_json::to_string(&profile).map_err(Error::internal)?.len();
    if size > MAX_PROFILE {
        let message = format!("a profile has at most {MAX_PROFILE} bytes");
        return Err(Error::new(ErrorCode::ProfileTooLarge, message).into());
    }
    if !shown {
        keep(user, name, value.as_ref())?;
        return Ok(None);
    }
    let now = shown_of(&profile);
    show(user, &read, &now, hidden)?;
    Ok(Some(now))
}

fn shown_of(profile: &Map<String, Value>) -> Shown {
    let text = |name: &str| profile.get(name).and_then(Value::as_str).map(str::to_owned);
    (text("displayname"), text("avatar_url"))
}

/// Stores a field that only the profile shows.
fn keep(user: &str, name: &str, value: Option<&Value>) -> std::result::Result<(), Failure> {
    let batch = match value {
        Some(value) => Batch::new().run(
            "INSERT INTO accounts_profile_fields (user_id, name, value) VALUES ($1, $2, $3) \
             ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value",
            params![user, name, value.to_string()],
        ),
        None => Batch::new().run(
            "DELETE FROM accounts_profile_fields WHERE user_id = $1 AND name = $2",
            params![user, name],
        ),
    };
    batch.commit().map_err(Failure::of)?;
    Ok(())
}

/// Stores display name and avatar, which every room of the user shows as well, unless they are `hidden` from others. It conflicts where
/// `read` is not what is there any more: of two changes at once the message of each tells both.
fn show(user: &str, read: &Shown, now: &Shown, hidden: bool) -> std::result::Result<(), Failure> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut batch = Batch::new()
        .run(
            "UPDATE accounts_users SET displayname = $2, avatar_url = $3 WHERE user_id = $1 \
             AND deactivated = FALSE AND COALESCE(displayname, '') = $4 AND COALESCE(avatar_url, '') = $5",
            params![
                user,
                now.0.as_deref(),
                now.1.as_deref(),
                or_none(&read.0),
                or_none(&read.1)
            ],
        )
        .expect(1)
        .wake(topics::user(user));
    if !hidden {
        let message = json!({ "user_id": user, "displayname": now.0, "avatar_url": now.1 });
        batch = batch.emit(topics::PROFILES, user, message.to_string());
    }
    batch.commit().map_err(Failure::of)?;
    Ok(())
}

/// Has the rooms show it when this answers; if it does not work now, the topic brings it there. Another change may have come meanwhile, and
/// its call have been quicker than this: who is not the newest any more tells the newest.
fn tell(user: &str, mut shown: Shown) -> std::result::Result<(), Error> {
    for _ in 0..TRIES {
        let (displayname, avatar_url) = (shown.0.as_deref(), shown.1.as_deref());
        if let Err(error) = services::profile_changed(user, displayname, avatar_url) {
            let reason = format!("{error:?}");
            log::warn("rooms learn of a changed profile later", &[("reason", &reason)]);
            return Ok(());
        }
        match profile::read(user) {
            Ok(profile) if shown_of(&profile) != shown => shown = shown_of(&profile),
            _ => return Ok(()),
        }
    }
    Ok(())
}
