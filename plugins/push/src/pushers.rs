//! What all parts know of pushers.

use std::collections::BTreeSet;

use serde::Deserialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{Batch, Value};
use tessera_sdk::{clock, config, log, params, timers};

/// Pushers are shared out to so many timers: those of one shard are served one after another, so a gateway that does not answer
/// holds up an eighth of the others at most.
const SHARDS: u64 = 8;

/// Timers that serve a shard are called this and its number.
pub(crate) const TIMER_PREFIX: &str = "send:";

/// When a shard is served although nobody came to say so: the process may have ended in between.
const FALLBACK_MS: u64 = 5_000;

/// `[plugins.push.config]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Gateways may be at `http`, and at any path. For tests.
    pub insecure_gateways: bool,
    /// Where clients reach this server, for links in mails.
    pub base_url: Option<String>,
    /// What mails call this server where the app has no brand.
    pub mail_name: Option<String>,
    /// How long a message may be unread before there is a mail of it.
    pub mail_after_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            insecure_gateways: false,
            base_url: None,
            mail_name: None,
            mail_after_ms: 10 * 60 * 1000,
        }
    }
}

/// The operator's configuration.
///
/// # Errors
/// It does not fit.
pub(crate) fn configured() -> Result<Config, Error> {
    config::get().map_err(Error::internal)
}

/// Names a pusher. In the order in which rows are locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub user_id: String,
    pub app_id: String,
    pub pushkey: String,
}

impl Key {
    /// As parameters `$1` to `$3`.
    pub(crate) fn params(&self) -> Vec<Value> {
        params![&self.user_id, &self.app_id, &self.pushkey]
    }
}

/// The shard of a pusher (FNV-1a).
pub(crate) fn shard(key: &Key) -> i64 {
    let parts = [&key.user_id, &key.app_id, &key.pushkey];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::try_from(hash % SHARDS).unwrap_or(0)
}

/// A pusher of somebody in a room.
#[derive(Debug, Clone)]
pub(crate) struct Pusher {
    pub key: Key,
    pub shard: i64,
    pub email: bool,
    /// Whether it is to be seen to that not too much waits for it: it failed last, or waits for long by nature.
    pub slow: bool,
}

/// There may be something to tell: `$1` to `$3` the pusher, `$4` its turn if it has none yet.
const TOUCH: &str = "UPDATE push_pushers SET news = news + 1, next_ms = CASE WHEN next_ms = 0 THEN $4 ELSE next_ms END \
     WHERE user_id = $1 AND app_id = $2 AND pushkey = $3";

/// Notifications that wait for one pusher: while its gateway fails, or until the next mail. Of older ones it is told the unread count only.
const MAX_WAITING: i64 = 200;

/// Takes away the oldest of what waits for the pusher `$1` to `$3` beyond `$4`.
const TRIM: &str = "DELETE FROM push_queue WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND position <= \
     (SELECT q.position FROM push_queue q WHERE q.user_id = $1 AND q.app_id = $2 AND q.pushkey = $3 \
     ORDER BY q.position DESC LIMIT 1 OFFSET $4)";

/// Adds to a batch that these pushers keep only the newest of what waits for them.
pub(crate) fn trim<'a>(batch: Batch, keys: impl IntoIterator<Item = &'a Key>) -> Batch {
    let rows = keys.into_iter().map(|key| {
        let mut row = key.params();
        row.extend(params![MAX_WAITING]);
        row
    });
    batch.run_many(TRIM, rows.collect())
}

/// Adds to a batch that these pushers have a turn, now or when a mail is due.
pub(crate) fn touch<'a>(
    batch: Batch,
    pushers: impl IntoIterator<Item = &'a Pusher>,
    mail_after_ms: u64,
) -> Batch {
    let now = clock::now_ms();
    let due = |email: bool| if email { now.saturating_add(mail_after_ms) } else { now.max(1) };
    let each: BTreeSet<(&Key, bool)> =
        pushers.into_iter().map(|pusher| (&pusher.key, pusher.email)).collect();
    if each.is_empty() {
        return batch;
    }
    let rows = each.into_iter().map(|(key, email)| {
        let mut row = key.params();
        row.extend(params![due(email)]);
        row
    });
    batch.run_many(TOUCH, rows.collect())
}

/// Sees to it that these shards are served, for a batch that touches their pushers: called before it is committed, so that they are
/// even if this process ends right after, and again afterwards.
pub(crate) fn serve(shards: &BTreeSet<i64>, committed: bool) {
    let due = clock::now_ms().saturating_add(if committed { 0 } else { FALLBACK_MS });
    for shard in shards {
        if let Err(reason) = timers::set(&format!("{TIMER_PREFIX}{shard}"), due, "") {
            log::error("no timer for pushers", &[("reason", &reason)]);
        }
    }
}
