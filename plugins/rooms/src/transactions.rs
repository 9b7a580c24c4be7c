//! Requests that may be repeated. Spec: client-server API, Transaction identifiers.

use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, Rows, Select, select};

use crate::settings::Settings;

/// Old transaction ids are looked for once in so many writes of a room, and at most so many are dropped then.
const SWEEP_EVERY: i64 = 64;
const SWEEP: u32 = 500;

/// One request of one device.
#[derive(Debug, Clone)]
pub struct Transaction {
    user: String,
    device: String,
    path: String,
    id: String,
}

impl Transaction {
    /// `path` tells apart what the same id may be used for: the endpoint and what it acts on.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` if the id is too long, `M_MISSING_TOKEN` without a principal.
    pub fn of(request: &Request, path: String) -> Result<Self, Error> {
        let id = request.param("txnId");
        if id.len() > 255 {
            return Err(Error::invalid_param("the transaction id is longer than 255 bytes"));
        }
        Ok(Self {
            user: request.user()?.to_owned(),
            device: request.device().unwrap_or_default().to_owned(),
            path,
            id: id.to_owned(),
        })
    }

    /// What another thing than a client's request is known by.
    pub fn named(user: &str, device: &str, path: &str, id: &str) -> Self {
        let [user, device, path, id] = [user, device, path, id].map(str::to_owned);
        Self { user, device, path, id }
    }

    /// The SELECT that [`Transaction::read`] takes.
    pub fn select(&self) -> Select {
        select(
            "SELECT event_id FROM rooms_transactions
             WHERE user_id = $1 AND device_id = $2 AND path = $3 AND txn_id = $4",
            params![&self.user, &self.device, &self.path, &self.id],
        )
    }

    /// The event of the first request, if this is a repetition.
    ///
    /// # Errors
    /// A fault in the table.
    pub fn read(rows: Rows) -> Result<Option<String>, Error> {
        Ok(rows.first::<(String,)>()?.map(|(event_id,)| event_id))
    }

    /// Remembers the request. Sweeps old ones now and then.
    pub fn remember(&self, batch: Batch, event_id: &str, now_ms: u64, revision: i64) -> Batch {
        let mut batch = batch.run(
            "INSERT INTO rooms_transactions (user_id, device_id, path, txn_id, event_id, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6)",
            params![&self.user, &self.device, &self.path, &self.id, event_id, now_ms],
        );
        if revision % SWEEP_EVERY == 0 {
            let age = u64::from(Settings::get().transaction_hours) * 3_600_000;
            batch = batch.run(
                "DELETE FROM rooms_transactions WHERE event_id IN
                   (SELECT event_id FROM rooms_transactions WHERE created_ms < $1 ORDER BY created_ms LIMIT $2)",
                params![now_ms.saturating_sub(age), SWEEP],
            );
        }
        batch
    }
}
