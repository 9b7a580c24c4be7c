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
                        // No column: rows are counted at most. A view is folded into its
                        // reader, so its table appears here without the view as accessor.
                        || second == Some("")
                            && (compiled.ctes.contains(name) || rules.counts(name))
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
                        // What ALTER TABLE checks existing rows with.
                        || name == "pragma_quick_check"
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
                ffi::SQLITE_PRAGMA => name == "quick_check",
                ffi::SQLITE_ALTER_TABLE => second.is_some_and(|table| rules.owns(table)),
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sqlx::{Connection, Executor};

    use super::*;
    use crate::sqlite::raw::{Key, Raw};

    const SCHEMA: &str = "CREATE TABLE mine_t (a); CREATE TABLE other_t (secret);
        CREATE VIEW other_v1_open AS SELECT secret AS x FROM other_t;
        CREATE VIEW other_hidden AS SELECT secret FROM other_t;
        CREATE VIRTUAL TABLE tessera_ft_mine_x USING fts5(text)";

    /// What the engine itself says to text that never went through the first fence.
    async fn verdicts(texts: &[&'static str], ctes: &[&str]) -> Vec<bool> {
        let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        connection.execute(sqlx::raw_sql(SCHEMA)).await.unwrap();
        let mut handle = connection.lock_handle().await.unwrap();
        let mut raw = Raw::new(&mut handle, 10).unwrap();
        let known = ["mine_t", "other_t", "other_v1_open", "other_hidden"].map(str::to_owned);
        let open = HashSet::from(["other_v1_open".to_owned()]);
        let rules = Arc::new(Rules::new(
            "mine",
            open.clone(),
            open,
            HashSet::from(["other_t".to_owned()]),
            Arc::new(known.into()),
        ));
        let compiled = Arc::new(Compiled {
            id: 0,
            sql: String::new(),
            params: Vec::new(),
            writes: true,
            truths: Vec::new(),
            ctes: ctes.iter().map(|c| (*c).to_owned()).collect(),
        });
        raw.set_mode(Mode::Plugin(rules, compiled));
        texts
            .iter()
            .map(|sql| match raw.prepare(Key::Host(sql), sql) {
                Ok(_) => true,
                Err(e) => {
                    let denied = e.code & 0xff == ffi::SQLITE_AUTH
                        || e.message.contains("not authorized")
                        || e.message.contains("prohibited")
                        || e.message.contains("may not be modified");
                    assert!(denied, "{sql}: {e:?}");
                    false
                }
            })
            .collect()
    }

    #[tokio::test]
    async fn the_engine_denies_what_the_parser_would_miss() {
        let texts = [
            "SELECT * FROM other_t",
            "SELECT secret FROM other_hidden",
            "SELECT count(*) FROM tessera_ft_mine_x_data",
            "SELECT (SELECT secret FROM other_t)",
            "SELECT a FROM mine_t WHERE a IN (SELECT secret FROM other_t)",
            "WITH q AS (SELECT secret FROM other_t) SELECT * FROM q",
            "SELECT * FROM (SELECT secret FROM other_t) AS other_v1_open",
            "SELECT * FROM sqlite_schema",
            "SELECT * FROM tessera_ft_mine_x",
            "SELECT * FROM pragma_table_info('mine_t')",
            "SELECT load_extension('x')",
            "SELECT random()",
            "SELECT a FROM mine_t WHERE a LIKE 'x'",
            "INSERT INTO other_t VALUES (1)",
            "UPDATE other_t SET secret = 1",
            "DELETE FROM other_t",
            "UPDATE mine_t SET a = (SELECT secret FROM other_t)",
            "INSERT INTO mine_t SELECT secret FROM other_t",
            "DELETE FROM sqlite_schema",
            "CREATE TABLE mine_x (a)",
            "CREATE TEMP TABLE mine_x (a)",
            "CREATE TRIGGER mine_g AFTER INSERT ON mine_t BEGIN SELECT 1; END",
            "DROP TABLE mine_t",
            "ALTER TABLE mine_t ADD COLUMN b",
            "ATTACH 'x' AS y",
            "PRAGMA writable_schema = 1",
            "PRAGMA journal_mode",
            "BEGIN",
            "SAVEPOINT x",
            "ANALYZE",
            "REINDEX",
        ];
        for (sql, allowed) in texts.iter().zip(verdicts(&texts, &["q"]).await) {
            assert!(!allowed, "{sql}");
        }
    }

    #[tokio::test]
    async fn the_engine_allows_what_is_granted() {
        let texts = [
            "SELECT a FROM mine_t",
            "SELECT x FROM other_v1_open",
            "SELECT count(*) FROM other_v1_open",
            "WITH q AS (SELECT x FROM other_v1_open) SELECT count(*) FROM q",
            "SELECT a FROM mine_t WHERE a IN (SELECT value FROM json_each(?1))",
            "INSERT INTO mine_t SELECT x FROM other_v1_open",
            "UPDATE mine_t SET a = coalesce(a, 1)",
            "DELETE FROM mine_t",
        ];
        for (sql, allowed) in texts.iter().zip(verdicts(&texts, &["q"]).await) {
            assert!(allowed, "{sql}");
        }
    }

    /// Why the first fence refuses such names: SQLite takes a CTE's name for a view's.
    #[tokio::test]
    async fn a_cte_named_like_a_granted_view_passes_the_engine() {
        let text =
            ["WITH other_v1_open AS (SELECT secret FROM other_t) SELECT * FROM other_v1_open"];
        assert_eq!(verdicts(&text, &[]).await, [true]);
    }
}
