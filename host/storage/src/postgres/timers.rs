//! Timers, and leases.

use std::sync::Arc;

use crate::{Error, Timer};

use super::Engine;
use super::ops::{cell, int, one_nul, uint};
use super::script::quoted;

fn timer(line: &[Option<String>]) -> Timer {
    Timer {
        plugin: cell(line, 0).to_owned(),
        name: cell(line, 1).to_owned(),
        due_ms: uint(line, 2),
        payload: cell(line, 3).to_owned(),
        generation: uint(line, 4),
    }
}

impl Engine {
    pub(crate) async fn timer_set(
        self: &Arc<Self>,
        plugin: &str,
        name: &str,
        due_ms: u64,
        payload: &str,
    ) -> Result<(), Error> {
        one_nul(&[plugin, name, payload])?;
        let (s, cap) = (&self.schema, self.config.timers);
        let (plugin, name, payload) = (quoted(plugin), quoted(name), quoted(payload));
        self.ask(format!(
            "INSERT INTO {s}.tessera_timers (plugin, name, due_ms, payload, generation) \
             VALUES ({plugin}, {name}, {}, {payload}, nextval('{s}.tessera_generation')) \
             ON CONFLICT (plugin, name) DO UPDATE SET due_ms = excluded.due_ms, \
             payload = excluded.payload, generation = excluded.generation, \
             claimed_until = '-infinity'; SELECT {s}.tessera_timers_fit({plugin}, {cap})",
            int(due_ms)
        ))
        .await
        .map(drop)
    }

    pub(crate) async fn timer_cancel(
        self: &Arc<Self>,
        plugin: &str,
        name: &str,
    ) -> Result<bool, Error> {
        one_nul(&[plugin, name])?;
        let lines = self
            .ask(format!(
                "DELETE FROM {}.tessera_timers WHERE plugin = {} AND name = {} RETURNING name",
                self.schema,
                quoted(plugin),
                quoted(name)
            ))
            .await?;
        Ok(!lines.is_empty())
    }

    pub(crate) async fn timers_due(
        self: &Arc<Self>,
        now_ms: u64,
        limit: u32,
        each: u32,
    ) -> Result<Vec<Timer>, Error> {
        let sql = format!("{} LIMIT {limit}", self.due(now_ms, each, ""));
        Ok(self.ask(sql).await?.iter().map(|line| timer(line)).collect())
    }

    fn due(&self, now_ms: u64, each: u32, also: &str) -> String {
        format!(
            "SELECT plugin, name, due_ms, payload, generation FROM (SELECT plugin, name, due_ms, \
             payload, generation, row_number() OVER (PARTITION BY plugin ORDER BY due_ms, \
             generation) AS nth FROM {}.tessera_timers WHERE due_ms <= {} {also}) AS t \
             WHERE nth <= {each} ORDER BY due_ms, generation",
            self.schema,
            int(now_ms)
        )
    }

    pub(crate) async fn timers_claim(
        self: &Arc<Self>,
        now_ms: u64,
        limit: u32,
        each: u32,
        ttl_ms: u64,
    ) -> Result<Vec<Timer>, Error> {
        let s = &self.schema;
        let due = self.due(now_ms, each, "AND claimed_until <= clock_timestamp()");
        // What another claims at this moment is passed over; what it has just claimed is seen so.
        let sql = format!(
            "WITH due AS ({due} LIMIT {limit}), mine AS (SELECT t.plugin, t.name \
             FROM {s}.tessera_timers AS t JOIN due ON due.plugin = t.plugin AND due.name = t.name \
             WHERE t.claimed_until <= clock_timestamp() AND t.generation = due.generation \
             FOR UPDATE OF t SKIP LOCKED) \
             UPDATE {s}.tessera_timers AS t \
             SET claimed_until = clock_timestamp() + interval '1 millisecond' * {ttl_ms} \
             FROM mine WHERE t.plugin = mine.plugin AND t.name = mine.name \
             RETURNING t.plugin, t.name, t.due_ms, t.payload, t.generation"
        );
        let mut timers: Vec<Timer> = self.ask(sql).await?.iter().map(|line| timer(line)).collect();
        timers.sort_by_key(|timer| (timer.due_ms, timer.generation));
        Ok(timers)
    }

    pub(crate) async fn timer_after(self: &Arc<Self>, now_ms: u64) -> Result<Option<u64>, Error> {
        let lines = self
            .ask(format!(
                "SELECT due_ms FROM {}.tessera_timers WHERE due_ms > {} ORDER BY due_ms LIMIT 1",
                self.schema,
                int(now_ms)
            ))
            .await?;
        Ok(lines.first().map(|line| uint(line, 0)))
    }

    pub(crate) async fn timer_postpone(
        self: &Arc<Self>,
        timer: &Timer,
        due_ms: u64,
    ) -> Result<(), Error> {
        one_nul(&[&timer.plugin, &timer.name])?;
        self.ask(format!(
            "UPDATE {}.tessera_timers SET due_ms = {}, claimed_until = '-infinity' \
             WHERE plugin = {} AND name = {} AND generation = {}",
            self.schema,
            int(due_ms),
            quoted(&timer.plugin),
            quoted(&timer.name),
            int(timer.generation)
        ))
        .await
        .map(drop)
    }

    pub(crate) async fn timer_next(self: &Arc<Self>) -> Result<Option<u64>, Error> {
        let sql =
            format!("SELECT due_ms FROM {}.tessera_timers ORDER BY due_ms LIMIT 1", self.schema);
        Ok(self.ask(sql).await?.first().map(|line| uint(line, 0)))
    }

    pub(crate) async fn timer_finish(self: &Arc<Self>, timer: &Timer) -> Result<(), Error> {
        one_nul(&[&timer.plugin, &timer.name])?;
        self.ask(format!(
            "DELETE FROM {}.tessera_timers WHERE plugin = {} AND name = {} AND generation = {}",
            self.schema,
            quoted(&timer.plugin),
            quoted(&timer.name),
            int(timer.generation)
        ))
        .await
        .map(drop)
    }

    pub(crate) async fn lease_taken(
        self: &Arc<Self>,
        name: &str,
        holder: &str,
        ttl_ms: u64,
    ) -> Result<bool, Error> {
        one_nul(&[name, holder])?;
        let (s, name, holder) = (&self.schema, quoted(name), quoted(holder));
        let lines = self
            .ask(format!(
                "DELETE FROM {s}.tessera_leases WHERE until < clock_timestamp() - interval '1 day' \
                 AND name <> {name}; \
                 INSERT INTO {s}.tessera_leases AS l (name, holder, until) VALUES ({name}, {holder}, \
                 clock_timestamp() + interval '1 millisecond' * {ttl_ms}) \
                 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until \
                 WHERE l.holder = excluded.holder OR l.until <= clock_timestamp() RETURNING name"
            ))
            .await?;
        Ok(!lines.is_empty())
    }

    pub(crate) async fn release_lease(
        self: &Arc<Self>,
        name: &str,
        holder: &str,
    ) -> Result<(), Error> {
        one_nul(&[name, holder])?;
        self.ask(format!(
            "DELETE FROM {}.tessera_leases WHERE name = {} AND holder = {}",
            self.schema,
            quoted(name),
            quoted(holder)
        ))
        .await
        .map(drop)
    }
}
