//! A plug-in's commit, as the writer runs it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock::now_ms;
use crate::dialect::{Compiled, Rules};
use crate::fence::Budget;
use crate::{Committed, Durability, Error, FullTextEntry, Message, Rows, Value};

use super::authorizer::Mode;
use super::connect::PAGE;
use super::exec::{self, Fault};
use super::raw::Bind;
use super::shared::Shared;
use super::writer::{Member, Writer, int, uint};

/// Commit ids are trimmed once per so many.
const TRIM_EVERY: u64 = 256;

/// A checked statement with bindable parameters.
pub(super) struct ReadyStatement {
    pub(super) compiled: Arc<Compiled>,
    pub(super) rows: Vec<Vec<Value>>,
    pub(super) expect: Option<u64>,
}

/// A checked batch.
pub(super) struct ReadyBatch {
    /// The plug-in's name.
    pub(super) name: String,
    /// The prefix of its tables.
    pub(super) plugin: String,
    pub(super) rules: Arc<Rules>,
    pub(super) id: Option<String>,
    pub(super) statements: Vec<ReadyStatement>,
    pub(super) positions: u32,
    pub(super) messages: Vec<Message>,
    pub(super) done: Option<u64>,
    pub(super) wake: Vec<String>,
    pub(super) full_text: Vec<FullTextEntry>,
    pub(super) durability: Durability,
    pub(super) time: Duration,
    pub(super) budget: Budget,
    pub(super) commit_ids: u64,
    pub(super) outbox_cap: u64,
    /// Bytes in use beyond which it must not make the database larger.
    pub(super) max_bytes: Option<u64>,
}

/// A batch in the writer's queue.
pub(super) struct CommitJob {
    pub(super) batch: ReadyBatch,
    pub(super) result: Committed,
    pub(super) reply: oneshot::Sender<Result<Committed, Error>>,
    pub(super) queued: Instant,
}

impl CommitJob {
    fn duplicate_of(&self, writer: &mut Writer<'_>) -> Result<Option<Committed>, Error> {
        let Some(id) = &self.batch.id else { return Ok(None) };
        let mut found = None;
        writer.host(
            "SELECT first_position, affected FROM tessera_commits WHERE plugin = ?1 AND id = ?2",
            &[Bind::Text(&self.batch.name), Bind::Text(id)],
            |row| {
                let affected = serde_json::from_str(&row.text(1)).unwrap_or_default();
                found = Some(Committed {
                    first_position: uint(row.int(0)),
                    affected,
                    returned: Vec::new(),
                    duplicate: true,
                });
            },
        )?;
        Ok(found)
    }

    fn statements(
        &self,
        writer: &mut Writer<'_>,
        first: u64,
        committed: &mut Committed,
    ) -> Result<(), Error> {
        let batch = &self.batch;
        let mut budget = batch.budget;
        let deadline = Instant::now() + batch.time;
        writer.raw.set_deadline(Some(deadline));
        for (index, statement) in batch.statements.iter().enumerate() {
            let conflict =
                || Error::Conflict { statement: u32::try_from(index).unwrap_or(u32::MAX) };
            writer.raw.set_mode(Mode::Plugin(batch.rules.clone(), statement.compiled.clone()));
            let mut returned = Rows::default();
            let mut affected = 0;
            let once = [Vec::new()];
            let rows = if statement.rows.is_empty() { &once } else { statement.rows.as_slice() };
            for params in rows {
                // The engine looks at the clock within long statements only.
                if Instant::now() >= deadline {
                    return Err(Error::Timeout);
                }
                let compiled = &statement.compiled;
                exec::run(&mut writer.raw, compiled, params, first, &mut budget, &mut returned)
                    .map_err(|fault| match fault {
                        Fault::Sql(e) if e.is_conflict() => conflict(),
                        Fault::Sql(e) => match Error::from(e) {
                            Error::Invalid(text) => {
                                Error::Invalid(format!("statement {index}: {text}"))
                            }
                            other => other,
                        },
                        Fault::Ours(e) => e,
                    })?;
                affected += writer.raw.changes();
            }
            if statement.expect.is_some_and(|expected| expected != affected) {
                return Err(conflict());
            }
            committed.affected.push(affected);
            committed.returned.push(returned);
        }
        Ok(())
    }

    fn messages(&self, writer: &mut Writer<'_>, position: u64) -> Result<(), Error> {
        let now = now_ms();
        for message in &self.batch.messages {
            if !writer.has_consumers(&message.topic)? {
                continue;
            }
            if writer.outbox >= self.batch.outbox_cap {
                return Err(Error::Unavailable(format!(
                    "{} messages wait for consumers: none is taken in any more",
                    writer.outbox
                )));
            }
            writer.counters.message += 1;
            let id = writer.counters.message;
            writer.host(
                "INSERT INTO tessera_outbox (id, topic, key, payload, position, emitted_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &[
                    int(id),
                    Bind::Text(&message.topic),
                    Bind::Text(&message.key),
                    Bind::Text(&message.payload),
                    int(position),
                    int(now),
                ],
                |_| {},
            )?;
            writer.outbox += 1;
            writer.emitted.insert(message.topic.clone());
        }
        Ok(())
    }

    /// Pages in use, where there is a cap on them.
    fn pages(&self, writer: &mut Writer<'_>) -> Result<u64, Error> {
        if self.batch.max_bytes.is_none() {
            return Ok(0);
        }
        let all = writer.count("PRAGMA page_count", &[])?;
        Ok(all.saturating_sub(writer.count("PRAGMA freelist_count", &[])?))
    }

    /// Refuses what made the database larger than it may be. The file itself has a little more room, which the host
    /// needs to settle what is stored.
    fn fits(&self, writer: &mut Writer<'_>, before: u64) -> Result<(), Error> {
        let Some(max) = self.batch.max_bytes else { return Ok(()) };
        let bytes = self.pages(writer)?.saturating_mul(PAGE);
        if bytes > max && bytes > before.saturating_mul(PAGE) {
            return Err(Error::Quota(format!("{bytes} bytes, {max} are allowed")));
        }
        Ok(())
    }

    fn remember(&self, writer: &mut Writer<'_>, committed: &Committed) -> Result<(), Error> {
        let Some(id) = &self.batch.id else { return Ok(()) };
        let affected = serde_json::to_string(&committed.affected).unwrap_or_default();
        let mut seq = 0;
        writer.host(
            "INSERT INTO tessera_commits (plugin, id, first_position, affected) \
             VALUES (?1, ?2, ?3, ?4) RETURNING seq",
            &[
                Bind::Text(&self.batch.name),
                Bind::Text(id),
                int(committed.first_position),
                Bind::Text(&affected),
            ],
            |row| seq = uint(row.int(0)),
        )?;
        if seq.is_multiple_of(TRIM_EVERY) {
            let oldest = seq.saturating_sub(self.batch.commit_ids);
            writer.host("DELETE FROM tessera_commits WHERE seq <= ?1", &[int(oldest)], |_| {})?;
        }
        Ok(())
    }
}

impl Member for CommitJob {
    fn run(&mut self, writer: &mut Writer<'_>) -> Result<(), Error> {
        if let Some(duplicate) = self.duplicate_of(writer)? {
            self.result = duplicate;
            return Ok(());
        }
        if let Some(message) = self.batch.done
            && !super::outbox::settle(writer, &self.batch.name, message)?
        {
            self.result = Committed { duplicate: true, ..Committed::default() };
            return Ok(());
        }
        let before = self.pages(writer)?;
        let mut committed = Committed::default();
        let first = writer.counters.position + 1;
        if self.batch.positions > 0 {
            committed.first_position = first;
            writer.counters.position += u64::from(self.batch.positions);
        }
        self.statements(writer, first, &mut committed)?;
        self.messages(writer, committed.first_position)?;
        for entry in &self.batch.full_text {
            super::fulltext::put(writer, &self.batch.plugin, entry)?;
        }
        writer.raw.set_deadline(None);
        self.fits(writer, before)?;
        self.remember(writer, &committed)?;
        self.result = committed;
        Ok(())
    }

    fn relaxed(&self) -> bool {
        self.batch.durability == Durability::Relaxed
    }

    fn wake(&self, shared: &Shared) {
        if !self.batch.wake.is_empty() && !self.result.duplicate {
            shared.wake.committed(&self.batch.wake, shared.horizon.load(Ordering::Acquire));
        }
    }

    fn finish(self: Box<Self>, outcome: Result<(), Error>, shared: &Shared) {
        let counter = match &outcome {
            Ok(()) => &shared.stats.commits,
            Err(Error::Conflict { .. }) => &shared.stats.conflicts,
            Err(_) => &shared.stats.failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        shared.stats.commit_took(self.queued.elapsed());
        // The committer may have gone: its commit stands all the same.
        let Self { reply, result, .. } = *self;
        let _ = reply.send(outcome.map(|()| result));
    }
}
