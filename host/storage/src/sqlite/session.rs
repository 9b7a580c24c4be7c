//! A plug-in's reads and commits: checked here, run on the readers and the writer.

use crate::types::Order;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::dialect::{Compiled, Rules};
use crate::fence::{Budget, Compiler, Fence, MAX_HITS, at_statement, check, gone, loose_bytes};
use crate::{
    Batch, Committed, Error, Hit, Limits, Query, Rows, SessionGrant, Snapshot, Statement, Value,
    params, quota,
};

use super::authorizer::Mode;
use super::batch::{CommitJob, ReadyBatch, ReadyStatement};
use super::outbox::read;
use super::raw::Raw;
use super::writer::{Work, uint};
use super::{Engine, exec, fulltext};

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
        let fence = engine.fences.get(grant.plugin, grant.reads, &engine.flavor);
        Self { engine, fence, limits: grant.limits }
    }

    fn compiler(&self) -> Arc<Compiler> {
        let shared = &self.engine.shared;
        self.fence.compiler(shared.generation.load(Ordering::Acquire), &shared.catalog.load())
    }

    async fn ready(&self, queries: Vec<Query>) -> Result<(Arc<Rules>, Vec<ReadyQuery>), Error> {
        let limits = &self.limits;
        if queries.len() > limits.statements {
            return Err(Error::TooLarge(format!("more than {} queries", limits.statements)));
        }
        let compiler = self.compiler();
        let mut bytes = limits.bytes;
        let mut ready = Vec::with_capacity(queries.len());
        for mut query in queries {
            let compiled = compiler.compile(&query.sql, limits, false).await?;
            params::prepare(&compiled, &query.params, None, &mut bytes)?;
            listed(&mut query.params)?;
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
            let budget = Budget::of(&limits);
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
            params::prepare(&compiled, &[], Some(positions), bytes)?;
        }
        for row in &mut rows {
            params::prepare(&compiled, row, Some(positions), bytes)?;
            listed(row)?;
        }
        Ok(ReadyStatement { compiled, rows, expect: statement.expect })
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Committed, Error> {
        let limits = &self.limits;
        check(&batch, limits)?;
        let adds = quota::adds(&batch);
        if adds {
            self.engine.within_quota().await?;
        }
        let compiler = self.compiler();
        let mut bytes = limits.bytes;
        let mut statements = Vec::with_capacity(batch.statements.len());
        for (index, statement) in batch.statements.into_iter().enumerate() {
            let ready = self.statement(&compiler, statement, batch.positions, &mut bytes).await;
            statements.push(ready.map_err(|e| at_statement(index, e))?);
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
            budget: Budget::of(limits),
            commit_ids: self.engine.config.commit_ids,
            outbox_cap: self.engine.config.outbox,
            // What does not add may need some room as well, of the host's.
            max_bytes: self.engine.config.max_bytes.map(|max| match adds {
                true => max,
                false => max.saturating_add(quota::slack(max) / 2),
            }),
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
        order: Order,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<Hit>, Error> {
        let plugin = &self.fence.plugin;
        self.fence.searchable(&self.engine.shared.catalog.load(), index, query, &self.limits)?;
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
            order,
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

/// Begins a read transaction; the first read fixes its moment.
fn begin(raw: &mut Raw<'_>) -> Result<u64, Error> {
    let mut horizon = 0;
    read(raw, "BEGIN", &[], |_| {})?;
    read(raw, "SELECT position FROM tessera_sequence", &[], |row| horizon = uint(row.int(0)))?;
    Ok(horizon)
}

/// Turns lists into what `json_each` reads.
fn listed(params: &mut [Value]) -> Result<(), Error> {
    for value in params {
        let json = match value {
            Value::IntegerList(list) => serde_json::to_string(list),
            Value::TextList(list) => serde_json::to_string(list),
            _ => continue,
        };
        *value = Value::Text(json.map_err(|e| Error::Invalid(e.to_string()))?);
    }
    Ok(())
}
