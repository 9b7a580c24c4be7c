//! PostgreSQL's error codes and what they mean here.

use sqlx::postgres::PgDatabaseError;

use crate::Error;

/// An error of a connection or of the server.
#[derive(Debug)]
pub(super) struct SqlError {
    /// Five letters; empty where the server did not say it.
    pub(super) code: String,
    pub(super) message: String,
    /// Of a host function: what it tells beside the message.
    pub(super) detail: String,
    /// The connection is not to be used again.
    pub(super) broken: bool,
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) => {
                let Some(of) = inner.try_downcast_ref::<PgDatabaseError>() else {
                    return Self::broken(error.to_string());
                };
                Self {
                    code: of.code().to_owned(),
                    message: of.message().to_owned(),
                    detail: of.detail().unwrap_or_default().to_owned(),
                    // 57P01 to 57P03: the server ends this connection, or has not begun it; 25P03: it
                    // was idle for too long inside a transaction.
                    broken: of.code().starts_with("57P") || of.code() == "25P03",
                }
            }
            other => Self::broken(other.to_string()),
        }
    }
}

impl SqlError {
    pub(super) fn broken(message: String) -> Self {
        Self { code: String::new(), message, detail: String::new(), broken: true }
    }

    /// A unique key, a row version or another transaction stands against it.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.code.as_str(), "23505" | "40001" | "40P01")
    }

    /// The schema is not what the statement was prepared for: another process changed it.
    pub(super) fn is_stale(&self) -> bool {
        match self.code.as_str() {
            "0A000" => self.message.contains("cached plan"),
            // No such table, column, prepared statement; no right to it.
            "42P01" | "42703" | "26000" | "42501" => true,
            _ => false,
        }
    }
}

impl From<SqlError> for Error {
    fn from(e: SqlError) -> Self {
        let class = e.code.get(..2).unwrap_or_default();
        match (e.code.as_str(), class) {
            ("", _) => Self::Unavailable(format!("PostgreSQL: {}", e.message)),
            ("57014" | "55P03", _) => Self::Timeout,
            ("42501", _) => Self::Refused(e.message),
            // Could not determine the type of a parameter, or took text for it.
            ("42P18" | "42P08", _) => {
                Self::Invalid(format!("{}: say it with CAST($n AS type)", e.message))
            }
            ("42883" | "42804", _) => Self::Invalid(format!(
                "{}: give parameters a type with CAST($n AS type)",
                e.message
            )),
            ("54000" | "22001", _) => Self::TooLarge(e.message),
            // A value of more than 1 GiB.
            ("XX000", _) if e.message.contains("memory alloc request size") => {
                Self::TooLarge(e.message)
            }
            // The server's own limits of memory: one statement's doing, or everybody's.
            ("53400" | "53200", _) => Self::Unavailable(e.message),
            ("57P01" | "57P02" | "57P03" | "25P03", _) | (_, "53" | "58" | "08" | "XX") => {
                Self::Unavailable(format!("PostgreSQL: {} ({})", e.message, e.code))
            }
            ("25006", _) => Self::Unavailable(format!("PostgreSQL: {}", e.message)),
            (_, "54") => Self::TooLarge(e.message),
            ("TS001", _) => Self::Unavailable(e.message),
            ("TS002", _) => Self::Invalid(e.message),
            ("TS003", _) => Self::TooLarge(e.message),
            // Host statements have no statement index; batches map conflicts before this.
            _ if e.is_conflict() => Self::Unavailable(format!("{} ({})", e.message, e.code)),
            _ => Self::Invalid(e.message),
        }
    }
}
