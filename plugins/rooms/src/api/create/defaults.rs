//! The first events of a room, in the order of the specification: create, the creator's join, power levels,
//! canonical alias, what the preset says, initial state, name and topic, invites.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue, try_from_json_map};
use serde_json::{Map, Value, json};
use tessera_sdk::matrix::Error;

use super::request::CreateRoom;
use crate::api::body::{object, text};
use crate::core::{Draft, Version};
use crate::store::view::ProfileRow;

/// What a room begins with.
pub(super) struct Plan {
    /// Content of the create event.
    pub(super) create: CanonicalJsonObject,
    /// What follows it.
    pub(super) drafts: Vec<Draft>,
    /// Numbers of the drafts whose content is the user's choice.
    pub(super) chosen: Vec<usize>,
}

fn canonical(map: Map<String, Value>) -> Result<CanonicalJsonObject, Error> {
    try_from_json_map(map).map_err(|error| Error::bad_json(error.to_string()))
}

fn fixed(value: Value) -> CanonicalJsonObject {
    match CanonicalJsonValue::try_from(value) {
        Ok(CanonicalJsonValue::Object(map)) => map,
        _ => CanonicalJsonObject::new(),
    }
}

/// Content of a create event: what the client wishes, and what the server answers for.
pub(crate) fn create_content(
    mut wished: Map<String, Value>,
    creator: &str,
    version: &Version,
    additional: &[String],
) -> Result<CanonicalJsonObject, Error> {
    let rules = &version.rules().authorization;
    wished.remove("creator");
    if !rules.use_room_create_sender {
        wished.insert("creator".to_owned(), creator.into());
    }
    if rules.additional_room_creators && !additional.is_empty() {
        let list = wished.entry("additional_creators").or_insert_with(|| json!([]));
        let Some(list) = list.as_array_mut() else {
            return Err(Error::bad_json("additional_creators is no array"));
        };
        for user in additional {
            if !list.iter().any(|known| known == user) {
                list.push(user.as_str().into());
            }
        }
    }
    wished.insert("room_version".to_owned(), version.name().into());
    canonical(wished)
}

/// Content of a member event.
pub(crate) fn member(
    membership: &str,
    profile: &ProfileRow,
    is_direct: bool,
) -> CanonicalJsonObject {
    object([
        ("membership", text(Some(membership))),
        ("displayname", text(profile.displayname.as_deref())),
        ("avatar_url", text(profile.avatar_url.as_deref())),
        ("is_direct", is_direct.then_some(CanonicalJsonValue::Bool(true))),
    ])
}

/// Spec: client-server API, Creation; `m.room.power_levels`; room version 12 for the tombstone.
fn power_levels(
    wish: &CreateRoom,
    creator: &str,
    version: &Version,
    trusted: bool,
) -> Result<CanonicalJsonObject, Error> {
    let privileged = version.rules().authorization.explicitly_privilege_room_creators;
    let mut users = Map::new();
    if !privileged {
        users.insert(creator.to_owned(), 100.into());
        if trusted {
            users.extend(wish.invite.iter().map(|user| (user.clone(), 100.into())));
        }
    }
    let mut content = json!({
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50,
            "m.room.avatar": 50,
            "m.room.tombstone": if privileged { 150 } else { 100 },
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 0,
    });
    if let (Some(map), Some(changes)) =
        (content.as_object_mut(), wish.power_level_content_override.clone())
    {
        map.extend(changes);
    }
    match content {
        Value::Object(map) => canonical(map),
        _ => Err(Error::internal("power levels are no object")),
    }
}

/// Works out the first events.
///
/// # Errors
/// `M_BAD_JSON`, `M_INVALID_PARAM`.
pub(super) fn plan(
    wish: &CreateRoom,
    creator: &str,
    version: &Version,
    alias: Option<&str>,
    profiles: &[ProfileRow],
) -> Result<Plan, Error> {
    let preset = wish.preset_name()?;
    let trusted = preset == "trusted_private_chat";
    let profile =
        |user: &str| profiles.iter().find(|p| p.user == user).cloned().unwrap_or_default();
    let additional: &[String] = if trusted { &wish.invite } else { &[] };
    let create = create_content(wish.creation_content.clone(), creator, version, additional)?;

    let mut drafts = vec![Draft::state(
        "m.room.member",
        creator,
        creator,
        member("join", &profile(creator), false),
    )];
    let mut state = |kind: &str, content: CanonicalJsonObject| {
        drafts.push(Draft::state(kind, "", creator, content));
    };
    let wished = |kind: &str| {
        wish.initial_state.iter().rfind(|state| state.kind == kind && state.state_key.is_empty())
    };
    match wished("m.room.power_levels") {
        Some(levels) => state("m.room.power_levels", canonical(levels.content.clone())?),
        None => state("m.room.power_levels", power_levels(wish, creator, version, trusted)?),
    }
    if let Some(alias) = alias {
        state("m.room.canonical_alias", object([("alias", text(Some(alias)))]));
    }
    let public = preset == "public_chat";
    let presets = [
        ("m.room.join_rules", "join_rule", if public { "public" } else { "invite" }),
        ("m.room.history_visibility", "history_visibility", "shared"),
        ("m.room.guest_access", "guest_access", "can_join"),
    ];
    for (kind, key, value) in presets {
        // Where no event says so, guests may not join: public rooms are without it, as clients expect them.
        let said = public && kind == "m.room.guest_access";
        if wished(kind).is_none() && !said {
            state(kind, object([(key, text(Some(value)))]));
        }
    }
    let own_levels =
        wished("m.room.power_levels").is_some() || wish.power_level_content_override.is_some();
    // The power levels stand behind the creator's join; all that follows the preset was asked for.
    let mut chosen: Vec<usize> = own_levels.then_some(1).into_iter().collect();
    let first = drafts.len();
    for wished in wish.initial_state.iter().filter(|state| state.kind != "m.room.power_levels") {
        let content = canonical(wished.content.clone())?;
        drafts.push(Draft::state(&wished.kind, &wished.state_key, creator, content));
    }
    let mut state = |kind: &str, content: CanonicalJsonObject| {
        drafts.push(Draft::state(kind, "", creator, content));
    };
    if let Some(name) = &wish.name {
        state("m.room.name", object([("name", text(Some(name)))]));
    }
    if let Some(topic) = &wish.topic {
        let content = json!({"topic": topic, "m.topic": {"m.text": [{"body": topic}]}});
        state("m.room.topic", fixed(content));
    }
    let mut invited: Vec<&String> = Vec::new();
    for user in &wish.invite {
        if invited.contains(&user) {
            continue;
        }
        invited.push(user);
        let content = member("invite", &profile(user), wish.is_direct);
        drafts.push(Draft::state("m.room.member", user, creator, content));
    }
    chosen.extend(first..drafts.len());
    Ok(Plan { create, drafts, chosen })
}
