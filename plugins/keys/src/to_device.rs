//! PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid>

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, position, query};
use tessera_sdk::{clock, log, params, random};

use crate::devices::{self, Existing};
use crate::{config, wakes};

/// Messages of one request, after `*` has become devices: one commit gives out as many positions.
const MAX_MESSAGES: usize = 10_000;
/// Bytes of one message's content.
const MAX_CONTENT: usize = 64 * 1024;
/// Bytes of all messages of one request.
const MAX_BYTES: usize = 32 << 20;
/// Bytes of a type and of a transaction's id.
const MAX_NAME: usize = 255;
/// How long a transaction is remembered, milliseconds.
const REMEMBERED: u64 = 48 * 60 * 60 * 1000;
/// One request in so many looks for what is over: queues that are too long, old transactions.
const SWEEP: u8 = 16;

/// Content by user and device; `*`: all of the user's.
pub(crate) type Messages = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// # Errors
/// `M_MISSING_PARAM`, `M_BAD_JSON`, `M_TOO_LARGE`.
pub(crate) fn handle(request: &Request) -> Result {
    let mut body: Map<String, Value> = request.json()?;
    let messages =
        body.remove("messages").ok_or_else(|| Error::missing_param("messages are missing"))?;
    let messages = parse(messages)?;
    let (kind, txn) = (request.param("eventType"), request.param("txnId"));
    let device = request.device().unwrap_or_default();
    send(request.user()?, device, kind, txn, &messages)?;
    Answer::empty()
}

/// # Errors
/// `M_BAD_JSON` where it is no map of maps of objects.
pub(crate) fn parse(messages: Value) -> std::result::Result<Messages, Error> {
    let parsed: BTreeMap<String, BTreeMap<String, Map<String, Value>>> =
        serde_json::from_value(messages)
            .map_err(|error| Error::bad_json(format!("messages: {error}")))?;
    let raw = |content: Map<String, Value>| {
        serde_json::value::to_raw_value(&content).map_err(Error::internal)
    };
    parsed
        .into_iter()
        .map(|(user, devices)| {
            let devices = devices
                .into_iter()
                .map(|(device, content)| Ok((device, raw(content)?)))
                .collect::<std::result::Result<_, Error>>()?;
            Ok((user, devices))
        })
        .collect()
}

/// Stores messages for the devices that are there. Repeated by the same sender with the same `txn` it does nothing.
///
/// # Errors
/// `M_TOO_LARGE`, `M_INVALID_PARAM`, storage.
pub(crate) fn send(
    sender: &str,
    device: &str,
    kind: &str,
    txn: &str,
    messages: &Messages,
) -> std::result::Result<(), Error> {
    if kind.len() > MAX_NAME || txn.len() > MAX_NAME {
        return Err(Error::invalid_param("type and transaction id have at most 255 bytes"));
    }
    if is_done(sender, device, kind, txn)? {
        return Ok(());
    }
    let users: Vec<&str> = messages.keys().map(String::as_str).collect();
    let existing = Existing::read(&users)?;
    let wanted = expand(messages, &existing)?;

    let now = clock::now_ms();
    let mut batch = Batch::new().run(
        "INSERT INTO keys_transactions (user_id, device_id, type, txn_id, at_ms) \
         VALUES ($1, $2, $3, $4, $5)",
        params![sender, device, kind, txn, now],
    );
    let count = u32::try_from(wanted.len()).map_err(Error::internal)?;
    if count > 0 {
        let first = batch.take_positions(count);
        let rows = (first..).zip(&wanted).map(|(at, (user, device, content))| {
            params![*user, *device, position(at), sender, kind, *content]
        });
        batch = batch.run_many(
            "INSERT INTO keys_to_device (user_id, device_id, position, sender, type, content) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            rows.collect(),
        );
    }
    let mut woken: Vec<&str> = wanted.iter().map(|(user, ..)| *user).collect();
    woken.dedup();
    let (batch, wakes) = wakes::add(batch, woken.into_iter().map(devices::topic).collect());
    match batch.commit() {
        Ok(_) => wakes.rest(),
        // The same request came twice at once.
        Err(storage::Error::Conflict(_)) if is_done(sender, device, kind, txn)? => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let [draw] = random::bytes::<1>();
    if draw % SWEEP == 0 {
        sweep(&wanted, now)?;
    }
    Ok(())
}

fn is_done(sender: &str, device: &str, kind: &str, txn: &str) -> std::result::Result<bool, Error> {
    let found = query(
        "SELECT txn_id FROM keys_transactions \
         WHERE user_id = $1 AND device_id = $2 AND type = $3 AND txn_id = $4",
        params![sender, device, kind, txn],
    )?;
    Ok(!found.rows.is_empty())
}

/// User, device, content; by user and device.
type Wanted<'a> = Vec<(&'a str, &'a str, &'a str)>;

fn expand<'a>(
    messages: &'a Messages,
    existing: &'a Existing,
) -> std::result::Result<Wanted<'a>, Error> {
    let mut wanted: Wanted<'a> = Vec::new();
    let mut bytes = 0;
    for (user, by_device) in messages {
        let everybody = by_device.get("*");
        for device in existing.of(user) {
            let Some(content) = by_device.get(device).or(everybody) else { continue };
            bytes += content.get().len();
            if content.get().len() > MAX_CONTENT || bytes > MAX_BYTES {
                return Err(Error::too_large("messages have at most 64 KiB each, 32 MiB together"));
            }
            wanted.push((user, device, content.get()));
        }
    }
    if wanted.len() > MAX_MESSAGES {
        return Err(Error::too_large(format!("at most {MAX_MESSAGES} messages at once")));
    }
    Ok(wanted)
}

/// Drops what is over. It is done beside the request, whose messages are stored already.
fn sweep(wanted: &Wanted<'_>, now: u64) -> std::result::Result<(), Error> {
    let cap = config::get()?.to_device_queue;
    let mut batch = Batch::new().run(
        "DELETE FROM keys_transactions WHERE at_ms < $1",
        params![now.saturating_sub(REMEMBERED)],
    );
    let rows = wanted.iter().map(|(user, device, _)| params![*user, *device, cap]).collect();
    batch = batch.run_many(
        "DELETE FROM keys_to_device WHERE user_id = $1 AND device_id = $2 AND position <= \
         (SELECT q.position FROM keys_to_device AS q WHERE q.user_id = $1 AND q.device_id = $2 \
         ORDER BY q.position DESC LIMIT 1 OFFSET $3)",
        rows,
    );
    match batch.commit_blind() {
        Ok(committed) => {
            let dropped = committed.affected.get(1).copied().unwrap_or_default();
            if dropped > 0 {
                let count = dropped.to_string();
                log::warn("messages dropped from full queues of devices", &[("count", &count)]);
            }
            Ok(())
        }
        Err(error) => {
            log::warn("queues of devices not swept", &[("reason", &format!("{error:?}"))]);
            Ok(())
        }
    }
}

/// Forgets the messages of a device up to a position: they have reached it.
///
/// # Errors
/// Storage.
pub(crate) fn acknowledge(user: &str, device: &str, up_to: u64) -> std::result::Result<(), Error> {
    Batch::new()
        .run(
            "DELETE FROM keys_to_device WHERE user_id = $1 AND device_id = $2 AND position <= $3",
            params![user, device, up_to],
        )
        .commit_blind()?;
    Ok(())
}

/// # Errors
/// `M_BAD_JSON`, and as [`send`]. For other services: `id` stands for the transaction.
pub(crate) fn send_for_service(
    sender: &str,
    kind: &str,
    id: &str,
    messages: &str,
) -> std::result::Result<(), Error> {
    let messages = serde_json::from_str(messages)
        .map_err(|error| Error::new(ErrorCode::BadJson, error.to_string()))?;
    send(sender, "", kind, id, &parse(messages)?)
}
