//! What tables and views the database has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::Error;
use crate::dialect::relations;

use super::writer::Writer;

/// Names, read again after every migration.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// All tables and views.
    pub(super) known: Arc<HashSet<String>>,
    /// Views and what they read.
    pub(super) views: HashMap<String, HashSet<String>>,
    /// Full-text indexes by plug-in and name.
    pub(super) full_text: HashSet<(String, String)>,
}

impl Catalog {
    pub(super) fn load(writer: &mut Writer<'_>) -> Result<Self, Error> {
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
        Ok(Self { known: Arc::new(known), views, full_text })
    }
}
