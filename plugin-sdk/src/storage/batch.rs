//! A commit, built step by step.

use super::value::{escape, words};
use super::{Committed, Durability, Error, Message, Statement, TextEntry, Value};
use crate::backend;
use crate::bindings::host::storage::Batch as Wire;

/// What becomes true together or not at all. Nothing happens before [`Batch::commit`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `commit`"]
pub struct Batch(Wire);

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty, durable batch.
    pub fn new() -> Self {
        Self(Wire {
            id: None,
            statements: Vec::new(),
            positions: 0,
            messages: Vec::new(),
            done: None,
            wake: Vec::new(),
            text_entries: Vec::new(),
            durability: Durability::Durable,
        })
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.0.statements.is_empty() && self.0.messages.is_empty() && self.0.done.is_none()
    }

    /// Adds a statement that runs once. Its index in `conflict` is the number of those before it.
    pub fn run(self, sql: &str, params: Vec<Value>) -> Self {
        self.run_many(sql, vec![params])
    }

    /// Adds a statement that runs once for each parameter row; none at all for no rows.
    pub fn run_many(mut self, sql: &str, rows: Vec<Vec<Value>>) -> Self {
        if !rows.is_empty() {
            self.0.statements.push(Statement { sql: sql.to_owned(), params: rows, expect: None });
        }
        self
    }

    /// How many rows the last statement must touch, else the commit fails with `conflict`.
    pub fn expect(mut self, rows: u64) -> Self {
        if let Some(last) = self.0.statements.last_mut() {
            last.expect = Some(rows);
        }
        self
    }

    /// Asks for `n` more positions and gives the offset of the first of them, for [`super::position`].
    pub fn take_positions(&mut self, n: u32) -> u32 {
        let first = self.0.positions;
        self.0.positions += n;
        first
    }

    /// Makes a repetition of this commit do nothing.
    pub fn id(mut self, id: &str) -> Self {
        self.0.id = Some(id.to_owned());
        self
    }

    /// Emits a message on a durable topic.
    pub fn emit(mut self, topic: &str, key: &str, payload: String) -> Self {
        self.0.messages.push(Message { topic: topic.to_owned(), key: key.to_owned(), payload });
        self
    }

    /// Records a message as handled.
    pub fn done(mut self, message: u64) -> Self {
        self.0.done = Some(message);
        self
    }

    /// Wakes a topic once the commit can be seen.
    pub fn wake(mut self, topic: impl Into<String>) -> Self {
        let topic = topic.into();
        if !self.0.wake.contains(&topic) {
            self.0.wake.push(topic);
        }
        self
    }

    /// Adds, replaces or (with `None`) removes an entry of a full-text index. U+0000 in the text parts words.
    pub fn text(mut self, index: &str, key: &str, group: &str, text: Option<String>) -> Self {
        let id = |id: &str| escape(id).unwrap_or_else(|| id.to_owned());
        self.0.text_entries.push(TextEntry {
            index: index.to_owned(),
            key: id(key),
            group: id(group),
            text: text.map(|text| words(&text).into_owned()),
        });
        self
    }

    /// A crash may lose it. For typing, presence and last-seen only.
    pub fn relaxed(mut self) -> Self {
        self.0.durability = Durability::Relaxed;
        self
    }

    /// Makes a batch true that rests on nothing that was read and has no guard of its own. It can only meet another in the
    /// database (a deadlock), and then it is tried again.
    ///
    /// # Errors
    /// As [`Batch::commit`]; `conflict` only if it does not end.
    pub fn commit_blind(self) -> Result<Committed, Error> {
        const TRIES: usize = 5;
        for _ in 1..TRIES {
            match backend::with(|host| host.commit(&self.0)) {
                Err(Error::Conflict(_)) => {}
                other => return other,
            }
        }
        self.commit()
    }

    /// Makes it true.
    ///
    /// # Errors
    /// See `tessera:host/storage`. On any error nothing was changed.
    pub fn commit(self) -> Result<Committed, Error> {
        backend::with(|host| host.commit(&self.0))
    }
}
