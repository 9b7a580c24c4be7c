//! Rows as Rust values.

use super::Value;
use super::value::unescape;

/// A column held something else than asked for: a fault in the plug-in or its view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: expected {expected}, found {found}")]
pub struct RowError {
    column: usize,
    expected: &'static str,
    found: &'static str,
}

/// What a column can become.
pub trait FromValue: Sized {
    /// Its name in error messages.
    const EXPECTED: &'static str;
    /// The value, or what it was instead.
    ///
    /// # Errors
    /// The value itself, if it is of another type.
    fn from_value(value: Value) -> Result<Self, Value>;
}

/// What a row can become.
pub trait FromRow: Sized {
    /// Takes the columns in order; further ones are ignored.
    ///
    /// # Errors
    /// The first column that does not fit.
    fn from_row(row: Vec<Value>) -> Result<Self, RowError>;
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) => "integer",
        Value::Double(_) => "double",
        Value::Text(_) => "text",
        Value::Blob(_) => "blob",
        Value::IntegerList(_) | Value::TextList(_) => "list",
        Value::Position(_) => "position",
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Text(text) => Ok(unescape(text)),
            other => Err(other),
        }
    }
}

impl FromValue for i64 {
    const EXPECTED: &'static str = "integer";
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Integer(n) => Ok(n),
            other => Err(other),
        }
    }
}

impl FromValue for u64 {
    const EXPECTED: &'static str = "integer from 0";
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Integer(n) => Self::try_from(n).map_err(|_| Value::Integer(n)),
            other => Err(other),
        }
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "boolean";
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Boolean(b) => Ok(b),
            // Expressions have no declared type on SQLite (docs/sql.md).
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            other => Err(other),
        }
    }
}

impl FromValue for f64 {
    const EXPECTED: &'static str = "double";
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Double(x) => Ok(x),
            other => Err(other),
        }
    }
}

impl FromValue for Vec<u8> {
    const EXPECTED: &'static str = "blob";
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Blob(bytes) => Ok(bytes),
            other => Err(other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: FromValue),+> FromRow for ($($name,)+) {
            fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
                let mut columns = row.into_iter().enumerate();
                let mut index = 0;
                let tuple = ($({
                    let (column, value) = columns.next().unwrap_or((index, Value::Null));
                    index = column + 1;
                    $name::from_value(value).map_err(|value| RowError {
                        column,
                        expected: $name::EXPECTED,
                        found: kind(&value),
                    })?
                },)+);
                let _ = index;
                Ok(tuple)
            }
        }
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);
tuples!(A B C D E F G H I J K L M);
tuples!(A B C D E F G H I J K L M N);
tuples!(A B C D E F G H I J K L M N O);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_becomes_a_tuple() {
        let row = vec![Value::Text("a".into()), Value::Null, Value::Integer(7)];
        assert_eq!(<(String, Option<String>, u64)>::from_row(row), Ok(("a".to_owned(), None, 7)));
    }

    #[test]
    fn wrong_type_names_the_column() {
        let error = <(String, i64)>::from_row(vec![Value::Text("a".into()), Value::Null]);
        assert_eq!(error.unwrap_err().to_string(), "column 1: expected integer, found null");
    }
}
