//! A join with the proof that a pending third-party invite is the user's. Spec: client-server API, Third-party Signed.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use tessera_sdk::matrix::Error;

use super::identity::{PublicKey, is_valid};
use crate::act::{Act, Step};
use crate::api::body::{object, text};
use crate::core::Draft;
use crate::ids;
use crate::store::view::STRIPPED_TYPES;
use crate::store::{Needs, View};

const KIND: &str = "m.room.third_party_invite";

fn member<'a>(signed: &'a CanonicalJsonObject, key: &str) -> Result<&'a str, Error> {
    let value = signed.get(key).and_then(CanonicalJsonValue::as_str);
    value.ok_or_else(|| Error::bad_json(format!("third_party_signed has no {key}")))
}

/// Turns the pending invite into one of `user`. The auth rules check the signature.
///
/// # Errors
/// `M_BAD_JSON`, `M_FORBIDDEN` (no such invite, another user's, a bad signature, a key that is no longer good); see
/// [`is_valid`].
pub(super) fn accept(room_id: &str, user: &str, signed: &CanonicalJsonObject) -> Result<(), Error> {
    exchange(room_id, user, member(signed, "sender")?, signed)
}

/// The same where the proof does not name the inviter.
///
/// # Errors
/// As [`accept`].
pub(super) fn exchange(
    room_id: &str,
    user: &str,
    sender: &str,
    signed: &CanonicalJsonObject,
) -> Result<(), Error> {
    let token = member(signed, "token")?;
    let sender = ids::user(sender)?;
    if member(signed, "mxid")? != user {
        return Err(Error::forbidden("the third-party invite is for another user"));
    }
    let needs =
        Needs::of_member(sender, user).types(STRIPPED_TYPES).pair(KIND, token).profile(user);
    let view = View::load(room_id, &needs)?
        .ok_or_else(|| Error::not_found("there is no such room here"))?;
    if matches!(view.state.membership(user).as_str(), "join" | "invite") {
        return Ok(());
    }
    let invite = view.state.get(KIND, token);
    let invite: CanonicalJsonObject = invite
        .and_then(|event| event.content_as())
        .ok_or_else(|| Error::forbidden("the room has no such third-party invite"))?;
    if !any_valid(&invite)? {
        return Err(Error::forbidden("the key of the third-party invite is no longer good"));
    }
    if !ids::is_local(sender) {
        return Err(Error::forbidden("the inviter is of another server"));
    }
    // Whole, because all of it is signed.
    let third_party = object([
        ("display_name", invite.get("display_name").cloned()),
        ("signed", Some(signed.clone().into())),
    ]);
    Act { room_id, needs, transaction: None, asker: None }
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

fn any_valid(invite: &CanonicalJsonObject) -> Result<bool, Error> {
    let json = serde_json::to_value(invite).map_err(Error::internal)?;
    let listed = json.get("public_keys").and_then(|keys| keys.as_array()).cloned();
    let listed = listed.unwrap_or_default();
    let keys = listed.into_iter().chain(std::iter::once(json));
    for key in keys {
        let Ok(key) = serde_json::from_value::<PublicKey>(key) else { continue };
        if is_valid(&key)? {
            return Ok(true);
        }
    }
    Ok(false)
}
