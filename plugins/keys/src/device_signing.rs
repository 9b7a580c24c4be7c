//! POST /_matrix/client/v3/keys/device_signing/upload
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload>

use serde_json::{Map, Value};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::services::accounts::{Proof, Proven};
use tessera_sdk::storage::{self, Batch, position, query};
use tessera_sdk::{params, services};

use crate::cross_signing::{self, Key, MASTER, SELF_SIGNING, USER_SIGNING};
use crate::{devices, signed, upload, wakes};

/// How often an upload is tried that meets another of the same user.
const TRIES: usize = 3;
/// Bytes of one key.
const MAX_KEY: usize = 32 * 1024;

/// What to do about an upload.
enum Step {
    Done,
    Answer(Answer),
    Again,
}

/// # Errors
/// 401 with the stages of user-interactive authentication where keys are replaced or added; `M_MISSING_PARAM` without a master
/// key; `M_INVALID_PARAM`; `M_INVALID_SIGNATURE`; `M_FORBIDDEN` for a key named like a device.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let mut body: Map<String, Value> = request.json()?;
    let mut given = Vec::new();
    for usage in [MASTER, SELF_SIGNING, USER_SIGNING] {
        match body.remove(&format!("{usage}_key")) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let key = cross_signing::check(user, usage, value)?;
                if signed::canonical(&key.map)?.len() > MAX_KEY {
                    return Err(Error::too_large(format!("the {usage} key is too large")));
                }
                given.push(key);
            }
        }
    }
    let mut proven = request.principal()?.service.is_some();
    for _ in 0..TRIES {
        match attempt(request, user, &given, &mut proven)? {
            Step::Done => return Answer::empty(),
            Step::Answer(answer) => return Ok(answer),
            Step::Again => {}
        }
    }
    Err(storage::Error::Busy.into())
}

fn attempt(
    request: &Request,
    user: &str,
    given: &[Key],
    proven: &mut bool,
) -> std::result::Result<Step, Error> {
    let select = cross_signing::select_keys(vec![user.to_owned()]);
    let stored = cross_signing::read(query(&select.sql, select.params)?)?;
    let before = |usage: &str| cross_signing::find(&stored, user, usage);
    let of_body = |usage: &str| given.iter().find(|key| key.usage == usage);
    let master = of_body(MASTER).or_else(|| before(MASTER)).ok_or_else(|| {
        Error::new(ErrorCode::MissingParam, "there is no master key: upload it, too")
    })?;
    check_signatures(user, given, master)?;

    let mut fresh = Vec::new();
    for key in given {
        let same = match before(&key.usage) {
            Some(old) => signed::message(&old.map)? == signed::message(&key.map)?,
            None => false,
        };
        if !same {
            fresh.push(key);
        }
    }
    if fresh.is_empty() {
        return Ok(Step::Done);
    }
    for key in &fresh {
        if upload::is_taken(user, &key.public)? {
            return Err(Error::forbidden("a device has the id of this key"));
        }
    }
    // Who has no keys may upload a set; who has some must prove who they are before there are others.
    if before(MASTER).is_some() && !*proven {
        if let Some(answer) = prove(request, user)? {
            return Ok(Step::Answer(answer));
        }
        *proven = true;
    }
    write(user, &stored, &fresh)
}

fn check_signatures(user: &str, given: &[Key], master: &Key) -> std::result::Result<(), Error> {
    for key in given.iter().filter(|key| key.usage != MASTER) {
        let wrong =
            || signed::invalid(format!("the master key has not signed the {} key", key.usage));
        let signature = signed::signature(&key.map, user, &master.id()).ok_or_else(wrong)?;
        if !signed::holds(&signed::message(&key.map)?, signature, &master.public) {
            return Err(wrong());
        }
    }
    Ok(())
}

/// Whether the user proves who they are (`None`), or what to answer.
fn prove(request: &Request, user: &str) -> std::result::Result<Option<Answer>, Error> {
    let info = request.info();
    let body = String::from_utf8_lossy(request.body());
    let proof = Proof {
        user: user.to_owned(),
        device: request.device().map(str::to_owned),
        scope: "keys.device-signing".to_owned(),
        body: if body.trim().is_empty() { "{}".to_owned() } else { body.into_owned() },
        request: (info.id, info.remote, info.user_agent),
    };
    match services::prove(&proof) {
        Ok(Proven::Yes) => Ok(None),
        Ok(Proven::No((status, body))) => Ok(Some(Answer::raw_json(status, body.into_bytes()))),
        Err(services::AccountsError::Refused((code, text))) => {
            let code = ErrorCode::from_name(&code).unwrap_or(ErrorCode::Forbidden);
            Err(Error::new(code, text))
        }
        Err(error) => {
            tessera_sdk::log::warn("accounts", &[("reason", &format!("{error:?}"))]);
            Err(Error::new(ErrorCode::Unknown, "the server is busy; try again").status(503))
        }
    }
}

fn write(user: &str, stored: &[(String, Key)], fresh: &[&Key]) -> std::result::Result<Step, Error> {
    let old = |usage: &str| cross_signing::find(stored, user, usage);
    let mut batch = Batch::new();
    let at = batch.take_positions(1);
    if let Some(master) = old(MASTER).filter(|_| !fresh.iter().any(|key| key.usage == MASTER)) {
        // It has signed the others: it must still be there when they are stored.
        batch = batch
            .run(
                "UPDATE keys_cross_signing SET position = position \
                 WHERE user_id = $1 AND usage = $2 AND public_key = $3",
                params![user, MASTER, &master.public],
            )
            .expect(1);
    }
    for key in fresh {
        let json = signed::canonical(&key.map)?;
        batch = match old(&key.usage) {
            None => batch.run(
                "INSERT INTO keys_cross_signing (user_id, usage, public_key, json, position) \
                 VALUES ($1, $2, $3, $4, $5)",
                params![user, &key.usage, &key.public, json, position(at)],
            ),
            Some(old) => batch
                .run(
                    "UPDATE keys_cross_signing SET public_key = $3, json = $4, position = $5 \
                     WHERE user_id = $1 AND usage = $2 AND public_key = $6",
                    params![user, &key.usage, &key.public, json, position(at), &old.public],
                )
                .expect(1),
        };
    }
    let new_master = fresh.iter().any(|key| key.usage == MASTER) && old(MASTER).is_some();
    for (_, gone) in stored {
        let replaced = fresh.iter().any(|key| key.usage == gone.usage && key.public != gone.public);
        let orphan =
            new_master && gone.usage != MASTER && !fresh.iter().any(|key| key.usage == gone.usage);
        if orphan {
            // The new master key has not signed it: it is nobody's.
            batch = batch.run(
                "DELETE FROM keys_cross_signing WHERE user_id = $1 AND usage = $2",
                params![user, &gone.usage],
            );
        }
        if replaced || orphan {
            batch = batch
                .run(
                    "DELETE FROM keys_signatures WHERE signer = $1 AND signer_key = $2",
                    params![user, gone.id()],
                )
                .run(
                    "DELETE FROM keys_signatures WHERE target_user = $1 AND target_key = $2",
                    params![user, &gone.public],
                );
        }
    }
    let public = fresh.iter().any(|key| key.usage != USER_SIGNING);
    let (batch, wakes) = if public {
        devices::changed(batch, user)?
    } else {
        wakes::add(devices::changed_for(batch, user, &[user.to_owned()]), Vec::new())
    };
    match batch.commit() {
        Ok(_) => {
            wakes.rest();
            Ok(Step::Done)
        }
        Err(storage::Error::Conflict(_)) => Ok(Step::Again),
        Err(error) => Err(error.into()),
    }
}
