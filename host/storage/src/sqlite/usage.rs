//! How much is stored.

use crate::{Error, Usage};

use super::authorizer::Mode;
use super::outbox::read;
use super::raw::{Key, Raw};
use super::writer::uint;

/// Counts the rows of all plug-ins' tables and the pages in use.
pub(super) fn usage(raw: &mut Raw<'_>) -> Result<Usage, Error> {
    let (mut pages, mut free, mut size) = (0, 0, 0);
    read(raw, "PRAGMA page_count", &[], |row| pages = uint(row.int(0)))?;
    read(raw, "PRAGMA freelist_count", &[], |row| free = uint(row.int(0)))?;
    read(raw, "PRAGMA page_size", &[], |row| size = uint(row.int(0)))?;
    let mut tables = Vec::new();
    read(
        raw,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'tessera_*' \
         AND name NOT GLOB 'sqlite_*'",
        &[],
        |row| tables.push(row.text(0)),
    )?;
    let mut rows = 0;
    for table in tables {
        // Names of tables are those of the dialect: no quote is in them.
        let sql = super::fulltext::interned(format!("SELECT count(*) FROM \"{table}\""));
        raw.set_mode(Mode::Host);
        raw.prepare(Key::Host(sql), sql)?.run::<Error>(&[], |row| {
            rows += uint(row.int(0));
            Ok(())
        })?;
    }
    Ok(Usage { rows, bytes: pages.saturating_sub(free) * size })
}
