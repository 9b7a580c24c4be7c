//! Persisted timers.

use crate::clock::now_ms;
use crate::{Error, Timer};

use super::outbox::read;
use super::raw::{Bind, Raw, Row};
use super::writer::{Writer, int, uint};

/// Sets or replaces a timer.
pub(super) fn set(
    writer: &mut Writer<'_>,
    plugin: &str,
    name: &str,
    due_ms: u64,
    payload: &str,
    cap: u64,
) -> Result<(), Error> {
    writer.counters.timer += 1;
    let generation = writer.counters.timer;
    writer.host(
        "INSERT INTO tessera_timers (plugin, name, due_ms, payload, generation) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (plugin, name) DO UPDATE SET \
         due_ms = excluded.due_ms, payload = excluded.payload, generation = excluded.generation, \
         claimed_until = 0",
        &[Bind::Text(plugin), Bind::Text(name), int(due_ms), Bind::Text(payload), int(generation)],
        |_| {},
    )?;
    let count = writer.count(
        "SELECT count(*) FROM (SELECT 1 FROM tessera_timers WHERE plugin = ?1 LIMIT ?2)",
        &[Bind::Text(plugin), int(cap + 1)],
    )?;
    if count > cap {
        return Err(Error::TooLarge(format!("more than {cap} timers")));
    }
    Ok(())
}

/// Removes a timer.
pub(super) fn cancel(writer: &mut Writer<'_>, plugin: &str, name: &str) -> Result<bool, Error> {
    let gone = writer.host(
        "DELETE FROM tessera_timers WHERE plugin = ?1 AND name = ?2",
        &[Bind::Text(plugin), Bind::Text(name)],
        |_| {},
    )?;
    Ok(gone > 0)
}

/// Removes a timer that was served, unless it was set anew.
pub(super) fn finish(writer: &mut Writer<'_>, timer: &Timer) -> Result<(), Error> {
    writer.host(
        "DELETE FROM tessera_timers WHERE plugin = ?1 AND name = ?2 AND generation = ?3",
        &[Bind::Text(&timer.plugin), Bind::Text(&timer.name), int(timer.generation)],
        |_| {},
    )?;
    Ok(())
}

/// Moves a timer that failed to a later time, unless it was set anew.
pub(super) fn postpone(writer: &mut Writer<'_>, timer: &Timer, due_ms: u64) -> Result<(), Error> {
    writer.host(
        "UPDATE tessera_timers SET due_ms = ?4, claimed_until = 0 WHERE plugin = ?1 AND name = ?2 AND generation = ?3",
        &[Bind::Text(&timer.plugin), Bind::Text(&timer.name), int(timer.generation), int(due_ms)],
        |_| {},
    )?;
    Ok(())
}

/// Timers due, at most `each` of one plug-in.
pub(super) fn due(
    raw: &mut Raw<'_>,
    now_ms: u64,
    limit: u32,
    each: u32,
) -> Result<Vec<Timer>, Error> {
    let mut found = Vec::new();
    read(
        raw,
        "SELECT plugin, name, due_ms, payload, generation FROM (SELECT plugin, name, due_ms, payload, \
         generation, row_number() OVER (PARTITION BY plugin ORDER BY due_ms, generation) AS nth \
         FROM tessera_timers WHERE due_ms <= ?1) WHERE nth <= ?3 ORDER BY due_ms, generation LIMIT ?2",
        &[int(now_ms), Bind::Integer(i64::from(limit)), Bind::Integer(i64::from(each))],
        |row| found.push(timer(row)),
    )?;
    Ok(found)
}

/// Timers due that nobody has claimed, claimed for `ttl_ms`; at most `each` of one plug-in.
pub(super) fn claim(
    writer: &mut Writer<'_>,
    now: u64,
    limit: u32,
    each: u32,
    ttl_ms: u64,
) -> Result<Vec<Timer>, Error> {
    let mut found = Vec::new();
    let clock = now_ms();
    writer.host(
        "SELECT plugin, name, due_ms, payload, generation FROM (SELECT plugin, name, due_ms, payload, \
         generation, row_number() OVER (PARTITION BY plugin ORDER BY due_ms, generation) AS nth \
         FROM tessera_timers WHERE due_ms <= ?1 AND claimed_until <= ?4) \
         WHERE nth <= ?3 ORDER BY due_ms, generation LIMIT ?2",
        &[int(now), Bind::Integer(i64::from(limit)), Bind::Integer(i64::from(each)), int(clock)],
        |row| found.push(timer(row)),
    )?;
    for timer in &found {
        writer.host(
            "UPDATE tessera_timers SET claimed_until = ?3 WHERE plugin = ?1 AND name = ?2",
            &[
                Bind::Text(&timer.plugin),
                Bind::Text(&timer.name),
                int(clock.saturating_add(ttl_ms)),
            ],
            |_| {},
        )?;
    }
    Ok(found)
}

fn timer(row: &Row<'_>) -> Timer {
    Timer {
        plugin: row.text(0),
        name: row.text(1),
        due_ms: uint(row.int(2)),
        payload: row.text(3),
        generation: uint(row.int(4)),
    }
}

/// When the next timer is due.
pub(super) fn next(raw: &mut Raw<'_>) -> Result<Option<u64>, Error> {
    let mut next = None;
    read(raw, "SELECT due_ms FROM tessera_timers ORDER BY due_ms LIMIT 1", &[], |row| {
        next = Some(uint(row.int(0)));
    })?;
    Ok(next)
}

/// When the first timer is due that is not due yet.
pub(super) fn after(raw: &mut Raw<'_>, now_ms: u64) -> Result<Option<u64>, Error> {
    let mut next = None;
    read(
        raw,
        "SELECT due_ms FROM tessera_timers WHERE due_ms > ?1 ORDER BY due_ms LIMIT 1",
        &[int(now_ms)],
        |row| next = Some(uint(row.int(0))),
    )?;
    Ok(next)
}
