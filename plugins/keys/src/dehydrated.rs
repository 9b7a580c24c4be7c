//! /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device
//!
//! MSC3814: a device that is kept here, encrypted, and receives messages while none of the user's devices is there. Who logs in
//! next reads them with it. One for each user; another one takes its place.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, Rows, position, query, select, snapshot};

use crate::upload::{self, Upload};
use crate::{cross_signing, devices};

/// Messages of one answer.
const PAGE: u64 = 100;
/// Bytes of the device itself, encrypted.
const MAX_DATA: usize = 256 * 1024;
/// Bytes of a device's id and of its name.
const MAX_NAME: usize = 255;
/// How often a change is tried that meets another.
const TRIES: usize = 3;

#[derive(Deserialize)]
struct Put {
    device_id: String,
    device_data: Map<String, Value>,
    initial_device_display_name: Option<String>,
    device_keys: Option<Map<String, Value>>,
    one_time_keys: Option<Map<String, Value>>,
    fallback_keys: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Events {
    next_batch: Option<String>,
}

fn stored(user: &str) -> std::result::Result<Option<(String, String)>, Error> {
    let row = query(
        "SELECT device_id, device_data FROM keys_dehydrated WHERE user_id = $1",
        params![user],
    )?;
    Ok(row.first()?)
}

fn none() -> Error {
    Error::not_found("there is no dehydrated device")
}

/// GET and DELETE.
///
/// # Errors
/// `M_NOT_FOUND` where there is none.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let (device, data) = stored(user)?.ok_or_else(none)?;
    if request.method() == "GET" {
        let data = RawValue::from_string(data).map_err(Error::internal)?;
        return Answer::json(&json!({ "device_id": device, "device_data": data }));
    }
    let (batch, wakes) = devices::changed(forget(Batch::new(), user), user)?;
    batch.commit_blind()?;
    wakes.rest();
    Answer::json(&json!({ "device_id": device }))
}

/// # Errors
/// `M_BAD_JSON`; `M_MISSING_PARAM` without device keys; `M_INVALID_PARAM` for the id of another device; `M_FORBIDDEN` for that
/// of a cross-signing key; `M_TOO_LARGE`.
pub(crate) fn put(request: &Request) -> Result {
    let user = request.user()?;
    let body: Put = request.json()?;
    let name = body.initial_device_display_name.as_deref();
    if body.device_id.is_empty()
        || body.device_id.len() > MAX_NAME
        || name.is_some_and(|name| name.len() > MAX_NAME)
    {
        return Err(Error::invalid_param("ids and names of devices have 1 to 255 bytes"));
    }
    let data = Value::Object(body.device_data).to_string();
    if data.len() > MAX_DATA {
        return Err(Error::too_large("device_data is too large"));
    }
    let device = body.device_id.as_str();
    let keys =
        Upload::check(user, device, body.device_keys, body.one_time_keys, body.fallback_keys)?;
    if !keys.has_device() {
        return Err(Error::missing_param("device_keys are missing"));
    }
    let before = stored(user)?;
    if before.is_none_or(|(before, _)| before != device) && upload::is_taken(user, device)? {
        return Err(Error::invalid_param("a device has this id already"));
    }
    if cross_signing::is_public_key(user, device)? {
        return Err(Error::forbidden("one of your cross-signing keys has the id of this device"));
    }
    for _ in 0..TRIES {
        let mut batch = forget(Batch::new(), user);
        let at = batch.take_positions(1);
        batch = batch.run(
            "INSERT INTO keys_dehydrated (user_id, device_id, device_data, display_name, position) \
             VALUES ($1, $2, $3, $4, $5)",
            params![user, device, &data, name, position(at)],
        );
        batch = keys.write(batch, user, device, at);
        let (batch, wakes) = devices::changed(batch, user)?;
        match batch.commit() {
            Ok(_) => {
                wakes.rest();
                return Answer::json(&json!({ "device_id": device }));
            }
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}

/// Adds to a batch that the dehydrated device of a user is forgotten, with all that is stored of it.
pub(crate) fn forget(mut batch: Batch, user: &str) -> Batch {
    for table in ["keys_devices", "keys_one_time", "keys_fallback", "keys_to_device"] {
        let sql = format!(
            "DELETE FROM {table} WHERE user_id = $1 AND device_id IN \
             (SELECT h.device_id FROM keys_dehydrated AS h WHERE h.user_id = $1)"
        );
        batch = batch.run(&sql, params![user]);
    }
    batch
        .run(
            "DELETE FROM keys_signatures WHERE target_user = $1 AND target_key IN \
             (SELECT h.device_id FROM keys_dehydrated AS h WHERE h.user_id = $1)",
            params![user],
        )
        .run("DELETE FROM keys_dehydrated WHERE user_id = $1", params![user])
}

/// Messages for the dehydrated device, page by page; they stay until it goes.
///
/// # Errors
/// `M_NOT_FOUND` without a dehydrated device, `M_FORBIDDEN` for another device, `M_INVALID_PARAM` for a malformed token; 503 where there
/// are more that cannot be told yet.
pub(crate) fn events(request: &Request) -> Result {
    let user = request.user()?;
    let (device, _) = stored(user)?.ok_or_else(none)?;
    if request.param("deviceId") != device {
        return Err(Error::forbidden("this is not your dehydrated device"));
    }
    let body: Events = request.json()?;
    let since: u64 = match &body.next_batch {
        None => 0,
        Some(token) => token
            .strip_prefix('d')
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Error::invalid_param("next_batch is no token of this server's"))?,
    };
    let limit = request.query_as::<u64>("limit")?.unwrap_or(PAGE).clamp(1, PAGE);
    let moment = snapshot(&[select(
        "SELECT position, sender, type, content FROM keys_to_device \
         WHERE user_id = $1 AND device_id = $2 AND position > $3 ORDER BY position LIMIT $4",
        params![user, &device, since, limit],
    )])?;
    let horizon = moment.horizon;
    let rows = moment.answers().next().map(Rows::all).transpose()?;
    let mut rows: Vec<(u64, String, String, String)> = rows.unwrap_or_default();
    // Above the horizon one may still appear between these: they are for the next page.
    let found = rows.len();
    rows.retain(|(at, ..)| *at <= horizon);
    if rows.is_empty() && found > 0 {
        // An empty page is the last one to clients, which then delete the device: they ask again in place of that.
        return Err(storage::Error::Busy.into());
    }
    let last = rows.last().map_or(since, |(at, ..)| *at);
    let events = rows
        .into_iter()
        .map(|(_, sender, kind, content)| {
            let content = RawValue::from_string(content).map_err(Error::internal)?;
            Ok(json!({ "sender": sender, "type": kind, "content": content }))
        })
        .collect::<std::result::Result<Vec<_>, Error>>()?;
    Answer::json(&json!({ "events": events, "next_batch": format!("d{last}") }))
}
