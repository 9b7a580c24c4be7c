//! Full-text indexes as rows with a tsvector. Words are found here, not by the server's parser, so
//! that they are the same words on both engines; accents go on the server, which has the tables.

use crate::types::Order;
use crate::{Error, FullTextEntry, Hit};

use super::script::{Script, Step, quoted, text_array};

/// Words of one search.
const MAX_WORDS: usize = 32;
/// The last place in a text that a tsvector can hold; later words share it.
const LAST_PLACE: usize = 16_383;
/// Bytes of a word; a tsvector holds some more.
const MAX_WORD: usize = 1_000;

/// Letters, digits and the accents that stand behind their letters.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c)
}

fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c| !in_word(c)).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let cut = (0..=MAX_WORD.min(word.len())).rev().find(|at| word.is_char_boundary(*at));
            word.get(..cut.unwrap_or(0)).unwrap_or_default().to_owned()
        })
        .collect()
}

/// The words of a text and their places, in the form of a tsvector.
pub(super) fn vector(text: &str) -> String {
    let mut out = String::new();
    for (i, word) in words(text).iter().enumerate() {
        // Letters and digits only: nothing to quote.
        out.push_str(&format!("'{word}':{} ", (i + 1).min(LAST_PLACE)));
    }
    out
}

/// Every word must occur; what has several parts must have them side by side.
fn expression(query: &str) -> Result<Option<String>, Error> {
    let mut parts = Vec::new();
    for word in query.split_whitespace() {
        let (word, prefix) = match word.strip_suffix('*') {
            Some(stem) => (stem, ":*"),
            None => (word, ""),
        };
        let tokens: Vec<String> = words(word).iter().map(|token| format!("'{token}'")).collect();
        if !tokens.is_empty() {
            parts.push(format!("({}{prefix})", tokens.join(" <-> ")));
        }
    }
    if parts.len() > MAX_WORDS {
        return Err(Error::TooLarge(format!("more than {MAX_WORDS} words")));
    }
    Ok((!parts.is_empty()).then(|| parts.join(" & ")))
}

/// Adds what writes or removes an entry.
pub(super) fn put(script: &mut Script, schema: &str, plugin: &str, entry: &FullTextEntry) {
    let (plugin, index, key) = (quoted(plugin), quoted(&entry.index), quoted(&entry.key));
    let Some(text) = &entry.text else {
        script.push(
            Step::Quiet,
            &format!(
                "DELETE FROM {schema}.tessera_fulltext WHERE plugin = {plugin} AND name = {index} \
                 AND key = {key}"
            ),
        );
        return;
    };
    script.push(
        Step::Quiet,
        &format!(
            "INSERT INTO {schema}.tessera_fulltext (plugin, name, key, grp, words) \
             VALUES ({plugin}, {index}, {key}, {}, {schema}.tessera_fold({})::tsvector) \
             ON CONFLICT (plugin, name, key) DO UPDATE SET grp = excluded.grp, \
             words = excluded.words",
            quoted(&entry.group),
            quoted(&vector(text))
        ),
    );
}

/// One search.
pub(super) struct Search<'a> {
    pub(super) plugin: &'a str,
    pub(super) index: &'a str,
    pub(super) query: &'a str,
    pub(super) groups: Option<&'a [String]>,
    pub(super) order: Order,
    pub(super) limit: u32,
    pub(super) offset: u32,
}

/// The text of a search; `None` where there is nothing to look for.
pub(super) fn search(schema: &str, search: &Search<'_>) -> Result<Option<String>, Error> {
    let Some(expression) = expression(search.query)? else { return Ok(None) };
    let groups = search.groups.map_or_else(String::new, |groups| {
        format!("AND f.grp = ANY ({}::text[])", text_array(groups.iter().map(String::as_str)))
    });
    let (rank, order) = match search.order {
        Order::Best => ("ts_rank(f.words, q.q, 1)::double precision", "rank DESC, f.id DESC"),
        Order::Newest => ("0::double precision", "f.id DESC"),
    };
    Ok(Some(format!(
        "SELECT f.key, f.grp, {rank} AS rank \
         FROM {schema}.tessera_fulltext AS f, (SELECT {schema}.tessera_fold({})::tsquery AS q) AS q \
         WHERE f.plugin = {} AND f.name = {} AND f.words @@ q.q {groups} \
         ORDER BY {order} LIMIT {} OFFSET {}",
        quoted(&expression),
        quoted(search.plugin),
        quoted(search.index),
        search.limit,
        search.offset
    )))
}

/// Reads a hit.
pub(super) fn hit(line: &[Option<String>]) -> Hit {
    let cell = |i: usize| line.get(i).and_then(|text| text.clone()).unwrap_or_default();
    Hit { key: cell(0), group: cell(1), rank: cell(2).parse().unwrap_or(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operator_comes_through() {
        assert_eq!(
            expression("fox) OR (quick | x").unwrap().unwrap(),
            "('fox') & ('or') & ('quick') & ('x')"
        );
        assert_eq!(expression("a-b c*").unwrap().unwrap(), "('a' <-> 'b') & ('c':*)");
        assert_eq!(expression("' \" & !").unwrap(), None);
        assert_eq!(vector("It's HIM"), "'it':1 's':2 'him':3 ");
    }
}
