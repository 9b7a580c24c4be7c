//! The room in which a user gets notices: one for each.

use serde_json::{Value, json};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{log, params, services};

use super::told;
use crate::config::ServerNotices;
use crate::endpoints::tag_set;

/// How clients know the room.
const TAG: &str = "m.server_notice";
/// How often a room is looked for that another made at the same moment.
const TRIES: usize = 3;

/// The room that a user has.
///
/// # Errors
/// Storage.
pub(super) fn known(user: &str) -> Result<Option<String>, Error> {
    let sql = "SELECT room_id FROM accounts_server_notices WHERE user_id = $1";
    Ok(query(sql, params![user])?.first::<(String,)>()?.map(|(room,)| room))
}

/// The room of a user, who is in it or invited to it then; it looks as it is configured.
///
/// # Errors
/// What `rooms` says, storage.
pub(super) fn of(sender: &str, user: &str, config: &ServerNotices) -> Result<String, Error> {
    for _ in 0..TRIES {
        let known = known(user)?;
        if let Some(room) = &known {
            let (ours, theirs) = (membership(room, sender)?, membership(room, user)?);
            // An administrator may have deleted the room.
            if ours.as_deref() == Some("join") {
                refresh(sender, room, config)?;
                if !matches!(theirs.as_deref(), Some("join" | "invite")) {
                    call(sender, user, room, config)?;
                }
                return Ok(room.clone());
            }
        }
        let room = services::create_room_as(sender, &creation(config).to_string()).map_err(told)?;
        if keep(user, &room, known.as_deref())? {
            call(sender, user, &room, config)?;
            return Ok(room);
        }
        // Another was quicker: the user has a room, and this one is nobody's.
        if let Err(error) = services::set_membership(sender, &room, sender, "leave", None) {
            log::warn("a room for notices is left over", &[("reason", &format!("{error:?}"))]);
        }
    }
    Err(storage::Error::Busy.into())
}

/// Nobody but the sender writes there.
fn creation(config: &ServerNotices) -> Value {
    let mut body = json!({
        "preset": "private_chat",
        "name": config.room_name,
        "power_level_content_override": { "users_default": -10 },
    });
    if let Some(map) = body.as_object_mut() {
        if let Some(topic) = &config.room_topic {
            map.insert("topic".to_owned(), topic.as_str().into());
        }
        if let Some(url) = &config.room_avatar_url {
            let avatar =
                json!([{ "type": "m.room.avatar", "state_key": "", "content": { "url": url } }]);
            map.insert("initial_state".to_owned(), avatar);
        }
    }
    body
}

/// Keeps a room as the user's, in place of `before`. False: the user has another one by now.
fn keep(user: &str, room: &str, before: Option<&str>) -> Result<bool, Error> {
    let batch = match before {
        None => Batch::new().run(
            "INSERT INTO accounts_server_notices (user_id, room_id) VALUES ($1, $2)",
            params![user, room],
        ),
        Some(before) => Batch::new()
            .run(
                "UPDATE accounts_server_notices SET room_id = $2 WHERE user_id = $1 AND room_id = $3",
                params![user, room, before],
            )
            .expect(1),
    };
    match batch.commit() {
        Ok(_) => Ok(true),
        Err(storage::Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Asks the user in. The tag comes first: with it a client knows what the invite is.
fn call(sender: &str, user: &str, room: &str, config: &ServerNotices) -> Result<(), Error> {
    tag_set::put(user, room, TAG)?;
    services::set_membership(sender, room, user, "invite", None).map_err(told)?;
    if config.auto_join {
        services::set_membership(user, room, user, "join", None).map_err(told)?;
    }
    Ok(())
}

fn membership(room: &str, user: &str) -> Result<Option<String>, Error> {
    let sql = "SELECT membership FROM rooms_v1_memberships WHERE room_id = $1 AND user_id = $2";
    Ok(query(sql, params![room, user])?.first::<(String,)>()?.map(|(membership,)| membership))
}

/// Makes name, topic and avatar of a room those that are configured now.
fn refresh(sender: &str, room: &str, config: &ServerNotices) -> Result<(), Error> {
    let wanted = [
        ("m.room.name", "name", Some(config.room_name.as_str())),
        ("m.room.topic", "topic", config.room_topic.as_deref()),
        ("m.room.avatar", "url", config.room_avatar_url.as_deref()),
    ];
    let kinds: Vec<String> = wanted.iter().map(|(kind, ..)| (*kind).to_owned()).collect();
    let state = services::room_state(room, &kinds).map_err(told)?;
    let state: Vec<Value> =
        state.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    for (kind, member, wanted) in wanted {
        let event = state.iter().find(|event| event.get("type").is_some_and(|it| it == kind));
        let is = event.and_then(|event| event.pointer(&format!("/content/{member}")));
        let is = is.and_then(Value::as_str).filter(|text| !text.is_empty());
        if is != wanted.filter(|text| !text.is_empty()) {
            let content = json!({ member: wanted.unwrap_or_default() });
            services::send_as(sender, room, kind, Some(""), &content.to_string()).map_err(told)?;
        }
    }
    Ok(())
}
