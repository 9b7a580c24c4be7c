//! What became of a commit whose answer was lost.
//!
//! While the server runs it knows each transaction by its number. Once it has crashed it may give the number of a
//! transaction that left no trace to another one, so each commit also leaves a mark of its own: a row of its
//! connection's, which says the number of that connection's last commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Error;
use crate::clock::now_ms;

use super::Engine;
use super::ops::{ask_on, int, text};
use super::pool::{Leased, Stop};
use super::script::{Script, Step};

/// How often and how long the server is asked.
const ASK_FOR: Duration = Duration::from_secs(30);
const ASK_ONCE: Duration = Duration::from_secs(5);
const ASK_PAUSE: Duration = Duration::from_millis(250);

/// Marks of connections that committed nothing for so long are removed: nobody asks for them any more.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// What tells one commit from all others.
pub(super) struct Mark {
    epoch: Arc<str>,
    connection: Arc<str>,
    number: u64,
}

impl Mark {
    /// Marks the transaction under way.
    pub(super) fn leave(
        leased: &mut Leased,
        script: &mut Script,
        schema: &str,
    ) -> Result<Self, Stop> {
        let epoch = leased.epoch();
        let Some((connection, number)) = leased.next_commit().filter(|(name, _)| !name.is_empty())
        else {
            return Err(Error::Unavailable("a connection without a name".to_owned()).into());
        };
        // One row, changed in place: no index is written.
        let sql = format!(
            "INSERT INTO {schema}.tessera_meta (key, value) \
             VALUES ('commit:{connection}', '{number} {now}') \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            now = int(now_ms())
        );
        script.push(Step::Quiet, &sql);
        Ok(Self { epoch, connection, number })
    }

    async fn was_committed(&self, engine: &Engine, xid: &str) -> Result<Option<bool>, Error> {
        let mut leased = engine.pool.lease().await?;
        if leased.epoch() == self.epoch {
            let lines =
                ask_on(&mut leased, Step::Host, &format!("SELECT pg_xact_status('{xid}')")).await?;
            return Ok(match text(&lines, 0, 0) {
                "committed" => Some(true),
                "aborted" => Some(false),
                // Still at it.
                _ => None,
            });
        }
        // All transactions of the time before are over.
        let sql = format!(
            "SELECT split_part(value, ' ', 1) FROM {}.tessera_meta WHERE key = 'commit:{}'",
            engine.schema, self.connection
        );
        let lines = ask_on(&mut leased, Step::Host, &sql).await?;
        Ok(Some(text(&lines, 0, 0) == self.number.to_string()))
    }
}

/// Whether a transaction was committed whose connection was lost in COMMIT.
pub(super) async fn outcome(engine: &Engine, xid: &str, mark: &Mark) -> Result<bool, Stop> {
    if xid.is_empty() || !xid.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::Unavailable("a commit's outcome is not known".to_owned()).into());
    }
    let until = Instant::now() + ASK_FOR;
    while Instant::now() < until {
        let asked = tokio::time::timeout(ASK_ONCE, mark.was_committed(engine, xid)).await;
        match asked {
            Ok(Ok(Some(committed))) => return Ok(committed),
            // It is still at it, or the server is not back.
            Ok(Ok(None) | Err(_)) | Err(_) => tokio::time::sleep(ASK_PAUSE).await,
        }
    }
    let message =
        "the connection was lost in COMMIT, and the server does not say what became of it";
    Err(Error::Unavailable(message.to_owned()).into())
}

/// The text that removes marks of connections that are gone.
pub(super) fn forget_sql(schema: &str) -> String {
    let kept = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
    format!(
        "DELETE FROM {schema}.tessera_meta WHERE key LIKE 'commit:%' \
         AND split_part(value, ' ', 2)::bigint < {}",
        int(now_ms().saturating_sub(kept))
    )
}
