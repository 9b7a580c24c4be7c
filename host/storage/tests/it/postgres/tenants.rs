//! Tenants, roles, several processes, and a server that goes away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tessera_storage::{
    Batch, Database, DatabaseConfig, Error, Limits, OpenError, PluginSchema, Postgres,
    PostgresConfig, Session, SessionGrant, Value,
};
use tessera_test_services::TestDatabase;

use crate::support::{OnSqlite, Woken, count, event, query, rooms, server, sync, text};

async fn open(postgres: &Postgres, tenant: &str) -> Database {
    let wake = Arc::new(Woken::default());
    postgres.open(tenant, DatabaseConfig::default(), wake).await.unwrap()
}

fn session(db: &Database, plugin: &str) -> Session {
    let reads = if plugin == "sync" { vec!["rooms_v1_events".to_owned()] } else { vec![] };
    db.session(SessionGrant { plugin: plugin.into(), reads, ..SessionGrant::default() })
}

async fn filled(postgres: &Postgres, tenant: &str) -> Database {
    let db = open(postgres, tenant).await;
    db.install(rooms()).await.unwrap();
    db.install(sync()).await.unwrap();
    session(&db, "rooms").commit(event("$a", tenant)).await.unwrap();
    session(&db, "sync").query(query("SELECT room FROM rooms_v1_events", vec![])).await.unwrap();
    db
}

#[tokio::test]
async fn the_server_keeps_plug_ins_to_what_is_theirs() {
    let (postgres, database) = server().await;
    let (_a, _b) = (filled(&postgres, "a.example").await, filled(&postgres, "b.example").await);
    let sql = |sql: String| database.sql(&sql);
    let of = |tenant: &str| {
        let schema = format!("SELECT schema FROM tessera.tenants WHERE name = '{tenant}'");
        let schema = database.sql(&schema).unwrap().trim().to_owned();
        let role = format!(
            "SELECT r.role FROM tessera.roles AS r JOIN tessera.tenants AS t ON t.number = r.tenant \
             WHERE t.name = '{tenant}' AND r.role LIKE '%\\_sync'"
        );
        (schema, database.sql(&role).unwrap().trim().to_owned())
    };
    let ((a, role), (b, _)) = (of("a.example"), of("b.example"));
    let as_sync = |statement: String| sql(format!("SET ROLE {role}; {statement}"));
    assert_eq!(
        as_sync(format!("SELECT room FROM {a}.rooms_v1_events")).unwrap().trim(),
        "a.example"
    );
    as_sync(format!("INSERT INTO {a}.sync_seen (name) VALUES ('x')")).unwrap();
    for statement in [
        format!("SELECT * FROM {a}.rooms_secrets"),
        format!("SELECT * FROM {a}.rooms_events"),
        format!("SELECT * FROM {a}.rooms_private"),
        format!("DELETE FROM {a}.rooms_events"),
        format!("SELECT * FROM {a}.tessera_outbox"),
        format!("SELECT {a}.tessera_take(1)"),
        format!("SELECT nextval('{a}.tessera_position')"),
        format!("SELECT * FROM {b}.sync_seen"),
        format!("SELECT * FROM {b}.rooms_v1_events"),
        format!("CREATE TABLE {a}.sync_more (x bigint)"),
        "CREATE SCHEMA mine".to_owned(),
        "SELECT * FROM tessera.tenants".to_owned(),
        "SELECT tessera.make_role(1, 'x', 'y')".to_owned(),
        "SELECT pg_read_file('/etc/passwd')".to_owned(),
    ] {
        let got = as_sync(statement.clone());
        assert!(got.as_ref().is_err_and(|e| e.contains("denied")), "{statement}: {got:?}");
    }
}

#[tokio::test]
async fn a_tenant_is_dropped_with_its_roles_and_others_stay() {
    let (postgres, database) = server().await;
    let (a, b) = (filled(&postgres, "a").await, filled(&postgres, "b").await);
    a.close().await;
    assert!(postgres.drop_tenant("a").await.unwrap());
    assert!(!postgres.drop_tenant("a").await.unwrap());
    let roles = "SELECT count(*) FROM pg_roles AS r JOIN tessera.roles AS t ON t.role = r.rolname";
    assert_eq!(database.sql(roles).unwrap().trim(), "2");
    assert_eq!(count(&session(&b, "rooms"), "rooms_events").await, 1);
    let anew = open(&postgres, "a").await;
    assert_eq!(anew.horizon(), 0);
    anew.install(rooms()).await.unwrap();
    assert_eq!(count(&session(&anew, "rooms"), "rooms_events").await, 0);
}

#[tokio::test]
async fn a_login_without_superuser_is_enough() {
    let (_postgres, database) = server().await;
    let login = format!("login_{}", std::process::id());
    database.sql(&format!("CREATE ROLE {login} LOGIN CREATEROLE")).unwrap();
    let second = TestDatabase::new().unwrap();
    let name = second.sql("SELECT current_database()").unwrap();
    second.sql(&format!("GRANT CREATE ON DATABASE {} TO {login}", name.trim())).unwrap();
    let url = second.url().replace("postgres@", &format!("{login}@"));
    let postgres = Postgres::connect(PostgresConfig::new(url)).await.unwrap();
    let db = filled(&postgres, "a").await;
    assert_eq!(count(&session(&db, "rooms"), "rooms_events").await, 1);
    let other = open(&postgres, "b").await;
    tessera_storage::copy(&db, &other, |_| {}).await.unwrap();
    assert_eq!(count(&session(&other, "rooms"), "rooms_events").await, 1);
    db.close().await;
    other.close().await;
    assert!(postgres.drop_tenant("a").await.unwrap());
    assert!(postgres.drop_tenant("b").await.unwrap());
    drop((postgres, second));
    database.sql(&format!("DROP ROLE {login}")).unwrap();
}

#[tokio::test]
async fn two_processes_install_at_once_and_see_each_others_work() {
    let (postgres, database) = server().await;
    let second = Postgres::connect(PostgresConfig::new(database.url())).await.unwrap();
    let (a, b) = tokio::join!(open(&postgres, "t"), open(&second, "t"));
    let (one, two) = tokio::join!(a.install(rooms()), b.install(rooms()));
    one.unwrap();
    two.unwrap();
    let (first, other) = (session(&a, "rooms"), session(&b, "rooms"));
    first.commit(Batch { id: Some("x".into()), ..event("$a", "!r") }).await.unwrap();
    let again = other.commit(Batch { id: Some("x".into()), ..event("$a", "!r") }).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(other.commit(event("$a", "!r")).await, Err(Error::Conflict { statement: 0 }));
    // A later version's migration, made by the other process.
    let all = || query("SELECT * FROM rooms_versions", vec![]);
    assert_eq!(first.query(all()).await.unwrap().columns.len(), 2);
    let mut schema: PluginSchema = rooms();
    schema.migrations.push(tessera_storage::Migration {
        name: "0002.sql".into(),
        sql: "ALTER TABLE rooms_versions ADD COLUMN more text".into(),
    });
    b.install(schema).await.unwrap();
    assert_eq!(first.query(all()).await.unwrap().columns.len(), 3);
}

#[tokio::test]
async fn few_connections_serve_many_tenants() {
    let (_postgres, database) = server().await;
    let few = PostgresConfig { connections: 2, ..PostgresConfig::new(database.url()) };
    let postgres = Postgres::connect(few).await.unwrap();
    let tenants = (0..6).map(|n| {
        let postgres = postgres.clone();
        async move {
            let db = filled(&postgres, &format!("t{n}")).await;
            let session = session(&db, "rooms");
            let commits = (0..10).map(|i| session.commit(event(&format!("$b{i}"), "!r")));
            for done in futures::future::join_all(commits).await {
                done.unwrap();
            }
            count(&session, "rooms_events").await
        }
    });
    let counts = futures::future::join_all(tenants).await;
    assert_eq!(counts, [11; 6]);
    let stats = postgres.stats();
    assert!(stats.connections <= 2 && stats.connected <= 2, "{stats:?}");
}

#[tokio::test]
async fn commits_of_one_id_at_once_happen_once() {
    let (postgres, _database) = server().await;
    let db = filled(&postgres, "t").await;
    let session = session(&db, "rooms");
    let commit = |n: usize| {
        session.commit(Batch { id: Some("same".into()), ..event(&format!("$x{n}"), "!r") })
    };
    let results = futures::future::join_all((0..6).map(commit)).await;
    let done: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(done.iter().filter(|c| !c.duplicate).count(), 1);
    assert!(done.iter().all(|c| c.first_position == done[0].first_position));
    assert_eq!(count(&session, "rooms_events").await, 2);
}

/// Waits until a commit goes through again; gives its position.
async fn back(session: &Session) -> u64 {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match session.commit(event("$after", "!r")).await {
            Ok(done) => return done.first_position,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_crashes_comes_back_and_gives_no_position_twice() {
    let server = Arc::new(tessera_test_services::Postgres::start().expect("PostgreSQL"));
    let database = TestDatabase::on(&server).unwrap();
    let postgres = Postgres::connect(PostgresConfig::new(database.url())).await.unwrap();
    let db = filled(&postgres, "t").await;
    let session = session(&db, "rooms");
    let before = session.commit(event("$before", "!r")).await.unwrap().first_position;
    server.kill();
    let down = session.query(query("SELECT 1", vec![])).await;
    assert!(matches!(down, Err(Error::Unavailable(_))), "{down:?}");
    let down = session.commit(event("$down", "!r")).await;
    assert!(matches!(down, Err(Error::Unavailable(_))), "{down:?}");
    server.restart().unwrap();
    let after = back(&session).await;
    assert!(after >= before + 1_000_000, "{before} {after}");
    assert!(after < before + 1_000_100, "{before} {after}");
    assert!(db.horizon() >= after);
    let found = query("SELECT count(*) FROM rooms_events WHERE event_id = $1", vec![text("$down")]);
    assert_eq!(session.query(found).await.unwrap().rows, [[Value::Integer(0)]]);
}

#[tokio::test]
async fn a_crash_of_one_backend_gives_no_position_twice() {
    let server = Arc::new(tessera_test_services::Postgres::start().expect("PostgreSQL"));
    let database = TestDatabase::on(&server).unwrap();
    let postgres = Postgres::connect(PostgresConfig::new(database.url())).await.unwrap();
    let db = filled(&postgres, "t").await;
    let session = session(&db, "rooms");
    let before = session.commit(event("$before", "!r")).await.unwrap().first_position;
    let start = || database.sql("SELECT pg_postmaster_start_time()");
    let started = start().unwrap();
    let backend = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tessera' \
                   AND datname = current_database() LIMIT 1";
    let backend = database.sql(backend).unwrap();
    let killed = std::process::Command::new("kill").args(["-9", backend.trim()]).status().unwrap();
    assert!(killed.success());
    let after = back(&session).await;
    assert_eq!(start().unwrap(), started, "not started anew");
    assert!(after >= before + 1_000_000, "{before} {after}");
    assert!(db.horizon() >= after);
}

#[tokio::test]
async fn a_commit_that_runs_out_of_time_leaves_no_lock() {
    let (postgres, database) = server().await;
    let db = filled(&postgres, "t").await;
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let hurried =
        db.session(SessionGrant { plugin: "rooms".into(), limits, ..SessionGrant::default() });
    hurried.commit(event("$first", "!r")).await.unwrap();
    let schema = database.sql("SELECT schema FROM tessera.tenants").unwrap();
    // Nobody can take a position meanwhile.
    let options: sqlx::postgres::PgConnectOptions = database.url().parse().unwrap();
    let mut holder = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let hold = format!("BEGIN; ALTER SEQUENCE {}.tessera_position CACHE 1", schema.trim());
    sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut holder).await.unwrap();
    let late = hurried.commit(Batch { positions: 2, ..event("$late", "!r") }).await;
    assert_eq!(late, Err(Error::Timeout));
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let locks = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database \
                 WHERE l.locktype = 'advisory' AND d.datname = current_database()";
    assert_eq!(database.sql(locks).unwrap().trim(), "0");
    hurried.commit(Batch { positions: 2, ..event("$late", "!r") }).await.unwrap();
}

#[tokio::test]
async fn a_schema_of_the_first_version_is_brought_up() {
    let (postgres, database) = server().await;
    let db = filled(&postgres, "t").await;
    db.close().await;
    let schema = database.sql("SELECT schema FROM tessera.tenants").unwrap();
    let schema = schema.trim();
    let back = format!(
        "DROP INDEX {schema}.tessera_deliveries_open; DROP FUNCTION {schema}.tessera_settled; \
         UPDATE {schema}.tessera_meta SET value = '1' WHERE key = 'schema'; \
         DROP FUNCTION tessera.epoch(); DROP TABLE tessera.epoch; \
         UPDATE tessera.meta SET value = '1' WHERE key = 'schema'"
    );
    database.sql(&back).unwrap();
    let postgres = Postgres::connect(PostgresConfig::new(database.url())).await.unwrap();
    let db = open(&postgres, "t").await;
    let index = format!("SELECT to_regclass('{schema}.tessera_deliveries_open') IS NOT NULL");
    assert_eq!(database.sql(&index).unwrap().trim(), "t");
    let rights =
        format!("SELECT proacl::text FROM pg_proc WHERE oid = '{schema}.tessera_settled'::regproc");
    let rights = database.sql(&rights).unwrap();
    assert!(!rights.contains("{=X") && !rights.contains(",=X") && rights.contains('='), "{rights}");
    assert_eq!(database.sql("SELECT count(*) FROM tessera.epoch").unwrap().trim(), "1");
    assert_eq!(count(&session(&db, "rooms"), "rooms_events").await, 1);
}

#[tokio::test]
async fn a_tenant_moves_between_the_engines() {
    let source = crate::support::Fixture::<OnSqlite>::new().await;
    super::transfer::fill(&source.db).await;
    let (postgres, _database) = server().await;
    let middle = open(&postgres, "t").await;
    let done = tessera_storage::copy(&source.db, &middle, |_| {}).await.unwrap();
    super::transfer::check(&middle, source.db.horizon()).await;
    assert!(done.rows > 1_400, "{done:?}");
    let fresh = open(&postgres, "fresh").await;
    tessera_storage::copy(&source.db, &fresh, |_| {}).await.unwrap();
    let back = source.home.another().await;
    tessera_storage::copy(&fresh, &back, |_| {}).await.unwrap();
    super::transfer::check(&back, source.db.horizon()).await;
}

#[tokio::test]
async fn what_cannot_be_used_is_told() {
    let (_postgres, database) = server().await;
    let wrong = PostgresConfig::new("mysql://x");
    assert!(matches!(Postgres::connect(wrong).await, Err(OpenError::Engine { .. })));
    let nobody = database.url().replace("postgres@", "nobody_at_all@");
    let got = Postgres::connect(PostgresConfig::new(nobody)).await;
    assert!(matches!(got, Err(OpenError::Engine { .. })), "{got:?}");
    database.sql("UPDATE tessera.meta SET value = '99'").unwrap();
    let got = Postgres::connect(PostgresConfig::new(database.url())).await;
    assert!(matches!(got, Err(OpenError::Newer { found: 99, .. })), "{got:?}");
}
