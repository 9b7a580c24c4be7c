//! Rules applied to one event.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ruma::OwnedUserId;
use ruma::push::{AnyPushRuleRef, FlattenedJson, PushConditionRoomCtx, Ruleset};
use ruma::serde::Raw;
use serde_json::Value;

use super::read::Event;

/// What an event does to a user. `highlight` only with `notify`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    pub notify: bool,
    pub highlight: bool,
    /// JSON array; empty text if there is no notification.
    pub actions: String,
}

impl Verdict {
    /// Notifications and highlights to add.
    pub(super) fn counts(&self) -> (i64, i64) {
        (i64::from(self.notify), i64::from(self.highlight))
    }
}

/// What is known of one event: whether the default rules that look at no user apply.
#[derive(Default)]
pub(super) struct Memo(HashMap<String, bool>);

thread_local! {
    /// Default rules that are the same for all users.
    static COMMON: HashSet<String> = common();
}

fn common() -> HashSet<String> {
    let rules = |user: &str| -> HashMap<String, Value> {
        let rules = OwnedUserId::try_from(user).map(|user| Ruleset::server_default(&user));
        let conditional = |rule: AnyPushRuleRef<'_>| match rule {
            AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => {
                let conditions = serde_json::to_value(&rule.conditions).ok()?;
                Some((rule.rule_id.clone(), conditions))
            }
            _ => None,
        };
        rules.iter().flatten().filter_map(conditional).collect()
    };
    let (one, mut other) = (rules("@one:push.invalid"), rules("@other:push.invalid"));
    let same =
        one.into_iter().filter(|(id, conditions)| other.remove(id).as_ref() == Some(conditions));
    same.map(|(id, _)| id).collect()
}

/// The first rule that applies decides. `context` holds the user, who is not the sender.
pub(super) fn verdict(
    rules: &Ruleset,
    event: &FlattenedJson,
    context: &PushConditionRoomCtx,
    memo: &mut Memo,
) -> Verdict {
    match rules.iter().find(|rule| rule.enabled() && applies(*rule, event, context, memo)) {
        Some(rule) if rule.triggers_notification() => Verdict {
            notify: true,
            highlight: rule.triggers_highlight(),
            actions: serde_json::to_string(rule.actions()).unwrap_or_else(|_| "[]".to_owned()),
        },
        _ => Verdict::default(),
    }
}

fn applies(
    rule: AnyPushRuleRef<'_>,
    event: &FlattenedJson,
    context: &PushConditionRoomCtx,
    memo: &mut Memo,
) -> bool {
    match rule {
        AnyPushRuleRef::Room(rule) => rule.rule_id == context.room_id,
        AnyPushRuleRef::Sender(rule) => event.get_str("sender") == Some(rule.rule_id.as_str()),
        AnyPushRuleRef::Override(default) | AnyPushRuleRef::Underride(default)
            if default.default && COMMON.with(|common| common.contains(&default.rule_id)) =>
        {
            if let Some(known) = memo.0.get(&default.rule_id) {
                return *known;
            }
            let applies = ready(rule.applies(event, context));
            memo.0.insert(default.rule_id.clone(), applies);
            applies
        }
        _ => ready(rule.applies(event, context)),
    }
}

/// Nothing in there ever waits: thread subscriptions, the only reason, are not compiled in.
fn ready(applies: impl Future<Output = bool>) -> bool {
    let applies = pin!(applies);
    matches!(applies.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(true))
}

/// An event, read as far as counting needs it.
pub(super) struct Parsed {
    pub flat: FlattenedJson,
    /// Root of its thread; empty: the main timeline.
    pub thread: String,
    /// Users it mentions, as written.
    pub mentions: Vec<String>,
    pub invite: bool,
}

/// Whether the default rules could say anything about this event. They notify of a few types, and of mentions in any.
pub(super) fn matters(event: &Event) -> bool {
    match event.kind.as_str() {
        "m.room.message" | "m.room.encrypted" | "m.call.invite" | "m.room.tombstone" => true,
        "m.room.member" => event.json.contains("\"invite\""),
        _ => event.json.contains("mentions"),
    }
}

/// Whether it is worth a look for the root of a thread.
pub(super) fn may_be_threaded(event: &Event) -> bool {
    event.json.contains("m.thread")
}

/// Reads an event; nothing if it is no JSON (nested deeper than can be read).
pub(super) fn parse(event: &Event) -> Option<Parsed> {
    let value: Value = serde_json::from_str(&event.json).ok()?;
    let raw: Raw<Value> = Raw::from_json_string(event.json.clone()).ok()?;
    let content = value.get("content");
    let text = |key: &str| content.and_then(|content| content.get(key)).and_then(Value::as_str);
    let mentions =
        content.and_then(|content| content.get("m.mentions")?.get("user_ids")?.as_array());
    Some(Parsed {
        flat: FlattenedJson::from_raw(&raw),
        thread: thread(content),
        mentions: mentions
            .into_iter()
            .flatten()
            .filter_map(|user| user.as_str().map(str::to_owned))
            .collect(),
        invite: event.kind == "m.room.member" && text("membership") == Some("invite"),
    })
}

/// Longest id of a thread's root, in bytes.
const MAX_THREAD_ID: usize = 255;

fn thread(content: Option<&Value>) -> String {
    let relation = content.and_then(|content| content.get("m.relates_to"));
    let text = |key: &str| relation.and_then(|relation| relation.get(key)).and_then(Value::as_str);
    match (text("rel_type"), text("event_id")) {
        (Some("m.thread"), Some(root)) if root.starts_with('$') && root.len() <= MAX_THREAD_ID => {
            root.to_owned()
        }
        _ => String::new(),
    }
}
