//! The database's part of the file.

use anyhow::{Result, bail};
use tessera_storage::Database;
use tokio::io::DuplexStream;

pub(super) async fn export(
    _: &Database,
    _: DuplexStream,
    _: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<()> {
    bail!("this version cannot write databases into files yet")
}

pub(super) async fn import(
    _: &Database,
    _: DuplexStream,
    _: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<()> {
    bail!("this version cannot read databases from files yet")
}
