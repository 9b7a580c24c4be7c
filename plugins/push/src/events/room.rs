//! A room as push rules see it.

use std::collections::BTreeMap;

use ruma::power_levels::NotificationPowerLevels;
use ruma::push::{PushConditionPowerLevelsCtx, PushConditionRoomCtx};
use ruma::room_version_rules::RoomPowerLevelsRules;
use ruma::{Int, OwnedRoomId, OwnedUserId, RoomVersionId, UInt, UserId};
use serde_json::Value;

use super::read::Room;

fn int(value: Option<&Value>) -> Option<Int> {
    let value = value?;
    // Room versions before 10 allow strings.
    let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Int::try_from(number).ok()
}

fn content(json: Option<&String>) -> Value {
    json.and_then(|json| serde_json::from_str::<Value>(json).ok())
        .and_then(|mut event| event.get_mut("content").map(Value::take))
        .unwrap_or_default()
}

/// The room for `user`; nothing if the room's id is malformed.
pub(super) fn context(room: &Room, user: &UserId) -> Option<PushConditionRoomCtx> {
    let room_id = OwnedRoomId::try_from(room.room_id.as_str()).ok()?;
    let members = UInt::try_from(room.members).unwrap_or_default();
    let mut context = PushConditionRoomCtx::new(room_id, members, user.to_owned(), String::new());
    context.power_levels = power_levels(room);
    Some(context)
}

fn power_levels(room: &Room) -> Option<PushConditionPowerLevelsCtx> {
    let levels = content(room.power_levels.as_ref());
    let creator = OwnedUserId::try_from(room.creator.as_str());
    let mut users = BTreeMap::new();
    match (&room.power_levels, &creator) {
        (None, Ok(creator)) => {
            users.insert(creator.clone(), Int::from(100));
        }
        _ => {
            let listed = levels.get("users").and_then(Value::as_object);
            users.extend(listed.into_iter().flatten().filter_map(|(user, level)| {
                Some((OwnedUserId::try_from(user.as_str()).ok()?, int(Some(level))?))
            }));
        }
    }
    let mut notifications = NotificationPowerLevels::new();
    if let Some(level) = int(levels.get("notifications").and_then(|all| all.get("room"))) {
        notifications.room = level;
    }
    let version = RoomVersionId::try_from(room.version.as_str()).ok()?.rules()?;
    let more = content(room.create.as_ref());
    let more = more.get("additional_creators").and_then(Value::as_array).into_iter().flatten();
    let more = more.filter_map(|user| OwnedUserId::try_from(user.as_str()?).ok());
    let rules = RoomPowerLevelsRules::new(&version.authorization, creator.into_iter().chain(more));
    let default = int(levels.get("users_default")).unwrap_or_default();
    Some(PushConditionPowerLevelsCtx::new(users, default, notifications, rules))
}
