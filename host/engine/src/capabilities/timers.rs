//! `tessera:host/timers`: kept in the database, fired by a task of the tenant.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tessera_storage::{Database, Timer};
use tokio::sync::Notify;

use crate::{api::Dispatch, bindings::tessera::host::timers as wit, state::State};

/// Longest name and payload in bytes.
const NAME_MAX: usize = 255;
const PAYLOAD_MAX: usize = 64 << 10;
/// Timers looked at in one round.
const ROUND: u32 = 256;
/// Looks again after this time even if nothing was set here (another process may have).
const LOOK: Duration = Duration::from_secs(60);
/// The same while timers wait to be tried again.
const LOOK_RETRYING: Duration = Duration::from_millis(500);
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Tells the task that a timer was set.
#[derive(Clone, Default)]
pub(crate) struct Scheduler {
    changed: Arc<Notify>,
}

impl wit::Host for State {
    async fn set(
        &mut self,
        name: String,
        due_ms: u64,
        payload: String,
    ) -> wasmtime::Result<Result<(), String>> {
        self.enter()?;
        if name.len() > NAME_MAX || payload.len() > PAYLOAD_MAX {
            return Ok(Err(format!(
                "a timer's name has at most {NAME_MAX} bytes and its payload {PAYLOAD_MAX}"
            )));
        }
        let caps = &self.caps;
        let set = caps.shared.database.timer_set(&caps.plugin, &name, due_ms, &payload).await;
        caps.shared.scheduler.changed.notify_one();
        Ok(set.map_err(|error| error.to_string()))
    }

    async fn cancel(&mut self, name: String) -> wasmtime::Result<Result<(), String>> {
        self.enter()?;
        let caps = &self.caps;
        let cancelled = caps.shared.database.timer_cancel(&caps.plugin, &name).await;
        Ok(cancelled.map(drop).map_err(|error| error.to_string()))
    }
}

type Key = (String, String, u64);

/// A timer that failed: how often, and when it is next tried (ms since the epoch).
struct Retry {
    failures: u32,
    at_ms: u64,
}

impl Scheduler {
    /// Fires timers as they come due, until dropped. Those of one round run at the same time.
    pub(crate) async fn run(self, database: Database, dispatch: Arc<dyn Dispatch>) {
        let mut retries: HashMap<Key, Retry> = HashMap::new();
        loop {
            let changed = self.changed.notified();
            let now = now_ms();
            let due = match database.timers_due(now, ROUND).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "cannot read timers");
                    tokio::time::sleep(BACKOFF_FIRST).await;
                    continue;
                }
            };
            let full = due.len() >= ROUND as usize;
            let keys: std::collections::HashSet<Key> = due.iter().map(key).collect();
            retries.retain(|key, _| keys.contains(key));
            let ready: Vec<Timer> = due
                .into_iter()
                .filter(|timer| retries.get(&key(timer)).is_none_or(|retry| retry.at_ms <= now))
                .collect();
            let fired = !ready.is_empty();
            let results = futures::future::join_all(
                ready.into_iter().map(|timer| fire(&database, &*dispatch, timer)),
            )
            .await;
            for (key, failed) in results {
                if failed {
                    let failures =
                        retries.get(&key).map_or(0, |retry| retry.failures).saturating_add(1);
                    let wait = BACKOFF_FIRST
                        .saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX))
                        .min(BACKOFF_MAX);
                    let at_ms = now_ms().saturating_add(wait.as_millis() as u64);
                    retries.insert(key, Retry { failures, at_ms });
                } else {
                    retries.remove(&key);
                }
            }
            if full && fired {
                continue;
            }
            // A failed timer stays the first in the table and hides when the next is due: look more often.
            let look = if retries.is_empty() { LOOK } else { LOOK_RETRYING };
            let wait = match database.timer_next().await {
                Ok(Some(at)) if at > now => Duration::from_millis(at.saturating_sub(now_ms())),
                Ok(Some(_)) if retries.is_empty() => Duration::ZERO,
                Ok(_) => look,
                Err(_) => BACKOFF_FIRST,
            };
            let wait = wait.min(look);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }
}

/// Gives whether it failed.
async fn fire(database: &Database, dispatch: &dyn Dispatch, timer: Timer) -> (Key, bool) {
    let failure = match dispatch.fire(&timer.plugin, &timer.name, &timer.payload).await {
        Ok(Ok(())) => database.timer_finish(&timer).await.err().map(|error| error.to_string()),
        Ok(Err(text)) => Some(text),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = &failure {
        tracing::warn!(
            plugin = timer.plugin,
            timer = timer.name,
            error,
            "timer failed; tried again later"
        );
    }
    (key(&timer), failure.is_some())
}

fn key(timer: &Timer) -> Key {
    (timer.plugin.clone(), timer.name.clone(), timer.generation)
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
