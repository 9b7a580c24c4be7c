//! GET, PUT and DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid>

use ruma::push::{
    Action, AnyPushRuleRef, ConditionalPushRule, NewConditionalPushRule, NewPatternedPushRule,
    NewSimplePushRule, PatternedPushRule, PushCondition, RemovePushRuleError, RuleKind, Ruleset,
    SimplePushRule,
};
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::Value;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};

use crate::rules;

/// Longest rule id and pattern, in bytes.
const MAX_TEXT: usize = 1024;
/// Actions and conditions of one rule.
const MAX_PARTS: usize = 64;

type Outcome<T> = std::result::Result<T, Error>;

/// The kind in the path.
///
/// # Errors
/// `M_INVALID_PARAM` for any but the five of the specification.
pub(super) fn kind(request: &Request) -> Outcome<RuleKind> {
    kind_named(request.param("kind"))
}

/// A kind by its name.
///
/// # Errors
/// As [`kind`].
pub(crate) fn kind_named(name: &str) -> Outcome<RuleKind> {
    Ok(match name {
        "override" => RuleKind::Override,
        "underride" => RuleKind::Underride,
        "sender" => RuleKind::Sender,
        "room" => RuleKind::Room,
        "content" => RuleKind::Content,
        _ => {
            return Err(Error::invalid_param(
                "kind must be override, underride, sender, room or content",
            ));
        }
    })
}

pub(crate) fn unknown() -> Error {
    Error::not_found("you have no such push rule")
}

/// Reads actions. Those that history left behind do nothing and are kept for the clients that set them.
/// Spec: client-server API, Historical Actions.
///
/// # Errors
/// `M_MISSING_PARAM` if there are none; `M_INVALID_PARAM` for one that is neither a string nor a tweak.
pub(crate) fn actions(actions: Option<Vec<Value>>) -> Outcome<Vec<Action>> {
    let actions = actions.ok_or_else(|| Error::missing_param("actions is missing"))?;
    if actions.len() > MAX_PARTS {
        return Err(Error::invalid_param(format!("a rule has at most {MAX_PARTS} actions")));
    }
    actions
        .into_iter()
        .map(|action| {
            let known = match &action {
                Value::String(name) => {
                    matches!(name.as_str(), "notify" | "dont_notify" | "coalesce")
                }
                Value::Object(map) => map.get("set_tweak").is_some_and(Value::is_string),
                _ => false,
            };
            let malformed = || Error::invalid_param(format!("{action} is no action"));
            if !known {
                return Err(malformed());
            }
            serde_json::from_value(action.clone()).map_err(|_| malformed())
        })
        .collect()
}

/// One rule: told, made or changed, deleted.
///
/// # Errors
/// `M_INVALID_PARAM` for a malformed rule, a reserved id, an unknown neighbour; `M_NOT_FOUND` for an unknown rule.
pub(crate) fn handle(request: &Request) -> Result {
    let (user, kind, id) = (request.user()?, kind(request)?, request.param("ruleId"));
    let inner = rules::inner_id(&kind, id);
    match request.method() {
        "PUT" => put(request, user, &kind, id),
        "DELETE" => {
            rules::change(user, |rules| {
                rules.remove(kind.clone(), &*inner).map_err(|error| match error {
                    RemovePushRuleError::ServerDefault => {
                        Error::invalid_param("a default rule cannot be deleted, only disabled")
                    }
                    _ => unknown(),
                })
            })?;
            Answer::empty()
        }
        // Spec: older versions told all rules of a kind at the kind's path.
        _ if id.is_empty() => {
            let all = rules::global(&rules::load(user)?.rules)?;
            Answer::json(all.get(request.param("kind")).unwrap_or(&Value::Null))
        }
        _ => match rules::load(user)?.rules.get(kind, &*inner).ok_or_else(unknown)? {
            AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => Answer::json(rule),
            AnyPushRuleRef::Content(rule) => Answer::json(rule),
            AnyPushRuleRef::Room(rule) => Answer::json(&rules::shown(rule)?),
            AnyPushRuleRef::Sender(rule) => Answer::json(rule),
            _ => Err(unknown()),
        },
    }
}

#[derive(Deserialize)]
struct Body {
    actions: Option<Vec<Value>>,
    conditions: Option<Vec<Value>>,
    pattern: Option<String>,
}

/// A rule of any kind, ready to be put in its place.
#[derive(Clone)]
enum NewRule {
    Conditional(ConditionalPushRule),
    Content(PatternedPushRule),
    Room(SimplePushRule<OwnedRoomId>),
    Sender(SimplePushRule<OwnedUserId>),
}

fn put(request: &Request, user: &str, kind: &RuleKind, id: &str) -> Result {
    if id.is_empty() || id.len() > MAX_TEXT {
        return Err(Error::invalid_param(format!("a rule id has 1 to {MAX_TEXT} bytes")));
    }
    if id.starts_with('.') {
        return Err(Error::invalid_param(
            "ids of default rules, which start with a dot, are reserved",
        ));
    }
    if id.contains(['/', '\\', '\0']) {
        return Err(Error::invalid_param("a rule id has no slash and no backslash"));
    }
    let rule = new_rule(kind, &rules::inner_id(kind, id), request.json()?)?;
    let (before, after) = (request.query("before"), request.query("after"));
    if [before, after].into_iter().flatten().any(|id| id.starts_with('.')) {
        return Err(Error::invalid_param("a rule cannot be placed relative to a default rule"));
    }
    let inner = |id: Option<&str>| id.map(|id| rules::inner_id(kind, id).into_owned());
    let (before, after) = (inner(before), inner(after));
    rules::change(user, |rules| {
        insert(rules, kind, rule.clone(), before.as_deref(), after.as_deref())
    })?;
    Answer::empty()
}

fn new_rule(kind: &RuleKind, id: &str, body: Body) -> Outcome<NewRule> {
    let actions = actions(body.actions)?;
    let malformed = |what| Error::invalid_param(format!("the rule's id must be a {what} id"));
    Ok(match kind {
        RuleKind::Content => {
            let pattern = body.pattern.ok_or_else(|| Error::missing_param("pattern is missing"))?;
            if pattern.is_empty() || pattern.len() > MAX_TEXT {
                return Err(Error::invalid_param(format!("a pattern has 1 to {MAX_TEXT} bytes")));
            }
            NewRule::Content(NewPatternedPushRule::new(id.to_owned(), pattern, actions).into())
        }
        RuleKind::Room => {
            let id = OwnedRoomId::try_from(id).map_err(|_| malformed("room"))?;
            NewRule::Room(NewSimplePushRule::new(id, actions).into())
        }
        RuleKind::Sender => {
            let id = OwnedUserId::try_from(id).map_err(|_| malformed("user"))?;
            NewRule::Sender(NewSimplePushRule::new(id, actions).into())
        }
        _ => {
            let conditions = body.conditions.unwrap_or_default();
            if conditions.len() > MAX_PARTS {
                return Err(Error::invalid_param(format!("over {MAX_PARTS} conditions")));
            }
            let conditions: Vec<PushCondition> = conditions
                .into_iter()
                .map(serde_json::from_value)
                .collect::<std::result::Result<_, _>>()
                .map_err(|error| Error::invalid_param(format!("malformed condition: {error}")))?;
            let rule = NewConditionalPushRule::new(id.to_owned(), conditions, actions);
            NewRule::Conditional(rule.into())
        }
    })
}

/// Puts a rule in place of the one with its id, or among the others. A rule that was there keeps being enabled or not.
macro_rules! place {
    ($rules:expr, $rule:expr, $first:expr, $before:expr, $after:expr) => {{
        let mut rule = $rule;
        let mut list: Vec<_> = std::mem::take(&mut $rules).into_iter().collect();
        let mut old = list.iter().position(|known| known.rule_id == rule.rule_id);
        if let Some(known) = old.and_then(|at| list.get(at)) {
            rule.enabled = known.enabled;
            if $before.is_some() || $after.is_some() {
                list.retain(|known| known.rule_id != rule.rule_id);
                old = None;
            }
        }
        let find = |id: &str| {
            list.iter().position(|known| known.rule_id == id).ok_or_else(unknown_neighbour)
        };
        // Spec: with both, the rule stands right before `before`.
        let after = $after.map(find).transpose()?.map(|at| at + 1);
        let before = $before.map(find).transpose()?;
        let at = match (before, after) {
            (Some(before), Some(after)) if before < after => return Err(crossed()),
            (Some(at), _) | (None, Some(at)) => at,
            (None, None) => $first.min(list.len()),
        };
        match old.and_then(|old| list.get_mut(old)) {
            Some(known) => *known = rule,
            None => list.insert(at, rule),
        }
        $rules = list.into_iter().collect();
    }};
}

fn unknown_neighbour() -> Error {
    Error::new(ErrorCode::Unknown, "before/after rule not found").status(400)
}

fn crossed() -> Error {
    Error::invalid_param("before has a higher priority than after")
}

fn insert(
    rules: &mut Ruleset,
    kind: &RuleKind,
    rule: NewRule,
    before: Option<&str>,
    after: Option<&str>,
) -> Outcome<()> {
    match rule {
        // `.m.rule.master` stays the first of all.
        NewRule::Conditional(rule) if *kind == RuleKind::Override => {
            place!(rules.override_, rule, 1, before, after);
        }
        NewRule::Conditional(rule) => place!(rules.underride, rule, 0, before, after),
        NewRule::Content(rule) => place!(rules.content, rule, 0, before, after),
        NewRule::Room(rule) => place!(rules.room, rule, 0, before, after),
        NewRule::Sender(rule) => place!(rules.sender, rule, 0, before, after),
    }
    Ok(())
}
