//! The one writer of a database: groups waiting work into durable transactions.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::Error;

use super::catalog;
use super::raw::{Bind, Key, Raw};
use super::shared::Shared;

/// Numbers given out, kept in memory and stored once per transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) position: u64,
    pub(super) message: u64,
    pub(super) timer: u64,
}

/// Work that shares a transaction with other work. `run` may be called again after its effects
/// were rolled back through no fault of its own.
pub(super) trait Member: Send {
    fn run(&mut self, writer: &mut Writer<'_>) -> Result<(), Error>;
    /// Whether a crash may take it.
    fn relaxed(&self) -> bool {
        false
    }
    /// Called after COMMIT and before any `finish` of the group.
    fn wake(&self, _shared: &Shared) {}
    fn finish(self: Box<Self>, outcome: Result<(), Error>, shared: &Shared);
}

/// What the writer takes from its queue.
pub(super) enum Work {
    Member(Box<dyn Member>),
    /// Runs outside of any transaction, alone.
    Alone(Box<dyn FnOnce(&mut Writer<'_>) + Send>),
    /// Ends the writer; what was queued before is done.
    Close,
}

/// The writer's state on its thread.
pub(super) struct Writer<'h> {
    pub(super) raw: Raw<'h>,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Counters,
    stored: Counters,
    /// Consumers per topic; `None`: to be read again.
    consumers: Option<HashMap<String, Vec<String>>>,
    /// Rows in the outbox, and how many there were at the last COMMIT.
    pub(super) outbox: u64,
    outbox_stored: u64,
    /// Topics where a consumer moved in this transaction.
    pub(super) moved: HashSet<String>,
    /// Topics that got messages in this transaction.
    pub(super) emitted: HashSet<String>,
    synchronous: bool,
}

/// For binding; numbers of the host stay far below.
pub(super) fn int(value: u64) -> Bind<'static> {
    Bind::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// For reading back.
pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

impl<'h> Writer<'h> {
    pub(super) fn new(raw: Raw<'h>, shared: Arc<Shared>) -> Result<Self, Error> {
        let zero = Counters { position: 0, message: 0, timer: 0 };
        let mut this = Self {
            raw,
            shared,
            counters: zero,
            stored: zero,
            consumers: None,
            outbox: 0,
            outbox_stored: 0,
            moved: HashSet::new(),
            emitted: HashSet::new(),
            synchronous: true,
        };
        let mut counters = zero;
        this.host("SELECT position, message, timer FROM tessera_sequence", &[], |row| {
            counters = Counters {
                position: uint(row.int(0)),
                message: uint(row.int(1)),
                timer: uint(row.int(2)),
            };
        })?;
        this.counters = counters;
        this.stored = counters;
        this.outbox = this.count("SELECT count(*) FROM tessera_outbox", &[])?;
        this.outbox_stored = this.outbox;
        this.shared.horizon.store(counters.position, Ordering::Release);
        this.load_catalog()?;
        Ok(this)
    }

    /// Takes up what was written past the members: counters and the outbox.
    pub(super) fn reread(&mut self) -> Result<(), Error> {
        self.forget_consumers();
        self.outbox = self.count("SELECT count(*) FROM tessera_outbox", &[])?;
        self.outbox_stored = self.outbox;
        self.shared.horizon.store(self.counters.position, Ordering::Release);
        Ok(())
    }

    /// Runs a statement of the host's.
    pub(super) fn host(
        &mut self,
        sql: &'static str,
        params: &[Bind<'_>],
        mut row: impl FnMut(&super::raw::Row<'_>),
    ) -> Result<u64, Error> {
        self.raw.set_mode(super::authorizer::Mode::Host);
        let stmt = self.raw.prepare(Key::Host(sql), sql)?;
        stmt.run::<Error>(params, |r| {
            row(r);
            Ok(())
        })?;
        Ok(self.raw.changes())
    }

    /// The first integer of the first row; 0 without one.
    pub(super) fn count(&mut self, sql: &'static str, params: &[Bind<'_>]) -> Result<u64, Error> {
        let mut found = 0;
        self.host(sql, params, |row| found = uint(row.int(0)))?;
        Ok(found)
    }

    /// Who consumes a topic.
    pub(super) fn has_consumers(&mut self, topic: &str) -> Result<bool, Error> {
        if self.consumers.is_none() {
            let mut map: HashMap<String, Vec<String>> = HashMap::new();
            self.host("SELECT topic, consumer FROM tessera_consumers", &[], |row| {
                map.entry(row.text(0)).or_default().push(row.text(1));
            })?;
            self.consumers = Some(map);
        }
        Ok(self.consumers.as_ref().is_some_and(|map| map.contains_key(topic)))
    }

    /// The table of consumers changed, or may have.
    pub(super) fn forget_consumers(&mut self) {
        self.consumers = None;
    }

    /// Reads what tables and views there are, and lets all connections forget their statements.
    pub(super) fn load_catalog(&mut self) -> Result<(), Error> {
        let catalog = catalog::load(self)?;
        self.shared.catalog.store(Arc::new(catalog));
        self.shared.generation.fetch_add(1, Ordering::Release);
        self.raw.clear();
        Ok(())
    }

    pub(super) fn begin(&mut self) -> Result<(), Error> {
        self.raw.set_deadline(None);
        self.host("BEGIN IMMEDIATE", &[], |_| {}).map(|_| ())
    }

    pub(super) fn rollback(&mut self) {
        self.raw.set_deadline(None);
        if self.raw.in_transaction()
            && let Err(error) = self.host("ROLLBACK", &[], |_| {})
        {
            tracing::error!(%error, "cannot roll back");
        }
        self.counters = self.stored;
        self.outbox = self.outbox_stored;
        self.moved.clear();
        self.emitted.clear();
        self.forget_consumers();
    }

    /// Stores the counters, removes what all have consumed, and commits. On an error the
    /// transaction is gone.
    pub(super) fn commit(&mut self) -> Result<(), Error> {
        self.raw.set_deadline(None);
        let mut gone = 0;
        let result = self.before_commit(&mut gone).and_then(|()| {
            let start = Instant::now();
            let result = self.host("COMMIT", &[], |_| {}).map(|_| ());
            self.shared.stats.sync_micros.fetch_add(micros(start), Ordering::Relaxed);
            result
        });
        match result {
            Ok(()) => {
                self.outbox = self.outbox.saturating_sub(gone);
                self.outbox_stored = self.outbox;
                self.stored = self.counters;
                self.moved.clear();
                Ok(())
            }
            Err(error) => {
                self.rollback();
                Err(error)
            }
        }
    }

    fn before_commit(&mut self, gone: &mut u64) -> Result<(), Error> {
        for topic in std::mem::take(&mut self.moved) {
            *gone += self.host(
                "DELETE FROM tessera_outbox WHERE topic = ?1 AND id <= \
                 (SELECT coalesce(min(after), 9223372036854775807) FROM tessera_consumers \
                 WHERE topic = ?1)",
                &[Bind::Text(&topic)],
                |_| {},
            )?;
        }
        let Counters { position, message, timer } = self.counters;
        if self.counters != self.stored {
            self.host(
                "UPDATE tessera_sequence SET position = ?1, message = ?2, timer = ?3",
                &[int(position), int(message), int(timer)],
                |_| {},
            )?;
        }
        Ok(())
    }

    fn set_synchronous(&mut self, full: bool) -> Result<(), Error> {
        if self.synchronous != full {
            self.raw.set_mode(super::authorizer::Mode::Host);
            self.raw.once(if full {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            })?;
            self.synchronous = full;
        }
        Ok(())
    }

    /// Runs members in one transaction. Gives each one's outcome; `Err` in the outer result: the
    /// transaction could not be made durable. When a member takes the whole transaction down
    /// (time-out, full disk), it alone fails and the others run again.
    fn group(&mut self, members: &mut [Box<dyn Member>]) -> Result<Vec<Result<(), Error>>, Error> {
        let mut fallen: HashMap<usize, Error> = HashMap::new();
        'again: loop {
            self.begin()?;
            let savepoints = members.len() - fallen.len() > 1;
            let mut outcomes = Vec::with_capacity(members.len());
            for (i, member) in members.iter_mut().enumerate() {
                if let Some(error) = fallen.get(&i) {
                    outcomes.push(Err(error.clone()));
                    continue;
                }
                let (counters, rows) = (self.counters, self.outbox);
                if savepoints {
                    self.host("SAVEPOINT member", &[], |_| {})?;
                }
                let outcome = member.run(self);
                self.raw.set_deadline(None);
                if let Err(error) = &outcome {
                    self.counters = counters;
                    self.outbox = rows;
                    self.forget_consumers();
                    if !self.raw.in_transaction() || !savepoints {
                        self.rollback();
                        fallen.insert(i, error.clone());
                        if fallen.len() == members.len() {
                            return Ok(fallen_outcomes(members.len(), &fallen));
                        }
                        continue 'again;
                    }
                    self.host("ROLLBACK TO member", &[], |_| {})?;
                }
                if savepoints {
                    self.host("RELEASE member", &[], |_| {})?;
                }
                outcomes.push(outcome);
            }
            return self.commit().map(|()| outcomes);
        }
    }

    fn serve(&mut self, mut members: Vec<Box<dyn Member>>) {
        let relaxed = members.iter().all(|m| m.relaxed());
        let result = self.set_synchronous(!relaxed).and_then(|()| self.group(&mut members));
        let stats = &self.shared.stats;
        stats.groups.fetch_add(1, Ordering::Relaxed);
        stats.group_members.fetch_add(members.len() as u64, Ordering::Relaxed);
        let outcomes = match result {
            Ok(outcomes) => {
                self.shared.horizon.store(self.counters.position, Ordering::Release);
                let topics: Vec<String> = self.emitted.drain().collect();
                let shared = &self.shared;
                // It is on disk: whatever a listener does, the committers are told so.
                let told = catch_unwind(AssertUnwindSafe(|| {
                    for (member, outcome) in members.iter().zip(&outcomes) {
                        if outcome.is_ok() {
                            member.wake(shared);
                        }
                    }
                    if !topics.is_empty() {
                        shared.wake.emitted(&topics);
                    }
                }));
                if told.is_err() {
                    tracing::error!("a listener of commits panicked");
                }
                outcomes
            }
            Err(error) => {
                self.rollback();
                tracing::warn!(%error, members = members.len(), "transaction failed");
                members.iter().map(|_| Err(error.clone())).collect()
            }
        };
        for (member, outcome) in members.into_iter().zip(outcomes) {
            member.finish(outcome, &self.shared);
        }
    }

    /// Serves the queue until all senders are gone.
    pub(super) fn run(mut self, queue: &mut mpsc::Receiver<Work>, group: usize) {
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(work) => work,
                None => match queue.blocking_recv() {
                    Some(work) => work,
                    None => return,
                },
            };
            let mut members = match first {
                Work::Alone(job) => {
                    if let Err(error) = self.set_synchronous(true) {
                        tracing::error!(%error, "cannot switch to full durability");
                    }
                    job(&mut self);
                    self.rollback();
                    continue;
                }
                Work::Member(member) => vec![member],
                Work::Close => {
                    queue.close();
                    return;
                }
            };
            while members.len() < group.max(1) {
                match queue.try_recv() {
                    Ok(Work::Member(member)) => members.push(member),
                    Ok(other) => {
                        held = Some(other);
                        break;
                    }
                    Err(_) => break,
                }
            }
            self.serve(members);
        }
    }
}

fn fallen_outcomes(count: usize, fallen: &HashMap<usize, Error>) -> Vec<Result<(), Error>> {
    (0..count).map(|i| fallen.get(&i).map_or(Ok(()), |e| Err(e.clone()))).collect()
}

/// Microseconds since `start`.
pub(super) fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
