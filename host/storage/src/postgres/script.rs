//! Many statements in one message: a round trip is what costs.
//!
//! The text goes by the simple query protocol. Plug-ins' statements are prepared and called by
//! EXECUTE with their parameters as literals, each checked against the type that the server has
//! found for it; nothing else of what a plug-in says gets into the text.

use std::fmt::Write as _;

use crate::{Error, Value};

/// The type of a parameter or column, as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bigint,
    Text,
    Blob,
    Boolean,
    Double,
    Numeric,
    BigintList,
    TextList,
    Other,
}

impl Type {
    pub(super) fn of(oid: u32) -> Self {
        match oid {
            20 | 21 | 23 | 26 => Self::Bigint,
            25 | 1043 | 1042 | 19 | 705 => Self::Text,
            17 => Self::Blob,
            16 => Self::Boolean,
            700 | 701 => Self::Double,
            1700 => Self::Numeric,
            1016 => Self::BigintList,
            1009 => Self::TextList,
            _ => Self::Other,
        }
    }
}

/// What a statement of a script is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Rows and count are of no interest.
    Quiet,
    /// Makes statement with this id known to the connection.
    Prepare(u64),
    /// Lets the connection forget the statement with this id.
    Deallocate(u64),
    /// A host query whose rows are wanted.
    Host,
    /// A run of the plug-in's statement or query with this index.
    Plugin(usize),
    /// Ends the transaction.
    Commit,
}

/// Statements to send together.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) sql: String,
    pub(super) steps: Vec<Step>,
}

impl Script {
    /// Adds a statement, without its semicolon.
    pub(super) fn push(&mut self, step: Step, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self.end(step)
    }

    /// Ends a statement whose text has been written to `sql`.
    pub(super) fn end(&mut self, step: Step) -> &mut Self {
        self.sql.push_str(";\n");
        self.steps.push(step);
        self
    }
}

/// Writes text as a literal. `standard_conforming_strings` is on in every connection of ours, so the
/// quote is the only character that means something.
pub(super) fn quote(out: &mut String, text: &str) {
    out.push('\'');
    for (i, part) in text.split('\'').enumerate() {
        if i > 0 {
            out.push_str("''");
        }
        out.push_str(part);
    }
    out.push('\'');
}

/// `text` as a literal.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote(&mut out, text);
    out
}

/// A literal, or NULL.
pub(super) fn quoted_or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), quoted)
}

/// An array of texts as a literal.
pub(super) fn text_array<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let mut array = String::from("{");
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            array.push(',');
        }
        array.push('"');
        for c in item.chars() {
            if matches!(c, '"' | '\\') {
                array.push('\\');
            }
            array.push(c);
        }
        array.push('"');
    }
    array.push('}');
    quoted(&array)
}

/// An array of integers as a literal.
pub(super) fn integer_array(items: &[i64]) -> String {
    let items: Vec<String> = items.iter().map(i64::to_string).collect();
    format!("'{{{}}}'", items.join(","))
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn blob(out: &mut String, bytes: &[u8]) {
    out.push_str("'\\x");
    out.reserve(bytes.len() * 2 + 1);
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            out.push(char::from(HEX.get(usize::from(half)).copied().unwrap_or(b'0')));
        }
    }
    out.push('\'');
}

/// Writes parameter `n` (from 1) of a statement.
pub(super) fn param(out: &mut String, n: usize, value: &Value, kind: Type) -> Result<(), Error> {
    let misfit = || {
        let (is, wants) = (name(value), wanted(kind));
        let hint = if kind == Type::Text { " (or has no type of its own: say CAST)" } else { "" };
        Err(Error::Invalid(format!("${n} is {is}, the statement wants {wants}{hint}")))
    };
    match (value, kind) {
        (Value::Null, _) => out.push_str("NULL"),
        (Value::Boolean(v), Type::Boolean) => out.push_str(if *v { "TRUE" } else { "FALSE" }),
        (Value::Integer(v @ (0 | 1)), Type::Boolean) => {
            out.push_str(if *v == 1 { "TRUE" } else { "FALSE" });
        }
        (Value::Boolean(v), Type::Bigint) => out.push_str(if *v { "1" } else { "0" }),
        (Value::Integer(v), Type::Bigint | Type::Double | Type::Numeric) => {
            // In quotes: the smallest number is no literal here, and takes the parameter's type.
            let _ = write!(out, "'{v}'");
        }
        (Value::Position(k), Type::Bigint) => {
            let _ = write!(out, "current_setting('tessera.first')::bigint + {k}");
        }
        (Value::Double(v), Type::Double | Type::Numeric) => {
            let _ = write!(out, "'{v:?}'");
        }
        (Value::Text(v), Type::Text) => quote(out, v),
        (Value::Blob(v), Type::Blob) => blob(out, v),
        (Value::IntegerList(v), Type::BigintList) => out.push_str(&integer_array(v)),
        (Value::TextList(v), Type::TextList) => {
            out.push_str(&text_array(v.iter().map(String::as_str)));
        }
        // Neither matters: no member can be equal.
        (Value::IntegerList(v), Type::TextList) if v.is_empty() => out.push_str("'{}'"),
        (Value::TextList(v), Type::BigintList) if v.is_empty() => out.push_str("'{}'"),
        _ => return misfit(),
    }
    Ok(())
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) | Value::Position(_) => "an integer",
        Value::Double(_) => "a double",
        Value::Text(_) => "text",
        Value::Blob(_) => "a blob",
        Value::IntegerList(_) => "a list of integers",
        Value::TextList(_) => "a list of texts",
    }
}

fn wanted(kind: Type) -> &'static str {
    match kind {
        Type::Bigint => "bigint",
        Type::Text => "text",
        Type::Blob => "blob",
        Type::Boolean => "boolean",
        Type::Double | Type::Numeric => "double precision",
        Type::BigintList => "a list of integers",
        Type::TextList => "a list of texts",
        Type::Other => "a type that the dialect does not have",
    }
}

/// Reads a value of a result from its text form.
pub(super) fn value(bytes: &[u8], kind: Type) -> Result<Value, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::Invalid("text that is not UTF-8".to_owned()))?;
    let wrong = || Error::Invalid(format!("{text} is no value of the dialect"));
    Ok(match kind {
        Type::Bigint => Value::Integer(text.parse().map_err(|_| wrong())?),
        Type::Boolean => Value::Boolean(text == "t"),
        Type::Double => Value::Double(text.parse().map_err(|_| wrong())?),
        Type::Numeric => match text.parse() {
            Ok(integer) => Value::Integer(integer),
            Err(_) => Value::Double(text.parse().map_err(|_| wrong())?),
        },
        Type::Blob => Value::Blob(unhex(text).ok_or_else(wrong)?),
        Type::Text => Value::Text(text.to_owned()),
        Type::BigintList | Type::TextList | Type::Other => return Err(wrong()),
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let half = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(half(*high)? << 4 | half(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_quotes() {
        assert_eq!(quoted("a'; DROP TABLE x; --\\'"), "'a''; DROP TABLE x; --\\'''");
        assert_eq!(quoted("''"), "''''''");
        assert_eq!(text_array(["a\"b", "\\", "it's"]), "'{\"a\\\"b\",\"\\\\\",\"it''s\"}'");
    }

    #[test]
    fn blobs_come_back() {
        let mut out = String::new();
        let bytes: Vec<u8> = (0..=255).collect();
        param(&mut out, 1, &Value::Blob(bytes.clone()), Type::Blob).unwrap();
        let text = out.trim_matches('\'');
        assert_eq!(value(text.as_bytes(), Type::Blob).unwrap(), Value::Blob(bytes));
    }
}
