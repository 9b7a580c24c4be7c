//! Full-text indexes on FTS5: one contentless table each, numbered by `tessera_fulltext`.

use crate::types::Order;
use crate::{Error, FullTextEntry, Hit};

use super::authorizer::Mode;
use super::raw::{Bind, Cellv, Key, Raw};
use super::writer::Writer;

/// Words of one search.
const MAX_WORDS: usize = 32;

/// The table of an index. Both names were checked at install.
pub(super) fn table(plugin: &str, index: &str) -> String {
    format!("tessera_ft_{plugin}_{index}")
}

/// Text of statements is built once per table name and kept: the cache keys by address.
pub(super) fn interned(sql: String) -> &'static str {
    use std::collections::HashSet;
    use std::sync::{Mutex, PoisonError};
    static TEXTS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut guard = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let texts = guard.get_or_insert_with(HashSet::new);
    if let Some(known) = texts.get(sql.as_str()) {
        return known;
    }
    // Bounded by the number of declared indexes.
    let leaked: &'static str = Box::leak(sql.into_boxed_str());
    texts.insert(leaked);
    leaked
}

/// Makes an index, within the transaction that the writer is in.
pub(super) fn create(writer: &mut Writer<'_>, plugin: &str, index: &str) -> Result<(), Error> {
    let table = table(plugin, index);
    writer.raw.set_mode(Mode::Host);
    writer.raw.once(&format!(
        "CREATE VIRTUAL TABLE {table} USING fts5(text, content='', \
         contentless_delete=1, tokenize='unicode61 remove_diacritics 2')"
    ))?;
    writer.host(
        "INSERT INTO tessera_fulltext_indexes (plugin, name) VALUES (?1, ?2)",
        &[Bind::Text(plugin), Bind::Text(index)],
        |_| {},
    )?;
    Ok(())
}

/// Writes or removes one entry.
pub(super) fn put(
    writer: &mut Writer<'_>,
    plugin: &str,
    entry: &FullTextEntry,
) -> Result<(), Error> {
    writer.shared.catalog.load().declared(plugin, &entry.index)?;
    let table = table(plugin, &entry.index);
    let key = [Bind::Text(plugin), Bind::Text(&entry.index), Bind::Text(&entry.key)];
    let mut id = None;
    writer.host(
        "SELECT id FROM tessera_fulltext WHERE plugin = ?1 AND name = ?2 AND key = ?3",
        &key,
        |row| id = Some(row.int(0)),
    )?;
    if let Some(id) = id {
        let sql = interned(format!("DELETE FROM {table} WHERE rowid = ?1"));
        writer.host(sql, &[Bind::Integer(id)], |_| {})?;
        if entry.text.is_none() {
            let sql = "DELETE FROM tessera_fulltext WHERE id = ?1";
            writer.host(sql, &[Bind::Integer(id)], |_| {})?;
        }
    }
    if let Some(text) = &entry.text {
        let mut id = 0;
        let [plugin, index, key] = key;
        // What is replaced keeps its id: it is as old as it was.
        writer.host(
            "INSERT INTO tessera_fulltext (plugin, name, key, grp) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (plugin, name, key) DO UPDATE SET grp = excluded.grp RETURNING id",
            &[plugin, index, key, Bind::Text(&entry.group)],
            |row| id = row.int(0),
        )?;
        let sql = interned(format!("INSERT INTO {table} (rowid, text) VALUES (?1, ?2)"));
        writer.host(sql, &[Bind::Integer(id), Bind::Text(text)], |_| {})?;
    }
    Ok(())
}

/// Turns plain words into an FTS5 expression: every word quoted, so none is an operator.
fn expression(query: &str) -> Result<Option<String>, Error> {
    let mut words = Vec::new();
    for word in query.split_whitespace() {
        let (word, prefix) = match word.strip_suffix('*') {
            Some(stem) => (stem, "*"),
            None => (word, ""),
        };
        // A quote inside a string is doubled; a word without letters or digits has no token.
        if word.chars().any(char::is_alphanumeric) {
            words.push(format!("\"{}\"{prefix}", word.replace('"', "\"\"")));
        }
    }
    if words.len() > MAX_WORDS {
        return Err(Error::TooLarge(format!("more than {MAX_WORDS} words")));
    }
    Ok((!words.is_empty()).then(|| words.join(" ")))
}

/// One search.
pub(super) struct Search {
    pub(super) plugin: String,
    pub(super) index: String,
    pub(super) query: String,
    /// JSON list of groups.
    pub(super) groups: Option<String>,
    pub(super) order: Order,
    pub(super) limit: u32,
    pub(super) offset: u32,
}

/// Runs a search on a reading connection.
pub(super) fn search(raw: &mut Raw<'_>, search: &Search) -> Result<Vec<Hit>, Error> {
    let Some(expression) = expression(&search.query)? else { return Ok(Vec::new()) };
    let table = table(&search.plugin, &search.index);
    let (rank, order) = match search.order {
        Order::Best => (format!("-bm25({table})"), "3 DESC, k.id DESC".to_owned()),
        // The index itself runs backwards: what is not asked for is not looked at.
        Order::Newest => ("0.0".to_owned(), format!("{table}.rowid DESC")),
    };
    let sql = interned(format!(
        "SELECT k.key, k.grp, {rank} FROM {table} JOIN tessera_fulltext AS k \
         ON k.id = {table}.rowid WHERE {table} MATCH ?1 \
         AND (?2 IS NULL OR k.grp IN (SELECT value FROM json_each(?2))) \
         ORDER BY {order} LIMIT ?3 OFFSET ?4"
    ));
    raw.set_mode(Mode::Host);
    let mut hits = Vec::new();
    let groups = search.groups.as_deref().map_or(Bind::Null, Bind::Text);
    raw.prepare(Key::Host(sql), sql)?.run::<Error>(
        &[
            Bind::Text(&expression),
            groups,
            Bind::Integer(i64::from(search.limit)),
            Bind::Integer(i64::from(search.offset)),
        ],
        |row| {
            let rank = match row.get(2) {
                Cellv::Double(rank) => rank,
                _ => 0.0,
            };
            hits.push(Hit { key: row.text(0), group: row.text(1), rank });
            Ok(())
        },
    )?;
    Ok(hits)
}
