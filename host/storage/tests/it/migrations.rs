
use tessera_storage::{
    DatabaseConfig, ExposedView, FullTextIndex, InstallError, Migration,
    PluginSchema, Value,
};

use crate::support::{event, query, rooms, text};

use super::Fixture;

fn notes(migrations: &[(&str, &str)]) -> PluginSchema {
    let migrations = migrations
        .iter()
        .map(|(name, sql)| Migration { name: (*name).into(), sql: (*sql).into() })
        .collect();
    PluginSchema { plugin: "notes".into(), version: "1".into(), migrations, ..Default::default() }
}

const ONE: (&str, &str) = ("1", "CREATE TABLE notes_all (id bigint PRIMARY KEY, body text)");
const TWO: (&str, &str) = ("2", "ALTER TABLE notes_all ADD COLUMN pinned boolean DEFAULT FALSE");

#[tokio::test]
async fn pending_migrations_run_once_and_in_order() {
    let f = Fixture::new().await;
    f.db.install(notes(&[ONE])).await.unwrap();
    let three = ("3", "ALTER TABLE notes_all RENAME COLUMN body TO content");
    let four = (
        "4",
        "ALTER TABLE notes_all DROP COLUMN pinned; DROP TABLE IF EXISTS notes_none;
        CREATE TABLE notes_w (a text, b bigint, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE UNIQUE INDEX notes_u ON notes_all (content) WHERE content IS NOT NULL;
        INSERT INTO notes_all (id, content) VALUES (1, 'x');
        ALTER TABLE notes_all ADD COLUMN pinned boolean",
    );
    f.db.install(notes(&[ONE, TWO, three, four])).await.unwrap();
    f.db.install(notes(&[ONE, TWO, three, four])).await.unwrap();
    let grant = tessera_storage::SessionGrant { plugin: "notes".into(), ..Default::default() };
    let session = f.db.session(grant);
    session.query(query("SELECT id, content, pinned FROM notes_all", vec![])).await.unwrap();
}

#[tokio::test]
async fn a_session_sees_what_a_later_migration_made() {
    let f = Fixture::new().await;
    f.db.install(notes(&[ONE])).await.unwrap();
    let grant = tessera_storage::SessionGrant { plugin: "notes".into(), ..Default::default() };
    let session = f.db.session(grant);
    let all = || query("SELECT * FROM notes_all", vec![]);
    assert_eq!(session.query(all()).await.unwrap().columns.len(), 2);
    f.db.install(notes(&[ONE, TWO])).await.unwrap();
    assert_eq!(session.query(all()).await.unwrap().columns.len(), 3);
}

#[tokio::test]
async fn changed_missing_and_misplaced_migrations_are_told() {
    let f = Fixture::new().await;
    f.db.install(notes(&[ONE, TWO])).await.unwrap();
    let changed = f.db.install(notes(&[("1", "SELECT 1"), TWO])).await;
    assert!(matches!(changed, Err(InstallError::Changed { .. })), "{changed:?}");
    let between = f.db.install(notes(&[ONE, ("1a", "DROP TABLE notes_all"), TWO])).await;
    assert!(matches!(between, Err(InstallError::Refused { .. })), "{between:?}");
}

#[tokio::test]
async fn an_older_version_starts_again_where_a_newer_one_only_added() {
    let f = Fixture::new().await;
    f.db.install(notes(&[ONE, TWO])).await.unwrap();
    f.db.install(notes(&[ONE])).await.unwrap();
    f.db.install(notes(&[ONE, TWO])).await.unwrap();
    let three = ("3", "ALTER TABLE notes_all RENAME COLUMN body TO content");
    f.db.install(notes(&[ONE, TWO, three])).await.unwrap();
    let older = f.db.install(notes(&[ONE, TWO])).await;
    assert!(matches!(&older, Err(InstallError::Newer { why, .. }) if why.contains("notes_all")), "{older:?}");
    // It must be the same history.
    let other = f.db.install(notes(&[ONE, ("2x", "CREATE TABLE notes_b (y bigint)")])).await;
    assert!(matches!(other, Err(InstallError::Newer { .. })), "{other:?}");
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing_behind() {
    let f = Fixture::new().await;
    let bad = ("2", "CREATE TABLE notes_b (x bigint); INSERT INTO notes_b (y) VALUES (1)");
    let failed = f.db.install(notes(&[ONE, bad])).await;
    assert!(matches!(failed, Err(InstallError::Engine { .. })), "{failed:?}");
    let good = ("2", "CREATE TABLE notes_b (y bigint)");
    f.db.install(notes(&[ONE, good])).await.unwrap();
    f.rooms().commit(event("$a", "!r")).await.unwrap();
}

#[tokio::test]
async fn migrations_keep_to_their_own_tables_and_to_the_dialect() {
    let f = Fixture::new().await;
    for sql in [
        "CREATE TABLE rooms_mine (a bigint)",
        "CREATE TABLE notesmine (a bigint)",
        "CREATE TABLE \"notes_q\" (a bigint)",
        "CREATE TABLE notes_a AS SELECT * FROM rooms_secrets",
        "CREATE TABLE notes_a (a integer)",
        "CREATE TABLE notes_a (a varchar(10))",
        "CREATE TABLE notes_a (a bigint REFERENCES rooms_events (position))",
        "CREATE TABLE notes_a (a text COLLATE nocase)",
        "CREATE TABLE notes_a (a text DEFAULT (SELECT value FROM rooms_secrets))",
        "CREATE TEMPORARY TABLE notes_a (a bigint)",
        "CREATE VIRTUAL TABLE notes_f USING fts5(a)",
        "CREATE TRIGGER notes_t AFTER INSERT ON rooms_events BEGIN SELECT 1; END",
        "CREATE INDEX notes_i ON rooms_events (room)",
        "CREATE INDEX rooms_i ON notes_all (id)",
        "CREATE VIEW notes_v1_x AS SELECT value FROM rooms_secrets",
        "CREATE VIEW notes_v1_x AS SELECT * FROM sqlite_schema",
        "CREATE VIEW notes_v1_x AS WITH q AS (SELECT 1 AS a) SELECT a FROM q",
        "CREATE VIEW rooms_v2_x AS SELECT 1 AS a",
        "DROP TABLE rooms_events",
        "DROP VIEW rooms_v1_events",
        "ALTER TABLE rooms_events ADD COLUMN x bigint",
        "ALTER TABLE notes_all RENAME TO rooms_all",
        "DELETE FROM rooms_events",
        "DELETE FROM tessera_migrations",
        "UPDATE rooms_secrets SET value = 'x'",
        "INSERT INTO notes_all (id, body) SELECT 1, value FROM rooms_secrets",
        "PRAGMA writable_schema = on",
        "ATTACH DATABASE 'x' AS y",
        "COMMIT",
        "SELECT 1",
        "INSERT INTO notes_all (id) VALUES ($1)",
    ] {
        let got = f.db.install(notes(&[ONE, ("2", sql)])).await;
        assert!(matches!(got, Err(InstallError::Refused { .. })), "{sql}: {got:?}");
    }
}

#[tokio::test]
async fn names_are_checked() {
    let f = Fixture::new().await;
    for plugin in ["", "Notes", "my_notes", "1a", "tessera", "sqlite", "a'b"] {
        let schema = PluginSchema { plugin: plugin.into(), ..Default::default() };
        let got = f.db.install(schema).await;
        assert!(matches!(got, Err(InstallError::Name { .. })), "{plugin}: {got:?}");
    }
    for view in ["notes_x", "notes_v_x", "notes_v1", "rooms_v1_x", "notes_v1_missing"] {
        let exposes = vec![ExposedView { name: view.into() }];
        let got = f.db.install(PluginSchema { exposes, ..notes(&[ONE]) }).await;
        assert!(matches!(got, Err(InstallError::Name { .. })), "{view}: {got:?}");
    }
    let full_text = vec![FullTextIndex { name: "a; DROP".into() }];
    let got = f.db.install(PluginSchema { full_text, ..notes(&[ONE]) }).await;
    assert!(matches!(got, Err(InstallError::Name { .. })), "{got:?}");
}

#[tokio::test]
async fn reinstalling_after_a_restart_changes_nothing() {
    let f = Fixture::new().await;
    f.rooms().commit(event("$a", "!r")).await.unwrap();
    let db = f.reopen(DatabaseConfig::default()).await;
    db.install(rooms()).await.unwrap();
    let grant = tessera_storage::SessionGrant {
        plugin: "sync".into(),
        reads: vec!["rooms_v1_events".into()],
        ..Default::default()
    };
    let rows = db
        .session(grant)
        .query(query("SELECT event_id, position FROM rooms_v1_events", vec![]))
        .await
        .unwrap();
    assert_eq!(rows.rows, [[text("$a"), Value::Integer(1)]]);
}
