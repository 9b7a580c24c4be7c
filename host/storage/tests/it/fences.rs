use tessera_storage::{Batch, Error, SessionGrant, Value};

use crate::support::{event, query, statement, text};

use super::Fixture;

/// Reads that a plug-in must not get through, whatever the reason for the refusal.
const HOSTILE_READS: &[&str] = &[
    "",
    ";",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE rooms_events",
    "SELECT * FROM rooms_events",
    "SELECT * FROM rooms_secrets",
    "SELECT * FROM rooms_private",
    "SELECT * FROM main.rooms_secrets",
    "SELECT * FROM \"rooms_secrets\"",
    "SELECT * FROM [rooms_secrets]",
    "SELECT * FROM `rooms_secrets`",
    "SELECT * FROM ROOMS_SECRETS",
    "SELECT (SELECT value FROM rooms_secrets)",
    "SELECT name FROM sync_seen WHERE name IN (SELECT value FROM rooms_secrets)",
    "SELECT name FROM sync_seen WHERE EXISTS (SELECT 1 FROM rooms_secrets)",
    "SELECT name FROM sync_seen UNION ALL SELECT value FROM rooms_secrets",
    "SELECT name FROM sync_seen ORDER BY (SELECT value FROM rooms_secrets)",
    "SELECT name FROM sync_seen LIMIT (SELECT length(value) FROM rooms_secrets)",
    "WITH rooms_v1_events AS (SELECT value FROM rooms_secrets) SELECT * FROM rooms_v1_events",
    "WITH rooms_v1_events AS (SELECT 1 AS x) SELECT * FROM rooms_v1_events",
    "WITH rooms_secrets AS (SELECT 1 AS x) SELECT * FROM rooms_secrets",
    "WITH x AS (SELECT * FROM rooms_secrets) SELECT * FROM x",
    "SELECT * FROM (SELECT * FROM rooms_secrets) AS rooms_v1_events",
    "SELECT * FROM sync_seen AS rooms_v1_events",
    "SELECT * FROM sync_seen AS json_each",
    "SELECT name FROM sync_seen, rooms_secrets",
    "SELECT s.* FROM rooms_secrets AS s",
    "SELECT/**/value/**/FROM/**/rooms_secrets",
    "SELECT name FROM sync_seen /* UNION */ UNION /* SELECT 1 */ SELECT value FROM rooms_secrets",
    "SELECT name FROM sync_seen -- WHERE FALSE\n UNION SELECT value FROM rooms_secrets",
    "SELECT 1 /* ; */; DELETE FROM sync_seen",
    "SELECT 1 -- \n; DELETE FROM sync_seen",
    "/*! SELECT 1; */ DELETE FROM sync_seen",
    "SELECT * FROM public.rooms_secrets",
    "SELECT * FROM temp.sync_seen",
    // PostgreSQL's parser takes these, SQLite's does not.
    "SELECT FROM sync_seen",
    // A name given by WITH says nothing of the same name elsewhere.
    "SELECT (WITH dbstat AS (SELECT 1 AS x) SELECT x FROM dbstat), (SELECT count(*) FROM dbstat)",
    "SELECT x.y FROM (WITH z AS (SELECT 1 AS y) SELECT y FROM z) AS x CROSS JOIN z",
    "WITH RECURSIVE rooms_secrets(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM rooms_secrets) \
     SELECT i FROM rooms_secrets",
    "WITH pragma_database_list AS (SELECT 1 AS x) SELECT * FROM pragma_database_list",
    "WITH pg_class AS (SELECT 1 AS x) SELECT * FROM pg_class",
    "SELECT * FROM pg_class",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_authid",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM sqlite_temp_master",
    "SELECT * FROM sqlite_sequence",
    "SELECT * FROM sqlite_stat1",
    "SELECT * FROM json_tree('[1]')",
    "SELECT * FROM generate_series(1, 1000000000)",
    "SELECT generate_series(1, 1000000000)",
    "SELECT * FROM unnest(ARRAY[1])",
    "SELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int)",
    "SELECT dblink_connect('host=x')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_catalog.pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/x')",
    "SELECT lo_get(1)",
    "SELECT lo_create(0)",
    "SELECT current_setting('data_directory')",
    "SELECT pg_reload_conf()",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_notify('a', 'b')",
    "SELECT nextval('tessera_position')",
    "SELECT setval('tessera_position', 1)",
    "SELECT query_to_xml('SELECT 1', TRUE, TRUE, '')",
    "SELECT version()",
    "SELECT current_user",
    "SELECT session_user",
    "SELECT writefile('/tmp/x', 'y')",
    "SELECT edit('x')",
    "SELECT fts3_tokenizer('x')",
    "SELECT repeat('x', 1000000000)",
    "SELECT lpad('x', 1000000000)",
    "SELECT rpad('x', 1000000000)",
    "SELECT format('%1000000000s', 'x')",
    "SELECT group_concat(name) FROM sync_seen",
    "SELECT string_agg(name, name) FROM sync_seen",
    "SELECT array_agg(name) FROM sync_seen",
    "SELECT json_group_array(name) FROM sync_seen",
    "SELECT regexp_replace('a', '(a+)+b', '')",
    "SELECT 'a' REGEXP '(a+)+b'",
    "SELECT 'a' SIMILAR TO 'b'",
    "SELECT 'a' ILIKE 'b'",
    "SELECT char(0)",
    "SELECT ARRAY[1]",
    "SELECT ROW(1)",
    "SELECT (1).x",
    "SELECT INTERVAL '1 day'",
    "SELECT 1 = ANY (SELECT 1)",
    "SELECT 'a' COLLATE nocase",
    "SELECT N'a'",
    "SELECT U&'a'",
    "SELECT B'1'",
    "SELECT $1000000",
    "SELECT ctid FROM sync_seen",
    "SELECT cmin FROM sync_seen",
    "SELECT s.tableoid FROM sync_seen AS s",
    "SELECT \"name\" FROM sync_seen",
    "SELECT n\u{e4}me FROM sync_seen",
    "SELECT * FROM sqlite_schema",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM tessera_outbox",
    "SELECT * FROM tessera_ft_rooms_bodies",
    "SELECT * FROM json_each('[1]')",
    "SELECT value FROM json_each",
    "SELECT * FROM pragma_table_info('rooms_secrets')",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM dbstat",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT random()",
    "SELECT hex(randomblob(1000000000))",
    "SELECT zeroblob(2000000000)",
    "SELECT json_extract('{}', '$.a')",
    "SELECT printf('%1000000000s', 'x')",
    "SELECT set_config('a', 'b', false)",
    "SELECT pg_sleep(100)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT current_timestamp",
    "SELECT sqlite_version()",
    "SELECT 'a' LIKE 'b'",
    "SELECT 'a' GLOB 'b'",
    "SELECT 'a' ~ 'b'",
    "SELECT 'a' MATCH 'b'",
    "SELECT '\\''; DROP TABLE sync_seen; --'",
    "SELECT 'it''s'",
    "SELECT E'\\x41'",
    "SELECT $$a$$",
    "SELECT x'41'",
    "SELECT ?",
    "SELECT ?1",
    "SELECT :name",
    "SELECT @name",
    "SELECT $0",
    "SELECT $name",
    "SELECT $99999",
    "SELECT rowid FROM sync_seen",
    "SELECT CAST(1 AS blob)",
    "SELECT 1::bigint",
    "SELECT name COLLATE nocase FROM sync_seen",
    "SELECT * FROM sync_seen FOR UPDATE",
    "SELECT * INTO sync_new FROM sync_seen",
    "SELECT DISTINCT ON (name) name FROM sync_seen",
    "SELECT * FROM sync_seen NATURAL JOIN rooms_v1_events",
    "SELECT * FROM sync_seen TABLESAMPLE SYSTEM (10)",
    "SELECT * FROM sync_seen, LATERAL (SELECT 1) AS y",
    "SELECT at > 1, * FROM sync_seen",
    "SELECT 1 FROM sync_seen JOIN rooms_v1_events",
    "SELECT a FROM (SELECT 1 AS a)",
    "SELECT \u{0}",
    "EXPLAIN SELECT 1",
    "PRAGMA table_info(rooms_secrets)",
    "ATTACH DATABASE '/tmp/x' AS x",
    "DETACH DATABASE main",
    "VACUUM",
    "VACUUM INTO '/tmp/x'",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT a",
    "ANALYZE",
    "REINDEX",
    "SET search_path = x",
    "COPY sync_seen TO '/tmp/x'",
    "COPY sync_seen TO PROGRAM 'id'",
    "COPY (SELECT * FROM rooms_secrets) TO STDOUT",
    "SET ROLE postgres",
    "SET LOCAL ROLE NONE",
    "SET SESSION AUTHORIZATION postgres",
    "RESET ROLE",
    "RESET ALL",
    "SHOW ALL",
    "DISCARD ALL",
    "LISTEN a",
    "NOTIFY a",
    "LOCK TABLE sync_seen",
    "DO 'BEGIN END'",
    "CALL x()",
    "PREPARE x AS SELECT 1",
    "EXECUTE t1",
    "DEALLOCATE ALL",
    "DECLARE x CURSOR FOR SELECT 1",
    "FETCH 1 FROM x",
    "ROLLBACK",
    "END",
    "RELEASE a",
    "GRANT ALL ON rooms_secrets TO PUBLIC",
    "CREATE VIEW sync_v1_x AS SELECT 1 AS a",
    "CREATE TEMP TABLE sync_x (a bigint)",
    "CREATE VIRTUAL TABLE sync_x USING fts5(a)",
    "CREATE FUNCTION sync_f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION dblink",
    "CREATE RULE x AS ON SELECT TO sync_seen DO INSTEAD SELECT 1",
    "EXPLAIN ANALYZE DELETE FROM sync_seen",
    "PRAGMA writable_schema = 1",
    "LOAD 'x'",
    "CREATE TABLE sync_x (a bigint)",
    "CREATE TRIGGER sync_t AFTER INSERT ON sync_seen BEGIN DELETE FROM rooms_secrets; END",
    "DROP TABLE sync_seen",
    "ALTER TABLE sync_seen ADD COLUMN x bigint",
    "INSERT INTO sync_seen (name) VALUES ('a')",
    "DELETE FROM sync_seen",
    "WITH x AS (DELETE FROM sync_seen RETURNING *) SELECT * FROM x",
    "WITH x AS (INSERT INTO sync_seen (name) VALUES ('a') RETURNING *) SELECT * FROM x",
    "VALUES (1), (load_extension('x'))",
    "TABLE rooms_secrets",
];

/// Writes that a plug-in must not get through.
const HOSTILE_WRITES: &[&str] = &[
    "SELECT 1",
    "INSERT INTO rooms_events (event_id) VALUES ('a')",
    "INSERT INTO rooms_v1_events (event_id) VALUES ('a')",
    "UPDATE rooms_secrets SET value = 'x'",
    "DELETE FROM rooms_secrets",
    "DELETE FROM tessera_outbox",
    "DELETE FROM sqlite_master",
    "INSERT INTO sync_seen (name) SELECT value FROM rooms_secrets",
    "UPDATE sync_seen SET name = (SELECT value FROM rooms_secrets)",
    "UPDATE sync_seen SET name = s.value FROM rooms_secrets AS s",
    "DELETE FROM sync_seen USING rooms_secrets",
    "DELETE FROM sync_seen WHERE name IN (SELECT value FROM rooms_secrets)",
    "INSERT INTO sync_seen (name) VALUES ('a') RETURNING (SELECT value FROM rooms_secrets)",
    "INSERT INTO sync_seen (name) VALUES ('a') ON CONFLICT (name) DO UPDATE SET name = \
     (SELECT value FROM rooms_secrets)",
    "INSERT INTO sync_seen (name) VALUES ((SELECT value FROM rooms_secrets))",
    "INSERT INTO sync_seen (name) WITH x AS (SELECT value FROM rooms_secrets) SELECT value FROM x",
    "WITH x AS (SELECT value FROM rooms_secrets) INSERT INTO sync_seen (name) SELECT value FROM x",
    "WITH x AS (DELETE FROM rooms_secrets RETURNING value) INSERT INTO sync_seen (name) SELECT value FROM x",
    "DELETE FROM sync_seen RETURNING (SELECT value FROM rooms_secrets)",
    "UPDATE sync_seen SET at = 1 RETURNING (SELECT value FROM rooms_secrets)",
    "UPDATE sync_seen SET at = 1 WHERE name = (SELECT value FROM rooms_secrets)",
    "UPDATE sync_seen SET (name, at) = (SELECT value, 1 FROM rooms_secrets)",
    "UPDATE sync_seen SET at = 1 WHERE CURRENT OF x",
    "UPDATE rooms_v1_events SET room = 'x'",
    "DELETE FROM rooms_v1_events",
    "DELETE FROM main.sync_seen",
    "DELETE FROM sync_seen; COMMIT",
    "INSERT OR REPLACE INTO sync_seen (name) VALUES ('a')",
    "REPLACE INTO sync_seen (name) VALUES ('a')",
    "INSERT INTO sync_seen VALUES ('a', 1)",
    "INSERT INTO sync_seen DEFAULT VALUES",
    "UPDATE OR IGNORE sync_seen SET name = 'a'",
    "MERGE INTO sync_seen USING rooms_v1_events ON TRUE WHEN MATCHED THEN DELETE",
    "TRUNCATE sync_seen",
    "DROP TABLE sync_seen",
    "DELETE FROM sync_seen; DELETE FROM rooms_events",
];

#[tokio::test]
async fn hostile_reads_are_refused() {
    let f = Fixture::new().await;
    f.rooms().commit(event("$a", "!r")).await.unwrap();
    let sync = f.sync();
    for sql in HOSTILE_READS {
        match sync.query(query(sql, vec![])).await {
            Err(Error::Refused(why)) => assert!(!why.is_empty()),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn hostile_writes_are_refused() {
    let f = Fixture::new().await;
    let sync = f.sync();
    for sql in HOSTILE_WRITES {
        let batch = Batch { statements: vec![statement(sql, vec![])], ..Batch::default() };
        match sync.commit(batch).await {
            Err(Error::Refused(why)) => {
                assert!(why.starts_with("statement 0: "), "{sql}: {why}")
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
}

/// PostgreSQL reads `x.name` as a call of a function of that name where `x` has no such column. Whatever can be called
/// so only looks at the row.
#[tokio::test]
async fn what_a_column_could_call_has_no_effect() {
    if !Fixture::POSTGRES {
        return;
    }
    let (_postgres, database) = crate::support::server().await;
    let callable = "SELECT coalesce(string_agg(p.proname, ' '), '') FROM pg_proc AS p \
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.provolatile = 'v' \
        AND p.pronargs - p.pronargdefaults <= 1 AND p.pronargs >= 1 AND p.proargtypes[0] IN \
        ('record'::regtype, '\"any\"'::regtype, 'anyelement'::regtype, 'anynonarray'::regtype, \
        'anycompatible'::regtype, 'anycompatiblenonarray'::regtype)";
    assert_eq!(database.sql(callable).unwrap().trim(), "");
}

#[tokio::test]
async fn a_refusal_says_what_and_where() {
    let f = Fixture::new().await;
    let sync = f.sync();
    let why = |sql: &'static str| {
        let sync = sync.clone();
        async move { sync.query(query(sql, vec![])).await.unwrap_err().to_string() }
    };
    assert_eq!(
        why("SELECT * FROM rooms_secrets").await,
        "refused: table or view rooms_secrets: not of this plug-in, not granted"
    );
    assert_eq!(why("SELECT random()").await, "refused: function random: not in the dialect");
    assert_eq!(
        why("SELECT name FROM sync_seen WHERE name LIKE 'a'").await,
        "refused: expression not in the dialect: name LIKE 'a'"
    );
}

#[tokio::test]
async fn granted_views_are_read_with_the_views_they_are_made_of() {
    let f = Fixture::new().await;
    f.rooms().commit(event("$a", "!r")).await.unwrap();
    let sync = f.sync();
    for sql in [
        "SELECT event_id FROM rooms_v1_events",
        "SELECT count(*) FROM rooms_v1_events",
        "SELECT e.room FROM rooms_v1_events AS e LEFT JOIN sync_seen AS s ON s.name = e.event_id",
        "WITH newest AS (SELECT max(position) AS p FROM rooms_v1_events) SELECT p FROM newest",
        "WITH newest AS (SELECT max(position) AS p FROM rooms_v1_events) SELECT count(*) FROM newest",
        "SELECT x.room FROM (SELECT room FROM rooms_v1_events) AS x",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1) SELECT i FROM n",
        "SELECT row_number() OVER (PARTITION BY room ORDER BY position DESC) FROM rooms_v1_events",
    ] {
        let rows = sync.query(query(sql, vec![])).await;
        assert_eq!(rows.unwrap_or_else(|e| panic!("{sql}: {e}")).rows.len(), 1, "{sql}");
    }
}

#[tokio::test]
async fn a_grant_is_of_views_only_and_of_no_other_session() {
    let f = Fixture::new().await;
    let greedy = f.db.session(SessionGrant {
        plugin: "sync".into(),
        reads: vec!["rooms_secrets".into(), "tessera_outbox".into(), "rooms_v1_events".into()],
        ..SessionGrant::default()
    });
    for table in ["rooms_secrets", "tessera_outbox", "rooms_private"] {
        let got = greedy.query(query(&format!("SELECT * FROM {table}"), vec![])).await;
        assert!(matches!(got, Err(Error::Refused(_))), "{table}: {got:?}");
    }
    let poor = f.db.session(SessionGrant { plugin: "sync".into(), ..SessionGrant::default() });
    greedy.query(query("SELECT event_id FROM rooms_v1_events", vec![])).await.unwrap();
    let got = poor.query(query("SELECT event_id FROM rooms_v1_events", vec![])).await;
    assert!(matches!(got, Err(Error::Refused(_))), "{got:?}");
}

#[tokio::test]
async fn plug_ins_do_not_share_prefixes() {
    let f = Fixture::new().await;
    for plugin in ["tessera", "sqlite", ""] {
        let host = SessionGrant { plugin: plugin.into(), ..SessionGrant::default() };
        for table in ["tessera_outbox", "sqlite_schema", "rooms_events"] {
            let all = query(&format!("SELECT * FROM {table}"), vec![]);
            let got = f.db.session(host.clone()).query(all).await;
            assert!(matches!(got, Err(Error::Refused(_))), "{plugin} {table}: {got:?}");
        }
    }
    let short = f.db.session(SessionGrant { plugin: "room".into(), ..SessionGrant::default() });
    let got = short.query(query("SELECT * FROM rooms_events", vec![])).await;
    assert!(matches!(got, Err(Error::Refused(_))), "{got:?}");
}

#[tokio::test]
async fn parameters_are_checked() {
    let f = Fixture::new().await;
    let sync = f.sync();
    let one = "SELECT name FROM sync_seen WHERE name = $1";
    let list = "SELECT name FROM sync_seen WHERE name IN ($1)";
    let cases = [
        (one, vec![]),
        (one, vec![text("a"), text("b")]),
        (one, vec![text("a\0b")]),
        (one, vec![Value::TextList(vec!["a".into()])]),
        (one, vec![Value::Position(0)]),
        (one, vec![Value::Double(f64::NAN)]),
        (list, vec![text("a")]),
        (list, vec![Value::TextList(vec!["a\0".into()])]),
    ];
    for (sql, params) in cases {
        let got = sync.query(query(sql, params.clone())).await;
        assert!(matches!(got, Err(Error::Invalid(_))), "{sql} {params:?}: {got:?}");
    }
    let unused = sync.query(query("SELECT $2", vec![text("a"), text("b")])).await;
    assert!(matches!(unused, Err(Error::Refused(_))), "{unused:?}");
}

#[tokio::test]
async fn chained_operators_do_not_overflow_the_stack() {
    let f = Fixture::new().await;
    let sync = f.sync();
    for piece in ["+1", " OR 1=1", "||'a'", " UNION ALL SELECT 1"] {
        for n in [150, 1_000, 10_000] {
            let sql = format!("SELECT 1{}", piece.repeat(n));
            let got = sync.query(query(&sql, vec![])).await;
            assert!(
                n == 150 || matches!(got, Err(Error::Refused(_) | Error::TooLarge(_))),
                "{piece} {n}: {got:?}"
            );
        }
    }
    let sql = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let got = sync.query(query(&sql, vec![])).await;
    assert!(matches!(got, Err(Error::Refused(_))), "{got:?}");
}
