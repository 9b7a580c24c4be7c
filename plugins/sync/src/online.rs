//! Who syncs is there. Spec: GET /sync, `set_presence`.

use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;
use tessera_sdk::{cache, clock, log, services};

/// How often a user who goes on syncing is marked as active. Presence needs it every few minutes.
const EVERY_MS: u32 = 60_000;

/// Marks the asking user as online, or as the request says: once in a while, and whenever that changes. With `offline` the
/// request says nothing of the user. Without `presence` a client still gets its answer.
///
/// # Errors
/// `M_INVALID_PARAM` for an unknown state.
pub(crate) fn mark(request: &Request) -> Result<(), Error> {
    mark_as(request.user()?, request.query("set_presence").unwrap_or("online"))
}

/// As [`mark`], for who says it elsewhere.
///
/// # Errors
/// As [`mark`].
pub(crate) fn mark_as(user: &str, wanted: &str) -> Result<(), Error> {
    match wanted {
        "online" | "unavailable" => {}
        "offline" => return Ok(()),
        _ => {
            return Err(Error::invalid_param(
                "set_presence must be online, offline or unavailable",
            ));
        }
    }
    let key = format!("online:{user}");
    if cache::get(&key).is_some_and(|last| last == wanted.as_bytes()) {
        return Ok(());
    }
    cache::put(&key, wanted.as_bytes(), EVERY_MS, &[]);
    let status = match services::presence_of(&[user.to_owned()]) {
        Ok(known) => known.into_iter().next(),
        Err(error) => {
            log::debug("presence is not told", &[("reason", &format!("{error:?}"))]);
            return Ok(());
        }
    };
    let now = clock::now_ms();
    let fresh = status.as_ref().is_some_and(|status| {
        status.presence == wanted && now.saturating_sub(status.last_active_ms) < u64::from(EVERY_MS)
    });
    if fresh {
        return Ok(());
    }
    // The message stays: the client did not speak of it.
    let message = status.and_then(|status| status.status_msg);
    if let Err(error) = services::set_presence(user, wanted, message.as_deref()) {
        log::debug("presence is not told", &[("reason", &format!("{error:?}"))]);
    }
    Ok(())
}
