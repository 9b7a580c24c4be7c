//! A plug-in's reads and commits: checked here, run on the readers and the writer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use moka::sync::Cache;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::dialect::{Compiled, Rules, compile};
use crate::{
    Batch, Committed, Error, FullTextEntry, Hit, Limits, Message, Query, Rows, SessionGrant,
    Snapshot, Statement, Value,
};

use super::authorizer::Mode;
use super::batch::{CommitJob, ReadyBatch, ReadyStatement};
use super::exec::{self, Budget};
use super::flavor::Sqlite;
use super::outbox::read;
use super::raw::Raw;
use super::writer::{Work, uint};
use super::{Engine, MAX_FENCES, fulltext, gone, params, shared};

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
/// Rows of one search.
const MAX_HITS: u32 = 1_000;

struct Compiler {
    generation: u64,
    rules: Arc<Rules>,
    compiled: Cache<String, Arc<Compiled>>,
}

/// The compiled statements of a plug-in under a set of grants.
pub(super) struct Fence {
    /// The plug-in's name: of its commits, and as consumer.
    name: String,
    /// The prefix of its tables: the name without dashes.
    plugin: String,
    reads: Vec<String>,
    compiler: Mutex<Option<Arc<Compiler>>>,
}

impl Fence {
    /// Rebuilt when the schema has changed: names may be taken now that were free.
    fn compiler(&self, engine: &Engine) -> Arc<Compiler> {
        let generation = engine.shared.generation.load(Ordering::Acquire);
        let mut guard = self.compiler.lock().unwrap_or_else(PoisonError::into_inner);
        match guard.as_ref() {
            Some(compiler) if compiler.generation == generation => compiler.clone(),
            _ => {
                let catalog = engine.shared.catalog.load();
                let (trusted, bases) = shared::closure(&catalog, &self.reads);
                // Only views can be granted: a table of that name is not reached.
                let reads = self.reads.iter().filter(|r| catalog.views.contains_key(*r)).cloned();
                let rules = Rules::new(&self.plugin, reads, trusted, bases, catalog.known.clone());
                let compiled = Cache::builder()
                    .max_capacity(COMPILED_BYTES)
                    .weigher(|sql: &String, _| {
                        u32::try_from(sql.len() * 2 + COMPILED_OVERHEAD).unwrap_or(u32::MAX)
                    })
                    .build();
                let compiler = Arc::new(Compiler { generation, rules: Arc::new(rules), compiled });
                *guard = Some(compiler.clone());
                compiler
            }
        }
    }
}

impl Compiler {
    async fn compile(
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
                let (text, rules) = (sql.to_owned(), self.rules.clone());
                let compiling = spawn_blocking(move || compile(&text, &rules, &Sqlite)).await;
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

/// The engine's side of [`crate::Session`].
#[derive(Clone)]
pub(crate) struct EngineSession {
    engine: Arc<Engine>,
    fence: Arc<Fence>,
    limits: Limits,
}

/// A query ready to run.
type ReadyQuery = (Arc<Compiled>, Vec<Value>);

impl EngineSession {
    pub(crate) fn new(engine: Arc<Engine>, grant: SessionGrant) -> Self {
        let mut reads = grant.reads;
        reads.sort();
        reads.dedup();
        let key = (grant.plugin, reads);
        let mut fences = engine.fences.lock().unwrap_or_else(PoisonError::into_inner);
        if fences.len() >= MAX_FENCES && !fences.contains_key(&key) {
            fences.clear();
        }
        let fence = fences
            .entry(key.clone())
            .or_insert_with(|| {
                let (name, reads) = key;
                let plugin = name.replace('-', "");
                Arc::new(Fence { name, plugin, reads, compiler: Mutex::new(None) })
            })
            .clone();
        drop(fences);
        Self { engine, fence, limits: grant.limits }
    }

    async fn ready(&self, queries: Vec<Query>) -> Result<(Arc<Rules>, Vec<ReadyQuery>), Error> {
        let limits = &self.limits;
        if queries.len() > limits.statements {
            return Err(Error::TooLarge(format!("more than {} queries", limits.statements)));
        }
        let compiler = self.fence.compiler(&self.engine);
        let mut bytes = limits.bytes;
        let mut ready = Vec::with_capacity(queries.len());
        for mut query in queries {
            let compiled = compiler.compile(&query.sql, limits, false).await?;
            params::prepare(&compiled, &mut query.params, None, &mut bytes)?;
            ready.push((compiled, query.params));
        }
        Ok((compiler.rules.clone(), ready))
    }

    pub(crate) async fn query(&self, query: Query) -> Result<Rows, Error> {
        let (rules, ready) = self.ready(vec![query]).await?;
        let job = self.reading(rules, ready, false);
        let snapshot = self.engine.read(job).await?;
        snapshot.results.into_iter().next().ok_or_else(gone)
    }

    pub(crate) async fn snapshot(&self, queries: Vec<Query>) -> Result<Snapshot, Error> {
        let (rules, ready) = self.ready(queries).await?;
        self.engine.read(self.reading(rules, ready, true)).await
    }

    /// What a reader does; `together`: in one transaction, the horizon read in it.
    fn reading(
        &self,
        rules: Arc<Rules>,
        ready: Vec<ReadyQuery>,
        together: bool,
    ) -> impl FnOnce(&mut Raw<'_>) -> Result<Snapshot, Error> + Send + 'static {
        let (limits, shared) = (self.limits.clone(), self.engine.shared.clone());
        move |raw| {
            let budget = Budget { rows: limits.rows, bytes: limits.bytes };
            let mut left = budget;
            raw.set_deadline(Some(Instant::now() + limits.time));
            let mut result = Ok(Snapshot::default());
            if together {
                result = begin(raw).map(|horizon| Snapshot { horizon, results: Vec::new() });
            }
            let result = result.and_then(|mut snapshot| {
                for (compiled, params) in &ready {
                    raw.set_mode(Mode::Plugin(rules.clone(), compiled.clone()));
                    let mut rows = Rows::default();
                    exec::run(raw, compiled, params, 0, &mut left, &mut rows)?;
                    snapshot.results.push(rows);
                }
                Ok(snapshot)
            });
            raw.set_deadline(None);
            if together && raw.in_transaction() {
                read(raw, "ROLLBACK", &[], |_| {})?;
            }
            let stats = &shared.stats;
            stats.reads.fetch_add(1, Ordering::Relaxed);
            if let Ok(snapshot) = &result {
                let rows: usize = snapshot.results.iter().map(|r| r.rows.len()).sum();
                stats.rows.fetch_add(rows as u64, Ordering::Relaxed);
                stats.bytes.fetch_add((budget.bytes - left.bytes) as u64, Ordering::Relaxed);
            }
            result
        }
    }

    async fn statement(
        &self,
        compiler: &Compiler,
        statement: Statement,
        positions: u32,
        bytes: &mut usize,
    ) -> Result<ReadyStatement, Error> {
        let compiled = compiler.compile(&statement.sql, &self.limits, true).await?;
        let mut rows = statement.rows;
        if rows.is_empty() {
            params::prepare(&compiled, &mut [], Some(positions), bytes)?;
        }
        for row in &mut rows {
            params::prepare(&compiled, row, Some(positions), bytes)?;
        }
        Ok(ReadyStatement { compiled, rows, expect: statement.expect })
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Committed, Error> {
        let limits = &self.limits;
        check(&batch, limits)?;
        let compiler = self.fence.compiler(&self.engine);
        let mut bytes = limits.bytes;
        let mut statements = Vec::with_capacity(batch.statements.len());
        for (index, statement) in batch.statements.into_iter().enumerate() {
            let ready = self.statement(&compiler, statement, batch.positions, &mut bytes).await;
            let ready = ready.map_err(|e| match e {
                Error::Refused(text) => Error::Refused(format!("statement {index}: {text}")),
                Error::Invalid(text) => Error::Invalid(format!("statement {index}: {text}")),
                other => other,
            })?;
            statements.push(ready);
        }
        if loose_bytes(&batch.messages, &batch.full_text) > bytes {
            return Err(Error::TooLarge("the batch has too many bytes".to_owned()));
        }
        let ready = ReadyBatch {
            name: self.fence.name.clone(),
            plugin: self.fence.plugin.clone(),
            rules: compiler.rules.clone(),
            id: batch.id,
            statements,
            positions: batch.positions,
            messages: batch.messages,
            done: batch.done,
            wake: batch.wake,
            full_text: batch.full_text,
            durability: batch.durability,
            time: limits.time,
            budget: Budget { rows: limits.rows, bytes: limits.bytes },
            commit_ids: self.engine.config.commit_ids,
            outbox_cap: self.engine.config.outbox,
        };
        let (reply, answer) = oneshot::channel();
        self.engine.submit(Work::Member(Box::new(CommitJob {
            batch: ready,
            result: Committed::default(),
            reply,
            queued: Instant::now(),
        })))?;
        answer.await.map_err(|_| gone())?
    }

    pub(crate) async fn search(
        &self,
        index: &str,
        query: &str,
        groups: Option<Vec<String>>,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<Hit>, Error> {
        let plugin = &self.fence.plugin;
        let declared = (plugin.clone(), index.to_owned());
        if !self.engine.shared.catalog.load().full_text.contains(&declared) {
            return Err(Error::Refused(format!("full-text index {index}: not declared")));
        }
        if query.contains('\0') || query.len() > self.limits.sql {
            return Err(Error::Invalid("search text with U+0000 or too long".to_owned()));
        }
        let groups = match groups {
            None => None,
            Some(groups) => {
                Some(serde_json::to_string(&groups).map_err(|e| Error::Invalid(e.to_string()))?)
            }
        };
        let search = fulltext::Search {
            plugin: plugin.clone(),
            index: index.to_owned(),
            query: query.to_owned(),
            groups,
            limit: limit.min(MAX_HITS),
            offset,
        };
        let time = self.limits.time;
        self.engine
            .read(move |raw| {
                raw.set_deadline(Some(Instant::now() + time));
                let hits = fulltext::search(raw, &search);
                raw.set_deadline(None);
                hits
            })
            .await
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.fence.plugin
    }
}

/// What can be said of a batch before its statements are looked at.
fn check(batch: &Batch, limits: &Limits) -> Result<(), Error> {
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
fn loose_bytes(messages: &[Message], entries: &[FullTextEntry]) -> usize {
    let messages = messages.iter().map(|m| m.topic.len() + m.key.len() + m.payload.len());
    let entries = entries
        .iter()
        .map(|e| e.key.len() + e.group.len() + e.text.as_ref().map_or(0, String::len));
    messages.chain(entries).sum()
}

/// Begins a read transaction; the first read fixes its moment.
fn begin(raw: &mut Raw<'_>) -> Result<u64, Error> {
    let mut horizon = 0;
    read(raw, "BEGIN", &[], |_| {})?;
    read(raw, "SELECT position FROM tessera_sequence", &[], |row| horizon = uint(row.int(0)))?;
    Ok(horizon)
}
