//! SQL for plug-ins: one database per tenant, single statements in one dialect, behind two fences.
//!
//! A [`Database`] is opened once per tenant; [`Database::install`] runs a plug-in's migrations,
//! [`Database::session`] gives it access. Reads run on a pool of reading connections, commits go
//! through one writer that groups those waiting into one durable transaction.
//! The dialect is written down in `docs/sql.md`.

mod catalog;
mod config;
mod counts;
mod database;
mod dialect;
mod error;
mod fence;
mod install;
mod lock;
mod params;
mod postgres;
mod quota;
mod session;
mod sqlite;
mod transfer;
mod types;

pub use config::{
    DatabaseConfig, ExposedView, FullTextIndex, Limits, Migration, PluginSchema, SessionGrant,
};
pub use database::{Database, Stats, Wake};
pub use error::{Error, InstallError, OpenError};
pub use lock::LockGuard;
pub use postgres::{Postgres, PostgresConfig, PostgresStats};
pub use session::Session;
pub use transfer::{Progress, TransferError, Transferred, copy};
pub use types::{
    Batch, Committed, Consumer, DeadLetter, Delivery, Durability, FullTextEntry, Head, Hit,
    Message, OutboxQuery, Query, Rows, Snapshot, Statement, Timer, Usage, Value,
};
