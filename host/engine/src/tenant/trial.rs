//! Another version of a plug-in beside the one that counts: a canary gets a share of the calls, a shadow gets all and
//! nobody hears its answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::IntCounterVec;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PluginSpec;
use crate::pool::Pool;

/// Shadow calls of one plug-in and tenant at once; more are left out and counted.
const SHADOWS: usize = 32;
/// Functions that are counted apart; more count as one.
const FUNCTIONS: usize = 200;
/// Differences that are told of one by one; later each that doubles their number.
const TOLD: u64 = 10;
/// Ten thousandths.
pub(crate) const WHOLE: u32 = 10_000;

/// A second version of a plug-in, and what it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialSpec {
    /// The version, with what it is allowed.
    pub spec: Box<PluginSpec>,
    /// What it is for.
    pub mode: TrialMode,
}

/// What a second version is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialMode {
    /// It answers so many of ten thousand calls.
    Canary {
        /// Ten thousandths.
        share: u32,
    },
    /// It gets the calls of services and hooks, too, changes nothing, and its answers are only compared.
    Shadow {
        /// `interface.function` or `interface`, without version; none: all that it offers.
        functions: Vec<String>,
    },
}

/// See the module.
pub(crate) struct Trial {
    pub(crate) mode: TrialMode,
    /// Calls that were looked at, for the share.
    asked: AtomicU64,
    room: Arc<Semaphore>,
    seen: Mutex<BTreeMap<String, Compared>>,
    metric: IntCounterVec,
}

/// What a shadow's answer was like.
pub(crate) enum Seen {
    Same,
    Different {
        was: String,
        is: String,
    },
    /// It tried to change something, which a shadow may not: its answer says nothing.
    Wrote,
    Failed(String),
}

/// How a shadow's answers compare, for one function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compared {
    /// The same answer.
    pub same: u64,
    /// Another answer.
    pub different: u64,
    /// Calls in which it tried to change something: not compared.
    pub wrote: u64,
    /// Calls that it did not answer.
    pub failed: u64,
    /// Calls that it did not get, because too many ran.
    pub left_out: u64,
    /// The last difference: what counted, and what it said.
    pub example: Option<(String, String)>,
}

impl Trial {
    pub(crate) fn new(mode: TrialMode, metric: IntCounterVec) -> Self {
        Self {
            mode,
            asked: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(SHADOWS)),
            seen: Mutex::default(),
            metric,
        }
    }

    /// Whether the next call is a canary's. Exactly its share are, evenly spread.
    pub(crate) fn takes(&self, pool: &Pool) -> bool {
        let TrialMode::Canary { share } = self.mode else { return false };
        let turn = u128::from(self.asked.fetch_add(1, Ordering::Relaxed));
        let (share, whole) = (u128::from(share.min(WHOLE)), u128::from(WHOLE));
        // The share's whole part grows with this call.
        let sum = |calls: u128| calls.saturating_mul(share) / whole;
        sum(turn.saturating_add(1)) > sum(turn) && pool.takes_calls()
    }

    /// Whether a shadow gets this function's calls.
    pub(crate) fn watches(&self, name: &str) -> bool {
        let TrialMode::Shadow { functions } = &self.mode else { return false };
        let base = |name: &str| name.rsplit_once('.').map(|(interface, _)| interface.to_owned());
        functions.is_empty()
            || functions.iter().any(|wanted| wanted == name || base(name).as_ref() == Some(wanted))
    }

    /// A place for a shadow call.
    pub(crate) fn room(&self, name: &str) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok();
        if room.is_none() {
            self.count(name, |compared| compared.left_out = compared.left_out.saturating_add(1));
        }
        room
    }

    fn count<T>(&self, name: &str, count: impl FnOnce(&mut Compared) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if seen.len() < FUNCTIONS || seen.contains_key(name) { name } else { "others" };
        count(seen.entry(name.to_owned()).or_default())
    }

    /// Notes an answer.
    pub(crate) fn saw(&self, pool: &Pool, name: &str, request_id: &str, seen: Seen) {
        let (tenant, plugin, version) =
            (&*pool.caps.shared.tenant, &*pool.caps.plugin, &pool.caps.version);
        let (label, told) = self.count(name, |compared| {
            let more = |count: &mut u64| {
                *count = count.saturating_add(1);
                *count
            };
            match &seen {
                Seen::Same => ("same", more(&mut compared.same)),
                Seen::Wrote => ("wrote", more(&mut compared.wrote)),
                Seen::Failed(_) => ("failed", more(&mut compared.failed)),
                Seen::Different { was, is } => {
                    compared.example = Some((was.clone(), is.clone()));
                    ("different", more(&mut compared.different))
                }
            }
        });
        self.metric.with_label_values(&[tenant, plugin, label]).inc();
        if told > TOLD && !told.is_power_of_two() {
            return;
        }
        match seen {
            Seen::Same | Seen::Wrote => {}
            Seen::Failed(error) => {
                tracing::warn!(tenant, plugin, %version, function = name, request_id, error, "a shadow did not answer");
            }
            Seen::Different { was, is } => {
                tracing::warn!(tenant, plugin, %version, function = name, request_id, was, is, "a shadow answers otherwise");
            }
        }
    }

    /// What was compared so far, by function.
    pub(crate) fn compared(&self) -> BTreeMap<String, Compared> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
