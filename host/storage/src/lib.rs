//! SQL for plug-ins: one database per tenant, single statements in one dialect, behind two fences.
//!
//! A [`Database`] is opened once per tenant, on a file of SQLite ([`Database::open`]) or a schema of
//! PostgreSQL ([`Postgres::open`]); [`Database::install`] runs a plug-in's migrations,
//! [`Database::session`] gives it access. On SQLite reads run on a pool of reading connections, and
//! commits go through one writer that groups those waiting into one durable transaction. On
//! PostgreSQL all tenants share a pool of connections, commits run side by side, and several
//! processes may have a tenant open. [`copy`] takes a tenant from one to the other.
//! The dialect is written down in `docs/sql.md`.

mod catalog;
mod clock;
mod config;
mod counts;
mod database;
mod dialect;
mod error;
mod fence;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod install;
mod lock;
mod params;
mod postgres;
mod quota;
mod session;
mod sqlite;
mod transfer;
mod types;

pub use clock::now_ms;
pub use config::{
    DatabaseConfig, ExposedView, FullTextIndex, Limits, Migration, PluginSchema, SessionGrant,
};
pub use database::{Database, Stats, Wake};
pub use error::{Error, InstallError, OpenError};
pub use forward::compatible;
pub use lock::LockGuard;
pub use postgres::{Postgres, PostgresConfig, PostgresStats};
pub use session::Session;
pub use transfer::{Progress, TransferError, Transferred, copy};
pub use types::{
    Batch, Committed, Consumer, DeadLetter, Delivery, Durability, FullTextEntry, Head, Hit,
    Message, Order, OutboxQuery, Query, Rows, Snapshot, Statement, Timer, Usage, Value,
};
