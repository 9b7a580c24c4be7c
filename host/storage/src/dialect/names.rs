//! Names: which are well formed, and which tables and views a plug-in may name.

use std::collections::HashSet;
use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use super::Refusal;

/// What a plug-in may name.
#[derive(Debug)]
pub(crate) struct Rules {
    prefix: String,
    reads: HashSet<String>,
    trusted: HashSet<String>,
    bases: HashSet<String>,
    known: Arc<HashSet<String>>,
}

impl Rules {
    /// `reads`: granted views; `trusted`: these and the views they are made of; `bases`: what all
    /// of these read; `known`: every table and view there is.
    pub(crate) fn new(
        plugin: &str,
        reads: impl IntoIterator<Item = String>,
        trusted: HashSet<String>,
        bases: HashSet<String>,
        known: Arc<HashSet<String>>,
    ) -> Self {
        // Whoever calls itself `tessera` owns nothing: no name begins with a parenthesis.
        let prefix =
            if valid_name(plugin, false) { format!("{plugin}_") } else { "(none)_".to_owned() };
        Self { prefix, reads: reads.into_iter().collect(), trusted, bases, known }
    }

    /// A table or view of the plug-in.
    pub(crate) fn owns(&self, name: &str) -> bool {
        name.len() > self.prefix.len() && name.starts_with(&self.prefix)
    }

    /// A granted view of another plug-in.
    pub(crate) fn reads(&self, name: &str) -> bool {
        self.reads.contains(name)
    }

    /// A view whose inside may be read: own, granted, or what a granted one is made of.
    pub(crate) fn trusts(&self, view: &str) -> bool {
        self.owns(view) || self.trusted.contains(view)
    }

    /// A table whose rows a granted view may make countable.
    pub(crate) fn counts(&self, name: &str) -> bool {
        self.bases.contains(name)
    }

    /// Whether a CTE or alias may be called so.
    pub(super) fn free(&self, name: &str) -> Result<(), Refusal> {
        let taken = self.owns(name)
            || self.reads(name)
            || self.trusted.contains(name)
            || self.known.contains(name)
            || name == "json_each"
            || ["sqlite_", "tessera_", "pg_", "pragma_"].iter().any(|p| name.starts_with(p));
        if taken {
            return Err(format!("name {name} is or could be that of a table or view"));
        }
        Ok(())
    }
}

/// Whether `name` may be the name of a plug-in (`underscore` false) or of an index.
pub(crate) fn valid_name(name: &str, underscore: bool) -> bool {
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || underscore && c == '_')
        && !["tessera", "sqlite", "pg"].contains(&name)
}

/// An unquoted identifier, folded to lower case.
pub(super) fn plain(ident: &Ident) -> Result<String, Refusal> {
    let name = ident.value.to_ascii_lowercase();
    if ident.quote_style.is_some() {
        return Err(format!("quoted identifier {ident}: write it without quotes"));
    }
    let fine = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !fine {
        return Err(format!("identifier {name}: only a-z, 0-9 and _, at most 63"));
    }
    let hidden = ["rowid", "oid", "_rowid_", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
    if hidden.contains(&name.as_str()) {
        return Err(format!("identifier {name} is a hidden column of an engine"));
    }
    Ok(name)
}

/// A name of one part.
pub(super) fn single(name: &ObjectName) -> Result<&Ident, Refusal> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Ok(ident),
        _ => Err(format!("qualified name {name}: not in the dialect")),
    }
}
