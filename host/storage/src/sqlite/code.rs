//! SQLite's result codes and what they mean here.

use libsqlite3_sys as ffi;

use crate::Error;

/// An engine error: extended code and text.
#[derive(Debug, Clone)]
pub(crate) struct SqlError {
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl SqlError {
    pub(crate) fn internal(message: &str) -> Self {
        Self { code: ffi::SQLITE_MISUSE, message: message.to_owned() }
    }

    /// A unique key or a row version stands against it.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(
            self.code,
            ffi::SQLITE_CONSTRAINT_UNIQUE
                | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                | ffi::SQLITE_CONSTRAINT_ROWID
        )
    }
}

impl From<SqlError> for Error {
    fn from(e: SqlError) -> Self {
        match e.code & 0xff {
            ffi::SQLITE_INTERRUPT => Self::Timeout,
            ffi::SQLITE_AUTH => Self::Refused(e.message),
            ffi::SQLITE_TOOBIG => Self::TooLarge(e.message),
            ffi::SQLITE_FULL => {
                Self::Unavailable("the disk or the database's quota is full".to_owned())
            }
            ffi::SQLITE_SCHEMA => Self::Unavailable(e.message),
            ffi::SQLITE_IOERR
            | ffi::SQLITE_NOMEM
            | ffi::SQLITE_BUSY
            | ffi::SQLITE_LOCKED
            | ffi::SQLITE_READONLY
            | ffi::SQLITE_CANTOPEN
            | ffi::SQLITE_CORRUPT
            | ffi::SQLITE_NOTADB
            | ffi::SQLITE_PROTOCOL => Self::Unavailable(format!("{} ({})", e.message, e.code)),
            // Host statements have no statement index; batches map conflicts before this.
            _ => Self::Invalid(e.message),
        }
    }
}
