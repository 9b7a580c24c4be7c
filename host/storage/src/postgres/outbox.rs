//! Consumers, what waits for them, and dead letters.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::now_ms;
use crate::{Consumer, DeadLetter, Delivery, Error, Head, OutboxQuery};

use super::Engine;
use super::ops::{ask_on, cell, int, number, one_nul, text, uint};
use super::script::{Step, integer_array, quoted, quoted_or_null};

/// Pause before consumers are moved on again: what is settled meanwhile goes together.
const GATHER: Duration = Duration::from_millis(100);

/// Dead letters per consumer; beyond it the oldest go.
const MAX_DEAD: u64 = 100_000;

impl Engine {
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
        let (limit, its_turn) = (query.limit, self.its_turn(query.now_ms));
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
               AND o.id <> ALL ({flying}) \
               AND {its_turn} \
               AND o.key NOT IN (SELECT p.key FROM {s}.tessera_outbox AS p \
                 WHERE p.id = ANY ({flying}) AND p.topic = {topic}) \
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

    /// Of `o`, `c` and `d`, the outbox, its consumers and their deliveries: that a message is not settled
    /// and may be tried, and that nothing of its key waits before it.
    fn its_turn(&self, now_ms: u64) -> String {
        let (s, now) = (&self.schema, int(now_ms));
        format!(
            "(d.id IS NULL OR d.settled = 0 AND d.next_ms <= {now}) \
             AND NOT EXISTS (SELECT 1 FROM {s}.tessera_deliveries AS e \
               JOIN {s}.tessera_outbox AS p ON p.id = e.id WHERE e.consumer = c.consumer \
               AND e.topic = c.topic AND e.settled = 0 AND e.next_ms > {now} \
               AND p.key = o.key AND p.id < o.id) \
             AND NOT EXISTS (SELECT 1 FROM {s}.tessera_dead AS x \
               WHERE x.consumer = c.consumer AND x.topic = c.topic AND x.retry = 1 \
               AND x.key = o.key)"
        )
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
        let (topic, its_turn) = (quoted_or_null(topic), self.its_turn(now_ms));
        let lines = self
            .ask(format!(
                "SELECT topic, consumer, key, id FROM (SELECT h.*, row_number() OVER \
                 (PARTITION BY topic, consumer ORDER BY id) AS nth FROM (\
                 SELECT c.topic, c.consumer, o.key, min(o.id) AS id FROM {s}.tessera_consumers AS c \
                 JOIN {s}.tessera_outbox AS o ON o.topic = c.topic AND o.id > c.after \
                 LEFT JOIN {s}.tessera_deliveries AS d ON d.consumer = c.consumer AND d.id = o.id \
                 WHERE ({topic}::text IS NULL OR c.topic = {topic}) AND o.emitted_ms <= {before} \
                 AND o.id <= {horizon} \
                 AND {its_turn} GROUP BY 1, 2, 3 \
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
            self.advance(cell(topic, 0), consumer).await?;
        }
        Ok(text(&lines, 0, 0) == "t")
    }

    /// Lets a consumer's progress catch up with what it has settled.
    fn advance_sql(&self, topic: &str, consumer: &str) -> String {
        let (s, horizon) = (&self.schema, self.horizon.known());
        let (topic, consumer) = (quoted(topic), quoted(consumer));
        format!("SELECT {s}.tessera_advance({topic}, {consumer}, {horizon})")
    }

    async fn advance(self: &Arc<Self>, topic: &str, consumer: &str) -> Result<(), Error> {
        self.ask(self.advance_sql(topic, consumer)).await.map(drop)
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
                    let sql = engine.advance_sql(&topic, &consumer);
                    let done = match engine.lease().await {
                        Ok(mut leased) => ask_on(&mut leased, Step::Quiet, &sql).await.map(drop),
                        Err(error) => Err(error),
                    };
                    // The next message that is settled does it again.
                    if let Err(error) = done {
                        tracing::debug!(%error, topic, consumer, "a consumer did not move on");
                    }
                }
                if !engine.closed.load(Ordering::Acquire) {
                    tokio::time::sleep(GATHER).await;
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
            self.advance(cell(topic, 0), consumer).await?;
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
}
