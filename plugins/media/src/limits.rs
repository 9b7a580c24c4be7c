//! How much users may upload.

use tessera_sdk::hooks::media_limits::Limit;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, hooks, params};

use crate::config::Config;

/// Refuses who may not upload at all.
///
/// # Errors
/// `M_GUEST_ACCESS_FORBIDDEN`
pub(crate) fn may_upload_at_all(marks: &[String]) -> Result<(), Error> {
    if marks.iter().any(|mark| mark == "guest") {
        return Err(Error::new(ErrorCode::GuestAccessForbidden, "guests do not upload"));
    }
    Ok(())
}

/// Whether a user may upload so many bytes now: the cap for one file, what modules say, and what was uploaded lately.
///
/// # Errors
/// `M_TOO_LARGE`, `M_FORBIDDEN`, or what a module chose.
pub(crate) fn allowed(user: &str, bytes: u64, config: &Config) -> Result<(), Error> {
    if bytes > config.max_upload {
        return Err(Error::too_large(format!("a file has at most {} bytes", config.max_upload)));
    }
    let answered = hooks::answered("tessera:hooks/media-limits");
    if answered {
        hooks::may_upload(user, bytes)?;
    }
    let of_modules = answered.then(|| hooks::upload_limits(user)).flatten();
    let limits = of_modules.unwrap_or_else(|| {
        let own = config.upload_limits.iter();
        own.map(|limit| Limit {
            bytes: limit.bytes,
            window_ms: limit.window_s.saturating_mul(1000),
        })
        .collect()
    });
    for limit in limits {
        let since = clock::now_ms().saturating_sub(limit.window_ms);
        let used: Option<(Option<u64>,)> = storage::query(
            "SELECT sum(size) AS bytes FROM media_files WHERE user_id = $1 AND uploaded_ms > $2",
            params![user, since],
        )?
        .first()?;
        let used = used.and_then(|(bytes,)| bytes).unwrap_or(0);
        if used.saturating_add(bytes) > limit.bytes {
            if answered {
                hooks::upload_limit_exceeded(user, bytes, limit);
            }
            return Err(Error::forbidden("you have uploaded as much as you may for a while"));
        }
    }
    Ok(())
}

/// Counts a file for its user. The second statement conflicts where that is more than the user may keep.
pub(crate) fn count(batch: Batch, user: &str, bytes: u64, config: &Config) -> Batch {
    first(batch, user)
        .run(
            "UPDATE media_usage SET bytes = bytes + $2, files = files + 1, version = version + 1 \
             WHERE user_id = $1 AND bytes + $2 <= $3",
            params![user, bytes, cap(user, config)],
        )
        .expect(1)
}

/// The user's row is there.
pub(crate) fn first(batch: Batch, user: &str) -> Batch {
    batch.run(
        "INSERT INTO media_usage (user_id, bytes, files, version) VALUES ($1, 0, 0, 0) \
         ON CONFLICT (user_id) DO NOTHING",
        params![user],
    )
}

/// Whether so many bytes more are more than the user may keep.
pub(crate) fn is_full(user: &str, bytes: u64, config: &Config) -> Result<bool, Error> {
    let kept: Option<(u64,)> =
        storage::query("SELECT bytes FROM media_usage WHERE user_id = $1", params![user])?
            .first()?;
    Ok(kept.map_or(0, |(kept,)| kept).saturating_add(bytes) > cap(user, config))
}

fn cap(user: &str, config: &Config) -> u64 {
    let mut own = config.limits_by_user.iter().filter(|own| own.user == user);
    // Half of what an integer holds: the sum must not leave it.
    match own.find_map(|own| own.bytes).unwrap_or(config.max_bytes_per_user) {
        0 => u64::MAX >> 2,
        bytes => bytes,
    }
}
