//! What durable topics hold: consumers, what waits for them, and dead letters.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tessera_storage::Database;

/// Dead letters of one report; the rest is counted.
const LETTERS: usize = 1_000;

/// Letters read from the database at once.
const PAGE: u32 = 200;

/// What `tessera topics list` shows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) letters: Vec<Letter>,
    /// There are more dead letters than those listed.
    pub(crate) more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Consumer {
    pub(crate) topic: String,
    pub(crate) consumer: String,
    /// Messages not settled yet.
    pub(crate) pending: u64,
    pub(crate) dead: u64,
}

/// A message that its consumer gave up on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) consumer: String,
    pub(crate) id: u64,
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) attempts: u32,
    pub(crate) error: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) died_ms: u64,
    pub(crate) payload: String,
}

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    Retry,
    Drop,
}

/// Which dead letters of a consumer; none named: all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chosen {
    pub(crate) consumer: String,
    pub(crate) ids: Option<Vec<u64>>,
}

/// Consumers and dead letters.
pub(crate) async fn report(database: &Database) -> Result<Report> {
    let mut report = Report::default();
    for consumer in database.consumers().await? {
        report.consumers.push(Consumer {
            topic: consumer.topic,
            consumer: consumer.consumer,
            pending: consumer.pending,
            dead: consumer.dead,
        });
    }
    let mut names: Vec<String> =
        report.consumers.iter().map(|entry| entry.consumer.clone()).collect();
    names.sort();
    names.dedup();
    for name in names {
        if !letters_of(database, &name, &mut report).await? {
            report.more = true;
            break;
        }
    }
    Ok(report)
}

/// Adds a consumer's dead letters; false where the report is full.
async fn letters_of(database: &Database, consumer: &str, report: &mut Report) -> Result<bool> {
    let mut after = 0;
    loop {
        let page = database.dead_letters(Some(consumer), after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(true) };
        after = last.id;
        for letter in page {
            if report.letters.len() >= LETTERS {
                return Ok(false);
            }
            report.letters.push(Letter {
                consumer: letter.consumer,
                id: letter.id,
                topic: letter.topic,
                key: letter.key,
                attempts: letter.attempts,
                error: letter.error,
                died_ms: letter.died_ms,
                payload: letter.payload,
            });
        }
    }
}

/// Retries or drops dead letters; how many.
pub(crate) async fn act(database: &Database, action: Action, chosen: &Chosen) -> Result<u64> {
    let consumer = &chosen.consumer;
    let known = database.consumers().await?;
    if !known.iter().any(|entry| entry.consumer == *consumer) {
        let mut names: Vec<_> = known.into_iter().map(|entry| entry.consumer).collect();
        names.dedup();
        bail!("no plug-in `{consumer}` consumes topics here; those that do: {}", names.join(", "));
    }
    let Some(ids) = &chosen.ids else { return act_on_all(database, action, consumer).await };
    let mut done = 0;
    let mut missing = Vec::new();
    for id in ids {
        if act_on(database, action, consumer, *id).await? {
            done += 1;
        } else {
            missing.push(id.to_string());
        }
    }
    if !missing.is_empty() {
        bail!(
            "`{consumer}` has no dead letter {} (done for {done} others); `tessera topics` lists them",
            missing.join(", ")
        );
    }
    Ok(done)
}

/// Forgets a consumer: what waits for it, and its dead letters. Gives the topics that it consumed.
pub(crate) async fn forget(database: &Database, consumer: &str) -> Result<Vec<String>> {
    let known = database.consumers().await?;
    let mut topics = Vec::new();
    for entry in known.iter().filter(|entry| entry.consumer == consumer) {
        database.unregister_consumer(&entry.topic, consumer).await?;
        topics.push(entry.topic.clone());
    }
    if topics.is_empty() {
        let mut names: Vec<_> = known.into_iter().map(|entry| entry.consumer).collect();
        names.dedup();
        bail!("no plug-in `{consumer}` consumes topics here; those that do: {}", names.join(", "));
    }
    Ok(topics)
}

async fn act_on_all(database: &Database, action: Action, consumer: &str) -> Result<u64> {
    let mut done = 0;
    let mut after = 0;
    loop {
        let page = database.dead_letters(Some(consumer), after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(done) };
        after = last.id;
        for letter in &page {
            done += u64::from(act_on(database, action, consumer, letter.id).await?);
        }
    }
}

async fn act_on(database: &Database, action: Action, consumer: &str, id: u64) -> Result<bool> {
    Ok(match action {
        Action::Retry => database.dead_retry(consumer, id).await?,
        Action::Drop => database.dead_drop(consumer, id).await?,
    })
}
