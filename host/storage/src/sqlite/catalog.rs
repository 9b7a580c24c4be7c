//! Reading the catalog.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::Error;
use crate::catalog::Catalog;
use crate::dialect::relations;

use super::writer::Writer;

/// Reads what tables and views there are.
pub(super) fn load(writer: &mut Writer<'_>) -> Result<Catalog, Error> {
    let mut known = HashSet::new();
    let mut views = HashMap::new();
    let mut full_text = HashSet::new();
    writer.host(
        "SELECT name, type, sql FROM sqlite_schema WHERE type IN ('table', 'view')",
        &[],
        |row| {
            let name = row.text(0);
            if row.text(1) == "view" {
                // Written by our own printer, which quotes every name.
                let sql = row.text(2).replace('"', "");
                views.insert(name.clone(), relations(&sql));
            }
            known.insert(name);
        },
    )?;
    writer.host("SELECT plugin, name FROM tessera_fulltext_indexes", &[], |row| {
        full_text.insert((row.text(0), row.text(1)));
    })?;
    Ok(Catalog { known: Arc::new(known), views, full_text })
}
