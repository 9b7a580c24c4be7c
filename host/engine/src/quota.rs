//! What one tenant may use, and what it has used.

mod rate;
mod window;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde::Serialize;

pub(crate) use self::{rate::Rate, window::Window};
use crate::api::CallError;

/// Caps of one tenant; what is absent has no limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TenantQuotas {
    /// CPU seconds of its plug-ins each second, over ten seconds: a burst may use ten times as much at once.
    pub cpu: Option<f64>,
    /// Bytes of all its instances. Looked at before an instance is made; one that runs may grow to its own cap.
    pub memory: Option<u64>,
    /// Outbound requests each minute.
    pub fetches_per_minute: Option<f64>,
    /// Mails each minute.
    pub mails_per_minute: Option<f64>,
    /// What `limits.cap` gives, by name.
    pub counts: BTreeMap<String, u64>,
}

impl From<&tessera_manifest::Quotas> for TenantQuotas {
    fn from(quotas: &tessera_manifest::Quotas) -> Self {
        Self {
            cpu: quotas.cpu,
            memory: quotas.memory.map(|size| size.get()),
            fetches_per_minute: quotas.fetches_per_minute,
            mails_per_minute: quotas.mails_per_minute,
            counts: quotas.counts.iter().map(|(name, cap)| (name.to_string(), *cap)).collect(),
        }
    }
}

/// What a tenant uses on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// CPU seconds of its plug-ins since it awoke.
    pub cpu_seconds: f64,
    /// CPU seconds each second, over the last ten.
    pub cpu: f64,
    /// Bytes of its instances.
    pub memory: u64,
    /// Its instances.
    pub instances: u64,
    /// Outbound requests since it awoke.
    pub fetches: u64,
    /// Mails since it awoke.
    pub mails: u64,
    /// Calls that were refused because of a quota, since it awoke.
    pub refused: u64,
}

/// Seconds over which CPU is looked at.
const CPU_WINDOW: u64 = 10;

/// Counts what one tenant uses. Shared by all that runs for it; all of it is atomic.
pub(crate) struct Account {
    quotas: ArcSwap<TenantQuotas>,
    /// Whether there is one of CPU; spares the look.
    limits_cpu: AtomicBool,
    begun: Instant,
    cpu: Window,
    cpu_total: AtomicU64,
    cpu_rate: Rate,
    memory: AtomicU64,
    instances: AtomicU64,
    fetches: AtomicU64,
    fetch_rate: Rate,
    mails: AtomicU64,
    mail_rate: Rate,
    refused: AtomicU64,
    /// Guests of it that are being polled or may be ([`crate::fair`]).
    pub(crate) running: AtomicU32,
}

impl Account {
    pub(crate) fn new(quotas: TenantQuotas) -> Self {
        Self {
            limits_cpu: AtomicBool::new(quotas.cpu.is_some()),
            quotas: ArcSwap::from_pointee(quotas),
            begun: Instant::now(),
            cpu: Window::default(),
            cpu_total: AtomicU64::new(0),
            cpu_rate: Rate::default(),
            memory: AtomicU64::new(0),
            instances: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            fetch_rate: Rate::default(),
            mails: AtomicU64::new(0),
            mail_rate: Rate::default(),
            refused: AtomicU64::new(0),
            running: AtomicU32::new(0),
        }
    }

    pub(crate) fn set(&self, quotas: TenantQuotas) {
        self.limits_cpu.store(quotas.cpu.is_some(), Ordering::Relaxed);
        self.quotas.store(quotas.into());
    }

    /// Nanoseconds since the account was opened.
    fn now(&self) -> u64 {
        nanos(self.begun.elapsed())
    }

    /// CPU time that a guest took, up to `now`.
    pub(crate) fn charge(&self, took: Duration, now: Instant) {
        let now = nanos(now.saturating_duration_since(self.begun));
        let took = nanos(took);
        self.cpu.add(now, took);
        self.cpu_total.fetch_add(took, Ordering::Relaxed);
        if self.limits_cpu.load(Ordering::Relaxed)
            && let Some(cpu) = self.quotas.load().cpu
        {
            self.cpu_rate.take(now, took, cpu, CPU_WINDOW * SECOND);
        }
    }

    /// How long until the tenant is within its CPU again; zero if it is.
    pub(crate) fn over_cpu(&self) -> Duration {
        if !self.limits_cpu.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.cpu_rate.over(self.now()))
    }

    /// Whether a call may begin.
    pub(crate) fn admit(&self) -> Result<(), CallError> {
        let over = self.over_cpu();
        if over.is_zero() { Ok(()) } else { Err(self.refuse("cpu", over)) }
    }

    /// Nanoseconds of CPU in this second and the one before: who used least lately goes first.
    pub(crate) fn lately(&self) -> u64 {
        self.cpu.sum(self.now(), 2)
    }

    /// An error for a call that is refused.
    pub(crate) fn refuse(&self, what: &str, retry_after: Duration) -> CallError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        CallError::Quota {
            retry_after: retry_after.max(Duration::from_millis(1)),
            what: what.to_owned(),
        }
    }

    /// Whether another instance may be made.
    pub(crate) fn has_memory(&self) -> bool {
        let quota = self.quotas.load().memory;
        quota.is_none_or(|quota| self.memory.load(Ordering::Relaxed) < quota)
    }

    pub(crate) fn grow(&self, bytes: usize) {
        self.memory.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Gives back what [`Account::grow`] counted.
    pub(crate) fn shrink(&self, bytes: usize) {
        self.memory.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn instance(&self) {
        self.instances.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn instance_gone(&self) {
        self.instances.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an outbound request; the error is the time after which there may be another.
    pub(crate) fn fetch(&self) -> Result<(), Duration> {
        self.each_minute(self.quotas.load().fetches_per_minute, &self.fetch_rate, &self.fetches)
    }

    /// Counts a mail; the error is the time after which there may be another.
    pub(crate) fn mail(&self) -> Result<(), Duration> {
        self.each_minute(self.quotas.load().mails_per_minute, &self.mail_rate, &self.mails)
    }

    fn each_minute(
        &self,
        quota: Option<f64>,
        rate: &Rate,
        so_far: &AtomicU64,
    ) -> Result<(), Duration> {
        if let Some(quota) = quota {
            // The rate counts in nanoseconds: one of them is a minute's worth, shared out.
            rate.try_take(self.now(), 60 * SECOND, quota, 60 * SECOND)
                .map_err(Duration::from_nanos)?;
        }
        so_far.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn cap(&self, name: &str) -> Option<u64> {
        self.quotas.load().counts.get(name).copied()
    }

    pub(crate) fn usage(&self) -> Usage {
        let recent = Duration::from_nanos(self.cpu.sum(self.now(), CPU_WINDOW));
        Usage {
            cpu_seconds: Duration::from_nanos(self.cpu_total.load(Ordering::Relaxed)).as_secs_f64(),
            cpu: recent.as_secs_f64() / 10.0,
            memory: self.memory.load(Ordering::Relaxed),
            instances: self.instances.load(Ordering::Relaxed),
            fetches: self.fetches.load(Ordering::Relaxed),
            mails: self.mails.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

const SECOND: u64 = 1_000_000_000;

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(quotas: TenantQuotas) -> Account {
        Account::new(quotas)
    }

    #[test]
    fn without_quotas_all_may() {
        let account = account(TenantQuotas::default());
        account.charge(Duration::from_secs(1_000), Instant::now());
        account.grow(usize::MAX >> 1);
        assert_eq!(account.admit(), Ok(()));
        assert!(account.has_memory());
        assert!((0..1_000).all(|_| account.fetch().is_ok()));
        assert_eq!(account.cap("users"), None);
        assert_eq!(account.usage().refused, 0);
    }

    #[test]
    fn over_its_cpu_no_call_begins_until_it_is_paid_for() {
        let account = account(TenantQuotas { cpu: Some(0.5), ..TenantQuotas::default() });
        account.charge(Duration::from_secs(4), Instant::now());
        assert_eq!(account.admit(), Ok(()), "ten seconds' worth at once");
        account.charge(Duration::from_secs(61), Instant::now());
        let Err(CallError::Quota { retry_after, what }) = account.admit() else {
            unreachable!("admitted")
        };
        assert_eq!(what, "cpu");
        // Sixty of them at half a second each second.
        assert!((100..=120).contains(&retry_after.as_secs()), "{retry_after:?}");
        assert_eq!(account.usage().refused, 1);
        account.set(TenantQuotas::default());
        assert_eq!(account.admit(), Ok(()));
    }

    #[test]
    fn fetches_and_counts_are_capped() {
        let counts = [("users".to_owned(), 3)].into();
        let fetches_per_minute = Some(2.0);
        let account = account(TenantQuotas { fetches_per_minute, counts, ..Default::default() });
        assert_eq!((account.fetch(), account.fetch()), (Ok(()), Ok(())));
        assert!(account.fetch().unwrap_err() > Duration::from_secs(1));
        assert_eq!(account.usage().fetches, 2);
        assert_eq!((account.cap("users"), account.cap("rooms")), (Some(3), None));
    }
}
