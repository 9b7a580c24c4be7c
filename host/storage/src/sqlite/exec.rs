//! Running compiled statements on a raw connection: binding, reading rows, caps.

use crate::dialect::Compiled;
use crate::fence::{Budget, VALUE};
use crate::{Error, Rows, Value};

use super::code::SqlError;
use super::raw::{Bind, Cellv, Key, Raw, Row};

/// An error of a run: the engine's, or ours.
pub(super) enum Fault {
    Sql(SqlError),
    Ours(Error),
}

impl From<SqlError> for Fault {
    fn from(e: SqlError) -> Self {
        Self::Sql(e)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sql(e) => e.into(),
            Fault::Ours(e) => e,
        }
    }
}

pub(super) fn bind(value: &Value, first_position: u64) -> Bind<'_> {
    match value {
        // Lists have become JSON text by now (`session::listed`).
        Value::Null | Value::IntegerList(_) | Value::TextList(_) => Bind::Null,
        Value::Boolean(v) => Bind::Integer(i64::from(*v)),
        Value::Integer(v) => Bind::Integer(*v),
        Value::Double(v) => Bind::Double(*v),
        Value::Text(v) => Bind::Text(v),
        Value::Blob(v) => Bind::Blob(v),
        Value::Position(n) => {
            Bind::Integer(i64::try_from(first_position + u64::from(*n)).unwrap_or(i64::MAX))
        }
    }
}

pub(super) fn read(row: &Row<'_>, column: usize, boolean: bool) -> Result<(Value, usize), Fault> {
    Ok(match row.get(column) {
        Cellv::Null => (Value::Null, VALUE),
        Cellv::Integer(v @ (0 | 1)) if boolean => (Value::Boolean(v == 1), VALUE),
        Cellv::Integer(v) => (Value::Integer(v), VALUE),
        Cellv::Double(v) => (Value::Double(v), VALUE),
        Cellv::Text(v) => match std::str::from_utf8(v) {
            Ok(text) => (Value::Text(text.to_owned()), VALUE + v.len()),
            Err(_) => return Err(Fault::Ours(Error::Invalid("text that is not UTF-8".to_owned()))),
        },
        Cellv::Blob(v) => (Value::Blob(v.to_vec()), VALUE + v.len()),
    })
}

/// Runs one statement once and appends its rows to `into`. The mode must be set.
pub(super) fn run(
    raw: &mut Raw<'_>,
    compiled: &Compiled,
    params: &[Value],
    first_position: u64,
    budget: &mut Budget,
    into: &mut Rows,
) -> Result<(), Fault> {
    let stmt = raw.prepare(Key::Plugin(compiled.id), &compiled.sql)?;
    let width = stmt.columns().len();
    let mut boolean = stmt.boolean().to_vec();
    for truth in &compiled.truths {
        if let Some(slot) = boolean.get_mut(*truth) {
            *slot = true;
        }
    }
    if into.columns.is_empty() {
        into.columns = stmt.columns().to_vec();
    }
    let binds: Vec<Bind<'_>> = params.iter().map(|p| bind(p, first_position)).collect();
    stmt.run(&binds, |row| {
        budget.row(into.rows.len()).map_err(Fault::Ours)?;
        let mut values = Vec::with_capacity(width);
        for (column, boolean) in boolean.iter().enumerate() {
            let (value, size) = read(row, column, *boolean)?;
            budget.spend(size).map_err(Fault::Ours)?;
            values.push(value);
        }
        into.rows.push(values);
        Ok(())
    })
}
