//! What must hold of the SQL fence for any text at all, for fuzzers. No part of the crate's interface.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    Expr, ObjectName, ObjectNamePart, Statement, visit_expressions, visit_relations,
};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::keywords::ALL_KEYWORDS;
use sqlparser::parser::Parser;

use crate::dialect::{
    Call, Compiled, Flavor, Kind, Rules, compile, function_allowed, migration, relations,
};
use crate::postgres::flavor::Postgres;
use crate::sqlite::flavor::Sqlite;

/// A granted view of another plug-in.
const GRANTED: &str = "rooms_v1_events";
/// The schema of the tenant on PostgreSQL.
const SCHEMA: &str = "tenant_x";
/// What PostgreSQL is given for functions of the dialect.
const POSTGRES_FUNCTIONS: [&str; 2] = ["tessera.sum", "tessera.round"];

/// The fence lets a statement through only as text that it understands again in the same way, and that names
/// nothing but the plug-in's own tables, granted views, and names given by WITH.
///
/// Gives whether there was anything to check: a run that refuses all inputs has shown nothing.
///
/// # Panics
/// Where that does not hold.
pub fn sql(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let rules = rules();
    drop(relations(text));
    let flavor = Postgres { schema: format!("\"{SCHEMA}\"") };
    assert_eq!(
        migration(text, &rules, &Sqlite).is_ok(),
        migration(text, &rules, &flavor).is_ok(),
        "engines differ in the migrations that they take: {text}"
    );
    let Ok(plain) = compile(text, &rules, &Plain) else {
        assert!(
            compile(text, &rules, &Sqlite).is_err(),
            "SQLite takes what another refuses: {text}"
        );
        return false;
    };
    understood_again(text, &plain, &rules);
    let sqlite = compile(text, &rules, &Sqlite);
    let postgres = compile(text, &rules, &flavor);
    assert!(sqlite.is_ok() && postgres.is_ok(), "engines differ in what they take: {text}");
    for (compiled, dialect) in
        [(sqlite, &SQLiteDialect {} as &dyn Dialect), (postgres, &PostgreSqlDialect {})]
    {
        if let Ok(compiled) = compiled {
            names_only_what_is_allowed(text, &compiled, dialect);
        }
    }
    true
}

fn rules() -> Rules {
    let known = ["sync_seen", GRANTED, "rooms_events", "rooms_secrets"].map(str::to_owned);
    let trusted = HashSet::from([GRANTED.to_owned()]);
    let bases = HashSet::from(["rooms_events".to_owned()]);
    Rules::new("sync", [GRANTED.to_owned()], trusted, bases, Arc::new(known.into()))
}

/// Parsing and printing what was printed changes nothing but parentheses around parentheses.
fn understood_again(text: &str, first: &Compiled, rules: &Rules) {
    let printed = without_quotes(&first.sql);
    let second = match compile(&printed, rules, &Plain) {
        Ok(second) => second,
        // Parentheses are written where none were, and they count.
        Err(why) if is_bound(&why) => return,
        Err(why) => {
            assert!(why.is_empty(), "{why}\nof:      {text}\nprinted: {printed}");
            return;
        }
    };
    let ctes = first.ctes.iter().map(|name| renamed(name)).collect::<HashSet<_>>();
    assert_eq!(
        single_parentheses(&printed),
        single_parentheses(&without_quotes(&second.sql)),
        "printed twice: {text}"
    );
    assert_eq!(
        (&first.params, first.writes, &first.truths, &ctes),
        (&second.params, second.writes, &second.truths, &second.ctes),
        "understood twice: {text}"
    );
}

/// Another parser reads the engine's text: each table and function in it must be allowed.
fn names_only_what_is_allowed(text: &str, compiled: &Compiled, dialect: &dyn Dialect) {
    let parser = Parser::new(dialect).with_recursion_limit(150).try_with_sql(&compiled.sql);
    let statements = match parser.and_then(|mut parser| parser.parse_statements()) {
        Ok(statements) => statements,
        Err(why) => {
            let why = why.to_string();
            assert!(is_bound(&why), "{why}\nof:      {text}\nprinted: {}", compiled.sql);
            return;
        }
    };
    let sole = matches!(
        (statements.as_slice(), compiled.writes),
        ([Statement::Query(_)], false)
            | ([Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_)], true)
    );
    assert!(sole, "not one statement of its kind: {text}\nprinted: {}", compiled.sql);
    let done = visit_relations(&statements, |name: &ObjectName| {
        let name = parts(name);
        let name = name.strip_prefix(&format!("{SCHEMA}.")).unwrap_or(&name);
        let allowed = name == GRANTED
            || name
                .strip_prefix("sync_")
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('.'))
            || name == "json_each"
            || compiled.ctes.contains(name);
        if allowed { ControlFlow::Continue(()) } else { ControlFlow::Break(name.to_owned()) }
    });
    assert_eq!(done, ControlFlow::Continue(()), "a table of {text}\nprinted: {}", compiled.sql);
    let done = visit_expressions(&statements, |expr: &Expr| match expr {
        Expr::Function(call) => {
            let name = parts(&call.name);
            let allowed = function_allowed(&name) || POSTGRES_FUNCTIONS.contains(&name.as_str());
            if allowed { ControlFlow::Continue(()) } else { ControlFlow::Break(name) }
        }
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(done, ControlFlow::Continue(()), "a function of {text}\nprinted: {}", compiled.sql);
}

fn parts(name: &ObjectName) -> String {
    let part = |part: &ObjectNamePart| {
        part.as_ident().map_or_else(|| "?".to_owned(), |it| it.value.clone())
    };
    name.0.iter().map(part).collect::<Vec<_>>().join(".")
}

/// Whether a refusal is that of a bound on size.
fn is_bound(why: &str) -> bool {
    ["too deeply", "recursion limit", "words in one statement"].iter().any(|it| why.contains(it))
}

/// The dialect knows no quoted names; texts stay as they are, for they have no escapes. Names that are words of SQL
/// need their quotes, so they get another letter instead.
fn without_quotes(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    for (at, part) in sql.split('\'').enumerate() {
        if at > 0 {
            out.push('\'');
        }
        if at % 2 == 1 {
            out.push_str(part);
            continue;
        }
        for (at, part) in part.split('"').enumerate() {
            if at % 2 == 1 {
                out.push_str(&renamed(part));
            } else {
                out.push_str(part);
            }
        }
    }
    out
}

fn renamed(name: &str) -> String {
    let word = name.to_ascii_uppercase();
    if ALL_KEYWORDS.contains(&word.as_str()) { format!("k_{name}") } else { name.to_owned() }
}

/// `((x))` as `(x)`.
fn single_parentheses(sql: &str) -> String {
    let letters: Vec<char> = sql.chars().collect();
    let mut in_text = false;
    let (mut open, mut pairs) = (Vec::new(), vec![None; letters.len()]);
    for (at, letter) in letters.iter().enumerate() {
        match letter {
            '\'' => in_text = !in_text,
            '(' if !in_text => open.push(at),
            ')' if !in_text => {
                let from = open.pop();
                if let Some(pair) = from.and_then(|from: usize| pairs.get_mut(from)) {
                    *pair = Some(at);
                }
            }
            _ => {}
        }
    }
    let pair = |at: usize| pairs.get(at).copied().flatten();
    let mut gone = HashSet::new();
    for at in 0..letters.len() {
        if let (Some(outer), Some(inner)) = (pair(at), pair(at + 1))
            && outer == inner + 1
        {
            gone.extend([at, outer]);
        }
    }
    letters.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, it)| *it).collect()
}

/// The dialect itself: what it prints, names unquoted, is what it reads.
struct Plain;

impl Flavor for Plain {
    fn param(&self, out: &mut String, n: usize) {
        out.push_str(&format!("${n}"));
    }

    fn in_list(&self, out: &mut String, negated: bool, n: usize) {
        out.push_str(&format!(" {}IN (${n})", if negated { "NOT " } else { "" }));
    }

    fn relation(&self, out: &mut String, name: &str) {
        Sqlite.relation(out, name);
    }

    fn integer(&self, out: &mut String, digits: &str) {
        Sqlite.integer(out, digits);
    }

    fn double(&self, out: &mut String, number: &str) {
        Sqlite.double(out, number);
    }

    fn text(&self, out: &mut String, text: &str) {
        Sqlite.text(out, text);
    }

    fn column_type(&self, kind: Kind) -> &'static str {
        Sqlite.column_type(kind)
    }

    fn cast_type(&self, kind: Kind) -> &'static str {
        Sqlite.cast_type(kind)
    }

    fn key_type(&self) -> &'static str {
        "bigint"
    }

    fn type_check(&self, _out: &mut String, _column: &str, _kind: Kind) {}

    fn call(&self, _name: &str) -> Call {
        Call::default()
    }

    fn offset_argument(&self) -> (&'static str, &'static str) {
        ("", "")
    }

    fn member(&self) -> (&'static str, &'static str) {
        ("(", ")")
    }

    fn upsert_from_subquery(&self) -> bool {
        false
    }

    fn null_is_smallest(&self) -> bool {
        true
    }

    fn keys_are_indexes(&self) -> bool {
        false
    }

    fn has_without_rowid(&self) -> bool {
        false
    }
}
