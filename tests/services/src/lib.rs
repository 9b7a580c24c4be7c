//! Throw-away servers for tests: PostgreSQL, NATS, a registry of images, a sink for mail and buckets (S3) on loopback, in temporary folders.
//!
//! Dropping a server stops it and removes its folder; so does the end of the process that started
//! it, however it ends. Nothing here is asynchronous and nothing needs a crate.

mod first_party;
mod guard;
mod mail;
mod nats;
mod postgres;
pub mod process;
mod program;
mod registry;
mod s3;

pub use first_party::first_party;
pub use mail::{Mail, MailSink, Stream};
pub use nats::Nats;
pub use postgres::{Postgres, TestDatabase};
pub use program::Program;
pub use registry::Registry;
pub use s3::S3;

/// Why a server could not be had: its program is missing, or it did not come up. Tests that get
/// this say so and end.
pub type Failure = String;
