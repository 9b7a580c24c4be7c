//! What tables and views a database has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::Error;

/// Names, read again after every migration.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// All tables and views.
    pub(crate) known: Arc<HashSet<String>>,
    /// Views and what they read.
    pub(crate) views: HashMap<String, HashSet<String>>,
    /// Full-text indexes by plug-in and name.
    pub(crate) full_text: HashSet<(String, String)>,
}

impl Catalog {
    /// Refuses a full-text index that the plug-in has not declared.
    pub(crate) fn declared(&self, plugin: &str, index: &str) -> Result<(), Error> {
        if self.full_text.contains(&(plugin.to_owned(), index.to_owned())) {
            return Ok(());
        }
        Err(Error::Refused(format!("full-text index {index}: not declared")))
    }

    /// The names behind a set of granted views: themselves and the views they are made of, and all
    /// that these read.
    pub(crate) fn closure(&self, reads: &[String]) -> (HashSet<String>, HashSet<String>) {
        let (mut views, mut bases) = (HashSet::new(), HashSet::new());
        let mut open: Vec<&String> = reads.iter().collect();
        while let Some(name) = open.pop() {
            if let Some(parts) = self.views.get(name)
                && views.insert(name.clone())
            {
                open.extend(parts);
                bases.extend(parts.iter().cloned());
            }
        }
        (views, bases)
    }
}
