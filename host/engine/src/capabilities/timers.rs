//! `tessera:host/timers`: kept in the database, fired by a task of the tenant.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::FutureExt as _;
use tessera_storage::{Database, Timer};
use tokio::{sync::Notify, task::JoinSet};

use crate::{api::Dispatch, bindings::tessera::host::timers as wit, state::State};

/// Longest name and payload in bytes.
const NAME_MAX: usize = 255;
const PAYLOAD_MAX: usize = 64 << 10;
/// Timers that fire at the same time, and those of them that are of one plug-in: one that hangs or fails
/// must not keep the others waiting.
const AT_ONCE: usize = 256;
const EACH: usize = 32;
/// Looks again after this time even if nothing was set here (another process may have).
const LOOK: Duration = Duration::from_secs(60);
/// A timer that was taken is not another node's for so long. Where this one dies with it, another fires it then.
const CLAIM: Duration = Duration::from_secs(4);
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Timers whose failures are counted; of more the count begins anew.
const FAILURES_MAX: usize = 10_000;

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

/// Plug-in, name and generation.
type Key = (String, String, u64);

/// A timer that was fired, and why it failed if it did.
type Landed = (Timer, Option<String>);

impl Scheduler {
    /// Fires timers as they come due, until dropped.
    pub(crate) async fn run(self, database: Database, dispatch: Arc<dyn Dispatch>) {
        let mut fires: JoinSet<Landed> = JoinSet::new();
        // One of a name at a time, also where it is set anew meanwhile.
        let mut flying: HashSet<(String, String)> = HashSet::new();
        let mut failures: HashMap<Key, u32> = HashMap::new();
        loop {
            let changed = self.changed.notified();
            let now = now_ms();
            // Twice as many, because those that fly are still in the table.
            let (limit, each) = (2 * AT_ONCE as u32, 2 * EACH as u32);
            let due = match database.timers_claim(now, limit, each, CLAIM).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "cannot read timers");
                    tokio::time::sleep(BACKOFF_FIRST).await;
                    continue;
                }
            };
            for timer in due {
                let name = (timer.plugin.clone(), timer.name.clone());
                let beside = flying.iter().filter(|(plugin, _)| *plugin == timer.plugin).count();
                // Without room it is found again when one lands.
                if beside < EACH && flying.len() < AT_ONCE && flying.insert(name) {
                    fires.spawn(fire(database.clone(), Arc::clone(&dispatch), timer));
                }
            }
            let wait = match database.timer_after(now).await {
                Ok(Some(at)) => Duration::from_millis(at.saturating_sub(now_ms())).min(LOOK),
                Ok(None) => LOOK,
                Err(_) => BACKOFF_FIRST,
            };
            let mut landed = tokio::select! {
                Some(landed) = fires.join_next(), if !fires.is_empty() => Some(landed),
                () = tokio::time::sleep(wait) => None,
                () = changed => None,
            };
            while let Some(result) = landed {
                match result {
                    Ok((timer, failure)) => {
                        if let Some(error) = failure {
                            postpone(&database, &timer, &error, &mut failures).await;
                        } else {
                            failures.remove(&key(&timer));
                        }
                        flying.remove(&(timer.plugin, timer.name));
                    }
                    Err(error) => tracing::error!(%error, "a timer was lost"),
                }
                landed = fires.try_join_next();
            }
        }
    }
}

async fn fire(database: Database, dispatch: Arc<dyn Dispatch>, timer: Timer) -> Landed {
    // A panic is a bug of ours; the timer is tried again like one that failed.
    let fired = AssertUnwindSafe(dispatch.fire(&timer.plugin, &timer.name, &timer.payload));
    let failure = match fired.catch_unwind().await {
        Ok(Ok(Ok(()))) => database.timer_finish(&timer).await.err().map(|error| error.to_string()),
        Ok(Ok(Err(text))) => Some(text),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the host panicked".to_owned()),
    };
    (timer, failure)
}

/// Sets a timer that failed to a later time, in the table: so it does not stand before those that are due.
async fn postpone(
    database: &Database,
    timer: &Timer,
    error: &str,
    failures: &mut HashMap<Key, u32>,
) {
    if failures.len() >= FAILURES_MAX {
        failures.clear();
    }
    let count = failures.entry(key(timer)).or_default();
    *count = count.saturating_add(1);
    let wait = BACKOFF_FIRST
        .saturating_mul(1_u32.checked_shl(count.saturating_sub(1).min(16)).unwrap_or(u32::MAX))
        .min(BACKOFF_MAX);
    let (plugin, name) = (&timer.plugin, &timer.name);
    tracing::warn!(plugin, timer = name, error, ?wait, "timer failed; tried again later");
    let due = now_ms().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    if let Err(error) = database.timer_postpone(timer, due).await {
        tracing::warn!(%error, "cannot postpone a timer");
        tokio::time::sleep(BACKOFF_FIRST).await;
    }
}

fn key(timer: &Timer) -> Key {
    (timer.plugin.clone(), timer.name.clone(), timer.generation)
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
