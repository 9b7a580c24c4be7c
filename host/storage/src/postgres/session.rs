//! A plug-in's reads: checked here, sent as one message each.

use crate::types::Order;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::dialect::Compiled;
use crate::fence::{Budget, Compiler, Fence, MAX_HITS, VALUE, check, gone};
use crate::{
    Batch, Committed, Error, Hit, Limits, Query, Rows, SessionGrant, Snapshot, Value, params,
};

use super::meta::Meta;
use super::ops::ask_on;
use super::pool::{Leased, Line, Stop};
use super::script::{Script, Step, Type, param, value};
use super::{Engine, fulltext};

/// How much longer than the server we wait: the server is to say that the time is over.
const GRACE: Duration = Duration::from_millis(500);

/// The engine's side of [`crate::Session`].
#[derive(Clone)]
pub(crate) struct EngineSession {
    pub(super) engine: Arc<Engine>,
    pub(super) fence: Arc<Fence>,
    pub(super) limits: Limits,
}

/// A query ready to run.
type ReadyQuery = (Arc<Compiled>, Vec<Value>);

/// Milliseconds for the server's own clock.
pub(super) fn timeout_sql(time: Duration) -> String {
    format!("SET LOCAL statement_timeout = {}", time.as_millis().clamp(1, 1 << 30))
}

impl EngineSession {
    pub(crate) fn new(engine: Arc<Engine>, grant: SessionGrant) -> Self {
        let fence = engine.fences.get(grant.plugin, grant.reads, &engine.flavor);
        Self { engine, fence, limits: grant.limits }
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.fence.plugin
    }

    pub(super) fn compiler(&self) -> Arc<Compiler> {
        let engine = &self.engine;
        self.fence.compiler(engine.generation.load(Ordering::Acquire), &engine.catalog.load())
    }

    async fn ready(&self, queries: &[Query]) -> Result<Vec<ReadyQuery>, Error> {
        let limits = &self.limits;
        if queries.len() > limits.statements {
            return Err(Error::TooLarge(format!("more than {} queries", limits.statements)));
        }
        let compiler = self.compiler();
        let mut bytes = limits.bytes;
        let mut ready = Vec::with_capacity(queries.len());
        for query in queries {
            let compiled = compiler.compile(&query.sql, limits, false).await?;
            params::prepare(&compiled, &query.params, None, &mut bytes)?;
            ready.push((compiled, query.params.clone()));
        }
        Ok(ready)
    }

    pub(crate) async fn query(&self, query: Query) -> Result<Rows, Error> {
        let snapshot = self.read(vec![query], false).await?;
        snapshot.results.into_iter().next().ok_or_else(gone)
    }

    pub(crate) async fn snapshot(&self, queries: Vec<Query>) -> Result<Snapshot, Error> {
        self.read(queries, true).await
    }

    async fn read(&self, queries: Vec<Query>, together: bool) -> Result<Snapshot, Error> {
        let this = self.clone();
        // Once more where the schema has changed under it, or the connection was gone.
        let mut again = true;
        loop {
            let ready = this.ready(&queries).await?;
            let (session, generation) =
                (this.clone(), this.engine.generation.load(Ordering::Acquire));
            let work = async move { Ok(session.read_once(ready, together).await) };
            match this.engine.detached(work).await? {
                Err(stop) if again && (stop.lost() || stop.sql().is_some_and(|e| e.is_stale())) => {
                    again = false;
                    if !stop.lost() && this.engine.generation.load(Ordering::Acquire) == generation
                    {
                        this.engine.load_catalog().await?;
                    }
                }
                Err(stop) => return Err(stop.into()),
                Ok(snapshot) => return Ok(snapshot),
            }
        }
    }

    async fn read_once(&self, ready: Vec<ReadyQuery>, together: bool) -> Result<Snapshot, Stop> {
        let engine = &self.engine;
        let _permit = engine.reading.enter().await?;
        let mut leased = engine.lease().await?;
        let role = engine.ready_role(&mut leased, &self.fence).await?;
        let mut script = Script::default();
        let metas = engine
            .know(&mut leased, &mut script, ready.iter().map(|(compiled, _)| compiled))
            .await?;
        let known = engine.horizon.known();
        let mut look = usize::MAX;
        if together {
            // The horizon first, then the moment that the queries see.
            script.push(Step::Host, &engine.look_sql());
            look = script.steps.len() - 1;
            script.push(Step::Quiet, "COMMIT");
            script.push(Step::Quiet, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
            leased.in_transaction = true;
        }
        script.push(Step::Quiet, &format!("SET LOCAL ROLE \"{role}\""));
        script.push(Step::Quiet, &timeout_sql(self.limits.time));
        for (i, ((compiled, params), meta)) in ready.iter().zip(&metas).enumerate() {
            execute(&mut script, compiled, meta, params, i)?;
        }
        if together {
            script.push(Step::Commit, "COMMIT");
        }
        let mut budget = Budget::of(&self.limits);
        let before = budget.bytes;
        let mut snapshot = Snapshot { horizon: known, results: Vec::new() };
        for meta in &metas {
            snapshot.results.push(Rows { columns: meta.columns.clone(), rows: Vec::new() });
        }
        let run = leased.run(&script, |step, line| {
            if step == look {
                let horizon =
                    line.bytes(0)?.and_then(|b| std::str::from_utf8(b).ok()?.parse().ok());
                snapshot.horizon = snapshot.horizon.max(horizon.unwrap_or(0));
            } else if let Some(Step::Plugin(i)) = script.steps.get(step)
                && let (Some(rows), Some(meta)) = (snapshot.results.get_mut(*i), metas.get(*i))
            {
                read_row(&line, meta, &mut budget, rows)?;
            }
            Ok(())
        });
        let time = self.limits.time * u32::try_from(ready.len().clamp(1, 4)).unwrap_or(1) + GRACE;
        let result = match tokio::time::timeout(time, run).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(Stop::from(Error::Timeout)),
        };
        engine.stats.reads.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(()) => leased.in_transaction = false,
            Err(stop) => {
                leased.rollback().await;
                if stop.sql().is_some_and(|e| e.is_stale()) {
                    leased.discard();
                }
                return Err(stop);
            }
        }
        drop(leased);
        let rows: usize = snapshot.results.iter().map(|r| r.rows.len()).sum();
        engine.stats.rows.fetch_add(rows as u64, Ordering::Relaxed);
        engine.stats.bytes.fetch_add((before - budget.bytes) as u64, Ordering::Relaxed);
        if together {
            engine.horizon.reached(snapshot.horizon, &*engine.wake);
        }
        Ok(snapshot)
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
        let engine = &self.engine;
        let plugin = &self.fence.plugin;
        self.fence.searchable(&engine.catalog.load(), index, query, &self.limits)?;
        if groups.iter().flatten().any(|group| group.contains('\0')) {
            return Err(Error::Invalid("U+0000 in a group".to_owned()));
        }
        let search = fulltext::Search {
            plugin,
            index,
            query,
            groups: groups.as_deref(),
            order,
            limit: limit.min(MAX_HITS),
            offset,
        };
        let Some(sql) = fulltext::search(&engine.schema, &search)? else { return Ok(Vec::new()) };
        let text = format!("{}; {sql}", timeout_sql(self.limits.time));
        let worker = engine.clone();
        let lines = engine
            .detached(async move {
                let _permit = worker.reading.enter().await?;
                let mut leased = worker.lease().await?;
                ask_on(&mut leased, Step::Host, &text).await
            })
            .await?;
        Ok(lines.iter().map(|line| fulltext::hit(line)).collect())
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Committed, Error> {
        check(&batch, &self.limits)?;
        super::commit::commit(self, batch).await
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self { step: usize::MAX, why: super::pool::Why::Ours(error) }
    }
}

/// Adds a run of a statement.
pub(super) fn execute(
    script: &mut Script,
    compiled: &Compiled,
    meta: &Meta,
    params: &[Value],
    index: usize,
) -> Result<(), Error> {
    script.sql.push_str("EXECUTE t");
    script.sql.push_str(&compiled.id.to_string());
    for (i, given) in params.iter().enumerate() {
        script.sql.push(if i == 0 { '(' } else { ',' });
        let kind = meta.params.get(i).copied().unwrap_or(Type::Other);
        param(&mut script.sql, i + 1, given, kind)?;
    }
    if !params.is_empty() {
        script.sql.push(')');
    }
    script.end(Step::Plugin(index));
    Ok(())
}

/// Appends a row of a result.
pub(super) fn read_row(
    line: &Line<'_>,
    meta: &Meta,
    budget: &mut Budget,
    rows: &mut Rows,
) -> Result<(), Error> {
    budget.row(rows.rows.len())?;
    let mut values = Vec::with_capacity(meta.types.len());
    for (column, kind) in meta.types.iter().enumerate() {
        let bytes = line.bytes(column)?;
        let size = match kind {
            // Hexadecimal digits.
            Type::Blob => bytes.map_or(0, |b| b.len() / 2),
            Type::Text => bytes.map_or(0, <[u8]>::len),
            _ => 0,
        };
        budget.spend(VALUE + size)?;
        values.push(bytes.map_or(Ok(Value::Null), |bytes| value(bytes, *kind))?);
    }
    rows.rows.push(values);
    Ok(())
}

impl Engine {
    /// Makes statements known to the connection, at the head of a script; gives what the server says
    /// of each.
    pub(super) async fn know<'a>(
        &self,
        leased: &mut Leased,
        script: &mut Script,
        statements: impl Iterator<Item = &'a Arc<Compiled>>,
    ) -> Result<Vec<Arc<Meta>>, Stop> {
        let mut metas = Vec::new();
        let mut missing: Vec<&Arc<Compiled>> = Vec::new();
        let mut ids = Vec::new();
        for (i, compiled) in statements.enumerate() {
            let meta = match self.metas.get(&compiled.id) {
                Some(meta) => meta,
                None => {
                    let meta = leased
                        .describe(compiled.id, &compiled.sql)
                        .await
                        .map_err(|error| Stop { step: i, why: super::pool::Why::Sql(error) })?;
                    let meta = Arc::new(meta);
                    self.metas.insert(compiled.id, meta.clone());
                    meta
                }
            };
            metas.push(meta);
            ids.push(compiled.id);
            if !leased.knows(compiled.id) && !missing.iter().any(|m| m.id == compiled.id) {
                missing.push(compiled);
            }
        }
        leased.make_room(script, missing.len(), &ids);
        for compiled in missing {
            let prepare = format!("PREPARE t{} AS {}", compiled.id, compiled.sql);
            script.push(Step::Prepare(compiled.id), &prepare);
        }
        Ok(metas)
    }
}
