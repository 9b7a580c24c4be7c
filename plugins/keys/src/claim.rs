//! POST /_matrix/client/v3/keys/claim
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim>
//!
//! A key is given to whoever has deleted its row, so two who claim at once, in one process or in two, never get the same. The oldest
//! goes first.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, is_user_id, server_name};
use tessera_sdk::storage::{self, Batch, Committed, Rows, query};
use tessera_sdk::{crypto, log, params};

use crate::devices::{self, Existing};
use crate::parts;
use crate::query::unreachable;

/// Keys of one request.
const MAX_CLAIMS: usize = 5000;
/// Keys of one commit.
const CHUNK: usize = 500;
/// How often somebody looks again who lost a key to another claimer.
const TRIES: usize = 10;
/// How long such a one waits for the others of this process, milliseconds.
const PATIENCE: u32 = 2000;

/// The request; timeouts are for other servers.
#[derive(Debug, Deserialize)]
pub(crate) struct Body {
    one_time_keys: BTreeMap<String, BTreeMap<String, String>>,
}

/// The answer: keys by user, device and name.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answered {
    failures: BTreeMap<String, Value>,
    one_time_keys: BTreeMap<String, BTreeMap<String, BTreeMap<String, Box<RawValue>>>>,
}

/// User, device, algorithm.
type Want = (String, String, String);

/// # Errors
/// `M_BAD_JSON`, `M_TOO_LARGE`.
pub(crate) fn handle(request: &Request) -> Result {
    Answer::json(&answer(request.json()?)?)
}

/// Claims keys of local users.
///
/// # Errors
/// `M_TOO_LARGE`, storage.
pub(crate) fn answer(body: Body) -> std::result::Result<Answered, Error> {
    if body.one_time_keys.values().map(BTreeMap::len).sum::<usize>() > MAX_CLAIMS {
        return Err(Error::too_large("too many keys at once"));
    }
    let here = crypto::tenant_name();
    let mut answered = Answered::default();
    let mut wants: BTreeSet<Want> = BTreeSet::new();
    for (user, devices) in body.one_time_keys {
        if !is_user_id(&user) {
            continue;
        }
        if server_name(&user) != here {
            answered.failures.insert(server_name(&user).to_owned(), unreachable());
            continue;
        }
        wants.extend(
            devices.into_iter().map(|(device, algorithm)| (user.clone(), device, algorithm)),
        );
    }
    let users: BTreeSet<&str> = wants.iter().map(|(user, ..)| user.as_str()).collect();
    let existing = Existing::read(&users.into_iter().collect::<Vec<_>>())?;
    let wants: Vec<(Want, u64)> = wants
        .into_iter()
        .filter_map(|want| existing.since(&want.0, &want.1).map(|since| (want, since)))
        .collect();
    for wants in wants.chunks(CHUNK) {
        if let Err(error) = take(wants.to_vec(), &mut answered) {
            if answered.one_time_keys.is_empty() {
                return Err(error);
            }
            // What was taken is nobody else's any more: whatever fails now, it is told.
            log::warn("some keys were not claimed", &[("reason", &error.to_string())]);
            break;
        }
    }
    storage::unlock();
    Ok(answered)
}

fn take(mut wants: Vec<(Want, u64)>, answered: &mut Answered) -> std::result::Result<(), Error> {
    for _ in 0..TRIES {
        let taken = one_time(&wants)?;
        wants.retain(|(want, _)| !taken.contains_key(want));
        for (want, (id, json)) in taken {
            answered.add(want, &id, json)?;
        }
        let contested = left(&wants)?;
        if contested.is_empty() {
            break;
        }
        // Others were quicker, and there is more: in this process one goes after the other now.
        let (again, none): (Vec<_>, Vec<_>) =
            wants.into_iter().partition(|(want, _)| contested.contains(want));
        fallback(&none, answered)?;
        wants = again;
        let names = |(user, device, _): &Want| format!("claim:{user}:{device}");
        let names: BTreeSet<String> = contested.iter().map(names).collect();
        storage::unlock();
        let _ = storage::lock(&names.into_iter().collect::<Vec<_>>(), PATIENCE);
    }
    storage::unlock();
    fallback(&wants, answered)
}

impl Answered {
    fn add(
        &mut self,
        (user, device, algorithm): Want,
        id: &str,
        json: String,
    ) -> std::result::Result<(), Error> {
        let key = RawValue::from_string(json).map_err(Error::internal)?;
        let of_device = self.one_time_keys.entry(user).or_default().entry(device).or_default();
        of_device.insert(format!("{algorithm}:{id}"), key);
        Ok(())
    }
}

type Taken = BTreeMap<Want, (String, String)>;

fn taken(committed: Committed) -> std::result::Result<Taken, Error> {
    let rows = committed.returned.into_iter().next();
    let rows: Vec<(String, String, String, String, String)> =
        rows.map(|rows| rows.all()).transpose()?.unwrap_or_default();
    let entry = |(user, device, algorithm, id, json)| ((user, device, algorithm), (id, json));
    Ok(rows.into_iter().map(entry).collect())
}

fn rows(wants: &[(Want, u64)]) -> Vec<Vec<storage::Value>> {
    let row =
        |((user, device, algorithm), since): &(Want, u64)| params![user, device, algorithm, *since];
    wants.iter().map(row).collect()
}

fn one_time(wants: &[(Want, u64)]) -> std::result::Result<Taken, Error> {
    if wants.is_empty() {
        return Ok(Taken::new());
    }
    let committed = Batch::new()
        .run_many(
            "DELETE FROM keys_one_time WHERE user_id = $1 AND device_id = $2 AND algorithm = $3 \
             AND key_id = (SELECT k.key_id FROM keys_one_time AS k WHERE k.user_id = $1 \
             AND k.device_id = $2 AND k.algorithm = $3 AND k.position >= $4 \
             ORDER BY k.position, k.key_id LIMIT 1) \
             RETURNING user_id, device_id, algorithm, key_id, json",
            rows(wants),
        )
        .commit_blind()?;
    taken(committed)
}

/// Which of these have one-time keys all the same.
fn left(wants: &[(Want, u64)]) -> std::result::Result<BTreeSet<Want>, Error> {
    if wants.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut left = BTreeSet::new();
    let mut read = |wants: &[(Want, u64)]| {
        query(
            "SELECT user_id, device_id, algorithm, MAX(position) AS newest FROM keys_one_time \
             WHERE user_id IN ($1) AND device_id IN ($2) AND algorithm IN ($3) \
             GROUP BY user_id, device_id, algorithm",
            named(wants),
        )
    };
    parts::each(wants, CHUNK, &mut read, &mut |wants, rows| {
        let found: Vec<(String, String, String, u64)> = rows.all()?;
        let fresh = |(user, device, algorithm, newest)| {
            let want = (user, device, algorithm);
            let fits = wants.iter().any(|(known, since)| *known == want && newest >= *since);
            fits.then_some(want)
        };
        left.extend(found.into_iter().filter_map(fresh));
        Ok(())
    })?;
    Ok(left)
}

/// The users, devices and algorithms that are wanted, each by itself: what is found may be more.
fn named(wants: &[(Want, u64)]) -> Vec<storage::Value> {
    let all = |part: fn(&Want) -> &String| -> Vec<String> {
        wants
            .iter()
            .map(|(want, _)| part(want).clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    params![all(|want| &want.0), all(|want| &want.1), all(|want| &want.2)]
}

/// Fallback keys stay; their devices learn that they are in use.
fn fallback(wants: &[(Want, u64)], answered: &mut Answered) -> std::result::Result<(), Error> {
    if wants.is_empty() {
        return Ok(());
    }
    let mut read = |wants: &[(Want, u64)]| {
        query(
            "SELECT user_id, device_id, algorithm, key_id, json, used, position FROM keys_fallback \
             WHERE user_id IN ($1) AND device_id IN ($2) AND algorithm IN ($3)",
            named(wants),
        )
    };
    parts::each(wants, CHUNK, &mut read, &mut |wants, rows| give(wants, rows, answered))
}

fn give(
    wants: &[(Want, u64)],
    rows: Rows,
    answered: &mut Answered,
) -> std::result::Result<(), Error> {
    let found: Vec<(String, String, String, String, String, bool, u64)> = rows.all()?;
    let mut given = Vec::new();
    let mut used = Vec::new();
    let mut woken = BTreeSet::new();
    for (user, device, algorithm, id, json, was_used, at) in found {
        let want = (user, device, algorithm);
        if !wants.iter().any(|(known, since)| *known == want && at >= *since) {
            continue;
        }
        if !was_used {
            used.push(params![&want.0, &want.1, &want.2, &id]);
            woken.insert(devices::topic(&want.0));
        }
        given.push((want, id, json));
    }
    // Told to its device first: one that is given out unnoticed would not be replaced.
    if !used.is_empty() {
        let batch = Batch::new().run_many(
            "UPDATE keys_fallback SET used = TRUE WHERE user_id = $1 AND device_id = $2 \
             AND algorithm = $3 AND key_id = $4",
            used,
        );
        woken.into_iter().fold(batch, Batch::wake).commit_blind()?;
    }
    for (want, id, json) in given {
        answered.add(want, &id, json)?;
    }
    Ok(())
}
