//! The second fence: what a connection may do, judged by SQLite on resolved names.

use std::sync::Arc;

use libsqlite3_sys as ffi;

use crate::dialect::{Compiled, Rules, function_allowed};

/// On whose behalf statements are prepared and run.
pub(crate) enum Mode {
    /// The host's own statements.
    Host,
    /// A plug-in's statement.
    Plugin(Arc<Rules>, Arc<Compiled>),
    /// A plug-in's migration.
    Migration(Arc<Rules>),
}

/// The table behind `IN ($n)`.
const LIST_TABLE: &str = "json_each";

impl Mode {
    /// Judges one action; see <https://www.sqlite.org/c3ref/c_alter_table.html> for the arguments.
    pub(crate) fn allows(
        &self,
        action: i32,
        first: Option<&str>,
        second: Option<&str>,
        accessor: Option<&str>,
    ) -> bool {
        let name = first.unwrap_or_default();
        match self {
            Self::Host => true,
            Self::Plugin(rules, compiled) => match action {
                ffi::SQLITE_SELECT | ffi::SQLITE_RECURSIVE => true,
                ffi::SQLITE_FUNCTION => second.is_some_and(function_allowed),
                ffi::SQLITE_READ => {
                    rules.owns(name)
                        || rules.reads(name)
                        || name == LIST_TABLE
                        || accessor.is_some_and(|view| rules.trusts(view))
                        || second == Some("") && compiled.ctes.contains(name)
                }
                ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE => {
                    compiled.writes && rules.owns(name)
                }
                _ => false,
            },
            Self::Migration(rules) => match action {
                ffi::SQLITE_SELECT | ffi::SQLITE_FUNCTION | ffi::SQLITE_REINDEX => true,
                ffi::SQLITE_READ | ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE => {
                    rules.owns(name)
                        || matches!(
                            name,
                            "sqlite_master"
                                | "sqlite_temp_master"
                                | "sqlite_stat1"
                                | "sqlite_stat4"
                        )
                        || second == Some("")
                }
                ffi::SQLITE_CREATE_TABLE
                | ffi::SQLITE_CREATE_VIEW
                | ffi::SQLITE_DROP_TABLE
                | ffi::SQLITE_DROP_VIEW => rules.owns(name),
                ffi::SQLITE_CREATE_INDEX | ffi::SQLITE_DROP_INDEX => {
                    // Unique and primary keys make `sqlite_autoindex_…`; the table is ours.
                    (rules.owns(name) || name.starts_with("sqlite_autoindex_"))
                        && second.is_some_and(|table| rules.owns(table))
                }
                ffi::SQLITE_ALTER_TABLE => second.is_some_and(|table| rules.owns(table)),
                _ => false,
            },
        }
    }
}
