//! Power levels outside the auth rules.

use std::sync::Arc;

use ruma::events::room::power_levels::UserPowerLevel;
use ruma::state_res::Event as _;
use ruma::state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent};
use ruma::{Int, UserId};
use serde_json::{Map, Value};

use super::event::StoredEvent;
use super::state::State;
use super::version::Version;

/// Power in a room, read once from its create and power level events.
pub struct Power<'a> {
    version: &'a Version,
    levels: Option<RoomPowerLevelsEvent<&'a StoredEvent>>,
    creators: Vec<String>,
}

impl<'a> Power<'a> {
    /// Reads a room's state.
    pub fn of(version: &'a Version, state: &'a State) -> Self {
        let rules = &version.rules().authorization;
        let creators = state
            .get("m.room.create", "")
            .and_then(|event| RoomCreateEvent::new(event.as_ref()).creators(rules).ok())
            .map(|ids| ids.iter().map(ToString::to_string).collect())
            .unwrap_or_default();
        let levels =
            state.get("m.room.power_levels", "").map(Arc::as_ref).map(RoomPowerLevelsEvent::new);
        Self { version, levels, creators }
    }

    /// The users whose power has no bound or who have 100 where there are no power levels.
    pub fn creators(&self) -> &[String] {
        &self.creators
    }

    /// Users named in the power levels.
    pub fn named(&self) -> Vec<String> {
        self.levels
            .as_ref()
            .and_then(|levels| levels.users(&self.version.rules().authorization).ok().flatten())
            .map(|users| users.keys().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    /// A user's power.
    pub fn user(&self, user: &str) -> UserPowerLevel {
        let rules = &self.version.rules().authorization;
        let creator = self.creators.iter().any(|creator| creator == user);
        if creator && rules.explicitly_privilege_room_creators {
            return UserPowerLevel::Infinite;
        }
        let level = match (&self.levels, <&UserId>::try_from(user)) {
            (Some(levels), Ok(user)) => levels.user_power_level(user, rules).unwrap_or_default(),
            (None, _) if creator => Int::from(100),
            _ => Int::from(0),
        };
        UserPowerLevel::Int(level)
    }

    /// The power that an action (`redact`, `invite`, …) takes, `default` where nothing is said.
    fn needed(&self, action: &str, default: i32) -> Int {
        self.levels
            .as_ref()
            .and_then(|levels| {
                serde_json::from_str::<Map<String, Value>>(levels.content().get()).ok()
            })
            .and_then(|content| match content.get(action)? {
                Value::Number(number) => Int::try_from(number.as_i64()?).ok(),
                // Strings counted before version 10.
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            })
            .unwrap_or_else(|| Int::from(default))
    }

    /// Whether a user may redact an event of this sender.
    /// Spec: room version 3, Handling redactions; there another user of the sender's server may, too, which here
    /// holds for nobody: a client's redaction needs the power or to be of the sender's own event.
    pub fn may_redact(&self, user: &str, sender: &str) -> bool {
        user == sender || self.user(user) >= self.needed("redact", 50)
    }

    /// Whether a user may redact whatever others say.
    pub fn may_redact_all(&self, user: &str) -> bool {
        self.user(user) >= self.needed("redact", 50)
    }

    /// Whether a user may invite.
    pub fn may_invite(&self, user: &str) -> bool {
        self.user(user) >= self.needed("invite", 0)
    }
}

/// The sender of the create event, else the empty string.
pub fn creator(state: &State) -> String {
    state.get("m.room.create", "").map(|event| event.sender().to_string()).unwrap_or_default()
}
