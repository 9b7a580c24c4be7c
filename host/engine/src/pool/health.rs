//! Supervision: a plug-in that traps again and again pauses, longer each time, and is then quarantined.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    api::CallError,
    journal::{Event, Journal, Note},
};

/// Traps in a row, without one success between, that lead to a pause.
const TRAPS: u32 = 10;
/// Pauses in a row that lead to quarantine.
const PAUSES: u32 = 6;
/// The first pause; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(500);

/// How a plug-in fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Health {
    /// It takes calls.
    Running,
    /// It trapped again and again and takes no calls for a while.
    Paused {
        /// Milliseconds until it is tried again.
        left_ms: u64,
        /// The last trap.
        reason: String,
    },
    /// It runs on other nodes.
    Elsewhere,
    /// It takes no calls until an operator acts or another version is installed.
    Quarantined {
        /// The last trap.
        reason: String,
    },
}

pub(super) struct Supervisor {
    tenant: String,
    plugin: String,
    version: String,
    journal: Arc<Journal>,
    /// Traps since the last success or pause. 0 with no pause behind it spares the lock.
    traps: AtomicU32,
    state: Mutex<State>,
    troubled: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct State {
    pauses: u32,
    until: Option<Instant>,
    quarantined: bool,
    reason: String,
}

impl State {
    fn is_paused(&self) -> bool {
        self.until.is_some_and(|until| until > Instant::now())
    }
}

impl Supervisor {
    pub(super) fn new(tenant: &str, plugin: &str, version: &str, journal: Arc<Journal>) -> Self {
        Self {
            tenant: tenant.to_owned(),
            plugin: plugin.to_owned(),
            version: version.to_owned(),
            journal,
            traps: AtomicU32::new(0),
            state: Mutex::new(State::default()),
            troubled: false.into(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn admit(&self) -> Result<(), CallError> {
        if !self.troubled.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.health() {
            Health::Running | Health::Elsewhere => Ok(()),
            Health::Paused { reason, .. } => {
                Err(CallError::Unavailable(format!("paused after traps: {reason}")))
            }
            Health::Quarantined { reason } => {
                Err(CallError::Unavailable(format!("quarantined after traps: {reason}")))
            }
        }
    }

    /// A call went well. One that began before a pause or quarantine does not end it.
    pub(super) fn succeeded(&self) {
        if self.traps.load(Ordering::Relaxed) != 0 {
            self.traps.store(0, Ordering::Relaxed);
        }
        if self.troubled.load(Ordering::Acquire) {
            let mut state = self.state();
            if !state.quarantined && !state.is_paused() {
                self.reset(&mut state);
            }
        }
    }

    /// An operator wants it to go on.
    pub(super) fn released(&self) {
        let mut state = self.state();
        if self.troubled.load(Ordering::Acquire) {
            self.journal.note(Event::Released, &self.version, Note::default());
        }
        self.traps.store(0, Ordering::Relaxed);
        self.reset(&mut state);
    }

    /// Under the lock, so that no pause that begins meanwhile gets lost.
    fn reset(&self, state: &mut State) {
        *state = State::default();
        self.troubled.store(false, Ordering::Release);
    }

    /// A call trapped, or ran into a limit of its own.
    pub(super) fn trapped(&self, reason: &str) {
        self.failed(reason, PAUSES);
    }

    /// A call took too long. Whatever it waited for may come back: it pauses, and is never quarantined for this alone.
    pub(super) fn slow(&self, reason: &str) {
        self.failed(reason, u32::MAX);
    }

    /// `pauses`: in a row, before it is quarantined.
    fn failed(&self, reason: &str, pauses: u32) {
        let traps = self.traps.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut state = self.state();
        // After a pause one more trap is enough for the next.
        if traps < TRAPS && state.pauses == 0 {
            return;
        }
        if state.quarantined || state.is_paused() {
            return;
        }
        self.traps.store(0, Ordering::Relaxed);
        reason.clone_into(&mut state.reason);
        state.pauses = state.pauses.saturating_add(1);
        let (tenant, plugin) = (&self.tenant, &self.plugin);
        let note = Note { reason, ..Note::default() };
        if state.pauses > pauses {
            state.quarantined = true;
            self.journal.note(Event::Quarantined, &self.version, note);
            tracing::error!(
                tenant,
                plugin,
                reason,
                "plug-in quarantined: it traps again and again"
            );
        } else {
            let doubled = state.pauses.min(PAUSES).saturating_sub(1);
            let pause = PAUSE.saturating_mul(1 << doubled);
            self.journal.note(Event::Paused, &self.version, note);
            state.until = Instant::now().checked_add(pause);
            tracing::error!(
                tenant,
                plugin,
                reason,
                ?pause,
                "plug-in paused: it traps again and again"
            );
        }
        self.troubled.store(true, Ordering::Release);
    }

    pub(super) fn health(&self) -> Health {
        let state = self.state();
        let reason = state.reason.clone();
        if state.quarantined {
            return Health::Quarantined { reason };
        }
        match state.until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => Health::Paused {
                left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                reason,
            },
            _ => Health::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor() -> Supervisor {
        Supervisor::new("t", "p", "1.0.0", Arc::default())
    }

    #[test]
    fn traps_in_a_row_pause_it() {
        let supervisor = supervisor();
        for _ in 0..TRAPS {
            assert_eq!(supervisor.admit(), Ok(()));
            supervisor.trapped("boom");
        }
        assert!(matches!(supervisor.health(), Health::Paused { .. }));
        assert!(supervisor.admit().is_err());
    }

    #[test]
    fn a_success_between_traps_keeps_it_running() {
        let supervisor = supervisor();
        for _ in 0..5 * TRAPS {
            supervisor.trapped("boom");
            supervisor.succeeded();
        }
        assert_eq!(supervisor.health(), Health::Running);
    }

    #[test]
    fn pauses_in_a_row_quarantine_it_until_it_is_released() {
        let supervisor = supervisor();
        for _ in 0..TRAPS {
            supervisor.trapped("boom");
        }
        for _ in 0..PAUSES {
            // Time passes.
            supervisor.state().until = None;
            assert_eq!(supervisor.health(), Health::Running);
            supervisor.trapped("boom");
        }
        let quarantined = Health::Quarantined { reason: "boom".to_owned() };
        assert_eq!(supervisor.health(), quarantined);
        // Of a call that began before.
        supervisor.succeeded();
        assert_eq!(supervisor.health(), quarantined);
        assert!(supervisor.admit().is_err());
        supervisor.released();
        assert_eq!(supervisor.admit(), Ok(()));
    }

    #[test]
    fn a_call_that_began_before_a_pause_does_not_end_it() {
        let supervisor = supervisor();
        for _ in 0..TRAPS {
            supervisor.trapped("boom");
        }
        // Far enough away for the slowest machine.
        supervisor.state().until = Instant::now().checked_add(Duration::from_secs(3_600));
        supervisor.succeeded();
        assert!(matches!(supervisor.health(), Health::Paused { .. }));
        assert!(supervisor.admit().is_err());
        assert_eq!(supervisor.state().pauses, 1);

        // It is over, and a success makes it as good as new: one more trap is no pause.
        supervisor.state().until = Some(Instant::now());
        supervisor.succeeded();
        assert_eq!(supervisor.state().pauses, 0);
        supervisor.trapped("boom");
        assert_eq!(supervisor.health(), Health::Running);
    }

    #[test]
    fn only_what_was_in_trouble_is_noted_as_released() {
        let supervisor = supervisor();
        supervisor.trapped("boom");
        supervisor.released();
        assert!(supervisor.journal.entries().is_empty());
        assert_eq!(supervisor.traps.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_that_is_slow_pauses_but_is_never_quarantined() {
        let supervisor = supervisor();
        for _ in 0..TRAPS {
            supervisor.slow("late");
        }
        for _ in 0..3 * PAUSES {
            assert!(matches!(supervisor.health(), Health::Paused { .. }));
            supervisor.state().until = None;
            supervisor.slow("late");
        }
        assert!(matches!(supervisor.health(), Health::Paused { left_ms, .. } if left_ms <= 16_000));
        supervisor.released();
        assert_eq!(supervisor.admit(), Ok(()));
        let events: Vec<Event> =
            supervisor.journal.entries().iter().map(|entry| entry.event).collect();
        assert_eq!(events.first(), Some(&Event::Paused));
        assert_eq!(events.last(), Some(&Event::Released));
    }
}
