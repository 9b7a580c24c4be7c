//! `tessera:host/timers`: kept in the database, fired by a task of the tenant.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use tessera_bus::Bus;
use tessera_storage::{Database, Timer, now_ms};
use tokio::task::JoinSet;

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
/// While its call runs, a timer is moved on so often to when its claim would end: it may run longer than that.
const RENEW: Duration = Duration::from_millis(1_500);
/// How soon to look again while there are timers that are due: those that others claimed, or had no room.
const BUSY: Duration = Duration::from_millis(500);
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Timers whose failures are counted; of more the count begins anew.
const FAILURES_MAX: usize = 10_000;

/// A topic of the tenant that tells the nodes that a timer was set. The control character keeps it apart from what
/// plug-ins name.
const TOPIC: &str = "\u{1}timers";

impl wit::Host for State {
    async fn set(
        &mut self,
        name: String,
        due_ms: u64,
        payload: String,
    ) -> wasmtime::Result<Result<(), String>> {
        self.enter()?;
        if let Some(reason) = self.shadow_refuses("timer") {
            return Ok(Err(reason));
        }
        if name.len() > NAME_MAX || payload.len() > PAYLOAD_MAX {
            return Ok(Err(format!(
                "a timer's name has at most {NAME_MAX} bytes and its payload {PAYLOAD_MAX}"
            )));
        }
        let caps = &self.caps;
        let set = caps.shared.database.timer_set(&caps.plugin, &name, due_ms, &payload).await;
        caps.shared.bus.notify(&caps.shared.tenant, &[TOPIC]);
        Ok(set.map_err(|error| error.to_string()))
    }

    async fn cancel(&mut self, name: String) -> wasmtime::Result<Result<(), String>> {
        self.enter()?;
        if let Some(reason) = self.shadow_refuses("timer") {
            return Ok(Err(reason));
        }
        let caps = &self.caps;
        let cancelled = caps.shared.database.timer_cancel(&caps.plugin, &name).await;
        Ok(cancelled.map(drop).map_err(|error| error.to_string()))
    }
}

/// Plug-in, name and generation.
type Key = (String, String, u64);

/// A timer that was fired, and why it failed if it did.
type Landed = (Timer, Option<String>);

/// Fires timers as they come due, until dropped. Nodes that run it for one tenant share the timers: who claims one
/// fires it, wherever its plug-in runs.
pub(crate) async fn run(tenant: &str, bus: &Bus, database: Database, dispatch: Arc<dyn Dispatch>) {
    let mut fires: JoinSet<Landed> = JoinSet::new();
    // One of a name at a time, also where it is set anew meanwhile.
    let mut flying: HashSet<(String, String)> = HashSet::new();
    let mut failures: HashMap<Key, u32> = HashMap::new();
    loop {
        // Before the look: a timer that is set meanwhile is not missed.
        let changed = bus.watch(tenant, &[TOPIC]);
        let now = now_ms();
        let room = AT_ONCE.saturating_sub(flying.len());
        let (due, busy) = match claim(&database, now, room, room_of_each(&flying)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot read timers");
                tokio::time::sleep(BACKOFF_FIRST).await;
                continue;
            }
        };
        for timer in due {
            let name = (timer.plugin.clone(), timer.name.clone());
            let beside = flying.iter().filter(|(plugin, _)| *plugin == timer.plugin).count();
            // Without room its claim ends by itself, and it is found again.
            if beside < EACH && flying.len() < AT_ONCE && flying.insert(name) {
                fires.spawn(fire(database.clone(), Arc::clone(&dispatch), timer));
            }
        }
        let wait = match database.timer_after(now).await {
            Ok(Some(at)) => Duration::from_millis(at.saturating_sub(now_ms())).min(LOOK),
            Ok(None) => LOOK,
            Err(_) => BACKOFF_FIRST,
        };
        let wait = if busy { wait.min(BUSY) } else { wait };
        let changed = async {
            match &changed {
                Ok(watch) => watch.fired().await,
                // No room for subscriptions: as if it had fired, but not all the time.
                Err(_) => tokio::time::sleep(BUSY).await,
            }
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

/// How many of one plug-in have room beside those that fly, of whichever has least; but one in any case, so that
/// none hides those of others.
fn room_of_each(flying: &HashSet<(String, String)>) -> usize {
    let mut beside: HashMap<&str, usize> = HashMap::new();
    for (plugin, _) in flying {
        let count = beside.entry(plugin).or_default();
        *count = count.saturating_add(1);
    }
    EACH.saturating_sub(beside.into_values().max().unwrap_or(0)).max(1)
}

/// Claims what is due, if anything is, and says whether something was due: it may be another node's, which may die.
async fn claim(
    database: &Database,
    now: u64,
    room: usize,
    each: usize,
) -> Result<(Vec<Timer>, bool), tessera_storage::Error> {
    // A claim writes; while nothing is due this only reads.
    if database.timers_due(now, 1).await?.is_empty() {
        return Ok((Vec::new(), false));
    }
    if room == 0 {
        return Ok((Vec::new(), true));
    }
    let due = database.timers_claim(now, room as u32, each as u32, CLAIM).await?;
    Ok((due, true))
}

async fn fire(database: Database, dispatch: Arc<dyn Dispatch>, timer: Timer) -> Landed {
    // A panic is a bug of ours; the timer is tried again like one that failed.
    let fired = AssertUnwindSafe(dispatch.fire(&timer.plugin, &timer.name, &timer.payload));
    let fired = tokio::select! {
        fired = fired.catch_unwind() => fired,
        never = hold(&database, &timer) => match never {},
    };
    let failure = match fired {
        Ok(Ok(Ok(()))) => database.timer_finish(&timer).await.err().map(|error| error.to_string()),
        Ok(Ok(Err(text))) => Some(text),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the host panicked".to_owned()),
    };
    (timer, failure)
}

/// Keeps a timer from being due while its call runs, here or on another node; if this one dies, it is due soon.
async fn hold(database: &Database, timer: &Timer) -> Infallible {
    let claim = u64::try_from(CLAIM.as_millis()).unwrap_or(u64::MAX);
    loop {
        tokio::time::sleep(RENEW).await;
        if let Err(error) = database.timer_postpone(timer, now_ms().saturating_add(claim)).await {
            tracing::warn!(%error, timer = timer.name, "cannot keep a timer that runs");
        }
    }
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

#[cfg(test)]
mod tests {
    use tessera_bus::{BusConfig, TenantWake};
    use tessera_storage::DatabaseConfig;
    use tokio::sync::Notify;

    use super::*;
    use crate::api::{
        Answer, BoxFuture, CallError, Credentials, Denial, Grant, Message, Principal, Request,
        WakeReason,
    };

    /// Timers last until they are told to end.
    #[derive(Default)]
    struct Slow {
        begun: Notify,
        end: Notify,
    }

    impl Dispatch for Slow {
        fn fire<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: &'a str,
        ) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
            Box::pin(async {
                self.begun.notify_one();
                self.end.notified().await;
                Ok(Ok(()))
            })
        }

        fn authenticate<'a>(
            &'a self,
            _: &'a str,
            _: Credentials,
        ) -> BoxFuture<'a, Result<Result<Option<Grant>, Denial>, CallError>> {
            unreachable!()
        }

        fn handle<'a>(
            &'a self,
            _: &'a str,
            _: Request,
        ) -> BoxFuture<'a, Result<Answer, CallError>> {
            unreachable!()
        }

        fn resume<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: &'a str,
            _: Vec<u8>,
            _: WakeReason,
            _: Option<Principal>,
        ) -> BoxFuture<'a, Result<Answer, CallError>> {
            unreachable!()
        }

        fn consume<'a>(
            &'a self,
            _: &'a str,
            _: Vec<Message>,
        ) -> BoxFuture<'a, Result<Result<u32, String>, CallError>> {
            unreachable!()
        }

        fn start<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
            unreachable!()
        }
    }

    #[tokio::test]
    async fn a_timer_whose_call_lasts_is_not_due_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let bus = Bus::new(BusConfig::default());
        let wake = Arc::new(TenantWake::new(bus, "t"));
        let path = dir.path().join("t.sqlite");
        let database = Database::open(&path, DatabaseConfig::default(), wake).await.unwrap();
        database.timer_set("clock", "long", 1, "").await.unwrap();
        let timer = database.timers_claim(1, 1, 1, CLAIM).await.unwrap().remove(0);
        let slow = Arc::new(Slow::default());
        let fired = tokio::spawn(fire(database.clone(), Arc::clone(&slow) as _, timer));
        slow.begun.notified().await;
        let begun = now_ms();
        // It is moved on, over and over.
        let beyond = begun + u64::try_from((CLAIM + RENEW).as_millis()).unwrap();
        let kept = async {
            while database.timer_next().await.unwrap() < Some(beyond) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), kept).await.unwrap();
        assert!(database.timers_claim(begun + 1, 9, 9, CLAIM).await.unwrap().is_empty());
        slow.end.notify_one();
        let (_, failure) = fired.await.unwrap();
        assert_eq!((failure, database.timer_next().await.unwrap()), (None, None));
    }
}
