//! Restricted rooms: who of this server can let a user in. Spec: client-server API, Restricted rooms.

use serde::Deserialize;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage::{self, select};

use crate::core::State;
use crate::core::power::Power;
use crate::ids;
use crate::store::{Needs, View};

#[derive(Debug, Default, Deserialize)]
struct JoinRules {
    join_rule: Option<String>,
    #[serde(default)]
    allow: Vec<Allow>,
}

#[derive(Debug, Deserialize)]
struct Allow {
    #[serde(rename = "type")]
    kind: Option<String>,
    room_id: Option<String>,
}

/// Whether anybody may join, by the state (with its join rules).
pub(crate) fn is_public(state: &State) -> bool {
    let rules: Option<JoinRules> =
        state.get("m.room.join_rules", "").and_then(|event| event.content_as());
    rules.and_then(|rules| rules.join_rule).as_deref() == Some("public")
}

/// The member of a join's content that names who lets the user in.
pub(crate) const AUTHORISER: &str = "join_authorised_via_users_server";
/// A restricted join looks at this many rooms of `allow` at most.
const MAX_ALLOW: usize = 100;

/// The local member who authorises this user's join; `None` where none is needed.
///
/// # Errors
/// `M_NOT_FOUND` if there is no such room, `M_FORBIDDEN` if the user fulfils no condition,
/// `M_UNABLE_TO_GRANT_JOIN` if nobody here has the power to invite.
pub(crate) fn authoriser(room_id: &str, user: &str) -> Result<Option<String>, Error> {
    let view = View::load(room_id, &Needs::of_member(user, user))?
        .ok_or_else(|| Error::not_found("there is no such room here"))?;
    let rules: JoinRules = view
        .state
        .get("m.room.join_rules", "")
        .and_then(|event| event.content_as())
        .unwrap_or_default();
    let restricted = matches!(rules.join_rule.as_deref(), Some("restricted" | "knock_restricted"));
    if !restricted || matches!(view.state.membership(user).as_str(), "join" | "invite" | "ban") {
        return Ok(None);
    }
    let rooms: Vec<String> = rules
        .allow
        .into_iter()
        .filter(|allow| allow.kind.as_deref() == Some("m.room_membership"))
        .filter_map(|allow| allow.room_id)
        .take(MAX_ALLOW)
        .collect();
    let power = Power::of(&view.room.version, &view.state);
    let named = power.named();
    let mut candidates = named.clone();
    candidates.extend_from_slice(power.creators());
    candidates.retain(|user| ids::is_local(user) && power.may_invite(user));
    let mut answers = storage::snapshot(&[
        select(
            "SELECT room_id FROM rooms_memberships
             WHERE user_id = $1 AND membership = 'join' AND room_id IN ($2) LIMIT 1",
            params![user, rooms],
        ),
        select(
            "SELECT user_id FROM rooms_memberships
             WHERE room_id = $1 AND membership = 'join' AND user_id IN ($2) LIMIT 1",
            params![room_id, candidates],
        ),
        select(
            // They all have the power that those have whom the power levels do not name.
            "SELECT m.user_id AS user_id FROM rooms_memberships m JOIN accounts_v1_users u ON u.user_id = m.user_id
             WHERE m.room_id = $1 AND m.membership = 'join' AND m.user_id NOT IN ($2) LIMIT 1",
            params![room_id, named],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    if next()?.first::<(String,)>()?.is_none() {
        return Err(Error::forbidden("the user is in none of the rooms that this room asks for"));
    }
    if let Some((candidate,)) = next()?.first::<(String,)>()? {
        return Ok(Some(candidate));
    }
    let anyone = next()?.all::<(String,)>()?.into_iter().map(|(member,)| member);
    anyone
        .filter(|member| ids::is_local(member))
        .find(|member| power.may_invite(member))
        .map(Some)
        .ok_or_else(|| {
            Error::new(ErrorCode::UnableToGrantJoin, "nobody here has the power to let the user in")
        })
}
