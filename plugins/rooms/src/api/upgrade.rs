//! POST /rooms/{roomId}/upgrade.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade>
//!
//! Makes the new room with the important state of the old one and closes the old one with a tombstone; then aliases and the place
//! in the directory move. Errors: `M_UNSUPPORTED_ROOM_VERSION`, `M_FORBIDDEN`, `M_NOT_FOUND`.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use ruma::state_res::Event as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{Batch, select};
use tessera_sdk::{hooks, log, params};

use super::body::{self, object, text};
use super::create::{Founding, create_content, found, member, new_room_id, try_out};
use super::membership::inherit::carry_over;
use crate::act::{Act, Step};
use crate::asker::Asker;
use crate::core::power::Power;
use crate::core::{Draft, Version};
use crate::ids;
use crate::policy::{ROOM_POLICY, ROOM_RULES};
use crate::store::about::publish;
use crate::store::{Needs, View};

/// State that goes along. Spec: as above; the ban list and a space's children go along, too.
const COPIED: [&str; 9] = [
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.canonical_alias",
];

/// Bans and children of a space that go along at most.
const MAX_LISTED: u32 = 500;

#[derive(Deserialize)]
struct Wish {
    new_version: Option<String>,
    #[serde(default)]
    additional_creators: Vec<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    replacement_room: &'a str,
}

/// Upgrades the room.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let asker = Asker::of(request)?;
    let user = asker.user();
    let wish: Wish = body::of(request)?;
    let name = wish.new_version.ok_or_else(|| Error::missing_param("new_version is missing"))?;
    let version = Version::named(&name).ok_or_else(|| {
        let text = format!("room version {name:?} is not supported");
        Error::new(ErrorCode::UnsupportedRoomVersion, text)
    })?;
    for creator in &wish.additional_creators {
        ids::user(creator)?;
    }
    let mut old = View::load(room_id, &needs(room_id, user))?
        .ok_or_else(|| Error::not_found("there is no such room here"))?;
    may_close(&old, user)?;
    may_upgrade(&old, &asker, &version)?;
    let founding = plan(&mut old, user, version, &wish.additional_creators)?;
    let new_room = move_over(room_id, user, founding)?;
    carry_over(&new_room, user);
    Answer::json(&Response { replacement_room: &new_room })
}

fn needs(room_id: &str, user: &str) -> Needs {
    let listed =
        "SELECT e.json FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position";
    Needs::of(user)
        .types(COPIED)
        .profile(user)
        .also(select(
            "SELECT user_id FROM rooms_memberships WHERE room_id = $1 AND membership = 'ban' LIMIT $2",
            params![room_id, MAX_LISTED],
        ))
        .also(select(
            &format!("{listed} WHERE s.room_id = $1 AND s.type = 'm.space.child' LIMIT $2"),
            params![room_id, MAX_LISTED],
        ))
        .also(select("SELECT published FROM rooms_rooms WHERE room_id = $1", params![room_id]))
}

/// A tombstone is tried before anything is made, so that a refusal leaves no orphan.
fn may_close(old: &View, user: &str) -> std::result::Result<(), Error> {
    let mut composer = crate::compose::Composer::new(
        old.room.version.clone(),
        Some(old.room.room_id.clone()),
        old.room.extremities.clone(),
        old.state.clone(),
        tessera_sdk::clock::now_ms(),
    );
    Ok(composer.push(&tombstone(user, "!trial"))?)
}

/// Modules are asked as for a new room with this version and predecessor, and for the tombstone as a state event. The events
/// themselves are the server's.
fn may_upgrade(old: &View, asker: &Asker, version: &Version) -> std::result::Result<(), Error> {
    if asker.is_shadow_banned() {
        return Err(Error::forbidden("the room cannot be upgraded"));
    }
    let (room_id, content) = (&old.room.room_id, json!({}).to_string());
    if hooks::answered(ROOM_POLICY) {
        hooks::may_send_state(asker.who(), room_id, "m.room.tombstone", "", &content)?;
    }
    if hooks::answered(ROOM_RULES) {
        let content = creation(old);
        let request = json!({ "room_version": version.name(), "creation_content": content });
        let request = request.to_string();
        let changed = hooks::create_room(&request, asker.who())?;
        if changed.is_some_and(|changed| changed != request) {
            log::warn(
                "an upgrade copies its room: a module's change is not taken",
                &[("room", room_id)],
            );
        }
    }
    Ok(())
}

fn tombstone(user: &str, new_room: &str) -> Draft {
    let content = object([
        ("body", text(Some("This room has been replaced"))),
        ("replacement_room", text(Some(new_room))),
    ]);
    Draft::state("m.room.tombstone", "", user, content)
}

/// Makes the new room and closes the old one; the new one's id.
fn move_over(
    room_id: &str,
    user: &str,
    mut founding: Founding<'_>,
) -> std::result::Result<String, Error> {
    if founding.version.room_id_is_hash() {
        // The tombstone names a hash, so the room is there before it.
        let new_room = found(founding)?;
        end(room_id, user, &new_room)?;
        take_names(room_id, user, &new_room)?;
        return Ok(new_room);
    }
    // The new room names the tombstone, which names the new room by the id that is chosen for it here. That the room can be
    // made is tried before.
    let new_room = new_room_id();
    founding.room_id = Some(new_room.clone());
    try_out(&founding)?;
    let tombstone = end(room_id, user, &new_room)?;
    let predecessor =
        object([("room_id", text(Some(room_id))), ("event_id", text(Some(&tombstone)))]);
    founding.create_content.insert("predecessor".to_owned(), predecessor.into());
    found(founding)?;
    take_names(room_id, user, &new_room)?;
    Ok(new_room)
}

fn plan<'a>(
    old: &mut View,
    user: &'a str,
    version: Version,
    additional: &[String],
) -> std::result::Result<Founding<'a>, Error> {
    let bans = old.extra(0).all::<(String,)>()?;
    let children = old.extra(1).all::<(String,)>()?;
    let published = old.extra(2).first::<(bool,)>()?.is_some_and(|(published,)| published);

    let state = |kind: &str, content| Draft::state(kind, "", user, content);
    let profile = old.profile(user);
    let mut drafts =
        vec![Draft::state("m.room.member", user, user, member("join", &profile, false))];
    for kind in COPIED {
        let content = old.state.get(kind, "").and_then(|event| event.content_as());
        drafts.extend(content.map(|content: CanonicalJsonObject| state(kind, content)));
    }
    if old.state.get("m.room.guest_access", "").is_none() {
        let closed = object([("guest_access", text(Some("forbidden")))]);
        drafts.push(state("m.room.guest_access", closed));
    }
    for (json,) in children {
        let Ok(event) = crate::core::StoredEvent::parse("$child", &json, false) else { continue };
        let content: CanonicalJsonObject = event.content_as().unwrap_or_default();
        if !content.is_empty() {
            let key = event.state_key().unwrap_or_default();
            drafts.push(Draft::state("m.space.child", key, user, content));
        }
    }
    for (banned,) in bans {
        let content = object([("membership", text(Some("ban")))]);
        drafts.push(Draft::state("m.room.member", &banned, user, content));
    }
    // Last, because until then the creator has all the power that copying takes.
    if let Some(levels) = old.state.get("m.room.power_levels", "") {
        let content = levels.content_as().unwrap_or_default();
        drafts.push(state(
            "m.room.power_levels",
            power_levels(content, old, user, &version, additional),
        ));
    }
    let wished = creation(old);
    let create_content = create_content(wished, user, &version, additional)?;
    Ok(Founding {
        creator: user,
        version,
        room_id: None,
        create_content,
        drafts,
        alias: None,
        published,
        asked: None,
        along: None,
    })
}

/// Content of the old create event, without what belongs to its version, and with the predecessor.
fn creation(old: &View) -> Map<String, Value> {
    let create = old.state.get("m.room.create", "");
    let mut content: Map<String, Value> =
        create.and_then(|event| event.content_as()).unwrap_or_default();
    content.remove("additional_creators");
    content.remove("creator");
    let predecessor = json!({"room_id": old.room.room_id});
    content.insert("predecessor".to_owned(), predecessor);
    content
}

/// Creators have all power without being named from version 12, and have to be named before it.
fn power_levels(
    mut content: CanonicalJsonObject,
    old: &View,
    user: &str,
    version: &Version,
    additional: &[String],
) -> CanonicalJsonObject {
    let unbounded =
        |version: &Version| version.rules().authorization.explicitly_privilege_room_creators;
    if !unbounded(version) && !unbounded(&old.room.version) {
        return content;
    }
    let number = |value: &CanonicalJsonValue| value.as_integer();
    let events = content.get("events").and_then(CanonicalJsonValue::as_object);
    let highest = events.and_then(|events| events.values().filter_map(number).max());
    let all = highest.unwrap_or_default().max(100.into());
    let users = content
        .entry("users".to_owned())
        .or_insert_with(|| CanonicalJsonObject::new().into())
        .as_object_mut();
    let Some(users) = users else {
        return content;
    };
    if unbounded(version) {
        users.retain(|named, _| named != user && !additional.contains(named));
    } else {
        for creator in Power::of(&old.room.version, &old.state).creators() {
            users.insert(creator.clone(), all.into());
        }
    }
    content
}

/// Sends the tombstone; its id.
fn end(room_id: &str, user: &str, new_room: &str) -> std::result::Result<String, Error> {
    let needs = Needs::of(user).pair("m.room.tombstone", "");
    Act { room_id, needs, transaction: None, asker: None }
        .run(|_| Ok(tombstone(user, new_room).into()))
}

/// Aliases lead to the new room, the old one is listed no more and falls silent.
fn take_names(room_id: &str, user: &str, new_room: &str) -> std::result::Result<(), Error> {
    let aliases = "UPDATE rooms_aliases SET room_id = $2 WHERE room_id = $1";
    let batch = Batch::new().run(aliases, params![room_id, new_room]);
    publish(batch, room_id, false).commit_blind()?;
    // The old room falls silent as far as the user's power reaches; that it does not is no failure.
    for change in [unname, silence] {
        match change(room_id, user) {
            Err(error) if error.http_status() != 403 => return Err(error),
            Err(error) => log::debug("the old room stays open", &[("reason", error.message())]),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The aliases lead to the new room: the old one has no name of its own any more.
fn unname(room_id: &str, user: &str) -> std::result::Result<(), Error> {
    let kind = "m.room.canonical_alias";
    Act { room_id, needs: Needs::of(user).types([kind]), transaction: None, asker: None }
        .run(|view| {
            let names = view.state.get(kind, "").and_then(|event| event.content_as());
            if names.unwrap_or_else(CanonicalJsonObject::new).is_empty() {
                return Ok(Step::Done(String::new()));
            }
            Ok(Draft::state(kind, "", user, CanonicalJsonObject::new()).into())
        })
        .map(|_| ())
}

fn silence(room_id: &str, user: &str) -> std::result::Result<(), Error> {
    Act { room_id, needs: Needs::of(user), transaction: None, asker: None }
        .run(|view| {
            let levels = view.state.get("m.room.power_levels", "");
            let mut content: Map<String, Value> =
                levels.and_then(|event| event.content_as()).unwrap_or_default();
            let level = |key: &str| content.get(key).and_then(Value::as_i64).unwrap_or(0);
            let quiet = level("users_default").saturating_add(1).max(50);
            let raised = [("events_default", level("events_default")), ("invite", level("invite"))]
                .map(|(key, level)| (key, level.max(quiet)));
            for (key, level) in raised {
                content.insert(key.to_owned(), level.into());
            }
            let content = ruma::canonical_json::try_from_json_map(content)
                .map_err(|error| Error::bad_json(error.to_string()))?;
            Ok(Draft::state("m.room.power_levels", "", user, content).into())
        })
        .map(|_| ())
}
