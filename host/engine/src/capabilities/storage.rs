//! `tessera:host/storage`, on the plug-in's [`tessera_storage::Session`].

use std::time::Duration;

use tessera_storage as db;

use super::log;
use crate::{bindings::tessera::host::storage as wit, state::State};

/// Longest that `lock` may wait, so that a call's time is not spent on what only spares retries.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);

/// Asks a full-text index.
async fn find(
    state: &mut State,
    index: &str,
    words: &str,
    groups: Option<Vec<String>>,
    order: db::Order,
    limit: u32,
    offset: u32,
) -> wasmtime::Result<Result<Vec<wit::Hit>, wit::Error>> {
    state.enter()?;
    state.call.inside = Some("storage");
    let hits = state.caps.session.search(index, words, groups, order, limit, offset).await;
    state.call.inside = None;
    Ok(hits
        .map(|hits| {
            hits.into_iter()
                .map(|hit| wit::Hit { key: hit.key, group: hit.group, rank: hit.rank })
                .collect()
        })
        .map_err(|error| told(state, error)))
}

impl wit::Host for State {
    async fn query(
        &mut self,
        select: wit::Select,
    ) -> wasmtime::Result<Result<wit::Rows, wit::Error>> {
        self.enter()?;
        self.call.inside = Some("storage");
        let rows = self.caps.session.query(select.into()).await;
        self.call.inside = None;
        Ok(rows.map(Into::into).map_err(|error| told(self, error)))
    }

    async fn snapshot(
        &mut self,
        queries: Vec<wit::Select>,
    ) -> wasmtime::Result<Result<wit::Moment, wit::Error>> {
        self.enter()?;
        let queries = queries.into_iter().map(Into::into).collect();
        self.call.inside = Some("storage");
        let snapshot = self.caps.session.snapshot(queries).await;
        self.call.inside = None;
        Ok(snapshot
            .map(|snapshot| wit::Moment {
                horizon: snapshot.horizon,
                results: snapshot.results.into_iter().map(Into::into).collect(),
            })
            .map_err(|error| told(self, error)))
    }

    async fn commit(
        &mut self,
        batch: wit::Batch,
    ) -> wasmtime::Result<Result<wit::Committed, wit::Error>> {
        self.enter()?;
        if let Some(reason) = self.shadow_refuses("commit") {
            return Ok(Err(wit::Error::Refused(reason)));
        }
        for message in &batch.messages {
            if !self.caps.emits.contains(&message.topic) {
                let reason =
                    format!("topic `{}` is not among those that the manifest emits", message.topic);
                log::refused(self, "topic", &reason);
                return Ok(Err(wit::Error::Refused(reason)));
            }
        }
        self.call.inside = Some("storage");
        let committed = self.caps.session.commit(batch.into()).await;
        self.call.inside = None;
        Ok(committed
            .map(|committed| wit::Committed {
                first_position: committed.first_position,
                affected: committed.affected,
                returned: committed.returned.into_iter().map(Into::into).collect(),
                duplicate: committed.duplicate,
            })
            .map_err(|error| told(self, error)))
    }

    async fn search(
        &mut self,
        index: String,
        words: String,
        groups: Option<Vec<String>>,
        limit: u32,
        offset: u32,
    ) -> wasmtime::Result<Result<Vec<wit::Hit>, wit::Error>> {
        find(self, &index, &words, groups, db::Order::Best, limit, offset).await
    }

    async fn search_newest(
        &mut self,
        index: String,
        words: String,
        groups: Option<Vec<String>>,
        limit: u32,
        offset: u32,
    ) -> wasmtime::Result<Result<Vec<wit::Hit>, wit::Error>> {
        find(self, &index, &words, groups, db::Order::Newest, limit, offset).await
    }

    async fn lock(&mut self, keys: Vec<String>, wait_ms: u32) -> wasmtime::Result<bool> {
        self.enter()?;
        // Held and asked for at once, two calls could wait for each other.
        self.call.lock = None;
        if self.call.context.shadow.is_some() {
            // It would hold up those who write. Nobody may rely on a lock.
            return Ok(false);
        }
        let wait = Duration::from_millis(wait_ms.into()).min(LOCK_WAIT_MAX);
        self.call.inside = Some("storage");
        let locked = self.caps.session.lock(keys, wait).await;
        self.call.inside = None;
        match locked {
            Ok(guard) => {
                self.call.lock = Some(guard);
                Ok(true)
            }
            Err(error) => {
                if error != db::Error::Timeout {
                    tracing::debug!(plugin = %self.caps.plugin, %error, "no lock");
                }
                Ok(false)
            }
        }
    }

    fn unlock(&mut self) -> wasmtime::Result<()> {
        self.enter()?;
        self.call.lock = None;
        Ok(())
    }
}

/// An error for the guest; the operator is told of what was refused.
fn told(state: &State, error: db::Error) -> wit::Error {
    if let db::Error::Refused(reason) = &error {
        log::refused(state, "storage", reason);
    }
    error.into()
}

impl From<wit::Value> for db::Value {
    fn from(value: wit::Value) -> Self {
        match value {
            wit::Value::Null => Self::Null,
            wit::Value::Boolean(value) => Self::Boolean(value),
            wit::Value::Integer(value) => Self::Integer(value),
            wit::Value::Double(value) => Self::Double(value),
            wit::Value::Text(value) => Self::Text(value),
            wit::Value::Blob(value) => Self::Blob(value),
            wit::Value::IntegerList(values) => Self::IntegerList(values),
            wit::Value::TextList(values) => Self::TextList(values),
            wit::Value::Position(offset) => Self::Position(offset),
        }
    }
}

impl From<db::Value> for wit::Value {
    fn from(value: db::Value) -> Self {
        match value {
            db::Value::Null => Self::Null,
            db::Value::Boolean(value) => Self::Boolean(value),
            db::Value::Integer(value) => Self::Integer(value),
            db::Value::Double(value) => Self::Double(value),
            db::Value::Text(value) => Self::Text(value),
            db::Value::Blob(value) => Self::Blob(value),
            db::Value::IntegerList(values) => Self::IntegerList(values),
            db::Value::TextList(values) => Self::TextList(values),
            db::Value::Position(offset) => Self::Position(offset),
        }
    }
}

fn values(values: Vec<wit::Value>) -> Vec<db::Value> {
    values.into_iter().map(Into::into).collect()
}

impl From<wit::Select> for db::Query {
    fn from(select: wit::Select) -> Self {
        Self { sql: select.sql, params: values(select.params) }
    }
}

impl From<db::Rows> for wit::Rows {
    fn from(rows: db::Rows) -> Self {
        let row = |row: Vec<db::Value>| row.into_iter().map(Into::into).collect();
        Self { columns: rows.columns, rows: rows.rows.into_iter().map(row).collect() }
    }
}

impl From<wit::Batch> for db::Batch {
    fn from(batch: wit::Batch) -> Self {
        let statement = |statement: wit::Statement| db::Statement {
            sql: statement.sql,
            rows: statement.params.into_iter().map(values).collect(),
            expect: statement.expect,
        };
        let message = |message: wit::Message| db::Message {
            topic: message.topic,
            key: message.key,
            payload: message.payload,
        };
        let entry = |entry: wit::TextEntry| db::FullTextEntry {
            index: entry.index,
            key: entry.key,
            group: entry.group,
            text: entry.text,
        };
        Self {
            id: batch.id,
            statements: batch.statements.into_iter().map(statement).collect(),
            positions: batch.positions,
            messages: batch.messages.into_iter().map(message).collect(),
            done: batch.done,
            wake: batch.wake,
            full_text: batch.text_entries.into_iter().map(entry).collect(),
            durability: match batch.durability {
                wit::Durability::Durable => db::Durability::Durable,
                wit::Durability::Relaxed => db::Durability::Relaxed,
            },
        }
    }
}

impl From<db::Error> for wit::Error {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Conflict { statement } => Self::Conflict(statement),
            db::Error::Refused(text) => Self::Refused(text),
            db::Error::Invalid(text) => Self::Invalid(text),
            db::Error::TooLarge(text) => Self::TooLarge(text),
            db::Error::Timeout => Self::Timeout,
            db::Error::Busy => Self::Busy,
            db::Error::Unavailable(text) => Self::Unavailable(text),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
