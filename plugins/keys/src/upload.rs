//! POST /_matrix/client/v3/keys/upload
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, Failure, position, query, race, select, snapshot};
use tessera_sdk::{clock, digest, params};

use crate::devices::{self, Existing};
use crate::{signed, wakes};

/// Bytes of the keys of one device.
const MAX_DEVICE: usize = 16 * 1024;
/// Characters of the keys of all devices of a user: whoever shares a room gets them all.
const MAX_DEVICES: u64 = 2 << 20;
/// Bytes of a one-time key.
const MAX_KEY: usize = 4 * 1024;
/// One-time keys that wait for one device; clients keep 50 to 100.
const MAX_KEYS: u64 = 2000;
/// Algorithms of fallback keys of one device.
const MAX_FALLBACK: usize = 16;
/// Bytes of an algorithm and of a key's id.
const MAX_NAME: usize = 255;
/// How long it is remembered that a key was uploaded: clients repeat an upload whose answer was lost, and nobody may be given a key twice.
const REMEMBERED_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Uploaded keys of one device that are remembered, about: the newest.
const MAX_REMEMBERED: u64 = 4 * MAX_KEYS;
/// How often an upload is tried that meets another of the same device.
const TRIES: usize = 5;

/// A one-time or fallback key.
#[derive(Debug)]
struct Key {
    algorithm: String,
    id: String,
    json: String,
    /// Of the key without its signatures.
    hash: String,
}

impl Key {
    fn remembered(&self, user: &str, device: &str, at: u32) -> Vec<storage::Value> {
        params![user, device, &self.algorithm, &self.id, &self.hash, clock::now_ms(), position(at)]
    }

    fn row(&self, user: &str, device: &str, at: u32) -> Vec<storage::Value> {
        params![user, device, &self.algorithm, &self.id, &self.json, position(at)]
    }
}

/// What is uploaded, checked.
#[derive(Debug)]
pub(crate) struct Upload {
    device: Option<String>,
    one_time: Vec<Key>,
    fallback: Vec<Key>,
}

#[derive(Deserialize)]
struct Body {
    device_keys: Option<Map<String, Value>>,
    one_time_keys: Option<Map<String, Value>>,
    fallback_keys: Option<Map<String, Value>>,
    #[serde(rename = "org.matrix.msc2732.fallback_keys")]
    old_fallback_keys: Option<Map<String, Value>>,
}

/// The members of device keys that must be there.
#[derive(Deserialize)]
struct DeviceKeys {
    user_id: String,
    device_id: String,
    #[serde(rename = "algorithms")]
    _algorithms: Vec<String>,
    #[serde(rename = "keys")]
    _keys: BTreeMap<String, String>,
    #[serde(rename = "signatures")]
    _signatures: BTreeMap<String, BTreeMap<String, String>>,
}

/// # Errors
/// `M_BAD_JSON` or `M_INVALID_PARAM` for keys that are malformed or of another user or device; `M_UNKNOWN` (400) for another
/// key under the id of one that waits; `M_TOO_LARGE`.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let device = request.device().ok_or_else(|| {
        Error::new(ErrorCode::Unknown, "keys are uploaded by a device").status(400)
    })?;
    let named = request.param("deviceId");
    if !named.is_empty() && named != device {
        return Err(Error::invalid_param("a device uploads its own keys only"));
    }
    let body: Body = request.json()?;
    let fallback = body.fallback_keys.or(body.old_fallback_keys);
    let upload = Upload::check(user, device, body.device_keys, body.one_time_keys, fallback)?;
    race(TRIES, || attempt(user, device, &upload))?;
    counts(user, device)
}

impl Upload {
    /// # Errors
    /// As [`handle`].
    pub(crate) fn check(
        user: &str,
        device: &str,
        device_keys: Option<Map<String, Value>>,
        one_time: Option<Map<String, Value>>,
        fallback: Option<Map<String, Value>>,
    ) -> std::result::Result<Self, Error> {
        let device = device_keys.map(|keys| check_device(user, device, keys)).transpose()?;
        let fallback = check_keys(fallback)?;
        let mut algorithms: Vec<&str> = fallback.iter().map(|key| &*key.algorithm).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        if algorithms.len() < fallback.len() {
            return Err(Error::invalid_param("one fallback key for each algorithm"));
        }
        if algorithms.len() > MAX_FALLBACK {
            return Err(Error::too_large("too many fallback keys"));
        }
        Ok(Self { device, one_time: check_keys(one_time)?, fallback })
    }

    /// Whether it has keys of the device itself.
    pub(crate) fn has_device(&self) -> bool {
        self.device.is_some()
    }

    /// Adds all of it to a batch, as that of a device of which nothing is stored; `at`: offset of a position.
    pub(crate) fn write(&self, batch: Batch, user: &str, device: &str, at: u32) -> Batch {
        let batch = match &self.device {
            Some(json) => write_device(batch, user, device, json, at),
            None => batch,
        };
        let batch = write_one_time(batch, user, device, self.one_time.iter(), at);
        write_fallback(batch, user, device, self.fallback.iter(), at)
    }
}

fn check_device(
    user: &str,
    device: &str,
    mut keys: Map<String, Value>,
) -> std::result::Result<String, Error> {
    keys.remove("unsigned");
    let parsed: DeviceKeys = serde_json::from_value(Value::Object(keys.clone()))
        .map_err(|error| Error::bad_json(format!("device_keys: {error}")))?;
    if parsed.user_id != user || parsed.device_id != device {
        return Err(Error::invalid_param("device_keys name another user or device"));
    }
    let json = signed::canonical(&keys)?;
    if json.len() > MAX_DEVICE {
        return Err(Error::too_large("device_keys are too large"));
    }
    Ok(json)
}

fn check_keys(keys: Option<Map<String, Value>>) -> std::result::Result<Vec<Key>, Error> {
    let keys = keys.unwrap_or_default().into_iter().map(|(name, value)| {
        let (algorithm, id) = name
            .split_once(':')
            .filter(|(algorithm, id)| !algorithm.is_empty() && !id.contains(':'))
            .filter(|(algorithm, id)| algorithm.len() <= MAX_NAME && id.len() <= MAX_NAME)
            .ok_or_else(|| Error::invalid_param(format!("{name:?} is no name of a key")))?;
        let json = match &value {
            Value::String(_) => value.to_string(),
            Value::Object(map) => signed::canonical(map)?,
            _ => return Err(Error::bad_json(format!("{name:?} is no key"))),
        };
        if json.len() > MAX_KEY {
            return Err(Error::too_large(format!("{name:?} is too large")));
        }
        let hash = hash(&value)?;
        Ok(Key { algorithm: algorithm.to_owned(), id: id.to_owned(), json, hash })
    });
    keys.collect()
}

/// What tells one key from another: signatures do not.
fn hash(key: &Value) -> std::result::Result<String, Error> {
    let text = match key {
        Value::Object(map) if map.contains_key("signatures") => {
            let mut map = map.clone();
            map.remove("signatures");
            signed::canonical(&map)?
        }
        Value::Object(map) => signed::canonical(map)?,
        other => other.to_string(),
    };
    Ok(digest::sha256(text.as_bytes()))
}

fn hash_of_stored(json: &str) -> std::result::Result<String, Error> {
    hash(&serde_json::from_str(json).map_err(Error::internal)?)
}

fn attempt(user: &str, device: &str, upload: &Upload) -> std::result::Result<(), Failure> {
    let ids: Vec<String> = upload.one_time.iter().map(|key| key.id.clone()).collect();
    let mut answers = snapshot(&[
        devices::select_existing(vec![user.to_owned()]),
        select(
            "SELECT json, position FROM keys_devices WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        ),
        select(
            "SELECT algorithm, key_id, json, position FROM keys_one_time \
             WHERE user_id = $1 AND device_id = $2 AND key_id IN ($3)",
            params![user, device, ids.clone()],
        ),
        select(
            "SELECT algorithm, key_id, hash, position FROM keys_uploaded \
             WHERE user_id = $1 AND device_id = $2 AND key_id IN ($3)",
            params![user, device, ids],
        ),
        select(
            "SELECT COUNT(*) FROM keys_one_time AS k WHERE k.user_id = $1 AND k.device_id = $2 \
             AND k.position >= COALESCE((SELECT d.position FROM accounts_v2_devices AS d \
             WHERE d.user_id = $1 AND d.device_id = $2), 0)",
            params![user, device],
        ),
        select(
            "SELECT algorithm, key_id, json, position FROM keys_fallback \
             WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        ),
        select(
            "SELECT COALESCE(SUM(length(json)), 0) AS n FROM keys_devices \
             WHERE user_id = $1 AND device_id <> $2",
            params![user, device],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let existing: Vec<(String, String, u64)> = next()?.all()?;
    let known: Option<(String, u64)> = next()?.first()?;
    let waiting: Vec<(String, String, String, u64)> = next()?.all()?;
    let uploaded: Vec<(String, String, String, u64)> = next()?.all()?;
    let count: u64 = next()?.first::<(u64,)>()?.map_or(0, |(count,)| count);
    let fallback: Vec<(String, String, String, u64)> = next()?.all()?;
    let others: u64 = next()?.first::<(u64,)>()?.map_or(0, |(count,)| count);
    let since = existing.iter().find(|(_, id, _)| id == device).map(|(_, _, at)| *at);
    let Some(since) = since else {
        return Err(Error::new(ErrorCode::UnknownToken, "this device has been removed").into());
    };
    let known = known.filter(|(_, at)| *at >= since).map(|(json, _)| json);

    let mut fresh = Vec::new();
    let mut other = Vec::new();
    for key in &upload.one_time {
        let named = |(algorithm, id, _, at): &&(String, String, String, u64)| {
            *algorithm == key.algorithm && *id == key.id && *at >= since
        };
        let known = uploaded.iter().find(named);
        match waiting.iter().find(named) {
            Some((_, _, json, _)) if hash_of_stored(json)? != key.hash => {
                let text = format!("there is another key {}:{}", key.algorithm, key.id);
                return Err(Error::new(ErrorCode::Unknown, text).status(400).into());
            }
            Some(_) => {}
            // It was claimed: whoever repeats the upload has not heard that it came here.
            None if known.is_some_and(|(_, _, hash, _)| *hash == key.hash) => {}
            None => {
                if let Some((algorithm, id, hash, _)) = known {
                    other.push(params![user, device, algorithm, id, hash]);
                }
                fresh.push(key);
            }
        }
    }
    if count + fresh.len() as u64 > MAX_KEYS {
        return Err(Error::too_large("too many one-time keys wait for this device").into());
    }
    let is_known = |key: &&Key| {
        let same = |(algorithm, id, json, at): &(String, String, String, u64)| {
            *algorithm == key.algorithm && *id == key.id && *json == key.json && *at >= since
        };
        !fallback.iter().any(same)
    };
    let replaced: Vec<&Key> = upload.fallback.iter().filter(is_known).collect();
    let device_keys = upload.device.as_ref().filter(|json| known.as_ref() != Some(json));
    if device_keys.is_some_and(|json| others + json.len() as u64 > MAX_DEVICES) {
        return Err(Error::too_large("the keys of your devices are too large together").into());
    }

    // What is left of a device that had this id before goes, so that nothing of it is taken for this one's.
    let mut batch = Batch::new();
    for table in ["keys_one_time", "keys_fallback", "keys_uploaded"] {
        let sql =
            format!("DELETE FROM {table} WHERE user_id = $1 AND device_id = $2 AND position < $3");
        batch = batch.run(&sql, params![user, device, since]);
    }
    if device_keys.is_none() && fresh.is_empty() && replaced.is_empty() {
        return Ok(());
    }
    let at = batch.take_positions(1);
    if !fresh.is_empty() {
        batch = remember(batch, user, device, other, &fresh, at);
    }
    batch = write_one_time(batch, user, device, fresh.into_iter(), at);
    batch = write_fallback(batch, user, device, replaced.into_iter(), at);
    let (batch, wakes) = match device_keys {
        Some(json) => devices::changed(write_device(batch, user, device, json, at), user)?,
        None => wakes::add(batch, Vec::new()),
    };
    match batch.commit() {
        Ok(_) => {
            wakes.rest();
            Ok(())
        }
        Err(error) => Err(Failure::of(error)),
    }
}

/// Notes that these keys were uploaded. One that was remembered meanwhile is a conflict; `others`: claimed keys of the same names, which
/// they take the place of.
fn remember(
    batch: Batch,
    user: &str,
    device: &str,
    others: Vec<Vec<storage::Value>>,
    keys: &[&Key],
    at: u32,
) -> Batch {
    batch
        .run(
            "DELETE FROM keys_uploaded WHERE user_id = $1 AND device_id = $2 AND uploaded_ms < $3",
            params![user, device, clock::now_ms().saturating_sub(REMEMBERED_MS)],
        )
        .run(
            "DELETE FROM keys_uploaded WHERE user_id = $1 AND device_id = $2 AND position < COALESCE(\
             (SELECT u.position FROM keys_uploaded AS u WHERE u.user_id = $1 AND u.device_id = $2 \
             ORDER BY u.position DESC LIMIT 1 OFFSET $3), 0)",
            params![user, device, MAX_REMEMBERED],
        )
        .run_many(
            "DELETE FROM keys_uploaded WHERE user_id = $1 AND device_id = $2 AND algorithm = $3 \
             AND key_id = $4 AND hash = $5",
            others,
        )
        .run_many(
            "INSERT INTO keys_uploaded (user_id, device_id, algorithm, key_id, hash, uploaded_ms, position) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            keys.iter().map(|key| key.remembered(user, device, at)).collect(),
        )
}

fn write_device(batch: Batch, user: &str, device: &str, json: &str, at: u32) -> Batch {
    batch.run(
        "INSERT INTO keys_devices (user_id, device_id, json, position) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (user_id, device_id) DO UPDATE SET json = excluded.json, position = excluded.position",
        params![user, device, json, position(at)],
    )
}

/// A key under the id of one that waits is a conflict.
fn write_one_time<'a>(
    batch: Batch,
    user: &str,
    device: &str,
    keys: impl Iterator<Item = &'a Key>,
    at: u32,
) -> Batch {
    batch.run_many(
        "INSERT INTO keys_one_time (user_id, device_id, algorithm, key_id, json, position) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        keys.map(|key| key.row(user, device, at)).collect(),
    )
}

fn write_fallback<'a>(
    batch: Batch,
    user: &str,
    device: &str,
    keys: impl Iterator<Item = &'a Key>,
    at: u32,
) -> Batch {
    batch.run_many(
        "INSERT INTO keys_fallback (user_id, device_id, algorithm, key_id, json, used, position) \
         VALUES ($1, $2, $3, $4, $5, FALSE, $6) \
         ON CONFLICT (user_id, device_id, algorithm) DO UPDATE SET key_id = excluded.key_id, \
         json = excluded.json, used = FALSE, position = excluded.position",
        keys.map(|key| key.row(user, device, at)).collect(),
    )
}

fn counts(user: &str, device: &str) -> Result {
    let counts: Vec<(String, u64)> = query(
        "SELECT k.algorithm, COUNT(*) AS count FROM keys_one_time AS k \
         WHERE k.user_id = $1 AND k.device_id = $2 \
         AND k.position >= COALESCE((SELECT d.position FROM accounts_v2_devices AS d \
         WHERE d.user_id = $1 AND d.device_id = $2), 0) GROUP BY k.algorithm",
        params![user, device],
    )?
    .all()?;
    // Clients look for this one.
    let mut all = BTreeMap::from([("signed_curve25519".to_owned(), 0)]);
    all.extend(counts);
    Answer::json(&json!({ "one_time_key_counts": all }))
}

/// Whether a device is there.
///
/// # Errors
/// Storage.
pub(crate) fn is_taken(user: &str, device: &str) -> std::result::Result<bool, Error> {
    Ok(Existing::read(&[user])?.since(user, device).is_some())
}
