//! Rules of users, kept small: what differs from the defaults, which are there once for all.
//!
//! Default rules come after a user's own of their kind, but for `.m.rule.master`, so the order need not be kept.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ruma::push::{
    Action, ConditionalPushRule, PatternedPushRule, PushCondition, PushConditionRoomCtx, Ruleset,
    SimplePushRule,
};
use ruma::{OwnedRoomId, OwnedUserId, UserId};

use super::evaluate::Parsed;

/// What an event does to a user. `highlight` only with `notify`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
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

    fn of(actions: &[Action]) -> Rc<Self> {
        if !actions.iter().any(Action::should_notify) {
            return Rc::default();
        }
        Rc::new(Self {
            notify: true,
            highlight: actions.iter().any(Action::is_highlight),
            actions: serde_json::to_string(actions).unwrap_or_else(|_| "[]".to_owned()),
        })
    }
}

/// The first default rule: a user who enables it is told nothing but what own rules say in its place.
const MASTER: &str = ".m.rule.master";

/// A user's rules, as far as they differ from the defaults. Disabled ones are left out.
#[derive(Debug, Default)]
pub(super) struct Own {
    master: Option<Rc<Verdict>>,
    override_: Vec<(ConditionalPushRule, Rc<Verdict>)>,
    content: Vec<(PatternedPushRule, Rc<Verdict>)>,
    room: Vec<(OwnedRoomId, Rc<Verdict>)>,
    sender: Vec<(OwnedUserId, Rc<Verdict>)>,
    underride: Vec<(ConditionalPushRule, Rc<Verdict>)>,
    /// Default rules that are disabled (none) or do something else.
    changed: HashMap<String, Option<Rc<Verdict>>>,
    /// A condition asks for power levels.
    pub powers: bool,
    /// About how many bytes it takes.
    pub weight: usize,
}

impl Own {
    /// `weight`: see there.
    pub(super) fn new(rules: &Ruleset, weight: usize) -> Self {
        let mut own = Self { weight, ..Self::default() };
        for rule in &rules.override_ {
            if rule.rule_id == MASTER {
                own.master = rule.enabled.then(|| Verdict::of(&rule.actions));
            } else if own.keeps(rule) {
                own.override_.push((rule.clone(), Verdict::of(&rule.actions)));
            }
        }
        for rule in &rules.underride {
            if own.keeps(rule) {
                own.underride.push((rule.clone(), Verdict::of(&rule.actions)));
            }
        }
        for rule in rules.content.iter().filter(|rule| rule.enabled) {
            own.content.push((rule.clone(), Verdict::of(&rule.actions)));
        }
        fn simple<T: Clone + AsRef<str>>(rule: &SimplePushRule<T>) -> (T, Rc<Verdict>) {
            (rule.rule_id.clone(), Verdict::of(&rule.actions))
        }
        own.room.extend(rules.room.iter().filter(|rule| rule.enabled).map(simple));
        own.sender.extend(rules.sender.iter().filter(|rule| rule.enabled).map(simple));
        own
    }

    /// Whether it is an enabled rule of the user's own; of default rules it is noted what is changed.
    fn keeps(&mut self, rule: &ConditionalPushRule) -> bool {
        if !rule.default {
            if rule.enabled {
                self.powers |= rule.conditions.iter().any(|condition| {
                    matches!(condition, PushCondition::SenderNotificationPermission(_))
                });
            }
            return rule.enabled;
        }
        let verdict = Verdict::of(&rule.actions);
        let same = DEFAULTS.with(|defaults| {
            let all = defaults.override_.iter().chain(&defaults.underride);
            let known = all.into_iter().find(|known| known.rule.rule_id == rule.rule_id);
            known.is_some_and(|known| rule.enabled && known.verdict == verdict)
        });
        if !same {
            self.changed.insert(rule.rule_id.clone(), rule.enabled.then_some(verdict));
        }
        false
    }
}

struct Default_ {
    rule: ConditionalPushRule,
    verdict: Rc<Verdict>,
    /// The same for all users.
    common: bool,
}

struct Defaults {
    override_: Vec<Default_>,
    underride: Vec<Default_>,
}

thread_local! {
    static DEFAULTS: Defaults = defaults();
    static NONE: Rc<Own> = Rc::new(Own::default());
}

/// Whoever changed nothing.
pub(super) fn unchanged() -> Rc<Own> {
    NONE.with(Rc::clone)
}

fn defaults() -> Defaults {
    let rules = |user: &str| {
        OwnedUserId::try_from(user).map(|user| Ruleset::server_default(&user)).unwrap_or_default()
    };
    let (one, other) = (rules("@one:push.invalid"), rules("@other:push.invalid"));
    let conditions = |rule: &ConditionalPushRule| {
        serde_json::to_string(&rule.conditions).unwrap_or_else(|_| rule.rule_id.clone())
    };
    let personal: HashSet<String> =
        other.override_.iter().chain(&other.underride).map(conditions).collect();
    let each = |rule: ConditionalPushRule| Default_ {
        verdict: Verdict::of(&rule.actions),
        common: personal.contains(&conditions(&rule)),
        rule,
    };
    Defaults {
        override_: one
            .override_
            .into_iter()
            .filter(|rule| rule.rule_id != MASTER)
            .map(each)
            .collect(),
        underride: one.underride.into_iter().map(each).collect(),
    }
}

/// What is known of one event: whether the default rules that look at no user apply, in their order.
#[derive(Default)]
pub(super) struct Memo(Vec<Option<bool>>);

/// One event and one user, who is not its sender.
pub(super) struct Case<'a> {
    pub event: &'a Parsed,
    /// Holds the user.
    pub context: &'a PushConditionRoomCtx,
    pub memo: &'a mut Memo,
}

impl Case<'_> {
    /// What the first rule that applies says.
    pub(super) fn verdict(&mut self, own: &Own) -> Rc<Verdict> {
        if let Some(verdict) = &own.master {
            return Rc::clone(verdict);
        }
        self.first(own).unwrap_or_default()
    }

    fn first(&mut self, own: &Own) -> Option<Rc<Verdict>> {
        let user: &UserId = &self.context.user_id;
        let personal = self.event.concerns(user.as_str()).then(|| Ruleset::server_default(user));
        let flat = &self.event.flat;
        if let Some(found) = self.conditional(&own.override_) {
            return Some(found);
        }
        if let Some(found) =
            DEFAULTS.with(|all| self.default(&all.override_, 0, &own.changed, personal.as_ref()))
        {
            return Some(found);
        }
        let content = own
            .content
            .iter()
            .find(|(rule, _)| rule.applies_to("content.body", flat, self.context));
        if let Some((_, verdict)) = content {
            return Some(Rc::clone(verdict));
        }
        let room = own.room.iter().find(|(room, _)| *room == self.context.room_id);
        if let Some((_, verdict)) = room {
            return Some(Rc::clone(verdict));
        }
        let sender = flat.get_str("sender");
        if let Some((_, verdict)) =
            own.sender.iter().find(|(user, _)| Some(user.as_str()) == sender)
        {
            return Some(Rc::clone(verdict));
        }
        if let Some(found) = self.conditional(&own.underride) {
            return Some(found);
        }
        DEFAULTS.with(|all| {
            self.default(&all.underride, all.override_.len(), &own.changed, personal.as_ref())
        })
    }

    fn conditional(&self, rules: &[(ConditionalPushRule, Rc<Verdict>)]) -> Option<Rc<Verdict>> {
        let applies = |rule: &ConditionalPushRule| self.applies(rule);
        rules.iter().find(|(rule, _)| applies(rule)).map(|(_, verdict)| Rc::clone(verdict))
    }

    /// `first`: the place of the first of these rules in the memo. `personal`: the defaults of a user whom the event concerns: rules that
    /// look at a user apply to nobody else.
    fn default(
        &mut self,
        rules: &[Default_],
        first: usize,
        changed: &HashMap<String, Option<Rc<Verdict>>>,
        personal: Option<&Ruleset>,
    ) -> Option<Rc<Verdict>> {
        for (at, default) in rules.iter().enumerate() {
            let id = default.rule.rule_id.as_str();
            let verdict = match changed.get(id) {
                Some(None) => continue,
                Some(Some(verdict)) => verdict,
                None => &default.verdict,
            };
            let applies = if default.common {
                self.memo(first + at, &default.rule)
            } else {
                let rule = personal
                    .and_then(|all| all.override_.get(id).or_else(|| all.underride.get(id)));
                rule.is_some_and(|rule| self.applies(rule))
            };
            if applies {
                return Some(Rc::clone(verdict));
            }
        }
        None
    }

    fn memo(&mut self, at: usize, rule: &ConditionalPushRule) -> bool {
        if self.memo.0.len() <= at {
            self.memo.0.resize(at + 1, None);
        }
        if let Some(known) = self.memo.0.get(at).copied().flatten() {
            return known;
        }
        let applies = self.applies(rule);
        if let Some(place) = self.memo.0.get_mut(at) {
            *place = Some(applies);
        }
        applies
    }

    fn applies(&self, rule: &ConditionalPushRule) -> bool {
        ready(rule.applies(&self.event.flat, self.context))
    }
}

/// Nothing in there ever waits: thread subscriptions, the only reason, are not compiled in.
fn ready(applies: impl Future<Output = bool>) -> bool {
    let applies = pin!(applies);
    matches!(applies.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(true))
}
