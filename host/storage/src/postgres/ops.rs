//! The host's own reads and writes: outbox, dead letters, timers, leases.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    Consumer, DeadLetter, Delivery, Error, Head, InstallError, OutboxQuery, PluginSchema, Timer,
    Usage,
};

use super::Engine;
use super::pool::Leased;
use super::script::{Script, Step, integer_array, quoted, quoted_or_null};

/// Dead letters per consumer; beyond it the oldest go.
const MAX_DEAD: u64 = 100_000;

/// Rows as text.
pub(super) type Lines = Vec<Vec<Option<String>>>;

/// Sends a text and gives all rows that come back.
pub(super) async fn ask_on(leased: &mut Leased, step: Step, sql: &str) -> Result<Lines, Error> {
    let mut script = Script::default();
    script.push(step, sql);
    let mut lines = Lines::new();
    leased
        .run(&script, |_, row| {
            let mut line = Vec::with_capacity(row.width());
            for column in 0..row.width() {
                let bytes = row.bytes(column)?;
                line.push(bytes.map(|b| String::from_utf8_lossy(b).into_owned()));
            }
            lines.push(line);
            Ok(())
        })
        .await?;
    Ok(lines)
}

/// The text of a cell; empty for NULL and for none.
pub(super) fn text(lines: &Lines, row: usize, column: usize) -> &str {
    lines.get(row).map_or("", |line| cell(line, column))
}

fn cell(line: &[Option<String>], column: usize) -> &str {
    line.get(column).and_then(|text| text.as_deref()).unwrap_or_default()
}

fn uint(line: &[Option<String>], column: usize) -> u64 {
    cell(line, column).parse().unwrap_or(0)
}

/// The first cell as a number; 0 without one.
pub(super) fn number(lines: &Lines) -> u64 {
    text(lines, 0, 0).parse().unwrap_or(0)
}

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// A number of the host's as a literal.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn timer(line: &[Option<String>]) -> Timer {
    Timer {
        plugin: cell(line, 0).to_owned(),
        name: cell(line, 1).to_owned(),
        due_ms: uint(line, 2),
        payload: cell(line, 3).to_owned(),
        generation: uint(line, 4),
    }
}

fn one_nul(texts: &[&str]) -> Result<(), Error> {
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(Error::Invalid("U+0000 in a text".to_owned()));
    }
    Ok(())
}

impl Engine {
    /// Runs a text of the host's on a connection of its own, in one transaction.
    pub(super) async fn ask(self: &Arc<Self>, sql: String) -> Result<Lines, Error> {
        let engine = self.clone();
        self.detached(async move {
            let _permit = engine.asking.enter().await?;
            let mut leased = engine.lease().await?;
            ask_on(&mut leased, Step::Host, &sql).await
        })
        .await
    }

    pub(crate) async fn install(
        self: &Arc<Self>,
        schema: PluginSchema,
    ) -> Result<(), InstallError> {
        super::install::install(self, schema).await
    }

    pub(crate) async fn register(
        self: &Arc<Self>,
        topic: &str,
        consumer: &str,
    ) -> Result<(), Error> {
        one_nul(&[topic, consumer])?;
        let s = &self.schema;
        self.ask(format!(
            "INSERT INTO {s}.tessera_consumers (topic, consumer, after) \
             SELECT {}, {}, last_value FROM {s}.tessera_position ON CONFLICT DO NOTHING",
            quoted(topic),
            quoted(consumer)
        ))
        .await
        .map(drop)
    }

    pub(crate) async fn unregister(
        self: &Arc<Self>,
        topic: &str,
        consumer: &str,
    ) -> Result<(), Error> {
        one_nul(&[topic, consumer])?;
        let (s, topic, consumer) = (&self.schema, quoted(topic), quoted(consumer));
        let of = format!("topic = {topic} AND consumer = {consumer}");
        self.ask(format!(
            "DELETE FROM {s}.tessera_consumers WHERE {of}; \
             DELETE FROM {s}.tessera_deliveries WHERE {of}; \
             DELETE FROM {s}.tessera_dead WHERE {of}; SELECT {s}.tessera_sweep({topic})"
        ))
        .await
        .map(drop)
    }

    pub(crate) async fn consumers(self: &Arc<Self>) -> Result<Vec<Consumer>, Error> {
        let s = &self.schema;
        let lines = self
            .ask(format!(
                "SELECT c.topic, c.consumer, (SELECT count(*) FROM {s}.tessera_outbox AS o \
                 WHERE o.topic = c.topic AND o.id > c.after AND NOT EXISTS (SELECT 1 FROM \
                 {s}.tessera_deliveries AS d WHERE d.consumer = c.consumer AND d.id = o.id \
                 AND d.settled = 1)) + (SELECT count(*) FROM {s}.tessera_dead AS r \
                 WHERE r.consumer = c.consumer AND r.topic = c.topic AND r.retry = 1), \
                 (SELECT count(*) FROM {s}.tessera_dead AS x WHERE x.consumer = c.consumer \
                 AND x.topic = c.topic AND x.retry = 0) \
                 FROM {s}.tessera_consumers AS c ORDER BY 1, 2"
            ))
            .await?;
        let consumer = |line: &Vec<Option<String>>| Consumer {
            topic: cell(line, 0).to_owned(),
            consumer: cell(line, 1).to_owned(),
            pending: uint(line, 2),
            dead: uint(line, 3),
        };
        Ok(lines.iter().map(consumer).collect())
    }

    pub(crate) async fn outbox(
        self: &Arc<Self>,
        query: OutboxQuery,
    ) -> Result<Vec<Delivery>, Error> {
        one_nul(&[&query.topic, &query.consumer])?;
        // Only below the horizon: of each key in order, and nothing is stepped over that is in flight.
        let horizon = self.look_detached().await?;
        let in_flight: Vec<i64> = query.in_flight.iter().map(|id| int(*id)).collect();
        let (s, now) = (&self.schema, int(query.now_ms));
        let who = quoted(&query.consumer);
        let topic = quoted(&query.topic);
        let flying = format!("{}::bigint[]", integer_array(&in_flight));
        let key = quoted_or_null(query.key.as_deref());
        let limit = query.limit;
        let sql = format!(
            "SELECT * FROM (SELECT 0 AS rank, id, key, payload, attempts, emitted_ms, position \
               FROM {s}.tessera_dead WHERE consumer = {who} AND topic = {topic} AND retry = 1 \
               AND next_ms <= {now} AND id <> ALL ({flying}) \
               AND ({key}::text IS NULL OR key = {key}) ORDER BY id LIMIT {limit}) AS r \
             UNION ALL SELECT * FROM (SELECT 1, o.id, o.key, o.payload, coalesce(d.attempts, 0), \
               o.emitted_ms, o.position FROM {s}.tessera_consumers AS c \
               JOIN {s}.tessera_outbox AS o ON o.topic = c.topic AND o.id > c.after \
               LEFT JOIN {s}.tessera_deliveries AS d ON d.consumer = c.consumer AND d.id = o.id \
               WHERE c.consumer = {who} AND c.topic = {topic} AND o.id <= {horizon} \
               AND (d.id IS NULL OR d.settled = 0 AND d.next_ms <= {now}) \
               AND o.id <> ALL ({flying}) \
               AND NOT EXISTS (SELECT 1 FROM {s}.tessera_deliveries AS e \
                 JOIN {s}.tessera_outbox AS p ON p.id = e.id WHERE e.consumer = c.consumer \
                 AND e.topic = c.topic AND e.settled = 0 AND e.next_ms > {now} \
                 AND p.key = o.key AND p.id < o.id) \
               AND o.key NOT IN (SELECT p.key FROM {s}.tessera_outbox AS p \
                 WHERE p.id = ANY ({flying}) AND p.topic = {topic}) \
               AND NOT EXISTS (SELECT 1 FROM {s}.tessera_dead AS x \
                 WHERE x.consumer = c.consumer AND x.topic = c.topic AND x.retry = 1 \
                 AND x.key = o.key) \
               AND ({key}::text IS NULL OR o.key = {key}) ORDER BY o.id LIMIT {limit}) AS m \
             ORDER BY 1, 2 LIMIT {limit}"
        );
        let lines = self.ask(sql).await?;
        let delivery = |line: &Vec<Option<String>>| Delivery {
            id: uint(line, 1),
            topic: query.topic.clone(),
            key: cell(line, 2).to_owned(),
            payload: cell(line, 3).to_owned(),
            attempts: u32::try_from(uint(line, 4)).unwrap_or(u32::MAX),
            emitted_ms: uint(line, 5),
            position: uint(line, 6),
        };
        Ok(lines.iter().map(delivery).collect())
    }

    async fn look_detached(self: &Arc<Self>) -> Result<u64, Error> {
        let engine = self.clone();
        self.detached(async move {
            let _permit = engine.asking.enter().await?;
            engine.look().await
        })
        .await
    }

    pub(crate) async fn heads(
        self: &Arc<Self>,
        topic: Option<&str>,
        now_ms: u64,
        older_than_ms: u64,
        limit: u32,
    ) -> Result<Vec<Head>, Error> {
        let horizon = self.look_detached().await?;
        let (s, now) = (&self.schema, int(now_ms));
        let before = int(now_ms.saturating_sub(older_than_ms));
        let topic = quoted_or_null(topic);
        let lines = self
            .ask(format!(
                "SELECT topic, consumer, key, id FROM (SELECT h.*, row_number() OVER \
                 (PARTITION BY topic, consumer ORDER BY id) AS nth FROM (\
                 SELECT c.topic, c.consumer, o.key, min(o.id) AS id FROM {s}.tessera_consumers AS c \
                 JOIN {s}.tessera_outbox AS o ON o.topic = c.topic AND o.id > c.after \
                 LEFT JOIN {s}.tessera_deliveries AS d ON d.consumer = c.consumer AND d.id = o.id \
                 WHERE ({topic}::text IS NULL OR c.topic = {topic}) AND o.emitted_ms <= {before} \
                 AND o.id <= {horizon} AND (d.id IS NULL OR d.settled = 0 AND d.next_ms <= {now}) \
                 AND NOT EXISTS (SELECT 1 FROM {s}.tessera_deliveries AS e \
                   JOIN {s}.tessera_outbox AS p ON p.id = e.id WHERE e.consumer = c.consumer \
                   AND e.topic = c.topic AND e.settled = 0 AND e.next_ms > {now} \
                   AND p.key = o.key AND p.id < o.id) \
                 AND NOT EXISTS (SELECT 1 FROM {s}.tessera_dead AS x \
                   WHERE x.consumer = c.consumer AND x.topic = c.topic AND x.retry = 1 \
                   AND x.key = o.key) GROUP BY 1, 2, 3 \
                 UNION ALL SELECT topic, consumer, key, min(id) FROM {s}.tessera_dead \
                 WHERE retry = 1 AND next_ms <= {now} AND ({topic}::text IS NULL OR topic = {topic}) \
                 GROUP BY 1, 2, 3) AS h) AS r WHERE nth <= {limit} ORDER BY id"
            ))
            .await?;
        let head = |line: &Vec<Option<String>>| Head {
            topic: cell(line, 0).to_owned(),
            consumer: cell(line, 1).to_owned(),
            key: cell(line, 2).to_owned(),
            id: uint(line, 3),
        };
        Ok(lines.iter().map(head).collect())
    }

    pub(crate) async fn next_try(
        self: &Arc<Self>,
        topic: &str,
        consumer: &str,
    ) -> Result<Option<u64>, Error> {
        one_nul(&[topic, consumer])?;
        let s = &self.schema;
        let of = format!("consumer = {} AND topic = {}", quoted(consumer), quoted(topic));
        let lines = self
            .ask(format!(
                "SELECT min(at) FROM (SELECT next_ms AS at FROM {s}.tessera_deliveries \
                 WHERE {of} AND settled = 0 UNION ALL SELECT next_ms FROM {s}.tessera_dead \
                 WHERE {of} AND retry = 1) AS t HAVING min(at) IS NOT NULL"
            ))
            .await?;
        Ok(lines.first().map(|line| uint(line, 0)))
    }

    pub(crate) async fn ack(self: &Arc<Self>, consumer: &str, message: u64) -> Result<bool, Error> {
        one_nul(&[consumer])?;
        let (s, who, id) = (&self.schema, quoted(consumer), int(message));
        let lines = self
            .ask(format!(
                "SELECT {s}.tessera_settle({who}, {id}); \
                 SELECT topic FROM {s}.tessera_outbox WHERE id = {id}"
            ))
            .await?;
        if let Some(topic) = lines.get(1) {
            self.advance(cell(topic, 0).to_owned(), consumer.to_owned()).await?;
        }
        Ok(text(&lines, 0, 0) == "t")
    }

    /// Lets a consumer's progress catch up with what it has settled.
    async fn advance(self: &Arc<Self>, topic: String, consumer: String) -> Result<(), Error> {
        let (s, horizon) = (&self.schema, self.horizon.known());
        let (topic, consumer) = (quoted(&topic), quoted(&consumer));
        self.ask(format!("SELECT {s}.tessera_advance({topic}, {consumer}, {horizon})"))
            .await
            .map(drop)
    }

    /// As `advance`, soon, and once for many: a commit that consumes does not wait for it.
    pub(super) fn advance_soon(self: &Arc<Self>, topic: String, consumer: String) {
        self.settled().insert((topic, consumer));
        if self.advancing.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(active) = self.begin_work() else { return };
        let engine = self.clone();
        tokio::spawn(async move {
            let _active = active;
            loop {
                let work = std::mem::take(&mut *engine.settled());
                for (topic, consumer) in work {
                    let (s, horizon) = (&engine.schema, engine.horizon.known());
                    let sql = format!(
                        "SELECT {s}.tessera_advance({}, {}, {horizon})",
                        quoted(&topic),
                        quoted(&consumer)
                    );
                    let done = match engine.lease().await {
                        Ok(mut leased) => ask_on(&mut leased, Step::Quiet, &sql).await.map(drop),
                        Err(error) => Err(error),
                    };
                    // The next message that is settled does it again.
                    if let Err(error) = done {
                        tracing::debug!(%error, topic, consumer, "a consumer did not move on");
                    }
                }
                engine.advancing.store(false, Ordering::Release);
                if engine.settled().is_empty() || engine.advancing.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        });
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, std::collections::HashSet<(String, String)>> {
        self.settled.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) async fn fail(
        self: &Arc<Self>,
        consumer: &str,
        message: u64,
        error: &str,
        next_ms: Option<u64>,
    ) -> Result<u32, Error> {
        one_nul(&[consumer])?;
        let (s, who, id) = (&self.schema, quoted(consumer), int(message));
        let error = quoted(&error.replace('\0', "\u{fffd}"));
        let next = next_ms.map_or_else(|| "NULL".to_owned(), |at| int(at).to_string());
        let now = int(now_ms());
        let lines = self
            .ask(format!(
                "SELECT {s}.tessera_fail({who}, {id}, {error}, {next}, {now}, {MAX_DEAD}); \
                 SELECT topic FROM {s}.tessera_outbox WHERE id = {id}"
            ))
            .await?;
        if let (None, Some(topic)) = (next_ms, lines.get(1)) {
            self.advance(cell(topic, 0).to_owned(), consumer.to_owned()).await?;
        }
        Ok(u32::try_from(number(&lines)).unwrap_or(u32::MAX))
    }

    pub(crate) async fn dead_letters(
        self: &Arc<Self>,
        consumer: Option<&str>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        let (s, who) = (&self.schema, quoted_or_null(consumer));
        let lines = self
            .ask(format!(
                "SELECT consumer, id, topic, key, payload, attempts, error, died_ms \
                 FROM {s}.tessera_dead WHERE ({who}::text IS NULL OR consumer = {who}) \
                 AND id > {} AND retry = 0 ORDER BY id, consumer LIMIT {limit}",
                int(after)
            ))
            .await?;
        let dead = |line: &Vec<Option<String>>| DeadLetter {
            consumer: cell(line, 0).to_owned(),
            id: uint(line, 1),
            topic: cell(line, 2).to_owned(),
            key: cell(line, 3).to_owned(),
            payload: cell(line, 4).to_owned(),
            attempts: u32::try_from(uint(line, 5)).unwrap_or(u32::MAX),
            error: cell(line, 6).to_owned(),
            died_ms: uint(line, 7),
        };
        Ok(lines.iter().map(dead).collect())
    }

    pub(crate) async fn dead_retry(
        self: &Arc<Self>,
        consumer: &str,
        message: u64,
    ) -> Result<bool, Error> {
        one_nul(&[consumer])?;
        let lines = self
            .ask(format!(
                "UPDATE {}.tessera_dead SET retry = 1, next_ms = 0 WHERE consumer = {} \
                 AND id = {} AND retry = 0 RETURNING topic",
                self.schema,
                quoted(consumer),
                int(message)
            ))
            .await?;
        if let Some(line) = lines.first() {
            self.wake.emitted(&[cell(line, 0).to_owned()]);
        }
        Ok(!lines.is_empty())
    }

    pub(crate) async fn dead_drop(
        self: &Arc<Self>,
        consumer: &str,
        message: u64,
    ) -> Result<bool, Error> {
        one_nul(&[consumer])?;
        let lines = self
            .ask(format!(
                "DELETE FROM {}.tessera_dead WHERE consumer = {} AND id = {} AND retry = 0 \
                 RETURNING id",
                self.schema,
                quoted(consumer),
                int(message)
            ))
            .await?;
        Ok(!lines.is_empty())
    }

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

    pub(crate) async fn usage(self: &Arc<Self>) -> Result<Usage, Error> {
        let lines = self.ask(super::access::usage_sql(&self.schema)).await?;
        Ok(lines.first().map_or_else(Usage::default, |line| Usage {
            rows: uint(line, 0),
            bytes: uint(line, 1),
        }))
    }
}
