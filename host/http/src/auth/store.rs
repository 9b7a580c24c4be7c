//! A tenant's kept answers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::{Granted, Key};
use crate::share::{Part, Pool};

/// Looked at whenever one is kept, so that answers that hold no longer go before their place is needed.
const SWEEP: usize = 2;

/// Answers of authenticators for one tenant. Over the tenant's share of `[http] auth-cache` the new one takes the place
/// of one that was not used lately ("second chance").
pub(crate) struct Store {
    pool: Arc<Pool>,
    part: Part,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    answers: HashMap<Key, Slot>,
    /// Every key of `answers`, once.
    order: VecDeque<Key>,
    /// Counts how often all were dropped.
    generation: u64,
}

struct Slot {
    /// `None`: held no longer when it was asked for.
    granted: Option<Arc<Granted>>,
    used: bool,
}

impl Store {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, part: Part::default(), kept: Mutex::default() }
    }

    /// An answer that still holds.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Granted>> {
        let mut kept = self.lock();
        let slot = kept.answers.get_mut(key)?;
        if !slot.holds() {
            slot.granted = None;
            return None;
        }
        slot.used = true;
        slot.granted.clone()
    }

    /// A moment, for [`Store::keep`].
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Keeps an answer, unless all were dropped since `generation`.
    pub(crate) fn keep(&self, key: Key, granted: Arc<Granted>, generation: u64) {
        let mut kept = self.lock();
        if kept.generation != generation {
            return;
        }
        let slot = Slot { granted: Some(granted), used: false };
        if let Some(there) = kept.answers.get_mut(&key) {
            *there = slot;
            return;
        }
        for _ in 0..SWEEP {
            self.sweep(&mut kept);
        }
        let enter = || self.pool.enter(&self.part);
        let room = enter() || self.evict(&mut kept) && enter();
        if !room {
            return;
        }
        kept.answers.insert(key, slot);
        kept.order.push_back(key);
    }

    /// Drops everything: after a swap of plug-ins, or when wake-ups may have been lost.
    pub(crate) fn clear(&self) {
        let mut kept = self.lock();
        self.pool.leave(&self.part, kept.answers.len());
        *kept = Kept { generation: kept.generation.wrapping_add(1), ..Kept::default() };
    }

    fn sweep(&self, kept: &mut Kept) {
        let Some(key) = kept.order.pop_front() else { return };
        if kept.answers.get(&key).is_some_and(Slot::holds) {
            kept.order.push_back(key);
        } else if kept.answers.remove(&key).is_some() {
            self.pool.leave(&self.part, 1);
        }
    }

    fn evict(&self, kept: &mut Kept) -> bool {
        // Once around clears every mark, so one more than that finds one.
        for _ in 0..=kept.order.len() {
            let Some(key) = kept.order.pop_front() else { return false };
            match kept.answers.get_mut(&key) {
                Some(slot) if slot.used && slot.holds() => {
                    slot.used = false;
                    kept.order.push_back(key);
                }
                _ => {
                    kept.answers.remove(&key);
                    self.pool.leave(&self.part, 1);
                    return true;
                }
            }
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn holds(&self) -> bool {
        self.granted.as_ref().is_some_and(|granted| granted.holds())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.clear();
    }
}
