//! What can go wrong.

/// Why an operation failed. Nothing was changed, unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A guard failed: an `expect` not met or a unique key taken. Read again, decide again.
    #[error("conflict in statement {statement}")]
    Conflict {
        /// Index into [`crate::Batch::statements`].
        statement: u32,
    },
    /// Not in the dialect, or not granted.
    #[error("refused: {0}")]
    Refused(String),
    /// SQL that the engine rejects, or parameters that do not fit.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A cap was reached; the text says which.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The tenant has as many rows or bytes as it may: only what does not add is taken.
    #[error("over quota: {0}")]
    Quota(String),
    /// The time cap was reached.
    #[error("timed out")]
    Timeout,
    /// A queue is full; later may work.
    #[error("busy")]
    Busy,
    /// The engine cannot serve: disk full, input/output error, closing.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("database {0} is in use by another process")]
    Locked(String),
    /// Written by a newer program.
    #[error(
        "database {path} has host schema version {found}; this program knows up to {known}: use a newer one"
    )]
    Newer {
        /// The file.
        path: String,
        /// Version in the file.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// File system.
    #[error("cannot open database {path}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The engine.
    #[error("cannot open database {path}: {message}")]
    Engine {
        /// The file.
        path: String,
        /// The engine's words.
        message: String,
    },
}

/// Why a plug-in's schema could not be installed. Migrations before the failing one stay applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Not a usable plug-in, view or index name.
    #[error("plug-in {plugin}: {reason}")]
    Name {
        /// Whose schema.
        plugin: String,
        /// What is wrong.
        reason: String,
    },
    /// A migration may not do that.
    #[error("plug-in {plugin}, migration {migration}: {reason}")]
    Refused {
        /// Whose schema.
        plugin: String,
        /// Which.
        migration: String,
        /// What is wrong and where.
        reason: String,
    },
    /// An applied migration is not the same any more.
    #[error("plug-in {plugin}, migration {migration}: its text changed after it was applied")]
    Changed {
        /// Whose schema.
        plugin: String,
        /// Which.
        migration: String,
    },
    /// The database has a migration that this version of the plug-in does not know, and cannot live with.
    #[error(
        "plug-in {plugin}: the database has migration {migration}, which this version does not know and cannot live with ({why}): use a newer one"
    )]
    Newer {
        /// Whose schema.
        plugin: String,
        /// Which.
        migration: String,
        /// What is in the way.
        why: String,
    },
    /// The engine refused.
    #[error("plug-in {plugin}, migration {migration}: {error}")]
    Engine {
        /// Whose schema.
        plugin: String,
        /// Which, or `-` outside of any.
        migration: String,
        /// Its answer.
        #[source]
        error: Error,
    },
}
