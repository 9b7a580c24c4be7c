//! The dialect in SQLite's words.

use std::fmt::Write as _;

use crate::dialect::{Flavor, Kind};

/// SQLite.
pub(crate) struct Sqlite;

impl Flavor for Sqlite {
    fn param(&self, out: &mut String, n: usize) {
        // `$1` would be a named parameter here, numbered by first use.
        let _ = write!(out, "?{n}");
    }

    fn list(&self, out: &mut String, n: usize) {
        let _ = write!(out, "(SELECT value FROM json_each(?{n}))");
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
