//! Invites by e-mail address or telephone number. Spec: client-server API, Third-party invites.

use serde_json::{Map, Value, json};
use tessera_sdk::hooks::{self, Threepid};
use tessera_sdk::matrix::{Error, ErrorCode};

use super::blocking;
use super::change::{Verdict, Wish, change};
pub(crate) use super::identity::Invite3pid;
use super::identity::{IdentityServer, Stored};
use crate::api::body::{object, text};
use crate::api::send::state;
use crate::asker::Asker;
use crate::core::power::Power;
use crate::policy::{ROOM_POLICY, ROOM_RULES};
use crate::store::{Needs, View};

/// What an identity server shows to the invited. Spec: identity service API, `/v2/store-invite`.
const SHOWN: [(&str, &str, &str); 5] = [
    ("room_alias", "m.room.canonical_alias", "alias"),
    ("room_avatar_url", "m.room.avatar", "url"),
    ("room_join_rules", "m.room.join_rules", "join_rule"),
    ("room_name", "m.room.name", "name"),
    ("room_type", "m.room.create", "type"),
];

impl Invite3pid {
    /// Whether a request speaks of an address at all.
    pub(super) fn is_meant(&self) -> bool {
        self.id_server.is_some() || self.medium.is_some() || self.address.is_some()
    }

    /// Checks what can be checked without asking anybody; the identifier in canonical form.
    ///
    /// # Errors
    /// `M_MISSING_PARAM`, `M_INVALID_PARAM`, `M_SERVER_NOT_TRUSTED`.
    pub(crate) fn check(&self) -> Result<Threepid, Error> {
        let _ = self.server()?;
        let required = |value: &Option<String>, name: &str| {
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| Error::missing_param(format!("{name} is missing")))
        };
        let medium = required(&self.medium, "medium")?;
        let address = required(&self.address, "address")?;
        let address = match medium.as_str() {
            "email" => address.to_lowercase(),
            "msisdn" => address,
            _ => return Err(Error::invalid_param("medium is neither email nor msisdn")),
        };
        Ok(Threepid { medium, address })
    }

    fn server(&self) -> Result<IdentityServer<'_>, Error> {
        let name = self.id_server.as_deref();
        let name = name.ok_or_else(|| Error::missing_param("id_server is missing"))?;
        IdentityServer::new(name, self.id_access_token.as_deref())
    }
}

/// Invites whoever has the address: at once if the identity server knows them, else as soon as somebody proves to have it.
///
/// # Errors
/// As [`Invite3pid::check`]; `M_FORBIDDEN`, what modules refuse, `M_INVITE_BLOCKED`; 502 or the identity server's own refusal.
pub(crate) fn invite(
    room_id: &str,
    asker: &Asker,
    wished: &Invite3pid,
    reason: Option<&str>,
) -> Result<(), Error> {
    let threepid = wished.check()?;
    let server = wished.server()?;
    let shown = SHOWN.map(|(_, kind, _)| kind);
    let needs = Needs::of(asker.user()).types(shown).profile(asker.user());
    let view = View::load(room_id, &needs)?.ok_or_else(crate::access::not_there)?;
    if view.state.membership(asker.user()) != "join" {
        return Err(crate::access::not_there());
    }
    if !Power::of(&view.room.version, &view.state).may_invite(asker.user()) {
        return Err(Error::forbidden("not enough power to invite"));
    }
    if hooks::answered(ROOM_POLICY) {
        hooks::may_invite_threepid(asker.who(), &threepid, room_id)?;
    }
    if hooks::answered(ROOM_RULES) {
        hooks::threepid_can_be_invited(&threepid, room_id)?;
    }
    if asker.is_shadow_banned() {
        return Ok(());
    }
    if let Some(user) = server.lookup(&threepid.medium, &threepid.address)? {
        let user = crate::ids::user(&user).map_err(|_| {
            Error::new(ErrorCode::Unknown, "the identity server names no user").status(502)
        })?;
        blocking::check(&[user.to_owned()])?;
        let wish = Wish {
            room_id,
            asker,
            target: user,
            membership: "invite",
            reason,
            content: Default::default(),
            authoriser: None,
        };
        return change(&wish, |_, _| Ok(Verdict::Send)).map(|_| ());
    }
    let stored = server.store_invite(&shown_to(&view, room_id, asker, &threepid))?;
    let content = content(&stored)?;
    state::send(room_id, asker, "m.room.third_party_invite", &stored.token, content).map(|_| ())
}

fn shown_to(view: &View, room_id: &str, asker: &Asker, threepid: &Threepid) -> Value {
    let mut body = json!({
        "medium": threepid.medium,
        "address": threepid.address,
        "room_id": room_id,
        "sender": asker.user(),
    });
    let profile = view.profile(asker.user());
    let mut put = |key: &str, value: Option<String>| {
        if let (Some(map), Some(value)) = (body.as_object_mut(), value) {
            map.insert(key.to_owned(), value.into());
        }
    };
    put("sender_display_name", profile.displayname);
    put("sender_avatar_url", profile.avatar_url);
    for (name, kind, key) in SHOWN {
        let content: Option<Map<String, Value>> =
            view.state.get(kind, "").and_then(|event| event.content_as());
        let text = content.and_then(|content| Some(content.get(key)?.as_str()?.to_owned()));
        put(name, text);
    }
    body
}

/// Content of `m.room.third_party_invite`.
fn content(stored: &Stored) -> Result<ruma::canonical_json::CanonicalJsonObject, Error> {
    let first = stored.public_keys.first();
    let first = first.ok_or_else(|| Error::internal("a pending invite has no key"))?;
    let mut content = object([
        ("display_name", text(Some(&stored.display_name))),
        ("public_key", text(Some(&first.public_key))),
        ("key_validity_url", text(first.key_validity_url.as_deref())),
    ]);
    let keys = stored.public_keys.iter().map(|key| {
        let key = object([
            ("public_key", text(Some(&key.public_key))),
            ("key_validity_url", text(key.key_validity_url.as_deref())),
        ]);
        key.into()
    });
    content.insert("public_keys".to_owned(), ruma::CanonicalJsonValue::Array(keys.collect()));
    Ok(content)
}
