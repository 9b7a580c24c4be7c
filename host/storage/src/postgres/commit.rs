//! A plug-in's commit: two round trips, or one more for every chunk of many runs.
//!
//! The first message begins, takes positions and runs the statements; the second stores messages, the
//! commit's id and full text, commits, and looks for the horizon.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::clock::now_ms;
use crate::dialect::Compiled;
use crate::fence::{Budget, at_statement, loose_bytes};
use crate::{
    Batch, Committed, Durability, Error, FullTextEntry, Message, Rows, Statement, Value, params,
    quota,
};

use super::Engine;
use super::fulltext;
use super::meta::Meta;
use super::ops::{ask_on, int};
use super::outcome::{Mark, forget_sql, outcome};
use super::pool::{Leased, Stop, Why};
use super::script::{Script, Step, quoted, quoted_or_null};
use super::session::{EngineSession, execute, read_row, timeout_sql};

/// Runs and bytes per message: between two messages the clock is looked at.
const CHUNK_RUNS: usize = 512;
const CHUNK_BYTES: usize = 1 << 20;

/// How much longer than the server we wait.
const GRACE: Duration = Duration::from_millis(500);

/// Commit ids are trimmed once per so many.
const TRIM_EVERY: u64 = 256;

/// The outbox is counted once per so many commits that emit; always where it is small or full.
const COUNT_EVERY: u64 = 64;
const SMALL_OUTBOX: u64 = 1_000;

struct Run {
    compiled: Arc<Compiled>,
    rows: Vec<Vec<Value>>,
    expect: Option<u64>,
}

struct Ready {
    id: Option<String>,
    runs: Vec<Run>,
    positions: u32,
    messages: Vec<Message>,
    done: Option<u64>,
    wake: Vec<String>,
    full_text: Vec<FullTextEntry>,
    durability: Durability,
}

/// What became of an attempt.
enum Outcome {
    Done(Committed),
    /// Another commit of the same id came first.
    Again,
}

async fn ready(session: &EngineSession, batch: Batch) -> Result<Ready, Error> {
    let compiler = session.compiler();
    let mut bytes = session.limits.bytes;
    let mut runs = Vec::with_capacity(batch.statements.len());
    for (index, statement) in batch.statements.into_iter().enumerate() {
        let Statement { sql, rows, expect } = statement;
        let compiled = compiler.compile(&sql, &session.limits, true).await;
        let compiled = compiled.map_err(|e| at_statement(index, e))?;
        let rows = if rows.is_empty() { vec![Vec::new()] } else { rows };
        for row in &rows {
            params::prepare(&compiled, row, Some(batch.positions), &mut bytes)
                .map_err(|e| at_statement(index, e))?;
        }
        runs.push(Run { compiled, rows, expect });
    }
    if loose_bytes(&batch.messages, &batch.full_text) > bytes {
        return Err(Error::TooLarge("the batch has too many bytes".to_owned()));
    }
    let catalog = session.engine.catalog.load();
    for entry in &batch.full_text {
        catalog.declared(&session.fence.plugin, &entry.index)?;
    }
    Ok(Ready {
        id: batch.id,
        runs,
        positions: batch.positions,
        messages: batch.messages,
        done: batch.done,
        wake: batch.wake,
        full_text: batch.full_text,
        durability: batch.durability,
    })
}

/// Runs a batch to its end, whoever waits for it.
pub(super) async fn commit(session: &EngineSession, batch: Batch) -> Result<Committed, Error> {
    let queued = Instant::now();
    let adds = quota::adds(&batch);
    let ready = ready(session, batch).await?;
    let engine = session.engine.clone();
    if adds {
        engine.within_quota().await?;
    }
    let worker = session.clone();
    let result = engine.detached(async move { work(&worker, ready).await }).await;
    let stats = &session.engine.stats;
    let counter = match &result {
        Ok(_) => &stats.commits,
        Err(Error::Conflict { .. }) => &stats.conflicts,
        Err(_) => &stats.failures,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    stats.commit_took(queued.elapsed());
    result
}

async fn work(session: &EngineSession, ready: Ready) -> Result<Committed, Error> {
    let engine = &session.engine;
    let _permit = engine.writing.enter().await?;
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt(session, &ready).await {
            Ok(Outcome::Done(committed)) => return Ok(committed),
            Ok(Outcome::Again) if tries < 3 => {}
            Ok(Outcome::Again) => {
                return Err(Error::Unavailable("the commit's id moves".to_owned()));
            }
            // Nothing was committed: a connection that was gone, or a schema that has changed.
            Err(stop) if tries == 1 && stop.lost() => {}
            Err(stop) if tries == 1 && stop.sql().is_some_and(|e| e.is_stale()) => {
                engine.forget_roles();
            }
            Err(stop) => return Err(stop.into()),
        }
    }
}

/// What the first message's beginning has told.
struct Begun {
    first: u64,
    xid: String,
}

async fn attempt(session: &EngineSession, ready: &Ready) -> Result<Outcome, Stop> {
    let engine = &session.engine;
    let mut leased = engine.lease().await?;
    let role = engine.ready_role(&mut leased, &session.fence).await?;
    let mut script = Script::default();
    let statements = ready.runs.iter().map(|run| &run.compiled);
    let metas = match engine.know(&mut leased, &mut script, statements).await {
        Ok(metas) => metas,
        Err(stop) => return Err(at(stop, Some)),
    };
    leased.in_transaction = true;
    let result = statements_run(session, ready, &metas, &role, &mut leased, script).await;
    let (begun, mut committed) = match result {
        Ok(both) => both,
        Err(stop) => {
            leased.rollback().await;
            return match duplicate(&stop) {
                Some(committed) => Ok(Outcome::Done(committed)),
                None => Err(stop),
            };
        }
    };
    committed.first_position = if ready.positions > 0 { begun.first } else { 0 };
    finish(session, ready, begun, committed, leased).await
}

/// The answer to a repetition.
fn duplicate(stop: &Stop) -> Option<Committed> {
    let error = stop.sql().filter(|error| error.code == "TS000")?;
    let (first, affected) = error.detail.split_once(' ')?;
    Some(Committed {
        first_position: first.parse().ok()?,
        affected: serde_json::from_str(affected).unwrap_or_default(),
        returned: Vec::new(),
        duplicate: true,
    })
}

/// Says which statement of the batch stopped it.
fn at(stop: Stop, statement: impl Fn(usize) -> Option<usize>) -> Stop {
    let Stop { step, why } = stop;
    let Some(index) = statement(step) else { return Stop { step, why } };
    let why = match why {
        Why::Sql(error) if error.is_conflict() => {
            Why::Ours(Error::Conflict { statement: u32::try_from(index).unwrap_or(u32::MAX) })
        }
        Why::Sql(error) if error.broken || error.is_stale() => Why::Sql(error),
        Why::Sql(error) => Why::Ours(at_statement(index, error.into())),
        Why::Ours(error) => Why::Ours(at_statement(index, error)),
    };
    Stop { step, why }
}

/// Begins and runs all statements; a chunk at a time.
async fn statements_run(
    session: &EngineSession,
    ready: &Ready,
    metas: &[Arc<Meta>],
    role: &str,
    leased: &mut Leased,
    mut script: Script,
) -> Result<(Begun, Committed), Stop> {
    let engine = &session.engine;
    let deadline = Instant::now() + session.limits.time;
    script.push(Step::Quiet, "BEGIN");
    script.push(Step::Quiet, &timeout_sql(session.limits.time));
    if ready.durability == Durability::Relaxed {
        script.push(Step::Quiet, "SET LOCAL synchronous_commit = off");
    }
    let takes = u64::from(ready.positions) + ready.messages.len() as u64;
    let done = ready.done.map_or_else(|| "NULL".to_owned(), |id| int(id).to_string());
    let begin = format!(
        "SELECT {}.tessera_begin({}, {}, {done}, {takes})",
        engine.schema,
        quoted(&session.fence.name),
        quoted_or_null(ready.id.as_deref())
    );
    script.push(Step::Host, &begin);
    let host = script.steps.len() - 1;
    script.push(Step::Quiet, &format!("SET LOCAL ROLE \"{role}\""));

    let mut state = State {
        begun: Begun { first: 0, xid: String::new() },
        host: Some(host),
        budget: Budget::of(&session.limits),
        affected: vec![0; ready.runs.len()],
        returned: metas
            .iter()
            .map(|meta| Rows { columns: meta.columns.clone(), rows: Vec::new() })
            .collect(),
        metas,
        deadline,
    };
    let mut runs = 0;
    for (index, (run, meta)) in ready.runs.iter().zip(metas).enumerate() {
        for row in &run.rows {
            execute(&mut script, &run.compiled, meta, row, index)
                .map_err(|e| Stop::from(at_statement(index, e)))?;
            runs += 1;
            if runs >= CHUNK_RUNS || script.sql.len() >= CHUNK_BYTES {
                send(leased, &script, &mut state).await?;
                script = Script::default();
                runs = 0;
            }
        }
    }
    if !script.steps.is_empty() {
        send(leased, &script, &mut state).await?;
    }
    for (index, (run, affected)) in ready.runs.iter().zip(&state.affected).enumerate() {
        if run.expect.is_some_and(|expected| expected != *affected) {
            let statement = u32::try_from(index).unwrap_or(u32::MAX);
            return Err(Error::Conflict { statement }.into());
        }
    }
    let State { begun, affected, returned, .. } = state;
    Ok((begun, Committed { affected, returned, ..Committed::default() }))
}

struct State<'a> {
    begun: Begun,
    /// The step that tells of the beginning, in the first script.
    host: Option<usize>,
    budget: Budget,
    affected: Vec<u64>,
    returned: Vec<Rows>,
    metas: &'a [Arc<Meta>],
    deadline: Instant,
}

async fn send(leased: &mut Leased, script: &Script, state: &mut State<'_>) -> Result<(), Stop> {
    let left = state.deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Timeout.into());
    }
    let host = state.host.take();
    let (begun, returned, budget) = (&mut state.begun, &mut state.returned, &mut state.budget);
    let metas = state.metas;
    let run = leased.run(script, |step, line| {
        if Some(step) == host {
            let told = line.bytes(0)?.unwrap_or_default();
            let told = String::from_utf8_lossy(told);
            if let Some((first, xid)) = told.split_once(' ') {
                *begun = Begun { first: first.parse().unwrap_or(0), xid: xid.to_owned() };
            }
        } else if let Some(Step::Plugin(i)) = script.steps.get(step)
            && let (Some(rows), Some(meta)) = (returned.get_mut(*i), metas.get(*i))
        {
            read_row(&line, meta, budget, rows)?;
        }
        Ok(())
    });
    let counts = match tokio::time::timeout(left + GRACE, run).await {
        Ok(result) => result.map_err(|stop| {
            at(stop, |step| match script.steps.get(step) {
                Some(Step::Plugin(index)) => Some(*index),
                _ => None,
            })
        })?,
        Err(_) => return Err(Error::Timeout.into()),
    };
    for (step, count) in script.steps.iter().zip(counts) {
        if let Step::Plugin(index) = step
            && let Some(affected) = state.affected.get_mut(*index)
        {
            *affected += count;
        }
    }
    Ok(())
}

/// Stores what the host adds, and commits.
async fn finish(
    session: &EngineSession,
    ready: &Ready,
    begun: Begun,
    committed: Committed,
    mut leased: Leased,
) -> Result<Outcome, Stop> {
    let engine = &session.engine;
    let s = &engine.schema;
    let mut script = Script::default();
    script.push(Step::Quiet, "SET LOCAL ROLE NONE");
    let (emits, counted) = emit(engine, ready, &begun, &committed, &mut script);
    for entry in &ready.full_text {
        fulltext::put(&mut script, s, &session.fence.plugin, entry);
    }
    let mut remembers = None;
    if let Some(id) = &ready.id {
        let affected = serde_json::to_string(&committed.affected).unwrap_or_default();
        let sql = format!(
            "INSERT INTO {s}.tessera_commits (plugin, id, first_position, affected) \
             VALUES ({}, {}, {}, '{affected}') RETURNING seq",
            quoted(&session.fence.name),
            quoted(id),
            int(committed.first_position)
        );
        script.push(Step::Host, &sql);
        remembers = Some(script.steps.len() - 1);
    }
    let mut settled = None;
    if let Some(done) = ready.done {
        let sql = format!("SELECT topic FROM {s}.tessera_outbox WHERE id = {}", int(done));
        script.push(Step::Host, &sql);
        settled = Some(script.steps.len() - 1);
    }
    let mark = Mark::leave(&mut leased, &mut script, s)?;
    script.push(Step::Commit, "COMMIT");
    let commits = script.steps.len() - 1;
    script.push(Step::Host, &engine.look_sql());
    let looks = commits + 1;

    let (mut emitted, mut topic, mut seq, mut horizon) = (Vec::new(), None, 0_u64, 0_u64);
    let started = Instant::now();
    let result = leased
        .run(&script, |step, line| {
            let told = String::from_utf8_lossy(line.bytes(0)?.unwrap_or_default()).into_owned();
            if Some(step) == emits {
                emitted.push(told);
            } else if Some(step) == remembers {
                seq = told.parse().unwrap_or(0);
            } else if Some(step) == settled {
                topic = Some(told);
            } else if step == looks {
                horizon = told.parse().unwrap_or(0);
            }
            Ok(())
        })
        .await;
    let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    engine.stats.sync_micros.fetch_add(took, Ordering::Relaxed);
    match result {
        Ok(_) => {}
        // COMMIT was answered; only the look was not.
        Err(stop) if stop.step > commits => {}
        Err(stop) if stop.lost() => {
            drop(leased);
            return match outcome(engine, &begun.xid, &mark).await? {
                true => {
                    emitted = ready.messages.iter().map(|m| m.topic.clone()).collect();
                    tell(engine, ready, &begun, &committed, emitted, 0);
                    Ok(Outcome::Done(committed))
                }
                // It is known not to have happened.
                false => Err(stop),
            };
        }
        Err(stop) => {
            leased.rollback().await;
            if stop.sql().is_some_and(|error| error.code == "TS001") {
                engine.outbox_full.store(true, Ordering::Relaxed);
            }
            let unique = stop.sql().is_some_and(|error| error.code == "23505");
            if unique && Some(stop.step) == remembers {
                return Ok(Outcome::Again);
            }
            return Err(stop);
        }
    }
    leased.in_transaction = false;
    if counted {
        engine.outbox_full.store(false, Ordering::Relaxed);
    }
    engine.stats.groups.fetch_add(1, Ordering::Relaxed);
    engine.stats.group_members.fetch_add(1, Ordering::Relaxed);
    if seq > 0 && seq.is_multiple_of(TRIM_EVERY) {
        let oldest = int(seq.saturating_sub(engine.config.commit_ids));
        let trim =
            format!("DELETE FROM {s}.tessera_commits WHERE seq <= {oldest}; {}", forget_sql(s));
        if let Err(error) = ask_on(&mut leased, Step::Quiet, &trim).await {
            tracing::warn!(%error, "old commit ids are not removed");
        }
    }
    drop(leased);
    tell(engine, ready, &begun, &committed, emitted, horizon);
    if let Some(topic) = topic {
        engine.advance_soon(topic, session.fence.name.clone());
    }
    Ok(Outcome::Done(committed))
}

/// Adds what stores the messages; the number of the step that tells their topics, and whether the outbox is counted.
fn emit(
    engine: &Engine,
    ready: &Ready,
    begun: &Begun,
    committed: &Committed,
    script: &mut Script,
) -> (Option<usize>, bool) {
    if ready.messages.is_empty() {
        return (None, false);
    }
    let (s, cap) = (&engine.schema, engine.config.outbox);
    let mut sql = format!(
        "INSERT INTO {s}.tessera_outbox (id, topic, key, payload, position, emitted_ms) \
         SELECT m.* FROM (VALUES "
    );
    let now = int(now_ms());
    let base = begun.first + u64::from(ready.positions);
    for (i, message) in ready.messages.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        sql.push_str(&format!(
            "{comma}({}::bigint,{}::text,{}::text,{}::text,{}::bigint,{now}::bigint)",
            int(base + i as u64),
            quoted(&message.topic),
            quoted(&message.key),
            quoted(&message.payload),
            int(committed.first_position),
        ));
    }
    sql.push_str(&format!(
        ") AS m (id, topic, key, payload, position, emitted_ms) WHERE EXISTS (SELECT 1 \
         FROM {s}.tessera_consumers AS c WHERE c.topic = m.topic) RETURNING topic"
    ));
    let count = engine.emitting.fetch_add(1, Ordering::Relaxed);
    let full = engine.outbox_full.load(Ordering::Relaxed);
    let counted = cap <= SMALL_OUTBOX || full || count.is_multiple_of(COUNT_EVERY);
    script.push(Step::Host, &sql);
    let emits = script.steps.len() - 1;
    if counted {
        // After the insert: messages to nobody are never too many.
        let room = format!("SELECT {s}.tessera_room({})", int(cap.saturating_add(1)));
        script.push(Step::Quiet, &room);
    }
    (Some(emits), counted)
}

/// Wakes those concerned, now or when the horizon gets there.
fn tell(
    engine: &Arc<Engine>,
    ready: &Ready,
    begun: &Begun,
    committed: &Committed,
    mut emitted: Vec<String>,
    horizon: u64,
) {
    emitted.sort();
    emitted.dedup();
    let takes = u64::from(ready.positions) + ready.messages.len() as u64;
    let until = if takes == 0 { 0 } else { begun.first + takes - 1 };
    engine.horizon.reached(horizon, &*engine.wake);
    let wake = if committed.duplicate { Vec::new() } else { ready.wake.clone() };
    if wake.is_empty() && emitted.is_empty() {
        return;
    }
    if engine.horizon.hold(until, wake, emitted, &*engine.wake) {
        engine.watch_horizon();
    }
}
