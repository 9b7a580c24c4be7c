//! Opening connections through sqlx, and the host's own schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor};

use crate::{DatabaseConfig, OpenError, quota};

/// Newest host schema that this program knows.
const SCHEMA_VERSION: i64 = 3;
/// From version 1 to 2.
const UPGRADE_2: &str = "
ALTER TABLE tessera_timers ADD COLUMN claimed_until integer NOT NULL DEFAULT 0;
CREATE TABLE tessera_leases (
  name text PRIMARY KEY, holder text NOT NULL, until integer NOT NULL
) WITHOUT ROWID;
UPDATE tessera_meta SET value = '2' WHERE key = 'schema';
";
/// From version 2 to 3.
const UPGRADE_3: &str = "
CREATE INDEX tessera_deliveries_open ON tessera_deliveries (consumer, topic, next_ms) WHERE settled = 0;
UPDATE tessera_meta SET value = '3' WHERE key = 'schema';
";
const SCHEMA: &str = include_str!("schema.sql");

/// How long a file may be held by a database of this process that is just closing.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// Bytes per page, fixed when the file is made.
pub(super) const PAGE: u64 = 4096;

/// Bytes of the file that readers map; address space, not memory. What lies beyond is read.
const MAPPED: u64 = 1 << 30;

/// Takes the file's lock: the writer keeps counters in memory, so there is one process per file.
pub(super) fn take_lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.display().to_string(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(io)?;
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked(path.display().to_string()));
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
    }
}

fn options(path: &Path, config: &DatabaseConfig) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(false)
        .pragma("temp_store", "memory")
        .pragma("cache_size", format!("-{}", config.cache_kib))
        .disable_statement_logging()
}

/// A connection for reading.
pub(super) fn reader(
    path: &Path,
    config: &DatabaseConfig,
) -> Result<SqliteConnection, sqlx::Error> {
    // Each commit voids the reader's page cache: mapped, pages are at hand again without a copy.
    let options = options(path, config).pragma("mmap_size", MAPPED.to_string());
    block_on(options.read_only(true).pragma("query_only", "on").connect())
}

/// A connection for reading all there is, beside the readers: it may make temporary tables, and sorts on
/// disk what is large.
pub(super) fn exporter(
    path: &Path,
    config: &DatabaseConfig,
) -> Result<SqliteConnection, sqlx::Error> {
    block_on(options(path, config).read_only(true).pragma("temp_store", "file").connect())
}

/// The writer's connection; makes or checks the host's schema.
pub(super) fn writer(path: &Path, config: &DatabaseConfig) -> Result<SqliteConnection, OpenError> {
    let engine = |e: sqlx::Error| OpenError::Engine {
        path: path.display().to_string(),
        message: e.to_string(),
    };
    let options = options(path, config)
        .create_if_missing(true)
        .page_size(u32::try_from(PAGE).unwrap_or(4096))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Keeps the log file from staying at the size of its worst moment.
        .pragma("journal_size_limit", "67108864");
    block_on(async {
        let mut connection = options.connect().await.map_err(engine)?;
        if let Some(bytes) = config.max_bytes {
            // Plug-ins' commits are held at the cap itself: see `CommitJob::fits`.
            let pages = (bytes.saturating_add(quota::slack(bytes)) / PAGE).max(1);
            let sql = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
            connection.execute(sqlx::raw_sql(sql)).await.map_err(engine)?;
        }
        let exists: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'tessera_meta'")
                .fetch_one(&mut connection)
                .await
                .map_err(engine)?;
        if exists == 0 {
            let mut transaction = connection.begin().await.map_err(engine)?;
            transaction.execute(sqlx::raw_sql(SCHEMA)).await.map_err(engine)?;
            transaction.commit().await.map_err(engine)?;
        }
        let version: String =
            sqlx::query_scalar("SELECT value FROM tessera_meta WHERE key = 'schema'")
                .fetch_one(&mut connection)
                .await
                .map_err(engine)?;
        let found = version.parse().unwrap_or(i64::MAX);
        if found > SCHEMA_VERSION {
            let path = path.display().to_string();
            return Err(OpenError::Newer { path, found, known: SCHEMA_VERSION });
        }
        for (version, upgrade) in [(2, UPGRADE_2), (3, UPGRADE_3)] {
            if found < version {
                let mut transaction = connection.begin().await.map_err(engine)?;
                transaction.execute(sqlx::raw_sql(upgrade)).await.map_err(engine)?;
                transaction.commit().await.map_err(engine)?;
            }
        }
        leave_lost_positions(&mut connection).await.map_err(engine)?;
        Ok(connection)
    })
}

/// Positions left out after the machine went down: more than relaxed commits take between two durable ones.
const LEFT_OUT: i64 = 1 << 20;

/// A machine that goes down may take relaxed commits along whose positions somebody has seen. They must
/// not be given out again for something else: whoever has read up to them would never see it. A process
/// that ends takes nothing, since the system keeps what was written.
async fn leave_lost_positions(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // Where it cannot be read, every opening counts as a new start of the machine.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = boot.trim();
    let known: Option<String> =
        sqlx::query_scalar("SELECT value FROM tessera_meta WHERE key = 'boot'")
            .fetch_optional(&mut *connection)
            .await?;
    if !boot.is_empty() && known.as_deref() == Some(boot) {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    sqlx::query("UPDATE tessera_sequence SET position = position + ?1 WHERE position > 0 OR ?2")
        .bind(LEFT_OUT)
        .bind(known.is_some())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "INSERT INTO tessera_meta (key, value) VALUES ('boot', ?1) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(boot)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}
