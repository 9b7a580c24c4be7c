//! `rooms.events`: what each event means to each local member.
//!
//! One snapshot reads what all events of a batch need, one commit writes what follows. The cost of an event is that of its
//! evaluation by the default rules, once for all members, and by the rules of those members who changed theirs.

mod commit;
mod evaluate;
mod ledger;
mod own;
mod read;
mod room;
mod upgrade;

use std::collections::BTreeSet;

use serde::Deserialize;
use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::Message;
use tessera_sdk::{log, matrix, storage};

use self::ledger::Ledger;
use self::read::Work;
pub(crate) use self::upgrade::slice as upgrade_slice;
use crate::{later, pushers};

/// Topic of docs/views.md: events of some room have been evaluated.
pub(crate) const PROGRESS: &str = "push.progress";

/// How often a batch is tried when rooms are evaluated by two at once.
const TRIES: usize = 3;
/// Notifications of pushers that one batch may make: each is a row, and a commit has its size.
const MAX_PUSHES: usize = 40_000;
/// Messages of a batch in rooms where very many have rules of their own: what those say of each is kept until the commit.
const FEW: usize = 8;

/// Payload of `rooms.events`; see `docs/views.md`.
#[derive(Debug, Deserialize)]
struct Payload {
    event_id: String,
    room_id: String,
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<String>,
}

/// Evaluates the events of these messages, or of the first of them, where all would be too much at once: how many. Events that were
/// evaluated before are passed over.
///
/// # Errors
/// Storage, or a conflict that does not end.
pub(crate) fn handle(messages: &[Message]) -> Result<usize, String> {
    let mut told = Vec::with_capacity(messages.len());
    for message in messages {
        match serde_json::from_str::<Payload>(&message.payload) {
            Ok(payload) => told.push(Some(payload)),
            Err(error) => {
                log::error("malformed event", &[("reason", &error.to_string())]);
                told.push(None);
            }
        }
    }
    let config = pushers::configured().map_err(text)?;
    let mut tries = 0;
    while tries < TRIES {
        let payloads: Vec<&Payload> = told.iter().flatten().collect();
        let work = read::batch(&payloads).map_err(text)?;
        if told.len() > 1 && work.pushes() > MAX_PUSHES {
            told.truncate(told.len() / 2);
            continue;
        }
        if told.len() > FEW && work.more.is_some() {
            told.truncate(FEW);
            continue;
        }
        tries += 1;
        let ledgers = evaluated(&work).map_err(text)?;
        // Before the commit, so that it is done for sure; once, whatever comes in between.
        if tries == 1 {
            for (room, ledger) in work.rooms.iter().zip(&ledgers) {
                upgrade::joined(room, ledger).map_err(text)?;
            }
        }
        let upgraded = ledgers.iter().any(|ledger| !ledger.replaced_by.is_empty());
        if upgraded {
            later::serve(false);
        }
        let shards: BTreeSet<i64> =
            ledgers.iter().flat_map(|ledger| &ledger.told).map(|pusher| pusher.shard).collect();
        pushers::serve(&shards, false);
        match commit::all(&ledgers, &work.tenant, config.mail_after_ms) {
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(format!("storage: {error:?}")),
            Ok(()) => {
                pushers::serve(&shards, true);
                if upgraded {
                    later::serve(true);
                }
                return Ok(told.len());
            }
        }
    }
    Err("rooms are evaluated by two at once".to_owned())
}

/// Applies everybody's rules: those of many members page by page.
fn evaluated(work: &Work) -> Result<Vec<Ledger>, matrix::Error> {
    let mut drafts: Vec<_> =
        work.rooms.iter().map(|room| ledger::begin(room, &work.tenant)).collect();
    let mut more = work.more.clone();
    while let Some(place) = more {
        let rooms = drafts.iter().map(|draft| draft.room().room_id.clone()).collect();
        let (mut customs, next) = read::more(rooms, place)?;
        for draft in &mut drafts {
            let of_room = customs.remove(&draft.room().room_id).unwrap_or_default();
            draft.more(&of_room);
        }
        more = next;
    }
    Ok(drafts.into_iter().map(|draft| draft.finish(&work.invited)).collect())
}

fn text(error: matrix::Error) -> String {
    error.to_string()
}
