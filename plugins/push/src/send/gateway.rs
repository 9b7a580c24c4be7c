//! A gateway is told: `POST /_matrix/push/v1/notify`.
//!
//! Spec: <https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify>

use serde_json::{Map, Value, json};
use tessera_sdk::fetch::{self, Body, Request};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, select};
use tessera_sdk::{clock, log, params};

use super::Done;
use super::waiting::{self, Notification, Waiting};
use crate::pushers::Key;

/// How long a gateway may take.
const TIMEOUT_MS: u32 = 10_000;
/// The largest answer that is read.
const MAX_ANSWER: u64 = 64 * 1024;

/// What a gateway made of a notification.
enum Outcome {
    Taken,
    /// The key is void: whoever it pushed to does not want it any more.
    Rejected,
    Failed,
}

/// Tells everything that waits, oldest first, then the unread count if it is another than the gateway knows. `until`: when the time
/// for it is over; the rest has its turn after the others'.
///
/// # Errors
/// Storage.
pub(super) fn tell(key: &Key, waiting: &Waiting, url: &str, until: u64) -> Result<Done, Error> {
    let mut badge = waiting.badge;
    for notification in &waiting.notifications {
        if !notification.read {
            let now = clock::now_ms();
            if now > until {
                return Ok(Done::Later(now));
            }
            match post(url, key, &body(key, waiting, notification)?) {
                Outcome::Taken => badge = waiting.unread,
                Outcome::Rejected => return Ok(Done::Gone),
                Outcome::Failed => return Ok(Done::Failed),
            }
        }
        waiting::told(key, notification.position, Some(badge))?;
    }
    if waiting.more {
        return Ok(Done::Later(1));
    }
    // A gateway that was never told of anything need not hear that there is nothing.
    let known = badge.max(0);
    if known != waiting.unread && counts(waiting).is_some() {
        let now = clock::now_ms();
        if now > until {
            return Ok(Done::Later(now));
        }
        match post(url, key, &only_counts(key, waiting)) {
            Outcome::Taken => badge = waiting.unread,
            Outcome::Rejected => return Ok(Done::Gone),
            Outcome::Failed => return Ok(Done::Failed),
        }
    }
    Ok(Done::Quiet { badge })
}

/// `counts`, unless the client wants none (MSC4076).
fn counts(waiting: &Waiting) -> Option<Value> {
    let off = waiting.data.get("org.matrix.msc4076.disable_badge_count");
    if off.and_then(Value::as_bool) == Some(true) {
        return None;
    }
    // Spec: what is zero is left out, but a badge has to be taken away somehow, and gateways take 0 for that.
    Some(json!({ "unread": waiting.unread }))
}

fn device(key: &Key, waiting: &Waiting) -> Map<String, Value> {
    let mut data = waiting.data.clone();
    data.remove("url");
    let mut device = Map::new();
    device.insert("app_id".to_owned(), key.app_id.clone().into());
    device.insert("pushkey".to_owned(), key.pushkey.clone().into());
    device.insert("pushkey_ts".to_owned(), (waiting.created_ms / 1000).into());
    device.insert("data".to_owned(), data.into());
    device
}

fn only_counts(key: &Key, waiting: &Waiting) -> Value {
    let counts = counts(waiting).unwrap_or_default();
    json!({ "notification": { "counts": counts, "prio": "low", "devices": [device(key, waiting)] } })
}

/// Tweaks of a rule's actions.
fn tweaks(actions: &str) -> Map<String, Value> {
    let actions: Vec<Value> = serde_json::from_str(actions).unwrap_or_default();
    let tweak = |action: &Value| {
        let name = action.get("set_tweak")?.as_str()?.to_owned();
        // A highlight without a value is one.
        let value = action.get("value").cloned().unwrap_or(Value::Bool(true));
        Some((name, value))
    };
    actions.iter().filter_map(tweak).collect()
}

fn body(key: &Key, waiting: &Waiting, notification: &Notification) -> Result<Value, Error> {
    let tweaks = tweaks(&notification.actions);
    let event = notification.event.as_ref();
    let text = |name: &str| event.and_then(|event| event.get(name)).and_then(Value::as_str);
    let loud = tweaks.get("highlight") == Some(&Value::Bool(true)) || tweaks.contains_key("sound");
    let prio = if loud || text("type") == Some("m.room.encrypted") { "high" } else { "low" };
    let mut device = device(key, waiting);
    let mut told = json!({
        "event_id": notification.event_id, "room_id": notification.room_id, "prio": prio,
    });
    let Some(map) = told.as_object_mut() else { return Err(Error::internal("no object")) };
    if let Some(counts) = counts(waiting) {
        map.insert("counts".to_owned(), counts);
    }
    let only_id = waiting.data.get("format").and_then(Value::as_str) == Some("event_id_only");
    if let (false, Some(event)) = (only_id, event) {
        device.insert("tweaks".to_owned(), tweaks.into());
        for name in ["type", "sender", "content"] {
            if let Some(value) = event.get(name) {
                map.insert(name.to_owned(), value.clone());
            }
        }
        // Gateways of old know the event by this name.
        map.insert("id".to_owned(), notification.event_id.clone().into());
        if let Some(target) = text("state_key").filter(|_| text("type") == Some("m.room.member")) {
            map.insert("user_is_target".to_owned(), (target == key.user_id).into());
            let membership = event.get("content").and_then(|content| content.get("membership"));
            map.insert("membership".to_owned(), membership.cloned().unwrap_or_default());
        }
        let names = Names::read(&notification.room_id, text("sender").unwrap_or_default())?;
        for (name, value) in [
            ("sender_display_name", names.sender),
            ("room_name", names.room.or_else(|| names.alias.clone())),
            ("room_alias", names.alias),
        ] {
            if let Some(value) = value {
                map.insert(name.to_owned(), value.into());
            }
        }
    }
    map.insert("devices".to_owned(), json!([device]));
    Ok(json!({ "notification": told }))
}

/// What people call those in an event.
pub(super) struct Names {
    pub sender: Option<String>,
    pub room: Option<String>,
    pub alias: Option<String>,
}

impl Names {
    /// # Errors
    /// Storage.
    pub(super) fn read(room_id: &str, sender: &str) -> Result<Self, Error> {
        let mut answers = storage::snapshot(&[
            select(
                "SELECT display_name FROM rooms_v1_memberships WHERE room_id = $1 AND user_id = $2",
                params![room_id, sender],
            ),
            select(
                "SELECT type, json FROM rooms_v1_current_state WHERE room_id = $1 \
                 AND type IN ('m.room.name', 'm.room.canonical_alias') AND state_key = ''",
                params![room_id],
            ),
        ])?
        .answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let sender: Option<(Option<String>,)> = next()?.first()?;
        let state: Vec<(String, String)> = next()?.all()?;
        let of = |kind: &str, key: &str| {
            let (_, json) = state.iter().find(|(known, _)| known == kind)?;
            let event: Value = serde_json::from_str(json).ok()?;
            let value = event.get("content")?.get(key)?.as_str()?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        Ok(Self {
            sender: sender.and_then(|(name,)| name),
            room: of("m.room.name", "name"),
            alias: of("m.room.canonical_alias", "alias"),
        })
    }
}

fn post(url: &str, key: &Key, body: &Value) -> Outcome {
    let sent = fetch::send(&Request {
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Body::Bytes(body.to_string().into_bytes()),
        timeout_ms: TIMEOUT_MS,
        max_bytes: MAX_ANSWER,
        ..fetch::request("POST", url)
    });
    let answer = match sent {
        Ok(answer) if (200..300).contains(&answer.status) => answer,
        Ok(answer) => {
            log::info("a push gateway refused", &[("status", &answer.status.to_string())]);
            return Outcome::Failed;
        }
        Err(error) => {
            log::info("a push gateway cannot be asked", &[("reason", &format!("{error:?}"))]);
            return Outcome::Failed;
        }
    };
    let Body::Bytes(bytes) = answer.body else { return Outcome::Taken };
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let rejected = answer.get("rejected").and_then(Value::as_array);
    if rejected.is_some_and(|keys| keys.iter().any(|rejected| rejected == key.pushkey.as_str())) {
        return Outcome::Rejected;
    }
    Outcome::Taken
}
