//! What `accounts` tells: devices that come, go or get another name, and users who are deactivated.

use serde::Deserialize;
use tessera_sdk::consumer::{self, Guest, Message};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, query};

use crate::{Plugin, backup, dehydrated, devices};

#[derive(Deserialize)]
struct Change {
    user_id: String,
    change: String,
    device_id: Option<String>,
    kept_device_id: Option<String>,
}

impl Guest for Plugin {
    fn handle(messages: Vec<Message>) -> Result<u32, String> {
        consumer::each(&messages, one)
    }
}

fn one(message: &Message) -> Result<(), Error> {
    let change: Change = consumer::payload(message)?;
    let user = change.user_id.as_str();
    let batch = Batch::new().done(message.id);
    let batch = match (change.change.as_str(), &change.device_id) {
        ("login" | "renamed", _) => batch,
        ("logout", Some(device)) => forget(batch, user, std::slice::from_ref(device)),
        ("logout", None) => forget(batch, user, &known(user, change.kept_device_id.as_deref())?),
        ("deactivated", _) => {
            // Their keys of users stay: who verified them sees that it was them.
            backup::forget_all(user)?;
            let batch = dehydrated::forget(batch, user);
            forget(batch, user, &known(user, None)?)
        }
        _ => return Ok(()),
    };
    let (batch, wakes) = devices::changed(batch, user)?;
    batch.commit_blind()?;
    wakes.rest();
    Ok(())
}

/// Transactions count by device: another one of its name is another.
fn forget(batch: Batch, user: &str, gone: &[String]) -> Batch {
    let rows = gone.iter().map(|device| params![user, device]).collect();
    devices::forget(batch, user, gone)
        .run_many("DELETE FROM keys_transactions WHERE user_id = $1 AND device_id = $2", rows)
}

/// Devices of which something is stored, without one that is kept and the dehydrated one, which no log-out ends.
fn known(user: &str, kept: Option<&str>) -> Result<Vec<String>, Error> {
    let rows: Vec<(String,)> = query(
        "SELECT device_id FROM keys_devices WHERE user_id = $1 AND device_id <> $2 \
         UNION SELECT device_id FROM keys_one_time WHERE user_id = $1 AND device_id <> $2 \
         UNION SELECT device_id FROM keys_fallback WHERE user_id = $1 AND device_id <> $2 \
         UNION SELECT device_id FROM keys_uploaded WHERE user_id = $1 AND device_id <> $2 \
         UNION SELECT device_id FROM keys_to_device WHERE user_id = $1 AND device_id <> $2 \
         UNION SELECT device_id FROM keys_transactions WHERE user_id = $1 AND device_id <> $2 \
         EXCEPT SELECT device_id FROM keys_dehydrated WHERE user_id = $1",
        params![user, kept.unwrap_or_default()],
    )?
    .all()?;
    Ok(rows.into_iter().map(|(device,)| device).collect())
}
