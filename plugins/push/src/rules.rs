//! Where the rules of users are kept.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#push-rules>

use std::borrow::Cow;

use ruma::push::{ConditionalPushRule, PushCondition, RuleKind, Ruleset};
use ruma::{OwnedRoomId, UserId};
use serde_json::{Value, json};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, position};

/// Rules of all kinds that a user may have, the default ones included.
pub(crate) const MAX_RULES: usize = 2000;
/// Longest content of `m.push_rules`, in bytes.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// How often a change is tried again when another device changes the rules at the same time.
const TRIES: usize = 4;

/// Before an alias that stands where a room's id should: clients of old name rooms so in their rules. Such a rule applies to no room; it
/// is kept and shown as it was given, and no id of a room begins like this.
const ALIAS: &str = "!\u{1}";

/// A rule's id as it is known to the rule set.
pub(crate) fn inner_id<'a>(kind: &RuleKind, id: &'a str) -> Cow<'a, str> {
    if *kind == RuleKind::Room && id.starts_with('#') {
        Cow::Owned(format!("{ALIAS}{id}"))
    } else {
        Cow::Borrowed(id)
    }
}

/// Renames rules of rooms in the content of `m.push_rules` below `global`.
fn rename(global: &mut Value, to: impl Fn(&str) -> Option<String>) {
    let rules = global.get_mut("room").and_then(Value::as_array_mut);
    for id in rules.into_iter().flatten().filter_map(|rule| rule.get_mut("rule_id")) {
        if let Some(renamed) = id.as_str().and_then(&to) {
            *id = renamed.into();
        }
    }
}

/// A rule as clients see it.
pub(crate) fn shown(rule: &impl serde::Serialize) -> Result<Value, Error> {
    let rule = serde_json::to_value(rule).map_err(Error::internal)?;
    let mut list = json!({ "room": [rule] });
    rename(&mut list, |id| id.strip_prefix(ALIAS).map(str::to_owned));
    Ok(list.get_mut("room").and_then(|list| list.get_mut(0)).map(Value::take).unwrap_or_default())
}

/// Gives the room `new` the rules that the user has for `old`, those that name it in a condition included, unless there are some.
/// Nothing is written where nothing is to be copied.
///
/// # Errors
/// As [`change`]; `M_INVALID_PARAM` if `new` is no room id.
pub(crate) fn copy_room(user: &str, old: &str, new: &str) -> Result<(), Error> {
    let id = OwnedRoomId::try_from(new).map_err(|_| Error::invalid_param("malformed room id"))?;
    let mut set = load(user)?.rules;
    if !copy_into(&mut set, old, &id) {
        return Ok(());
    }
    change(user, |set| {
        copy_into(set, old, &id);
        Ok(())
    })
}

/// Whether something was copied.
fn copy_into(set: &mut Ruleset, old: &str, new: &OwnedRoomId) -> bool {
    let mut copied = false;
    let own = set.room.iter().find(|rule| rule.rule_id == old).cloned();
    if let Some(mut rule) = own.filter(|_| !set.room.iter().any(|rule| rule.rule_id == *new)) {
        rule.rule_id = new.clone();
        copied |= set.room.insert(rule);
    }
    for (list, first) in [(&mut set.override_, 1), (&mut set.underride, 0)] {
        let names = |rule: &ConditionalPushRule, room: &str| {
            rule.conditions.iter().any(|condition| match condition {
                PushCondition::EventMatch(data) => data.key == "room_id" && data.pattern == room,
                _ => false,
            })
        };
        if list.iter().any(|rule| names(rule, new.as_str()) || rule.rule_id == new.as_str()) {
            continue;
        }
        let Some(mut rule) = list.iter().find(|rule| !rule.default && names(rule, old)).cloned()
        else {
            continue;
        };
        new.as_str().clone_into(&mut rule.rule_id);
        for condition in &mut rule.conditions {
            match condition {
                PushCondition::EventMatch(data) if data.key == "room_id" && data.pattern == old => {
                    new.as_str().clone_into(&mut data.pattern);
                }
                _ => {}
            }
        }
        let mut rules: Vec<_> = std::mem::take(list).into_iter().collect();
        rules.insert(first.min(rules.len()), rule);
        *list = rules.into_iter().collect();
        copied = true;
    }
    copied
}

/// A user's rules as they are stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub rules: Ruleset,
    /// `None`: the user never changed the defaults.
    pub position: Option<i64>,
}

/// The default rules.
///
/// # Errors
/// `M_INVALID_PARAM` if this is no user id.
pub(crate) fn defaults(user: &str) -> Result<Ruleset, Error> {
    let user = <&UserId>::try_from(user).map_err(|_| Error::invalid_param("malformed user id"))?;
    Ok(Ruleset::server_default(user))
}

/// Reads what was stored, brought up to the defaults of today.
///
/// # Errors
/// It is no rule set: a fault of this plug-in.
pub(crate) fn parse(user: &str, content: &str) -> Result<Ruleset, Error> {
    #[derive(serde::Deserialize)]
    struct Content {
        global: Ruleset,
    }
    let mut rules = match serde_json::from_str::<Content>(content) {
        Ok(content) => content.global,
        Err(_) => {
            let mut content: Value = serde_json::from_str(content).map_err(Error::internal)?;
            if let Some(global) = content.get_mut("global") {
                rename(global, |id| id.starts_with('#').then(|| format!("{ALIAS}{id}")));
            }
            serde_json::from_value::<Content>(content).map_err(Error::internal)?.global
        }
    };
    rules.update_with_server_default(defaults(user)?);
    Ok(rules)
}

/// A user's rules. One storage call.
///
/// # Errors
/// Storage; `M_INVALID_PARAM` if this is no user id.
pub(crate) fn load(user: &str) -> Result<Stored, Error> {
    let row: Option<(String, i64)> = storage::query(
        "SELECT content, position FROM push_rules WHERE user_id = $1",
        params![user],
    )?
    .first()?;
    Ok(match row {
        Some((content, position)) => {
            Stored { rules: parse(user, &content)?, position: Some(position) }
        }
        None => Stored { rules: defaults(user)?, position: None },
    })
}

/// The rules as clients see them: every kind is there, even if it is empty.
///
/// # Errors
/// Cannot happen to rules that were parsed.
pub(crate) fn global(rules: &Ruleset) -> Result<Value, Error> {
    let mut value = serde_json::to_value(rules).map_err(Error::internal)?;
    rename(&mut value, |id| id.strip_prefix(ALIAS).map(str::to_owned));
    if let Some(map) = value.as_object_mut() {
        for kind in ["override", "content", "room", "sender", "underride"] {
            map.entry(kind).or_insert_with(|| json!([]));
        }
    }
    Ok(value)
}

/// The content of `m.push_rules`.
///
/// # Errors
/// As [`global`].
pub(crate) fn content(rules: &Ruleset) -> Result<String, Error> {
    Ok(json!({ "global": global(rules)? }).to_string())
}

/// Changes a user's rules; tries again if they change meanwhile.
///
/// # Errors
/// Those of `change`; `M_TOO_LARGE` for more rules than the cap; storage.
pub(crate) fn change(
    user: &str,
    mut change: impl FnMut(&mut Ruleset) -> Result<(), Error>,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let mut stored = load(user)?;
        change(&mut stored.rules)?;
        let content = content(&stored.rules)?;
        if stored.rules.iter().count() > MAX_RULES || content.len() > MAX_BYTES {
            return Err(Error::too_large("too many push rules"));
        }
        let mut batch = Batch::new();
        let first = batch.take_positions(1);
        let batch = match stored.position {
            Some(old) => batch
                .run(
                    "UPDATE push_rules SET content = $2, position = $3 \
                     WHERE user_id = $1 AND position = $4",
                    params![user, content, position(first), old],
                )
                .expect(1),
            None => batch.run(
                "INSERT INTO push_rules (user_id, content, position) VALUES ($1, $2, $3)",
                params![user, content, position(first)],
            ),
        };
        match batch.wake(format!("user:{user}")).commit() {
            Ok(_) => return Ok(()),
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}
