//! What is known of the horizon, and the wake-ups that wait for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Wake};

use super::script::Step;
use super::{Active, Engine};

/// Pauses between looks while another process holds the horizon back.
const PAUSE: Duration = Duration::from_millis(2);
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Pause while the server cannot be asked.
const AWAY: Duration = Duration::from_secs(1);

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(3);

/// How long wake-ups that are held hold back the end: longer than the server lets a transaction stand still.
const LINGER: Duration = Duration::from_secs(6);

/// Wake-ups of a commit whose positions are not all below the horizon.
struct Held {
    /// Its last position.
    until: u64,
    topics: Vec<String>,
    emitted: Vec<String>,
}

/// The horizon of a tenant, as far as this process knows.
#[derive(Default)]
pub(super) struct Horizon {
    known: AtomicU64,
    held: Mutex<Vec<Held>>,
    watching: AtomicBool,
}

impl Horizon {
    pub(super) fn known(&self) -> u64 {
        self.known.load(Ordering::Acquire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The horizon is at least here: lets go what has waited for it.
    pub(super) fn reached(&self, horizon: u64, wake: &dyn Wake) {
        let known = self.known.fetch_max(horizon, Ordering::AcqRel).max(horizon);
        let free: Vec<Held> = {
            let mut held = self.lock();
            if held.is_empty() {
                return;
            }
            held.extract_if(.., |held| held.until <= known).collect()
        };
        for held in free {
            tell(&held, known, wake);
        }
    }

    /// Wakes when the horizon has reached `until`. True: it has not yet.
    pub(super) fn hold(
        &self,
        until: u64,
        topics: Vec<String>,
        emitted: Vec<String>,
        wake: &dyn Wake,
    ) -> bool {
        let held = Held { until, topics, emitted };
        if until > self.known() {
            self.lock().push(held);
            // It may have got there in between.
            self.reached(0, wake);
            return until > self.known();
        }
        tell(&held, self.known(), wake);
        false
    }
}

fn tell(held: &Held, horizon: u64, wake: &dyn Wake) {
    // It is committed: whatever a listener does, the others are told too.
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if !held.topics.is_empty() {
            wake.committed(&held.topics, horizon);
        }
        if !held.emitted.is_empty() {
            wake.emitted(&held.emitted);
        }
    }));
    if told.is_err() {
        tracing::error!("a listener of commits panicked");
    }
}

impl Engine {
    /// The text that looks for the horizon.
    pub(super) fn look_sql(&self) -> String {
        format!("SELECT {}.tessera_look()", self.schema)
    }

    /// Looks now.
    pub(super) async fn look(&self) -> Result<u64, Error> {
        let mut leased = self.lease().await?;
        let rows = super::ops::ask_on(&mut leased, Step::Host, &self.look_sql()).await?;
        let horizon = super::ops::number(&rows);
        drop(leased);
        self.horizon.reached(horizon, &*self.wake);
        Ok(self.horizon.known())
    }

    /// Looks again and again while wake-ups are held back. One task per tenant.
    pub(super) fn watch_horizon(self: &Arc<Self>) {
        if self.horizon.watching.swap(true, Ordering::AcqRel) {
            return;
        }
        // Whoever closes waits for it, also where that has begun.
        self.active.fetch_add(1, Ordering::AcqRel);
        let active = Active(self.clone());
        tokio::spawn(async move {
            let engine = &active.0;
            let (mut pause, mut away, mut closing) = (PAUSE, false, None);
            loop {
                tokio::time::sleep(pause).await;
                pause = (pause.min(MAX_PAUSE) * 2).min(MAX_PAUSE);
                if engine.closed.load(Ordering::Acquire)
                    && closing.get_or_insert_with(Instant::now).elapsed() > LINGER
                {
                    let left = std::mem::take(&mut *engine.horizon.lock()).len();
                    tracing::warn!(left, "wake-ups are given up: the horizon does not get there");
                }
                let before = engine.horizon.known();
                if !engine.horizon.lock().is_empty()
                    && let Err(error) = engine.look_in_time().await
                {
                    if std::mem::replace(&mut away, true) {
                        tracing::debug!(%error, "looking for the horizon");
                    } else {
                        tracing::warn!(%error, "looking for the horizon: it is tried on");
                    }
                    pause = AWAY;
                } else {
                    away = false;
                    if engine.horizon.known() > before {
                        pause = PAUSE;
                    }
                }
                if engine.horizon.lock().is_empty() {
                    engine.horizon.watching.store(false, Ordering::Release);
                    // Something may have come before the flag was down.
                    if engine.horizon.lock().is_empty()
                        || engine.horizon.watching.swap(true, Ordering::AcqRel)
                    {
                        return;
                    }
                }
            }
        });
    }

    async fn look_in_time(&self) -> Result<u64, Error> {
        let look = tokio::time::timeout(LOOK, self.look()).await;
        look.unwrap_or_else(|_| Err(Error::Unavailable("no answer in time".to_owned())))
    }
}
