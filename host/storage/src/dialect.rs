//! The first fence and the dialect: text in, the engine's text out.
//!
//! The caller's text is parsed, and what is executed is *printed anew* from the parts that the
//! dialect knows. What it does not know is refused by name. So nothing that the parser and the
//! engine might read differently ever reaches the engine, and engine differences have one home.

mod ddl;
mod expr;
mod functions;
mod names;
mod query;
mod write;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlparser::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

pub(crate) use ddl::{migration, relations};
pub(crate) use functions::function_allowed;
pub(crate) use names::Rules;
pub(crate) use names::valid_name;

/// Why a statement is refused: what and where, for the plug-in's author.
pub(crate) type Refusal = String;

/// Tokens of one statement. Bounds nesting by chained operators, which the parser's own recursion
/// limit does not see; rows of values travel as parameters, so real statements stay far below.
const MAX_TOKENS: usize = 4_000;

/// Nesting of parentheses, subqueries and the like.
const MAX_NESTING: usize = 48;

/// What differs between engines.
pub(crate) trait Flavor: Sync {
    /// Parameter `n`, from 1.
    fn param(&self, out: &mut String, n: usize);
    /// What stands behind an expression that is compared with list parameter `n`.
    fn in_list(&self, out: &mut String, negated: bool, n: usize);
    /// A table or view.
    fn relation(&self, out: &mut String, name: &str);
    /// A whole number without a sign.
    fn integer(&self, out: &mut String, digits: &str);
    /// Any other number without a sign.
    fn double(&self, out: &mut String, number: &str);
    /// Text without quotes and backslashes.
    fn text(&self, out: &mut String, text: &str);
    /// A column's type.
    fn column_type(&self, kind: Kind) -> &'static str;
    /// The type in a CAST.
    fn cast_type(&self, kind: Kind) -> &'static str;
    /// The type of a `bigint` that is a table's whole primary key.
    fn key_type(&self) -> &'static str;
    /// Checks that keep a column to its type, where the engine does not by itself.
    fn type_check(&self, out: &mut String, column: &str, kind: Kind);
    /// How a function is called.
    fn call(&self, name: &str) -> Call;
    /// What stands around the second argument of `lag` and `lead`.
    fn offset_argument(&self) -> (&'static str, &'static str);
    /// What stands around a member of a UNION that has members itself.
    fn member(&self) -> (&'static str, &'static str);
    /// Whether the SELECT of an upsert must be told from its ON CONFLICT.
    fn upsert_from_subquery(&self) -> bool;
    /// Whether NULL is the smallest value by default.
    fn null_is_smallest(&self) -> bool;
    /// Whether keys of tables are unique indexes of their own, in the dialect's order of NULL, so
    /// that ORDER BY can use them.
    fn keys_are_indexes(&self) -> bool;
    /// Whether a table can be its own key's tree.
    fn has_without_rowid(&self) -> bool;
}

/// The text around a function's call and its arguments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Call {
    /// Before and behind all of it, FILTER and OVER included.
    pub(crate) around: (&'static str, &'static str),
    /// Its name, where it is not the dialect's.
    pub(crate) name: Option<&'static str>,
    /// Before and behind the first argument.
    pub(crate) first: (&'static str, &'static str),
    /// Before and behind the others.
    pub(crate) others: (&'static str, &'static str),
}

/// The dialect's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bigint,
    Text,
    Blob,
    Boolean,
    Double,
}

/// How a parameter is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParamUse {
    Unused,
    Scalar,
    List,
}

/// A statement ready for the engine.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// Unique in the process: the key of prepared statements.
    pub(crate) id: u64,
    /// The engine's text.
    pub(crate) sql: String,
    /// `$1` first.
    pub(crate) params: Vec<ParamUse>,
    /// INSERT, UPDATE or DELETE.
    pub(crate) writes: bool,
    /// Result columns that are truth-valued expressions.
    pub(crate) truths: Vec<usize>,
    /// Names that the statement gives to subqueries by WITH.
    pub(crate) ctes: HashSet<String>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Checks and translates one statement of a plug-in.
pub(crate) fn compile(sql: &str, rules: &Rules, flavor: &dyn Flavor) -> Result<Compiled, Refusal> {
    let mut statements = parse(sql)?;
    let statement = match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => statement,
        (None, _) => return Err("empty statement".to_owned()),
        (Some(_), false) => return Err("more than one statement".to_owned()),
    };
    let mut emit = Emit::new(rules, flavor);
    let writes = match &statement {
        ast::Statement::Query(query) => {
            emit.query(query)?;
            emit.truths = query::truths_of_query(query)?;
            false
        }
        ast::Statement::Insert(insert) => {
            emit.insert(insert)?;
            true
        }
        ast::Statement::Update(update) => {
            emit.update(update)?;
            true
        }
        ast::Statement::Delete(delete) => {
            emit.delete(delete)?;
            true
        }
        other => return Err(format!("statement not in the dialect: {}", head(other))),
    };
    if let Some(n) = emit.params.iter().position(|p| *p == ParamUse::Unused) {
        return Err(format!("parameter ${} is not used, but a later one is", n + 1));
    }
    Ok(Compiled {
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        sql: emit.out,
        params: emit.params,
        writes,
        truths: emit.truths,
        ctes: emit.ctes,
    })
}

/// Parses within bounds.
pub(crate) fn parse(sql: &str) -> Result<Vec<ast::Statement>, Refusal> {
    if sql.contains('\0') {
        return Err("NUL in the statement".to_owned());
    }
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|e| format!("syntax: {e}"))?;
    let mut count = 0_usize;
    for token in &tokens {
        match token.token {
            Token::Whitespace(_) => {}
            // The cap is per statement; migrations have several.
            Token::SemiColon => count = 0,
            _ => count += 1,
        }
        if count > MAX_TOKENS {
            return Err(format!("more than {MAX_TOKENS} words in one statement"));
        }
    }
    Parser::new(&dialect)
        .with_recursion_limit(MAX_NESTING)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|e| format!("syntax: {e}"))
}

/// The first words of something refused, for messages.
fn head(what: &impl std::fmt::Display) -> String {
    let text = what.to_string();
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

/// Prints what the dialect knows.
struct Emit<'a> {
    rules: &'a Rules,
    flavor: &'a dyn Flavor,
    out: String,
    params: Vec<ParamUse>,
    ctes: HashSet<String>,
    /// Those of them that may be named here: elsewhere the name could be one that the engine knows.
    scope: Vec<String>,
    truths: Vec<usize>,
    depth: usize,
    /// Whether parameters may occur: not in migrations.
    allow_params: bool,
    /// Statements that follow: unique indexes of a table.
    after: Vec<String>,
    /// Whether WITH may occur: not in views, where the authorizer could take its names for views.
    allow_with: bool,
}

impl<'a> Emit<'a> {
    fn new(rules: &'a Rules, flavor: &'a dyn Flavor) -> Self {
        Self {
            rules,
            flavor,
            out: String::new(),
            params: Vec::new(),
            ctes: HashSet::new(),
            scope: Vec::new(),
            truths: Vec::new(),
            depth: 0,
            allow_params: true,
            after: Vec::new(),
            allow_with: true,
        }
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// An identifier, quoted: a keyword of one engine may be none of the other.
    fn ident(&mut self, ident: &ast::Ident) -> Result<String, Refusal> {
        let name = names::plain(ident)?;
        let _ = write!(self.out, "\"{name}\"");
        Ok(name)
    }

    /// A table or view.
    fn relation(&mut self, ident: &ast::Ident) -> Result<String, Refusal> {
        let name = names::plain(ident)?;
        self.flavor.relation(&mut self.out, &name);
        Ok(name)
    }

    /// Separates what `each` prints by commas.
    fn list<T>(
        &mut self,
        items: &[T],
        mut each: impl FnMut(&mut Self, &T) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            each(self, item)?;
        }
        Ok(())
    }

    /// Bounds nesting: SQLite's own limit is 1,000, and printing recurses.
    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.depth += 1;
        if self.depth > 200 {
            return Err("nested or chained too deeply (200)".to_owned());
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn param(&mut self, name: &str, how: ParamUse) -> Result<usize, Refusal> {
        if !self.allow_params {
            return Err("a migration has no parameters".to_owned());
        }
        let n = name
            .strip_prefix('$')
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|n| (1..=32_000).contains(n))
            .ok_or_else(|| format!("parameters are $1, $2, …; found {name}"))?;
        if self.params.len() < n {
            self.params.resize(n, ParamUse::Unused);
        }
        if let Some(slot) = self.params.get_mut(n - 1) {
            if *slot != ParamUse::Unused && *slot != how {
                return Err(format!("${n} is used both as a list and as a single value"));
            }
            *slot = how;
        }
        match how {
            // Printed by who knows what it is compared with.
            ParamUse::List => {}
            _ => self.flavor.param(&mut self.out, n),
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::flavor::Sqlite;

    /// The deepest that is parsed fits on the stack of any thread.
    #[test]
    fn no_statement_is_deep_enough_to_overflow_a_stack() {
        let nest = |open: &str, inner: &str, close: &str, n: usize| {
            format!("SELECT {}{inner}{} FROM a_t", open.repeat(n), close.repeat(n))
        };
        let chain = |op: &str| format!("SELECT x {} FROM a_t", format!("{op} x ").repeat(1_900));
        let mut texts: Vec<String> =
            ["+", "||", "AND", "=", "IS NOT DISTINCT FROM"].map(chain).into();
        for n in [20, 40, 47, 100, 1_000] {
            texts.push(nest("(", "x", ")", n));
            texts.push(nest("NOT ", "x", "", n));
            texts.push(nest("- ", "x", "", n));
            texts.push(nest("(SELECT ", "x", ")", n));
            texts.push(nest("(SELECT max(", "x", ") FROM a_t)", n));
            texts.push(nest("coalesce(1, ", "x", ")", n));
            texts.push(nest("CASE WHEN x THEN ", "x", " END", n));
            texts.push(nest("x IN (SELECT ", "x", ")", n));
            texts.push(format!("SELECT x FROM {}a_t{}", "(".repeat(n), ")".repeat(n)));
            let open = "(SELECT x FROM ".repeat(n);
            texts.push(format!("SELECT x FROM {open}a_t{}", ") AS e".repeat(n)));
            texts.push(format!("SELECT x FROM a_t {}", "UNION SELECT x FROM a_t ".repeat(n)));
        }
        // Refused, with the whole of it in the refusal's hands.
        for text in texts.clone() {
            texts.push(format!("{text} FETCH FIRST ROW ONLY"));
            texts.push(format!("{text} FOR UPDATE"));
        }
        let check = move || {
            let rules =
                Rules::new("a", [], HashSet::new(), HashSet::new(), std::sync::Arc::default());
            texts.iter().filter(|text| compile(text, &rules, &Sqlite).is_ok()).count()
        };
        let thread = std::thread::Builder::new().stack_size(3 << 19).spawn(check).unwrap();
        let taken = thread.join().unwrap();
        assert!(taken > 5, "{taken}");
    }
}
