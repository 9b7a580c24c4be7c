//! Caps and settings, all with defaults and reasons.

use std::time::Duration;

/// Settings of one database.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Reading connections, opened when first needed. Each holds a thread and `cache_kib`.
    pub readers: usize,
    /// Reads that may wait for a reader before [`crate::Error::Busy`].
    pub read_queue: usize,
    /// Commits that may wait for the writer before [`crate::Error::Busy`].
    pub write_queue: usize,
    /// Commits put into one transaction at most: bounds what one failing COMMIT takes along.
    pub group: usize,
    /// Page cache per connection.
    pub cache_kib: u32,
    /// Prepared statements kept per connection; a set of plug-ins uses a few hundred.
    pub statements: usize,
    /// Cap on bytes: commits that add are answered [`crate::Error::Quota`]. SQLite holds it exactly, and
    /// leaves the host a tenth and 4 MiB more, where it is like a full disk; on PostgreSQL it is noticed
    /// some seconds late.
    pub max_bytes: Option<u64>,
    /// Cap on rows of all plug-ins' tables. Passing it is noticed some seconds late; from then on
    /// commits that add are answered [`crate::Error::Quota`].
    pub max_rows: Option<u64>,
    /// Commit ids remembered, the newest; about 100 bytes each.
    pub commit_ids: u64,
    /// Messages not yet consumed by all, before commits that emit are refused.
    pub outbox: u64,
    /// Timers per plug-in.
    pub timers: u64,
    /// Keys locked at one time.
    pub locks: usize,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            readers: 4,
            read_queue: 4096,
            write_queue: 4096,
            group: 128,
            cache_kib: 8192,
            statements: 512,
            max_bytes: None,
            max_rows: None,
            commit_ids: 1_000_000,
            outbox: 2_000_000,
            timers: 100_000,
            locks: 10_000,
        }
    }
}

/// Caps of one session.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Rows per result.
    pub rows: usize,
    /// Bytes of all results of one call together, and of the parameters of one call.
    pub bytes: usize,
    /// Run time of one query, snapshot or batch, waiting not counted.
    pub time: Duration,
    /// Statements per batch, queries per snapshot.
    pub statements: usize,
    /// Parameters per run of a statement.
    pub params: usize,
    /// Bytes of one statement's text.
    pub sql: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 50_000,
            bytes: 64 << 20,
            time: Duration::from_secs(5),
            statements: 1_000,
            params: 1_000,
            sql: 64 << 10,
        }
    }
}

/// What a plug-in may reach.
#[derive(Debug, Clone, Default)]
pub struct SessionGrant {
    /// The plug-in. Its tables are those that begin with this name, without its dashes, and `_`;
    /// as consumer it is known by the name as it is.
    pub plugin: String,
    /// Exposed views of other plug-ins that it may read.
    pub reads: Vec<String>,
    /// Caps.
    pub limits: Limits,
}

/// What a plug-in wants in the database.
#[derive(Debug, Clone, Default)]
pub struct PluginSchema {
    /// `[a-z][a-z0-9]*`: without underscore, so that no prefix begins another.
    pub plugin: String,
    /// The plug-in's version, recorded for the operator.
    pub version: String,
    /// In order; a released one never changes.
    pub migrations: Vec<Migration>,
    /// Views that others may be granted; each must exist after the migrations.
    pub exposes: Vec<ExposedView>,
    /// Full-text indexes.
    pub full_text: Vec<FullTextIndex>,
}

/// One migration file.
#[derive(Debug, Clone, Default)]
pub struct Migration {
    /// File name; unique per plug-in.
    pub name: String,
    /// Statements separated by `;`, in the dialect of `docs/sql.md`.
    pub sql: String,
}

/// A view for others.
#[derive(Debug, Clone, Default)]
pub struct ExposedView {
    /// `<plugin>_v<N>_<name>`.
    pub name: String,
}

/// A full-text index.
#[derive(Debug, Clone, Default)]
pub struct FullTextIndex {
    /// `[a-z][a-z0-9_]*`.
    pub name: String,
}
