//! The outbox: who has consumed what.

use crate::clock::now_ms;
use crate::{Consumer, DeadLetter, Delivery, Error, Head, OutboxQuery};

use super::authorizer::Mode;
use super::raw::{Bind, Key, Raw, Row};
use super::writer::{Writer, int, uint};

/// Dead letters per consumer; beyond it the oldest go, with a warning.
const MAX_DEAD: u64 = 100_000;

fn topic_of(writer: &mut Writer<'_>, message: u64) -> Result<Option<String>, Error> {
    let mut topic = None;
    writer.host("SELECT topic FROM tessera_outbox WHERE id = ?1", &[int(message)], |row| {
        topic = Some(row.text(0));
    })?;
    Ok(topic)
}

/// Where a message stands for a consumer: `None` if it is settled.
fn open(
    writer: &mut Writer<'_>,
    consumer: &str,
    message: u64,
) -> Result<Option<(String, u64)>, Error> {
    let Some(topic) = topic_of(writer, message)? else {
        if message == 0 || message > writer.counters.message {
            return Err(Error::Invalid(format!("no message {message}")));
        }
        return Ok(None);
    };
    let mut after = None;
    writer.host(
        "SELECT after FROM tessera_consumers WHERE topic = ?1 AND consumer = ?2",
        &[Bind::Text(&topic), Bind::Text(consumer)],
        |row| after = Some(uint(row.int(0))),
    )?;
    let Some(after) = after else {
        return Err(Error::Invalid(format!("{consumer} is no consumer of topic {topic}")));
    };
    if message <= after {
        return Ok(None);
    }
    let settled = writer.count(
        "SELECT settled FROM tessera_deliveries WHERE consumer = ?1 AND id = ?2",
        &[Bind::Text(consumer), int(message)],
    )?;
    Ok((settled == 0).then_some((topic, after)))
}

/// Marks an open message settled and moves the consumer on as far as it goes.
fn close(
    writer: &mut Writer<'_>,
    consumer: &str,
    topic: &str,
    after: u64,
    message: u64,
) -> Result<(), Error> {
    writer.host(
        "INSERT INTO tessera_deliveries (consumer, id, topic, settled, attempts, next_ms, error) \
         VALUES (?1, ?2, ?3, 1, 0, 0, '') ON CONFLICT (consumer, id) DO UPDATE SET settled = 1",
        &[Bind::Text(consumer), int(message), Bind::Text(topic)],
        |_| {},
    )?;
    let mut moved = after;
    loop {
        let next = writer.count(
            "SELECT id FROM tessera_outbox WHERE topic = ?1 AND id > ?2 ORDER BY id LIMIT 1",
            &[Bind::Text(topic), int(moved)],
        )?;
        if next == 0 {
            break;
        }
        let gone = writer.host(
            "DELETE FROM tessera_deliveries WHERE consumer = ?1 AND id = ?2 AND settled = 1",
            &[Bind::Text(consumer), int(next)],
            |_| {},
        )?;
        if gone == 0 {
            break;
        }
        moved = next;
    }
    if moved != after {
        writer.host(
            "UPDATE tessera_consumers SET after = ?3 WHERE topic = ?1 AND consumer = ?2",
            &[Bind::Text(topic), Bind::Text(consumer), int(moved)],
            |_| {},
        )?;
        writer.moved.insert(topic.to_owned());
    }
    Ok(())
}

/// Records consumption. False: it was settled before.
pub(super) fn settle(writer: &mut Writer<'_>, consumer: &str, message: u64) -> Result<bool, Error> {
    if forget_dead(writer, consumer, message)? {
        // Given up on, or being retried: now it has happened after all.
        return Ok(true);
    }
    let Some((topic, after)) = open(writer, consumer, message)? else { return Ok(false) };
    close(writer, consumer, &topic, after, message)?;
    Ok(true)
}

/// Records a failed attempt; gives how many there were, 0 if the message is settled.
pub(super) fn fail(
    writer: &mut Writer<'_>,
    consumer: &str,
    message: u64,
    error: &str,
    next_ms: Option<u64>,
) -> Result<u32, Error> {
    let key = [Bind::Text(consumer), int(message)];
    let [who, id] = key;
    let mut attempts = None;
    writer.host(
        "UPDATE tessera_dead SET attempts = attempts + 1, error = ?3, retry = ?4, next_ms = ?5 \
         WHERE consumer = ?1 AND id = ?2 AND retry = 1 RETURNING attempts",
        &[
            who,
            id,
            Bind::Text(error),
            Bind::Integer(i64::from(next_ms.is_some())),
            int(next_ms.unwrap_or(0)),
        ],
        |row| attempts = Some(row.int(0)),
    )?;
    if let Some(attempts) = attempts {
        return Ok(u32::try_from(attempts).unwrap_or(u32::MAX));
    }
    let Some((topic, after)) = open(writer, consumer, message)? else { return Ok(0) };
    let mut attempts = 0;
    writer.host(
        "INSERT INTO tessera_deliveries (consumer, id, topic, settled, attempts, next_ms, error) \
         VALUES (?1, ?2, ?3, 0, 1, ?4, ?5) ON CONFLICT (consumer, id) DO UPDATE \
         SET attempts = attempts + 1, next_ms = ?4, error = ?5 RETURNING attempts",
        &[who, id, Bind::Text(&topic), int(next_ms.unwrap_or(0)), Bind::Text(error)],
        |row| attempts = row.int(0),
    )?;
    if next_ms.is_none() {
        writer.host(
            "INSERT INTO tessera_dead (consumer, id, topic, key, payload, attempts, error, \
             position, emitted_ms, died_ms, retry, next_ms) SELECT ?1, id, topic, key, payload, ?3, \
             ?4, position, emitted_ms, ?5, 0, 0 FROM tessera_outbox WHERE id = ?2",
            &[who, id, Bind::Integer(attempts), Bind::Text(error), int(now_ms())],
            |_| {},
        )?;
        close(writer, consumer, &topic, after, message)?;
        let count =
            writer.count("SELECT count(*) FROM tessera_dead WHERE consumer = ?1", &[who])?;
        if count > MAX_DEAD {
            tracing::warn!(consumer, "too many dead letters: the oldest is dropped");
            writer.host(
                "DELETE FROM tessera_dead WHERE consumer = ?1 AND id = \
                 (SELECT min(id) FROM tessera_dead WHERE consumer = ?1)",
                &[who],
                |_| {},
            )?;
        }
    }
    Ok(u32::try_from(attempts).unwrap_or(u32::MAX))
}

/// Registers a consumer, from the next message on.
pub(super) fn register(writer: &mut Writer<'_>, topic: &str, consumer: &str) -> Result<(), Error> {
    let last = writer.counters.message;
    writer.host(
        "INSERT INTO tessera_consumers (topic, consumer, after) VALUES (?1, ?2, ?3) \
         ON CONFLICT (topic, consumer) DO NOTHING",
        &[Bind::Text(topic), Bind::Text(consumer), int(last)],
        |_| {},
    )?;
    writer.forget_consumers();
    Ok(())
}

/// Forgets a consumer.
pub(super) fn unregister(
    writer: &mut Writer<'_>,
    topic: &str,
    consumer: &str,
) -> Result<(), Error> {
    let key = [Bind::Text(topic), Bind::Text(consumer)];
    for sql in [
        "DELETE FROM tessera_consumers WHERE topic = ?1 AND consumer = ?2",
        "DELETE FROM tessera_deliveries WHERE topic = ?1 AND consumer = ?2",
        "DELETE FROM tessera_dead WHERE topic = ?1 AND consumer = ?2",
    ] {
        writer.host(sql, &key, |_| {})?;
    }
    writer.forget_consumers();
    writer.moved.insert(topic.to_owned());
    Ok(())
}

/// Puts a dead letter back; false where there is none, or where it was put back before.
pub(super) fn retry_dead(
    writer: &mut Writer<'_>,
    consumer: &str,
    message: u64,
) -> Result<bool, Error> {
    let mut topic = None;
    writer.host(
        "UPDATE tessera_dead SET retry = 1, next_ms = 0 WHERE consumer = ?1 AND id = ?2 \
         AND retry = 0 RETURNING topic",
        &[Bind::Text(consumer), int(message)],
        |row| topic = Some(row.text(0)),
    )?;
    let found = topic.is_some();
    writer.emitted.extend(topic);
    Ok(found)
}

/// Removes a dead letter, unless it was put back: it is a message again then.
pub(super) fn drop_dead(
    writer: &mut Writer<'_>,
    consumer: &str,
    message: u64,
) -> Result<bool, Error> {
    let gone = writer.host(
        "DELETE FROM tessera_dead WHERE consumer = ?1 AND id = ?2 AND retry = 0",
        &[Bind::Text(consumer), int(message)],
        |_| {},
    )?;
    Ok(gone > 0)
}

/// Removes a dead letter, put back or not.
fn forget_dead(writer: &mut Writer<'_>, consumer: &str, message: u64) -> Result<bool, Error> {
    let gone = writer.host(
        "DELETE FROM tessera_dead WHERE consumer = ?1 AND id = ?2",
        &[Bind::Text(consumer), int(message)],
        |_| {},
    )?;
    Ok(gone > 0)
}

/// Runs a statement of the host's on a reading connection.
pub(super) fn read(
    raw: &mut Raw<'_>,
    sql: &'static str,
    params: &[Bind<'_>],
    mut each: impl FnMut(&Row<'_>),
) -> Result<(), Error> {
    raw.set_mode(Mode::Host);
    raw.prepare(Key::Host(sql), sql)?.run::<Error>(params, |row| {
        each(row);
        Ok(())
    })
}

const RETRIED: &str = "SELECT id, key, payload, attempts, emitted_ms, position FROM tessera_dead \
     WHERE consumer = ?1 AND topic = ?2 AND retry = 1 AND next_ms <= ?3 \
     AND id NOT IN (SELECT value FROM json_each(?4)) AND (?6 IS NULL OR key = ?6) \
     ORDER BY id LIMIT ?5";

/// In order of their ids, so in order for each key; a key is held back while one of its messages waits for its next try or is
/// being delivered.
const READY: &str = "SELECT o.id, o.key, o.payload, coalesce(d.attempts, 0), o.emitted_ms, o.position \
     FROM tessera_consumers AS c JOIN tessera_outbox AS o ON o.topic = c.topic AND o.id > c.after \
     LEFT JOIN tessera_deliveries AS d ON d.consumer = c.consumer AND d.id = o.id \
     WHERE c.consumer = ?1 AND c.topic = ?2 \
     AND (d.id IS NULL OR d.settled = 0 AND d.next_ms <= ?3) \
     AND o.id NOT IN (SELECT value FROM json_each(?4)) \
     AND NOT EXISTS (SELECT 1 FROM tessera_deliveries AS e JOIN tessera_outbox AS p ON p.id = e.id \
       WHERE e.consumer = c.consumer AND e.topic = c.topic AND e.settled = 0 AND e.next_ms > ?3 \
       AND p.key = o.key AND p.id < o.id) \
     AND NOT EXISTS (SELECT 1 FROM json_each(?4) AS f JOIN tessera_outbox AS p ON p.id = f.value \
       WHERE p.topic = o.topic AND p.key = o.key) \
     AND NOT EXISTS (SELECT 1 FROM tessera_dead AS x WHERE x.consumer = c.consumer \
       AND x.topic = c.topic AND x.retry = 1 AND x.key = o.key) \
     AND (?6 IS NULL OR o.key = ?6) ORDER BY o.id LIMIT ?5";

/// As `READY`, but of each key only the first, and of all consumers: `?4` of each, since one that nobody serves
/// must not stand before the others.
const HEADS: &str = "SELECT topic, consumer, key, id FROM (SELECT topic, consumer, key, id, \
     row_number() OVER (PARTITION BY topic, consumer ORDER BY id) AS nth FROM ( \
     SELECT c.topic AS topic, c.consumer AS consumer, o.key AS key, min(o.id) AS id \
     FROM tessera_consumers AS c JOIN tessera_outbox AS o ON o.topic = c.topic AND o.id > c.after \
     LEFT JOIN tessera_deliveries AS d ON d.consumer = c.consumer AND d.id = o.id \
     WHERE (?1 IS NULL OR c.topic = ?1) AND o.emitted_ms <= ?3 \
     AND (d.id IS NULL OR d.settled = 0 AND d.next_ms <= ?2) \
     AND NOT EXISTS (SELECT 1 FROM tessera_deliveries AS e JOIN tessera_outbox AS p ON p.id = e.id \
       WHERE e.consumer = c.consumer AND e.topic = c.topic AND e.settled = 0 AND e.next_ms > ?2 \
       AND p.key = o.key AND p.id < o.id) \
     AND NOT EXISTS (SELECT 1 FROM tessera_dead AS x WHERE x.consumer = c.consumer \
       AND x.topic = c.topic AND x.retry = 1 AND x.key = o.key) GROUP BY 1, 2, 3 \
     UNION ALL SELECT topic, consumer, key, min(id) FROM tessera_dead \
     WHERE retry = 1 AND next_ms <= ?2 AND (?1 IS NULL OR topic = ?1) GROUP BY 1, 2, 3)) \
     WHERE nth <= ?4 ORDER BY id";

/// The first deliverable message of each key and consumer.
pub(super) fn heads(
    raw: &mut Raw<'_>,
    topic: Option<&str>,
    now: u64,
    older_than_ms: u64,
    limit: u32,
) -> Result<Vec<Head>, Error> {
    let mut found = Vec::new();
    let params = [
        topic.map_or(Bind::Null, Bind::Text),
        int(now),
        int(now.saturating_sub(older_than_ms)),
        Bind::Integer(i64::from(limit)),
    ];
    read(raw, HEADS, &params, |row| {
        let (topic, consumer, key) = (row.text(0), row.text(1), row.text(2));
        found.push(Head { topic, consumer, key, id: uint(row.int(3)) });
    })?;
    Ok(found)
}

/// Messages to deliver now.
pub(super) fn pending(raw: &mut Raw<'_>, query: &OutboxQuery) -> Result<Vec<Delivery>, Error> {
    let in_flight = serde_json::to_string(&query.in_flight).unwrap_or_default();
    let mut found = Vec::new();
    for sql in [RETRIED, READY] {
        let left = u64::from(query.limit).saturating_sub(found.len() as u64);
        read(
            raw,
            sql,
            &[
                Bind::Text(&query.consumer),
                Bind::Text(&query.topic),
                int(query.now_ms),
                Bind::Text(&in_flight),
                int(left),
                query.key.as_deref().map_or(Bind::Null, Bind::Text),
            ],
            |row| {
                found.push(Delivery {
                    id: uint(row.int(0)),
                    topic: query.topic.clone(),
                    key: row.text(1),
                    payload: row.text(2),
                    attempts: u32::try_from(row.int(3)).unwrap_or(u32::MAX),
                    emitted_ms: uint(row.int(4)),
                    position: uint(row.int(5)),
                });
            },
        )?;
    }
    Ok(found)
}

/// When a failed message wants its next try.
pub(super) fn next_try(
    raw: &mut Raw<'_>,
    topic: &str,
    consumer: &str,
) -> Result<Option<u64>, Error> {
    let mut next = None;
    read(
        raw,
        "SELECT min(at) FROM (SELECT next_ms AS at FROM tessera_deliveries WHERE consumer = ?1 \
         AND topic = ?2 AND settled = 0 UNION ALL SELECT next_ms FROM tessera_dead \
         WHERE consumer = ?1 AND topic = ?2 AND retry = 1) HAVING min(at) IS NOT NULL",
        &[Bind::Text(consumer), Bind::Text(topic)],
        |row| next = Some(uint(row.int(0))),
    )?;
    Ok(next)
}

/// All consumers.
pub(super) fn consumers(raw: &mut Raw<'_>) -> Result<Vec<Consumer>, Error> {
    let mut found = Vec::new();
    read(
        raw,
        "SELECT c.topic, c.consumer, (SELECT count(*) FROM tessera_outbox AS o \
         WHERE o.topic = c.topic AND o.id > c.after AND NOT EXISTS (SELECT 1 FROM \
         tessera_deliveries AS d WHERE d.consumer = c.consumer AND d.id = o.id AND d.settled = 1)) \
         + (SELECT count(*) FROM tessera_dead AS r WHERE r.consumer = c.consumer \
         AND r.topic = c.topic AND r.retry = 1), \
         (SELECT count(*) FROM tessera_dead AS x WHERE x.consumer = c.consumer \
         AND x.topic = c.topic AND x.retry = 0) FROM tessera_consumers AS c ORDER BY 1, 2",
        &[],
        |row| {
            found.push(Consumer {
                topic: row.text(0),
                consumer: row.text(1),
                pending: uint(row.int(2)),
                dead: uint(row.int(3)),
            });
        },
    )?;
    Ok(found)
}

/// Dead letters that nobody has put back.
pub(super) fn dead_letters(
    raw: &mut Raw<'_>,
    consumer: Option<&str>,
    after: u64,
    limit: u32,
) -> Result<Vec<DeadLetter>, Error> {
    let mut found = Vec::new();
    read(
        raw,
        "SELECT consumer, id, topic, key, payload, attempts, error, died_ms FROM tessera_dead \
         WHERE (?1 IS NULL OR consumer = ?1) AND id > ?2 AND retry = 0 \
         ORDER BY id, consumer LIMIT ?3",
        &[consumer.map_or(Bind::Null, Bind::Text), int(after), Bind::Integer(i64::from(limit))],
        |row| {
            found.push(DeadLetter {
                consumer: row.text(0),
                id: uint(row.int(1)),
                topic: row.text(2),
                key: row.text(3),
                payload: row.text(4),
                attempts: u32::try_from(row.int(5)).unwrap_or(u32::MAX),
                error: row.text(6),
                died_ms: uint(row.int(7)),
            });
        },
    )?;
    Ok(found)
}
