//! A join with the proof that a pending third-party invite is the user's. Spec: client-server API, Third-party Signed.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use ruma::state_res::Event as _;
use tessera_sdk::crypto::{self, Check};
use tessera_sdk::matrix::Error;

use super::blocking;
use super::identity::{PublicKey, is_valid};
use crate::act::{Act, Step};
use crate::api::body::{object, text};
use crate::asker::Asker;
use crate::core::Draft;
use crate::ids;
use crate::store::view::STRIPPED_TYPES;
use crate::store::{Needs, View};

const KIND: &str = "m.room.third_party_invite";

fn member<'a>(signed: &'a CanonicalJsonObject, key: &str) -> Result<&'a str, Error> {
    let value = signed.get(key).and_then(CanonicalJsonValue::as_str);
    value.ok_or_else(|| Error::bad_json(format!("third_party_signed has no {key}")))
}

/// Keys of an invite that are looked at.
const MAX_KEYS: usize = 20;

/// Turns the pending invite into one of `user`, who asks for it.
///
/// # Errors
/// `M_BAD_JSON`, `M_FORBIDDEN` (no such invite, another user's, a bad signature, a key that is no longer good), what modules refuse;
/// see [`is_valid`].
pub(super) fn accept(room_id: &str, user: &str, signed: &CanonicalJsonObject) -> Result<(), Error> {
    exchange(room_id, user, member(signed, "sender")?, signed, true)
}

/// The same for a user who does not ask for it: nobody is invited who was there before, or takes no invites.
///
/// # Errors
/// As [`accept`], and `M_INVITE_BLOCKED`.
pub(super) fn bound(
    room_id: &str,
    user: &str,
    sender: &str,
    signed: &CanonicalJsonObject,
) -> Result<(), Error> {
    exchange(room_id, user, sender, signed, false)
}

/// Whoever has no proof learns nothing of the room or the user.
fn unproven() -> Error {
    Error::forbidden("the room has no such third-party invite")
}

fn exchange(
    room_id: &str,
    user: &str,
    sender: &str,
    signed: &CanonicalJsonObject,
    asked_for: bool,
) -> Result<(), Error> {
    let token = member(signed, "token")?;
    let sender = ids::user(sender)?;
    if member(signed, "mxid")? != user {
        return Err(Error::forbidden("the third-party invite is for another user"));
    }
    let needs =
        Needs::of_member(sender, user).types(STRIPPED_TYPES).pair(KIND, token).profile(user);
    let view = View::load(room_id, &needs)?.ok_or_else(unproven)?;
    let invite = view.state.get(KIND, token).filter(|event| event.sender().as_str() == sender);
    let invite: CanonicalJsonObject =
        invite.and_then(|event| event.content_as()).ok_or_else(unproven)?;
    let keys = keys_of_proof(&invite, signed)?;
    if keys.is_empty() {
        return Err(unproven());
    }
    let before = view.state.get("m.room.member", user).is_some();
    if before && (!asked_for || matches!(view.state.membership(user).as_str(), "join" | "invite")) {
        return Ok(());
    }
    if !any_valid(&keys)? {
        return Err(Error::forbidden("the key of the third-party invite is no longer good"));
    }
    if !ids::is_local(sender) {
        return Err(Error::forbidden("the inviter is of another server"));
    }
    if !asked_for {
        blocking::check(&[user.to_owned()])?;
    }
    // Whole, because all of it is signed.
    let third_party = object([
        ("display_name", invite.get("display_name").cloned()),
        ("signed", Some(signed.clone().into())),
    ]);
    let inviter = Asker::on_behalf_of(sender);
    Act { room_id, needs, transaction: None, asker: Some(&inviter) }
        .run(|view| {
            if matches!(view.state.membership(user).as_str(), "join" | "invite") {
                return Ok(Step::Done(String::new()));
            }
            let profile = view.profile(user);
            let content = object([
                ("membership", text(Some("invite"))),
                ("displayname", text(profile.displayname.as_deref())),
                ("avatar_url", text(profile.avatar_url.as_deref())),
                ("third_party_invite", Some(third_party.clone().into())),
            ]);
            Ok(Draft::state("m.room.member", user, sender, content).into())
        })
        .map(|_| ())
}

/// The keys of the invite by which something in the proof is signed.
fn keys_of_proof(
    invite: &CanonicalJsonObject,
    signed: &CanonicalJsonObject,
) -> Result<Vec<PublicKey>, Error> {
    let json = serde_json::to_value(invite).map_err(Error::internal)?;
    let listed = json.get("public_keys").and_then(|keys| keys.as_array()).cloned();
    let listed = listed.unwrap_or_default();
    let keys = listed.into_iter().take(MAX_KEYS).chain(std::iter::once(json));
    let keys: Vec<PublicKey> = keys.filter_map(|key| serde_json::from_value(key).ok()).collect();
    let signatures = signed.get("signatures").and_then(CanonicalJsonValue::as_object);
    let signatures = signatures.into_iter().flat_map(|servers| servers.values());
    let signatures =
        signatures.filter_map(CanonicalJsonValue::as_object).flat_map(|own| own.values());
    let signatures: Vec<&str> =
        signatures.filter_map(CanonicalJsonValue::as_str).take(MAX_KEYS).collect();
    let mut message = signed.clone();
    message.remove("signatures");
    message.remove("unsigned");
    let message = serde_json::to_string(&message).map_err(Error::internal)?;
    let check = |key: &PublicKey, signature: &str| Check {
        message: message.clone(),
        signature: plain_base64(signature),
        public: plain_base64(&key.public_key),
    };
    let mut proven = Vec::new();
    for key in keys {
        let checks: Vec<Check> =
            signatures.iter().map(|signature| check(&key, signature)).collect();
        if crypto::verify(&checks).contains(&true) {
            proven.push(key);
        }
    }
    Ok(proven)
}

/// Identity servers write base64 in either alphabet, padded or not.
fn plain_base64(text: &str) -> String {
    text.trim_end_matches('=').replace('-', "+").replace('_', "/")
}

fn any_valid(keys: &[PublicKey]) -> Result<bool, Error> {
    for key in keys {
        if is_valid(key)? {
            return Ok(true);
        }
    }
    Ok(false)
}
