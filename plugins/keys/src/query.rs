//! POST /_matrix/client/v3/keys/query
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tessera_sdk::crypto;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, is_user_id, server_name};
use tessera_sdk::params;
use tessera_sdk::storage::{Moment, Select, select, snapshot};

use crate::cross_signing::{self, MASTER, SELF_SIGNING};
use crate::{parts, signed};

/// Users looked up at once.
const CHUNK: usize = 100;
/// Bytes of the device keys of one answer.
const MAX_BYTES: usize = 48 << 20;

/// The request; timeouts are for other servers.
#[derive(Debug, Deserialize)]
pub(crate) struct Body {
    device_keys: BTreeMap<String, Vec<String>>,
}

type Keys = BTreeMap<String, Map<String, Value>>;
/// Target, its key, signer, their key, signature.
type Signatures = Vec<(String, String, String, String, String)>;

/// The answer.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answered {
    failures: BTreeMap<String, Value>,
    device_keys: BTreeMap<String, BTreeMap<String, Box<RawValue>>>,
    master_keys: Keys,
    self_signing_keys: Keys,
    user_signing_keys: Keys,
}

/// # Errors
/// `M_BAD_JSON`; `M_TOO_LARGE` for more keys than one answer holds.
pub(crate) fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    Answer::json(&answer(&body, Some(request.user()?))?)
}

/// What a server that cannot be asked is told of in `failures`.
pub(crate) fn unreachable() -> Value {
    json!({ "status": 503, "message": "the server cannot be reached" })
}

/// Keys of devices that are there, with the name that their users gave them: user, device, JSON, name. A name that is as long as none
/// is in earnest is not told.
pub(crate) fn select_devices(users: Vec<String>) -> Select {
    select(
        "SELECT k.user_id, k.device_id, k.json, \
         CASE WHEN length(d.display_name) <= 512 THEN d.display_name ELSE NULL END AS display_name \
         FROM keys_devices AS k \
         JOIN accounts_v2_devices AS d ON d.user_id = k.user_id AND d.device_id = k.device_id \
         WHERE k.user_id IN ($1) AND k.position >= d.position \
         UNION ALL SELECT k.user_id, k.device_id, k.json, h.display_name FROM keys_devices AS k \
         JOIN keys_dehydrated AS h ON h.user_id = k.user_id AND h.device_id = k.device_id \
         WHERE k.user_id IN ($2) AND k.position >= h.position",
        params![users.clone(), users],
    )
}

/// Keys of local users as `viewer` sees them.
///
/// # Errors
/// `M_TOO_LARGE`, storage.
pub(crate) fn answer(body: &Body, viewer: Option<&str>) -> std::result::Result<Answered, Error> {
    let here = crypto::tenant_name();
    let mut answered = Answered::default();
    let mut local = Vec::new();
    for user in body.device_keys.keys().filter(|user| is_user_id(user)) {
        if server_name(user) == here {
            answered.device_keys.insert(user.clone(), BTreeMap::new());
            local.push(user.clone());
        } else {
            answered.failures.insert(server_name(user).to_owned(), unreachable());
        }
    }
    let mut bytes = 0;
    let mut read = |users: &[String]| {
        snapshot(&[
            select_devices(users.to_vec()),
            cross_signing::select_keys(users.to_vec()),
            select(
                "SELECT target_user, target_key, signer, signer_key, signature FROM keys_signatures \
                 WHERE target_user IN ($1) AND (signer = target_user OR signer = $2)",
                params![users, viewer.unwrap_or_default()],
            ),
        ])
    };
    parts::each(&local, CHUNK, &mut read, &mut |_, moment: Moment| {
        take(body, viewer, moment, &mut answered, &mut bytes)
    })?;
    Ok(answered)
}

fn take(
    body: &Body,
    viewer: Option<&str>,
    moment: Moment,
    answered: &mut Answered,
    bytes: &mut usize,
) -> std::result::Result<(), Error> {
    let mut answers = moment.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let devices: Vec<(String, String, String, Option<String>)> = next()?.all()?;
    let keys = cross_signing::read(next()?)?;
    let signatures: Signatures = next()?.all()?;
    let mut by_target: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (user, target, signer, key, signature) in &signatures {
        by_target.entry((&**user, &**target)).or_default().push((signer, key, signature));
    }

    for (user, device, json, name) in devices {
        let wanted = body.device_keys.get(&user);
        if !wanted.is_some_and(|wanted| wanted.is_empty() || wanted.contains(&device)) {
            continue;
        }
        let mut map = signed::stored(&json)?;
        let mut unsigned = Map::new();
        if let Some(name) = name {
            unsigned.insert("device_display_name".to_owned(), name.into());
        }
        map.insert("unsigned".to_owned(), unsigned.into());
        for (signer, key, signature) in by_target.get(&(&*user, &*device)).into_iter().flatten() {
            signed::sign(&mut map, signer, key, signature);
        }
        let keys = to_raw_value(&map).map_err(Error::internal)?;
        *bytes += keys.get().len();
        if *bytes > MAX_BYTES {
            return Err(Error::too_large("ask for the keys of fewer users at once"));
        }
        answered.device_keys.entry(user).or_default().insert(device, keys);
    }
    for (user, key) in keys {
        let (usage, public, map) = (key.usage, key.public, key.map);
        match usage.as_str() {
            MASTER => {
                let map = with_signatures(map, &user, &public, &signatures);
                answered.master_keys.insert(user, map);
            }
            SELF_SIGNING => {
                answered.self_signing_keys.insert(user, map);
            }
            _ if viewer == Some(&user) => {
                answered.user_signing_keys.insert(user, map);
            }
            _ => {}
        }
    }
    Ok(())
}

fn with_signatures(
    mut map: Map<String, Value>,
    user: &str,
    public: &str,
    signatures: &Signatures,
) -> Map<String, Value> {
    for (target, key, signer, signer_key, signature) in signatures {
        if target == user && key == public {
            signed::sign(&mut map, signer, signer_key, signature);
        }
    }
    map
}
