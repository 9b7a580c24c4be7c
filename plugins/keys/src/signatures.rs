//! POST /_matrix/client/v3/keys/signatures/upload
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, position, query, snapshot};

use crate::cross_signing::{self, Key, MASTER, SELF_SIGNING, USER_SIGNING};
use crate::{devices, query as lookup, signed};

/// Signed objects of one request.
const MAX_OBJECTS: usize = 5000;

type Objects = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

/// A signature to store.
struct Signature {
    target_user: String,
    target_key: String,
    signer_key: String,
    signature: String,
}

/// What is known of the one who signs and of those who are signed.
struct Known {
    user: String,
    keys: Vec<(String, Key)>,
    devices: BTreeMap<String, Map<String, Value>>,
}

/// Signatures that do not hold are named in `failures`; the others are stored.
///
/// # Errors
/// `M_BAD_JSON`, `M_TOO_LARGE`.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let body: Objects = request.json()?;
    if body.values().map(BTreeMap::len).sum::<usize>() > MAX_OBJECTS {
        return Err(Error::too_large("too many signatures at once"));
    }
    let known = Known::read(user, &body)?;
    let mut good = Vec::new();
    let mut failures: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for (target, objects) in &body {
        for (key, object) in objects {
            let checked = if target == user {
                known.own(key, object)
            } else {
                known.others(target, key, object)
            };
            match checked {
                Ok(signatures) => good.extend(signatures),
                Err(error) if error.http_status() >= 500 => return Err(error),
                Err(error) => {
                    let told = json!({
                        "status": error.http_status(), "errcode": error.errcode(), "error": error.message(),
                    });
                    failures.entry(target).or_default().insert(key, told);
                }
            }
        }
    }
    if !good.is_empty() {
        store(user, &good)?;
    }
    Answer::json(&json!({ "failures": failures }))
}

impl Known {
    fn read(user: &str, body: &Objects) -> std::result::Result<Self, Error> {
        let mut users: Vec<String> = body.keys().cloned().collect();
        users.push(user.to_owned());
        let mut answers = snapshot(&[
            cross_signing::select_keys(users),
            lookup::select_devices(vec![user.to_owned()]),
        ])?
        .answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let keys = cross_signing::read(next()?)?;
        let devices: Vec<(String, String, String, Option<String>)> = next()?.all()?;
        let devices = devices
            .into_iter()
            .map(|(_, device, json, _)| Ok((device, signed::stored(&json)?)))
            .collect::<std::result::Result<_, Error>>()?;
        Ok(Self { user: user.to_owned(), keys, devices })
    }

    fn key(&self, user: &str, usage: &str) -> std::result::Result<&Key, Error> {
        cross_signing::find(&self.keys, user, usage)
            .ok_or_else(|| Error::not_found(format!("there is no {usage} key of {user}")))
    }

    /// A device of one's own, by the self-signing key; or one's master key, by devices.
    fn own(
        &self,
        key: &str,
        object: &Map<String, Value>,
    ) -> std::result::Result<Vec<Signature>, Error> {
        let master = cross_signing::find(&self.keys, &self.user, MASTER);
        if let Some(master) = master.filter(|master| master.public == key) {
            return self.own_master(master, object);
        }
        let device = self.devices.get(key).ok_or_else(|| Error::not_found("unknown device"))?;
        let signer = self.key(&self.user, SELF_SIGNING)?;
        self.by(signer, &self.user, key, object, device)
    }

    fn own_master(
        &self,
        master: &Key,
        object: &Map<String, Value>,
    ) -> std::result::Result<Vec<Signature>, Error> {
        let message = same(object, &master.map)?;
        let signatures = object.get("signatures").and_then(|all| all.get(&self.user));
        let signatures = signatures.and_then(Value::as_object);
        let signatures = signatures.ok_or_else(|| signed::invalid("there is no signature"))?;
        let mut good = Vec::new();
        for (key_id, signature) in signatures {
            let signature = signature.as_str().unwrap_or_default();
            if signed::signature(&master.map, &self.user, key_id) == Some(signature) {
                continue;
            }
            let public = key_id
                .strip_prefix("ed25519:")
                .and_then(|device| self.devices.get(device))
                .and_then(|device| device.get("keys")?.get(key_id)?.as_str())
                .ok_or_else(|| signed::invalid("signed by a device that is unknown"))?;
            if !signed::holds(&message, signature, public) {
                return Err(signed::invalid("the signature does not fit"));
            }
            good.push(Signature {
                target_user: self.user.clone(),
                target_key: master.public.clone(),
                signer_key: key_id.clone(),
                signature: signature.to_owned(),
            });
        }
        Ok(good)
    }

    /// Somebody else's master key, by the user-signing key.
    fn others(
        &self,
        target: &str,
        key: &str,
        object: &Map<String, Value>,
    ) -> std::result::Result<Vec<Signature>, Error> {
        let signer = self.key(&self.user, USER_SIGNING)?;
        let master = self.key(target, MASTER)?;
        if master.public != key {
            return Err(Error::not_found("this is not the user's master key"));
        }
        self.by(signer, target, key, object, &master.map)
    }

    fn by(
        &self,
        signer: &Key,
        target: &str,
        key: &str,
        object: &Map<String, Value>,
        stored: &Map<String, Value>,
    ) -> std::result::Result<Vec<Signature>, Error> {
        let message = same(object, stored)?;
        let signature = signed::signature(object, &self.user, &signer.id())
            .ok_or_else(|| signed::invalid("there is no signature"))?;
        if !signed::holds(&message, signature, &signer.public) {
            return Err(signed::invalid("the signature does not fit"));
        }
        Ok(vec![Signature {
            target_user: target.to_owned(),
            target_key: key.to_owned(),
            signer_key: signer.id(),
            signature: signature.to_owned(),
        }])
    }
}

/// What is signed, if it is what is stored.
fn same(
    object: &Map<String, Value>,
    stored: &Map<String, Value>,
) -> std::result::Result<String, Error> {
    let message = signed::message(object)?;
    if message != signed::message(stored)? {
        return Err(signed::invalid("what is signed is not what is stored"));
    }
    Ok(message)
}

/// Stores what is new, and tells whoever sees it.
fn store(user: &str, signatures: &[Signature]) -> std::result::Result<(), Error> {
    let mut targets: Vec<String> = signatures.iter().map(|s| s.target_user.clone()).collect();
    targets.sort_unstable();
    targets.dedup();
    let known: Vec<(String, String, String, String)> = query(
        "SELECT target_user, target_key, signer_key, signature FROM keys_signatures \
         WHERE signer = $1 AND target_user IN ($2)",
        params![user, targets],
    )?
    .all()?;
    let is_new = |s: &&Signature| {
        !known.iter().any(|(target, key, signer_key, signature)| {
            *target == s.target_user
                && *key == s.target_key
                && *signer_key == s.signer_key
                && *signature == s.signature
        })
    };
    let fresh: Vec<&Signature> = signatures.iter().filter(is_new).collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    let at = batch.take_positions(1);
    let rows = fresh.iter().map(|s| {
        params![&s.target_user, &s.target_key, user, &s.signer_key, &s.signature, position(at)]
    });
    batch = batch.run_many(
        "INSERT INTO keys_signatures (target_user, target_key, signer, signer_key, signature, position) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (target_user, target_key, signer, signer_key) \
         DO UPDATE SET signature = excluded.signature, position = excluded.position",
        rows.collect(),
    );
    let mut others: Vec<String> =
        fresh.iter().map(|s| s.target_user.clone()).filter(|target| target != user).collect();
    others.dedup();
    batch = devices::changed_for(batch, user, &others);
    if fresh.iter().any(|s| s.target_user == user) {
        let (batch, wakes) = devices::changed(batch, user)?;
        batch.commit_blind()?;
        wakes.rest();
        return Ok(());
    }
    batch.commit_blind()?;
    Ok(())
}
