//! What went wrong with each plug-in of a tenant, for its operator: the newest faults and refusals, in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

/// Entries of one plug-in and tenant that are kept.
const ENTRIES_MAX: usize = 200;
/// Plug-ins of one tenant of which entries are kept; more than any tenant has.
const PLUGINS_MAX: usize = 256;
/// Bytes of a reason; more is cut off.
const REASON_MAX: usize = 512;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A call of it ended in a trap, at a limit, or out of time.
    Fault,
    /// The host refused it something: a grant, the address guard, the fence around SQL.
    Denied,
    /// As a module of a hook it refused what it was asked about.
    Refusal,
    /// It failed again and again and takes no calls for a while.
    Paused,
    /// It takes no calls until it is released, or another version is installed.
    Quarantined,
    /// An operator ended its pause or quarantine.
    Released,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What.
    pub event: Event,
    /// Version of the plug-in.
    pub version: String,
    /// The function that was called, such as `handle` or `tessera:hooks/event-policy.check-event`; empty where none was.
    pub function: String,
    /// The limit or fence that stopped it, as in the metric `tessera_limits_hit_total`; empty where none did.
    pub limit: String,
    /// In words.
    pub reason: String,
    /// Of the request that it worked for; empty where there is none.
    pub request_id: String,
}

/// How often a plug-in failed, and how it did last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Faults {
    /// Since the tenant woke.
    pub count: u64,
    /// The newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Entry>,
}

/// What is written down of an event; the rest is known where it is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Note<'a> {
    pub(crate) function: &'a str,
    pub(crate) limit: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) request_id: &'a str,
}

/// The journal of one plug-in and tenant, whatever version of it runs.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    faults: Faults,
}

impl Journal {
    /// Adds an entry; the oldest goes where there is no room.
    pub(crate) fn note(&self, event: Event, version: &str, note: Note<'_>) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let cut = |text: &str| text.get(..text.floor_char_boundary(REASON_MAX)).map(str::to_owned);
        let entry = Entry {
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            event,
            version: version.to_owned(),
            function: note.function.to_owned(),
            limit: note.limit.to_owned(),
            reason: cut(note.reason).unwrap_or_default(),
            request_id: note.request_id.to_owned(),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if event == Event::Fault {
            state.faults.count = state.faults.count.saturating_add(1);
            state.faults.last = Some(entry.clone());
        }
        if state.entries.len() >= ENTRIES_MAX {
            state.entries.pop_front();
        }
        state.entries.push_back(entry);
    }

    /// Oldest first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.entries.iter().cloned().collect()
    }

    pub(crate) fn faults(&self) -> Faults {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).faults.clone()
    }
}

/// The journals of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    of: Mutex<BTreeMap<String, Arc<Journal>>>,
}

impl Journals {
    /// The journal of a plug-in, which outlives its versions.
    pub(crate) fn of(&self, plugin: &str) -> Arc<Journal> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = of.get(plugin) {
            return Arc::clone(journal);
        }
        if of.len() >= PLUGINS_MAX {
            of.pop_first();
        }
        let journal = Arc::<Journal>::default();
        of.insert(plugin.to_owned(), Arc::clone(&journal));
        journal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_are_kept_and_all_faults_are_counted() {
        let journal = Journal::default();
        for n in 0..ENTRIES_MAX + 50 {
            let reason = format!("{n}");
            let note = Note { reason: &reason, limit: "cpu", ..Note::default() };
            journal.note(Event::Fault, "1.0.0", note);
        }
        journal.note(Event::Paused, "1.0.0", Note::default());
        let entries = journal.entries();
        assert_eq!(entries.len(), ENTRIES_MAX);
        assert_eq!(entries.first().map(|entry| entry.reason.as_str()), Some("51"));
        let faults = journal.faults();
        assert_eq!(faults.count, ENTRIES_MAX as u64 + 50);
        assert_eq!(faults.last.map(|entry| entry.reason), Some("249".to_owned()));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let journal = Journal::default();
        let reason = "é".repeat(REASON_MAX);
        journal.note(Event::Denied, "1.0.0", Note { reason: &reason, ..Note::default() });
        assert_eq!(journal.entries()[0].reason.len(), REASON_MAX);
    }

    #[test]
    fn journals_outlive_versions_and_have_a_cap() {
        let journals = Journals::default();
        journals.of("p").note(Event::Fault, "1.0.0", Note::default());
        assert_eq!(journals.of("p").faults().count, 1);
        for n in 0..2 * PLUGINS_MAX {
            journals.of(&format!("x{n}"));
        }
        assert!(journals.of.lock().unwrap().len() <= PLUGINS_MAX);
    }
}
