//! Leases: here one process has the file, so they only outlive it.

use crate::Error;
use crate::clock::now_ms;

use super::raw::Bind;
use super::writer::{Writer, int};

/// Takes or renews a lease. False: another has it.
pub(super) fn take(
    writer: &mut Writer<'_>,
    name: &str,
    holder: &str,
    ttl_ms: u64,
) -> Result<bool, Error> {
    let now = now_ms();
    let taken = writer.host(
        "INSERT INTO tessera_leases (name, holder, until) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until \
         WHERE tessera_leases.holder = excluded.holder OR tessera_leases.until <= ?4",
        &[Bind::Text(name), Bind::Text(holder), int(now.saturating_add(ttl_ms)), int(now)],
        |_| {},
    )?;
    // Names are few; those of holders that are gone do not stay for ever.
    writer.host(
        "DELETE FROM tessera_leases WHERE until <= ?1",
        &[int(now.saturating_sub(LEFT_MS))],
        |_| {},
    )?;
    Ok(taken > 0)
}

/// Leases that ended so long ago are removed.
const LEFT_MS: u64 = 24 * 3_600 * 1_000;

/// Gives a lease back, if this holder has it.
pub(super) fn release(writer: &mut Writer<'_>, name: &str, holder: &str) -> Result<(), Error> {
    writer.host(
        "DELETE FROM tessera_leases WHERE name = ?1 AND holder = ?2",
        &[Bind::Text(name), Bind::Text(holder)],
        |_| {},
    )?;
    Ok(())
}
