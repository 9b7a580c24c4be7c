//! `rooms.events`: what each event means to each local member.
//!
//! One snapshot reads what all events of a batch need, one commit writes what follows. The cost of an event is that of its
//! evaluation by the default rules, once for all members, and by the rules of those members who changed theirs.

mod commit;
mod evaluate;
mod ledger;
mod read;
mod room;

use std::collections::BTreeSet;

use serde::Deserialize;
use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::Message;
use tessera_sdk::{log, matrix, storage};

use crate::pushers;

/// Topic of docs/views.md: events of some room have been evaluated.
pub(crate) const PROGRESS: &str = "push.progress";

/// How often a batch is tried when rooms are evaluated by two at once.
const TRIES: usize = 3;

/// Payload of `rooms.events`; see `docs/views.md`.
#[derive(Debug, Deserialize)]
struct Payload {
    event_id: String,
    room_id: String,
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<String>,
}

/// Evaluates the events of these messages. Events that were evaluated before are passed over.
///
/// # Errors
/// Storage, or a conflict that does not end.
pub(crate) fn handle(messages: &[Message]) -> Result<(), String> {
    let mut told = Vec::with_capacity(messages.len());
    for message in messages {
        match serde_json::from_str::<Payload>(&message.payload) {
            Ok(payload) => told.push(payload),
            Err(error) => log::error("malformed event", &[("reason", &error.to_string())]),
        }
    }
    let config = pushers::configured().map_err(text)?;
    for _ in 0..TRIES {
        let work = read::batch(&told).map_err(text)?;
        let ledgers: Vec<_> = work
            .rooms
            .iter()
            .map(|room| ledger::write(room, &work.tenant, &work.invited))
            .collect();
        let shards: BTreeSet<i64> = ledgers
            .iter()
            .flat_map(|ledger| &ledger.pushes)
            .map(|push| push.pusher.shard)
            .collect();
        pushers::serve(&shards, false);
        match commit::all(&ledgers, &work.tenant, config.mail_after_ms) {
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(format!("storage: {error:?}")),
            Ok(()) => {
                pushers::serve(&shards, true);
                return Ok(());
            }
        }
    }
    Err("rooms are evaluated by two at once".to_owned())
}

fn text(error: matrix::Error) -> String {
    error.to_string()
}
