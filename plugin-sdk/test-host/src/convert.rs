//! Between the types of the SDK and those of the storage crate.

use tessera_sdk::bindings::host::storage as sdk;
use tessera_storage as host;

fn to_host(value: &sdk::Value) -> host::Value {
    match value.clone() {
        sdk::Value::Null => host::Value::Null,
        sdk::Value::Boolean(b) => host::Value::Boolean(b),
        sdk::Value::Integer(n) => host::Value::Integer(n),
        sdk::Value::Double(x) => host::Value::Double(x),
        sdk::Value::Text(text) => host::Value::Text(text),
        sdk::Value::Blob(bytes) => host::Value::Blob(bytes),
        sdk::Value::IntegerList(list) => host::Value::IntegerList(list),
        sdk::Value::TextList(list) => host::Value::TextList(list),
        sdk::Value::Position(offset) => host::Value::Position(offset),
    }
}

fn to_sdk(value: host::Value) -> sdk::Value {
    match value {
        host::Value::Null => sdk::Value::Null,
        host::Value::Boolean(b) => sdk::Value::Boolean(b),
        host::Value::Integer(n) => sdk::Value::Integer(n),
        host::Value::Double(x) => sdk::Value::Double(x),
        host::Value::Text(text) => sdk::Value::Text(text),
        host::Value::Blob(bytes) => sdk::Value::Blob(bytes),
        host::Value::IntegerList(list) => sdk::Value::IntegerList(list),
        host::Value::TextList(list) => sdk::Value::TextList(list),
        host::Value::Position(offset) => sdk::Value::Position(offset),
    }
}

pub(crate) fn query(select: &sdk::Select) -> host::Query {
    host::Query { sql: select.sql.clone(), params: select.params.iter().map(to_host).collect() }
}

pub(crate) fn rows(rows: host::Rows) -> sdk::Rows {
    sdk::Rows {
        columns: rows.columns,
        rows: rows.rows.into_iter().map(|row| row.into_iter().map(to_sdk).collect()).collect(),
    }
}

pub(crate) fn moment(snapshot: host::Snapshot) -> sdk::Moment {
    sdk::Moment {
        horizon: snapshot.horizon,
        results: snapshot.results.into_iter().map(rows).collect(),
    }
}

pub(crate) fn batch(batch: &sdk::Batch) -> host::Batch {
    let statement = |statement: &sdk::Statement| host::Statement {
        sql: statement.sql.clone(),
        rows: statement.params.iter().map(|row| row.iter().map(to_host).collect()).collect(),
        expect: statement.expect,
    };
    let message = |message: &sdk::Message| host::Message {
        topic: message.topic.clone(),
        key: message.key.clone(),
        payload: message.payload.clone(),
    };
    let entry = |entry: &sdk::TextEntry| host::FullTextEntry {
        index: entry.index.clone(),
        key: entry.key.clone(),
        group: entry.group.clone(),
        text: entry.text.clone(),
    };
    host::Batch {
        id: batch.id.clone(),
        statements: batch.statements.iter().map(statement).collect(),
        positions: batch.positions,
        messages: batch.messages.iter().map(message).collect(),
        done: batch.done,
        wake: batch.wake.clone(),
        full_text: batch.text_entries.iter().map(entry).collect(),
        durability: match batch.durability {
            sdk::Durability::Durable => host::Durability::Durable,
            sdk::Durability::Relaxed => host::Durability::Relaxed,
        },
    }
}

pub(crate) fn committed(committed: host::Committed) -> sdk::Committed {
    sdk::Committed {
        first_position: committed.first_position,
        affected: committed.affected,
        returned: committed.returned.into_iter().map(rows).collect(),
        duplicate: committed.duplicate,
    }
}

pub(crate) fn hit(hit: host::Hit) -> sdk::Hit {
    sdk::Hit { key: hit.key, group: hit.group, rank: hit.rank }
}

pub(crate) fn error(error: host::Error) -> sdk::Error {
    match error {
        host::Error::Conflict { statement } => sdk::Error::Conflict(statement),
        host::Error::Refused(text) => sdk::Error::Refused(text),
        host::Error::Invalid(text) => sdk::Error::Invalid(text),
        host::Error::TooLarge(text) => sdk::Error::TooLarge(text),
        host::Error::Timeout => sdk::Error::Timeout,
        host::Error::Busy => sdk::Error::Busy,
        host::Error::Unavailable(text) => sdk::Error::Unavailable(text),
        other => sdk::Error::Unavailable(other.to_string()),
    }
}
