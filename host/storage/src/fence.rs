//! The first fence as sessions hold it, and what both engines check alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use moka::sync::Cache;
use tokio::task::spawn_blocking;

use crate::catalog::Catalog;
use crate::dialect::{Compiled, Flavor, Rules, compile};
use crate::{Batch, Error, FullTextEntry, Limits, Message};

/// Bytes of SQL text kept compiled per fence.
const COMPILED_BYTES: u64 = 4 << 20;
/// What a compiled statement costs beside its text and its translation.
const COMPILED_OVERHEAD: usize = 512;
/// Positions of one commit: each is a number that readers step over.
const MAX_POSITIONS: u32 = 10_000;
/// Bytes of a commit's id.
const MAX_ID: usize = 255;
/// Bytes of a message's payload: messages speak of rows, they do not carry them.
const MAX_PAYLOAD: usize = 256 << 10;
/// Fences kept: one per plug-in and set of grants.
const MAX_FENCES: usize = 1_024;
/// Rows of one search.
pub(crate) const MAX_HITS: u32 = 1_000;

/// What one call may still give out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Rows per result.
    pub(crate) rows: usize,
    /// Bytes left for all results of the call.
    pub(crate) bytes: usize,
}

impl Budget {
    /// What limits allow.
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { rows: limits.rows, bytes: limits.bytes }
    }

    /// Counts `size` bytes of a result.
    pub(crate) fn spend(&mut self, size: usize) -> Result<(), Error> {
        self.bytes = self
            .bytes
            .checked_sub(size)
            .ok_or_else(|| Error::TooLarge("the results have too many bytes".to_owned()))?;
        Ok(())
    }

    /// Counts a row onto a result that has `rows` already.
    pub(crate) fn row(&mut self, rows: usize) -> Result<(), Error> {
        if rows >= self.rows {
            return Err(Error::TooLarge(format!("more than {} rows", self.rows)));
        }
        self.spend(ROW)
    }
}

/// What a value and a row take in memory beside their texts: short rows are mostly that.
pub(crate) const VALUE: usize = size_of::<crate::Value>();
const ROW: usize = size_of::<Vec<crate::Value>>() + 16;

/// The statements of one generation of the schema.
pub(crate) struct Compiler {
    generation: u64,
    flavor: Arc<dyn Flavor + Send>,
    pub(crate) rules: Arc<Rules>,
    compiled: Cache<String, Arc<Compiled>>,
}

/// The compiled statements of a plug-in under a set of grants.
pub(crate) struct Fence {
    /// The plug-in's name: of its commits, and as consumer.
    pub(crate) name: String,
    /// The prefix of its tables: the name without dashes.
    pub(crate) plugin: String,
    /// Sorted.
    pub(crate) reads: Vec<String>,
    flavor: Arc<dyn Flavor + Send>,
    compiler: Mutex<Option<Arc<Compiler>>>,
}

/// A plug-in and its sorted grants.
type Key = (String, Vec<String>);

/// All fences of a database.
#[derive(Default)]
pub(crate) struct Fences(Mutex<HashMap<Key, Arc<Fence>>>);

impl Fences {
    /// The fence of a plug-in under a set of grants.
    pub(crate) fn get(
        &self,
        plugin: String,
        mut reads: Vec<String>,
        flavor: &Arc<dyn Flavor + Send>,
    ) -> Arc<Fence> {
        reads.sort();
        reads.dedup();
        let key = (plugin, reads);
        let mut fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fences.len() >= MAX_FENCES && !fences.contains_key(&key) {
            fences.clear();
        }
        fences
            .entry(key.clone())
            .or_insert_with(|| {
                let (name, reads) = key;
                let plugin = name.replace('-', "");
                let (flavor, compiler) = (flavor.clone(), Mutex::new(None));
                Arc::new(Fence { name, plugin, reads, flavor, compiler })
            })
            .clone()
    }
}

impl Fence {
    /// Refuses what cannot be searched for.
    pub(crate) fn searchable(
        &self,
        catalog: &Catalog,
        index: &str,
        query: &str,
        limits: &Limits,
    ) -> Result<(), Error> {
        catalog.declared(&self.plugin, index)?;
        if query.contains('\0') || query.len() > limits.sql {
            return Err(Error::Invalid("search text with U+0000 or too long".to_owned()));
        }
        Ok(())
    }

    /// Rebuilt when the schema has changed: names may be taken now that were free.
    pub(crate) fn compiler(&self, generation: u64, catalog: &Catalog) -> Arc<Compiler> {
        let mut guard = self.compiler.lock().unwrap_or_else(PoisonError::into_inner);
        match guard.as_ref() {
            Some(compiler) if compiler.generation == generation => compiler.clone(),
            _ => {
                let (trusted, bases) = catalog.closure(&self.reads);
                // Only views can be granted: a table of that name is not reached.
                let reads = self.reads.iter().filter(|r| catalog.views.contains_key(*r)).cloned();
                let rules = Rules::new(&self.plugin, reads, trusted, bases, catalog.known.clone());
                let compiled = Cache::builder()
                    .max_capacity(COMPILED_BYTES)
                    .weigher(|sql: &String, _| {
                        u32::try_from(sql.len() * 2 + COMPILED_OVERHEAD).unwrap_or(u32::MAX)
                    })
                    .build();
                let (flavor, rules) = (self.flavor.clone(), Arc::new(rules));
                let compiler = Arc::new(Compiler { generation, flavor, rules, compiled });
                *guard = Some(compiler.clone());
                compiler
            }
        }
    }
}

impl Compiler {
    /// Checks and translates a statement, or finds it translated.
    pub(crate) async fn compile(
        &self,
        sql: &str,
        limits: &Limits,
        writes: bool,
    ) -> Result<Arc<Compiled>, Error> {
        if sql.len() > limits.sql {
            return Err(Error::TooLarge(format!("statement of more than {} bytes", limits.sql)));
        }
        let compiled = match self.compiled.get(sql) {
            Some(compiled) => compiled,
            None => {
                // On a stack of its own: the caller may stand on a small one, deep in a guest's calls, and
                // parsing goes as deep as the statement.
                let (text, rules, flavor) =
                    (sql.to_owned(), self.rules.clone(), self.flavor.clone());
                let compiling = spawn_blocking(move || compile(&text, &rules, &*flavor)).await;
                let compiled = compiling.map_err(|_| gone())?.map_err(Error::Refused)?;
                let compiled = Arc::new(compiled);
                self.compiled.insert(sql.to_owned(), compiled.clone());
                compiled
            }
        };
        if compiled.writes != writes {
            return Err(Error::Refused(if writes {
                "a commit takes INSERT, UPDATE and DELETE only".to_owned()
            } else {
                "a query takes SELECT only".to_owned()
            }));
        }
        if compiled.params.len() > limits.params {
            return Err(Error::TooLarge(format!("more than {} parameters", limits.params)));
        }
        Ok(compiled)
    }
}

/// The answer of a database that is closed.
pub(crate) fn gone() -> Error {
    Error::Unavailable("the database is closed".to_owned())
}

/// Says at which statement of a batch a mistake is.
pub(crate) fn at_statement(index: usize, error: Error) -> Error {
    match error {
        Error::Refused(text) => Error::Refused(format!("statement {index}: {text}")),
        Error::Invalid(text) => Error::Invalid(format!("statement {index}: {text}")),
        other => other,
    }
}

/// What can be said of a batch before its statements are looked at.
pub(crate) fn check(batch: &Batch, limits: &Limits) -> Result<(), Error> {
    let parts = [&batch.statements.len(), &batch.messages.len(), &batch.full_text.len()];
    if parts.into_iter().chain([&batch.wake.len()]).any(|n| *n > limits.statements) {
        return Err(Error::TooLarge(format!(
            "more than {} statements, messages, entries or wake topics",
            limits.statements
        )));
    }
    if batch.positions > MAX_POSITIONS {
        return Err(Error::TooLarge(format!("more than {MAX_POSITIONS} positions")));
    }
    if batch.id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
        return Err(Error::TooLarge(format!("commit id of more than {MAX_ID} bytes")));
    }
    if batch.messages.iter().any(|m| m.payload.len() > MAX_PAYLOAD) {
        return Err(Error::TooLarge(format!("payload of more than {MAX_PAYLOAD} bytes")));
    }
    let messages = batch.messages.iter().flat_map(|m| [&m.topic, &m.key, &m.payload]);
    let entries =
        batch.full_text.iter().flat_map(|e| [&e.key, &e.group].into_iter().chain(&e.text));
    if messages.chain(entries).chain(&batch.id).any(|text| text.contains('\0')) {
        return Err(Error::Invalid("U+0000 in an id, a message or a full-text entry".to_owned()));
    }
    Ok(())
}

/// Bytes of a batch that are not parameters.
pub(crate) fn loose_bytes(messages: &[Message], entries: &[FullTextEntry]) -> usize {
    let messages = messages.iter().map(|m| m.topic.len() + m.key.len() + m.payload.len());
    let entries = entries
        .iter()
        .map(|e| e.key.len() + e.group.len() + e.text.as_ref().map_or(0, String::len));
    messages.chain(entries).sum()
}
