//! Sending to gateways and by mail: the turn of a shard of pushers, when its timer fires.
//!
//! Whoever serves a pusher takes it by moving its turn (`next_ms`) into the future, so another node does not; a process that dies
//! with it leaves it due a minute later. What came meanwhile shows in `news`, so nothing is forgotten between the last look and
//! the end of the turn.
//!
//! Spec: <https://spec.matrix.org/v1.19/push-gateway-api/>

mod gateway;
mod mail;
mod waiting;

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, log, params, timers};

use self::waiting::{Turn, Waiting};
use crate::pushers::{self, Key, TIMER_PREFIX};

/// Pushers taken from the table at once.
const AT_ONCE: i64 = 20;
/// A firing of the timer sends nothing more after this time: a call has 30 s by the clock, and one gateway may take ten.
const BUDGET_MS: u64 = 12_000;
/// A pusher that was taken is not another's for so long.
const TAKEN_MS: u64 = 60_000;
/// The first wait after a failure; it doubles up to the longest.
const RETRY_FIRST_MS: u64 = 1_000;
const RETRY_MAX_MS: u64 = 30 * 60 * 1000;

/// In place of a badge: it stays what it is.
const KEEP: i64 = -2;

/// How a turn ended.
enum Done {
    /// There is nothing to tell any more; this is the unread count that was told.
    Quiet { badge: i64 },
    /// The next is at this time.
    Later(u64),
    /// It failed and is tried again.
    Failed,
    /// The pusher is void.
    Gone,
}

/// Serves a shard until nothing is due or time is up.
///
/// # Errors
/// Storage: the timer fires again.
pub(crate) fn shard(name: &str) -> Result<(), Error> {
    let shard: i64 = name.parse().map_err(|_| Error::internal("no such shard"))?;
    let begun = clock::now_ms();
    'serving: loop {
        let due: Vec<(String, String, String, u64)> = storage::query(
            "SELECT user_id, app_id, pushkey, next_ms FROM push_pushers \
             WHERE shard = $1 AND next_ms > 0 AND next_ms <= $2 ORDER BY next_ms LIMIT $3",
            params![shard, clock::now_ms(), AT_ONCE],
        )?
        .all()?;
        if due.is_empty() {
            break;
        }
        for (user_id, app_id, pushkey, next_ms) in due {
            if clock::now_ms().saturating_sub(begun) > BUDGET_MS {
                break 'serving;
            }
            let key = Key { user_id, app_id, pushkey };
            if let Some(taken) = take(&key, next_ms)? {
                turn(&key, taken, begun.saturating_add(BUDGET_MS))?;
            }
        }
    }
    // Whoever sets the timer after its commit does so after the last look here, or is seen by it.
    let mut set = u64::MAX;
    loop {
        let next: Option<(Option<u64>,)> = storage::query(
            "SELECT MIN(next_ms) FROM push_pushers WHERE shard = $1 AND next_ms > 0",
            params![shard],
        )?
        .first()?;
        match next.and_then(|(next,)| next).filter(|next| *next < set) {
            None => return Ok(()),
            Some(next) => {
                set = next;
                timers::set(&format!("{TIMER_PREFIX}{shard}"), next, "")
                    .map_err(Error::internal)?;
            }
        }
    }
}

/// Takes a pusher whose turn was to be at `next_ms`; none: another has.
fn take(key: &Key, next_ms: u64) -> Result<Option<u64>, Error> {
    let until = clock::now_ms().saturating_add(TAKEN_MS);
    let mut row = key.params();
    row.extend(params![until, next_ms]);
    let taken = pushers::trim(Batch::new(), [key])
        .run(
            "UPDATE push_pushers SET next_ms = $4 \
             WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND next_ms = $5",
            row,
        )
        .expect(1)
        .commit();
    match taken {
        Ok(_) => Ok(Some(until)),
        Err(storage::Error::Conflict(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One turn of a pusher that is ours until `taken`. After `until` nothing more is sent in it.
fn turn(key: &Key, taken: u64, until: u64) -> Result<(), Error> {
    let Some(waiting) = waiting::read(key)? else { return Ok(()) };
    let done = match (&waiting.turn, waiting.enabled) {
        (Turn::Void, _) => Done::Gone,
        (_, false) => {
            waiting::drop_all(key)?;
            Done::Quiet { badge: waiting.badge }
        }
        (Turn::Mail, _) => mail::tell(key, &waiting)?,
        (Turn::Gateway(url), _) => gateway::tell(key, &waiting, url, until)?,
    };
    end(key, &waiting, taken, done)
}

fn end(key: &Key, waiting: &Waiting, taken: u64, done: Done) -> Result<(), Error> {
    let now = clock::now_ms();
    let (next, tries, badge) = match done {
        Done::Gone => return waiting::forget(key, taken),
        // Something came meanwhile: the row keeps its turn, which is moved to now.
        Done::Quiet { badge } => (0, 0, Some(badge)),
        // What was told in the turn has been noted then.
        Done::Later(at) => (at.max(1), 0, None),
        Done::Failed => {
            let wait = RETRY_FIRST_MS.saturating_mul(1 << waiting.tries.clamp(0, 20));
            let wait = wait.min(RETRY_MAX_MS);
            log::warn(
                "a pusher failed",
                &[("user", &key.user_id), ("app", &key.app_id), ("retry-ms", &wait.to_string())],
            );
            (now.saturating_add(wait), waiting.tries.saturating_add(1), None)
        }
    };
    let mut row = key.params();
    row.extend(params![next, tries, badge.unwrap_or(KEEP), taken, waiting.news, now.max(1)]);
    // Where news came during the turn there is another one at once, unless this one failed.
    Batch::new()
        .run(
            "UPDATE push_pushers SET tries = $5, badge = CASE WHEN $6 = -2 THEN badge ELSE $6 END, \
             next_ms = CASE WHEN $4 = 0 AND news <> $8 THEN $9 ELSE $4 END \
             WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND next_ms = $7",
            row,
        )
        .commit_blind()?;
    Ok(())
}
