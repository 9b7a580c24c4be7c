use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tessera_storage::{
    Batch, Database, DatabaseConfig, ExposedView, FullTextIndex, Migration, PluginSchema, Postgres,
    PostgresConfig, Query, Session, SessionGrant, Statement, Value, Wake,
};
use tessera_test_services::TestDatabase;

#[derive(Default)]
pub struct Woken {
    pub committed: Mutex<Vec<(Vec<String>, u64)>>,
    pub emitted: Mutex<Vec<String>>,
}

impl Wake for Woken {
    fn committed(&self, topics: &[String], horizon: u64) {
        self.committed.lock().unwrap().push((topics.to_vec(), horizon));
    }

    fn emitted(&self, topics: &[String]) {
        self.emitted.lock().unwrap().extend_from_slice(topics);
    }
}

/// Which engine a test runs on.
pub trait Kind {
    const POSTGRES: bool;
}

pub struct OnSqlite;
pub struct OnPostgres;

impl Kind for OnSqlite {
    const POSTGRES: bool = false;
}

impl Kind for OnPostgres {
    const POSTGRES: bool = true;
}

/// A database of its own, with two plug-ins in it.
pub struct Fixture<K: Kind> {
    pub db: Database,
    pub wake: Arc<Woken>,
    pub home: Home,
    kind: PhantomData<K>,
}

/// Where a database lives.
pub enum Home {
    Folder(tempfile::TempDir),
    Server(Postgres, #[expect(dead_code, reason = "dropped with it")] TestDatabase),
}

impl Home {
    pub async fn open(&self, config: DatabaseConfig, wake: Arc<Woken>) -> Database {
        match self {
            Self::Folder(dir) => Database::open(&path(dir), config, wake).await.unwrap(),
            Self::Server(postgres, _) => postgres.open("hs1", config, wake).await.unwrap(),
        }
    }

    /// Another tenant, empty.
    pub async fn another(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("other{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (config, wake) = (DatabaseConfig::default(), Arc::new(Woken::default()));
        match self {
            Self::Folder(dir) => {
                let path = dir.path().join(name).join("data.sqlite");
                Database::open(&path, config, wake).await.unwrap()
            }
            Self::Server(postgres, _) => postgres.open(&name, config, wake).await.unwrap(),
        }
    }
}

/// A new database on PostgreSQL. Without a server the tests of that engine fail: leave them out with
/// `-E 'not test(postgres::)'`.
pub async fn server() -> (Postgres, TestDatabase) {
    let database = TestDatabase::new().expect("PostgreSQL (leave out: -E 'not test(postgres::)')");
    let config = PostgresConfig { connections: 8, ..PostgresConfig::new(database.url()) };
    (Postgres::connect(config).await.unwrap(), database)
}

pub const ROOMS: &str = "
CREATE TABLE rooms_events (
  position bigint PRIMARY KEY,
  event_id text NOT NULL UNIQUE,
  room text NOT NULL,
  body text,
  redacted boolean NOT NULL DEFAULT FALSE,
  weight double precision,
  raw blob
);
CREATE INDEX rooms_events_room ON rooms_events (room, position DESC);
CREATE TABLE rooms_versions (room text NOT NULL, version bigint NOT NULL, PRIMARY KEY (room));
CREATE TABLE rooms_secrets (name text PRIMARY KEY, value text);
CREATE VIEW rooms_private AS SELECT event_id, room, position FROM rooms_events WHERE NOT redacted;
CREATE VIEW rooms_v1_events AS SELECT event_id, room, position FROM rooms_private;
INSERT INTO rooms_secrets (name, value) VALUES ('key', 'hunter2');
";

pub fn rooms() -> PluginSchema {
    PluginSchema {
        plugin: "rooms".into(),
        version: "1".into(),
        migrations: vec![Migration { name: "0001.sql".into(), sql: ROOMS.into() }],
        exposes: vec![ExposedView { name: "rooms_v1_events".into() }],
        full_text: vec![FullTextIndex { name: "bodies".into() }],
    }
}

pub fn sync() -> PluginSchema {
    PluginSchema {
        plugin: "sync".into(),
        version: "1".into(),
        migrations: vec![Migration {
            name: "0001.sql".into(),
            sql: "CREATE TABLE sync_seen (name text PRIMARY KEY, at bigint)".into(),
        }],
        ..PluginSchema::default()
    }
}

impl<K: Kind> Fixture<K> {
    pub const POSTGRES: bool = K::POSTGRES;

    pub async fn new() -> Self {
        Self::with(DatabaseConfig::default()).await
    }

    pub async fn with(config: DatabaseConfig) -> Self {
        let home = if K::POSTGRES {
            let (postgres, database) = server().await;
            Home::Server(postgres, database)
        } else {
            Home::Folder(tempfile::tempdir().unwrap())
        };
        let wake = Arc::new(Woken::default());
        let db = home.open(config, wake.clone()).await;
        db.install(rooms()).await.unwrap();
        db.install(sync()).await.unwrap();
        Self { db, wake, home, kind: PhantomData }
    }

    /// Closes the database and opens it again.
    pub async fn reopen(&self, config: DatabaseConfig) -> Database {
        self.db.clone().close().await;
        self.home.open(config, self.wake.clone()).await
    }

    pub fn path(&self) -> PathBuf {
        match &self.home {
            Home::Folder(dir) => path(dir),
            Home::Server(..) => panic!("not on SQLite"),
        }
    }

    pub fn rooms(&self) -> Session {
        self.db.session(SessionGrant { plugin: "rooms".into(), ..SessionGrant::default() })
    }

    pub fn sync(&self) -> Session {
        self.db.session(SessionGrant {
            plugin: "sync".into(),
            reads: vec!["rooms_v1_events".into()],
            ..SessionGrant::default()
        })
    }
}

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("tenant").join("data.sqlite")
}

pub fn query(sql: &str, params: Vec<Value>) -> Query {
    Query { sql: sql.into(), params }
}

pub fn statement(sql: &str, params: Vec<Value>) -> Statement {
    Statement { sql: sql.into(), rows: vec![params], expect: None }
}

pub fn text(value: &str) -> Value {
    Value::Text(value.into())
}

/// A commit that stores one event at its own position.
pub fn event(id: &str, room: &str) -> Batch {
    Batch {
        statements: vec![statement(
            "INSERT INTO rooms_events (position, event_id, room, body) VALUES ($1, $2, $3, $4)",
            vec![Value::Position(0), text(id), text(room), text("hello")],
        )],
        positions: 1,
        ..Batch::default()
    }
}

pub async fn count(session: &Session, table: &str) -> i64 {
    let rows = session.query(query(&format!("SELECT count(*) FROM {table}"), vec![])).await;
    match rows.unwrap().rows[0][0] {
        Value::Integer(n) => n,
        ref other => panic!("{other:?}"),
    }
}
