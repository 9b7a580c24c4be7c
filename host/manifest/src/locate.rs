//! Reading TOML so that every error has a place and a key.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::Problem;

/// One step down a document.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    /// A key of a table.
    Key(&'a str),
    /// An entry of a list.
    At(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(at: usize) -> Self {
        Self::At(at)
    }
}

/// Reads `text` into a type.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Problem> {
    toml::from_str(text).map_err(|error| explain(file, text, &error))
}

/// Says in the terms of the file what `toml` or serde found wrong.
pub(crate) fn explain(file: &str, text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span();
    let key = span.as_ref().map(|span| key_at(text, span)).unwrap_or_default();
    let (mut message, help) = translate(error.message().trim());
    if message == "duplicate key"
        && let Some(name) = span.clone().and_then(|span| text.get(span))
    {
        message = format!("the key `{name}` is there twice");
    }
    Problem::at(file, text, span, key, message, help)
}

/// serde's sentences in the words of someone who writes TOML.
fn translate(message: &str) -> (String, Vec<String>) {
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let word = |rest: &str| rest.split('`').next().unwrap_or_default().to_owned();
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let name = word(rest);
        let mut allowed: Vec<String> = quoted(message);
        allowed.remove(0);
        return (format!("unknown key `{name}`"), Problem::allowed(&name, &allowed));
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let name = word(rest);
        let mut allowed: Vec<String> = quoted(message);
        allowed.remove(0);
        return (format!("`{name}` is not allowed here"), Problem::allowed(&name, &allowed));
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        return (format!("the key `{}` is missing", word(rest)), Vec::new());
    }
    for (start, what) in [("invalid type: ", "type"), ("invalid value: ", "value")] {
        if let Some(rest) = message.strip_prefix(start)
            && let Some((found, expected)) = rest.split_once(", expected ")
        {
            let message = format!("wrong {what}: this is {}", article(found));
            return (message, vec![expected_help(expected)]);
        }
    }
    match message.rsplit_once("; expected ") {
        Some((what, expected)) => (what.to_owned(), vec![expected_help(expected)]),
        None => (message.to_owned(), Vec::new()),
    }
}

/// What is allowed, without names of Rust's types.
fn expected_help(expected: &str) -> String {
    let expected = match expected {
        "a nonzero u32" => "a whole number from 1 to 4294967295",
        "u32" => "a whole number from 0 to 4294967295",
        "u16" => "a whole number from 0 to 65535",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("expected: {expected}")
}

/// serde's `integer \`5\`` with an article.
fn article(found: &str) -> String {
    match found.bytes().next() {
        Some(b'a' | b'e' | b'i' | b'o' | b'u') => format!("an {found}"),
        _ => format!("a {found}"),
    }
}

/// The dotted key of the place, as far as the text can be read at all.
fn key_at(text: &str, span: &Range<usize>) -> String {
    if span.is_empty() {
        // The document itself, or a place where nothing stands.
        return String::new();
    }
    let Ok(table) = DeTable::parse(text) else { return String::new() };
    let mut path = Vec::new();
    find(table.get_ref(), span, &mut path);
    path.join(".")
}

fn within(span: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= span.start && span.end <= outer.end && !outer.is_empty()
}

/// Looks for the innermost key whose name or value holds the span.
fn find(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        if within(span, &key.span()) {
            // The key itself: the problem is its being in the table.
            return true;
        }
        if find_in(value, span, path) {
            return true;
        }
        path.pop();
    }
    false
}

fn find_in(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    let inner = match value.get_ref() {
        DeValue::Table(table) => find(table, span, path),
        DeValue::Array(array) => array.iter().enumerate().any(|(at, value)| {
            path.push((at + 1).to_string());
            let found = find_in(value, span, path);
            if !found {
                path.pop();
            }
            found
        }),
        _ => false,
    };
    inner || within(span, &value.span())
}

/// A problem at a path of the document; at the nearest table above where the path is not there.
pub(crate) fn problem_at(
    file: &str,
    text: &str,
    path: &[Step<'_>],
    message: String,
    help: Vec<String>,
) -> Problem {
    let dotted: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Key(key) => (*key).to_owned(),
            Step::At(at) => (at + 1).to_string(),
        })
        .collect();
    let span = DeTable::parse(text).ok().and_then(|table| span_of(table.get_ref(), path));
    Problem::at(file, text, span, dotted.join("."), message, help)
}

fn span_of(table: &DeTable<'_>, path: &[Step<'_>]) -> Option<Range<usize>> {
    let (Step::Key(name), rest) = path.split_first()? else { return None };
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    let mut value = value;
    let mut span = if rest.is_empty() { scalar(value) } else { None }.unwrap_or(key.span());
    let mut rest = rest;
    while let Some((step, after)) = rest.split_first() {
        value = match (value.get_ref(), step) {
            (DeValue::Table(table), Step::Key(_)) => {
                return span_of(table, rest).or(Some(span));
            }
            (DeValue::Array(array), Step::At(at)) => match array.get(*at) {
                Some(value) => value,
                None => return Some(span),
            },
            _ => return Some(span),
        };
        span = value.span();
        rest = after;
    }
    Some(span)
}

/// The span of a value that is no table: that of the value, not of its key.
fn scalar(value: &Spanned<DeValue<'_>>) -> Option<Range<usize>> {
    (!matches!(value.get_ref(), DeValue::Table(_))).then(|| value.span())
}
