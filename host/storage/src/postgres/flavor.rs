//! The dialect in PostgreSQL's words.

use std::fmt::Write as _;

use crate::dialect::{Call, Flavor, Kind};

/// PostgreSQL, for one tenant's schema.
pub(crate) struct Postgres {
    /// The schema's name, quoted.
    pub(crate) schema: String,
}

/// What PostgreSQL counts in `integer` and the dialect in `bigint`. Two casts: the outer one alone
/// would make a parameter an `integer`.
const SMALL: (&str, &str) = ("CAST(CAST(", " AS bigint) AS integer)");

impl Flavor for Postgres {
    fn param(&self, out: &mut String, n: usize) {
        let _ = write!(out, "${n}");
    }

    fn in_list(&self, out: &mut String, negated: bool, n: usize) {
        let _ = if negated { write!(out, " <> ALL(${n})") } else { write!(out, " = ANY(${n})") };
    }

    fn relation(&self, out: &mut String, name: &str) {
        let _ = write!(out, "{}.\"{name}\"", self.schema);
    }

    fn integer(&self, out: &mut String, digits: &str) {
        // A bare literal is an `integer` here.
        let _ = write!(out, "CAST({digits} AS bigint)");
    }

    fn double(&self, out: &mut String, number: &str) {
        let _ = write!(out, "CAST({number} AS double precision)");
    }

    fn text(&self, out: &mut String, text: &str) {
        let _ = write!(out, "(CAST('{text}' AS text) COLLATE \"C\")");
    }

    fn column_type(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Text => "text COLLATE \"C\"",
            other => self.cast_type(other),
        }
    }

    fn cast_type(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Bigint => "bigint",
            Kind::Text => "text",
            Kind::Blob => "bytea",
            Kind::Boolean => "boolean",
            Kind::Double => "double precision",
        }
    }

    fn key_type(&self) -> &'static str {
        "bigint"
    }

    fn type_check(&self, _out: &mut String, _column: &str, _kind: Kind) {}

    fn call(&self, name: &str) -> Call {
        match name {
            // The engine's own gives numeric.
            "sum" => Call { name: Some("tessera.sum"), ..Call::default() },
            "avg" => Call { around: ("CAST(", " AS double precision)"), ..Call::default() },
            "length" => Call { around: ("CAST(", " AS bigint)"), ..Call::default() },
            // The engine's own rounds a half to the even.
            "round" => Call {
                name: Some("tessera.round"),
                first: ("CAST(", " AS double precision)"),
                ..Call::default()
            },
            // A-Z only.
            "lower" | "upper" => Call { first: ("(", " COLLATE \"C\")"), ..Call::default() },
            "substr" => Call { others: SMALL, ..Call::default() },
            _ => Call::default(),
        }
    }

    fn offset_argument(&self) -> (&'static str, &'static str) {
        SMALL
    }

    fn member(&self) -> (&'static str, &'static str) {
        ("(", ")")
    }

    fn upsert_from_subquery(&self) -> bool {
        // It would fix the types of parameters before their columns are known.
        false
    }

    fn null_is_smallest(&self) -> bool {
        false
    }

    fn keys_are_indexes(&self) -> bool {
        true
    }

    fn has_without_rowid(&self) -> bool {
        false
    }
}
