//! The dialect in SQLite's words.

use std::fmt::Write as _;

use crate::dialect::{Call, Flavor, Kind};

/// SQLite.
pub(crate) struct Sqlite;

impl Flavor for Sqlite {
    fn param(&self, out: &mut String, n: usize) {
        // `$1` would be a named parameter here, numbered by first use.
        let _ = write!(out, "?{n}");
    }

    fn in_list(&self, out: &mut String, negated: bool, n: usize) {
        let not = if negated { "NOT " } else { "" };
        let _ = write!(out, " {not}IN (SELECT value FROM json_each(?{n}))");
    }

    fn relation(&self, out: &mut String, name: &str) {
        let _ = write!(out, "\"{name}\"");
    }

    fn integer(&self, out: &mut String, digits: &str) {
        out.push_str(digits);
    }

    fn double(&self, out: &mut String, number: &str) {
        out.push_str(number);
    }

    fn text(&self, out: &mut String, text: &str) {
        let _ = write!(out, "'{text}'");
    }

    fn cast_type(&self, kind: Kind) -> &'static str {
        self.column_type(kind)
    }

    fn call(&self, _name: &str) -> Call {
        Call::default()
    }

    fn offset_argument(&self) -> (&'static str, &'static str) {
        ("", "")
    }

    fn member(&self) -> (&'static str, &'static str) {
        // No parentheses around a member of a UNION here.
        ("SELECT * FROM (", ")")
    }

    fn upsert_from_subquery(&self) -> bool {
        true
    }

    fn null_is_smallest(&self) -> bool {
        true
    }

    fn keys_are_indexes(&self) -> bool {
        false
    }

    fn has_without_rowid(&self) -> bool {
        true
    }

    fn column_type(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Bigint => "bigint",
            Kind::Text => "text",
            Kind::Blob => "blob",
            Kind::Boolean => "boolean",
            Kind::Double => "double",
        }
    }

    fn key_type(&self) -> &'static str {
        // This very word makes the column the table's own key instead of a second tree.
        "integer"
    }

    fn type_check(&self, out: &mut String, column: &str, kind: Kind) {
        let types = match kind {
            Kind::Bigint => "'integer'",
            Kind::Text => "'text'",
            Kind::Blob => "'blob'",
            Kind::Double => "'real'",
            Kind::Boolean => {
                let _ = write!(out, " CHECK (\"{column}\" IN (0, 1))");
                return;
            }
        };
        // A CHECK that is NULL passes; typeof(NULL) is 'null'.
        let _ = write!(out, " CHECK (typeof(\"{column}\") IN ({types}, 'null'))");
    }
}
