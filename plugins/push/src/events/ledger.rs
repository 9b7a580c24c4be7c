//! What the events of one room change.

use std::collections::{BTreeMap, BTreeSet};

use ruma::push::{PushConditionRoomCtx, Ruleset};
use ruma::{OwnedUserId, UserId};
use tessera_sdk::matrix::server_name;

use super::evaluate::{self, Memo, Parsed, Verdict, verdict};
use super::read::{Custom, Event, Room};
use super::room;
use crate::pushers::{Push, Pusher};

/// Changes of one thread.
#[derive(Debug, Default)]
pub(super) struct Thread {
    /// Whether an event of the batch notified anybody.
    pub told: bool,
    /// By how much the totals rise.
    pub notifications: i64,
    pub highlights: i64,
    /// Its last event that is kept.
    pub last: i64,
    /// To be taken off for these users of what the totals rise: notifications and highlights.
    pub adjust: BTreeMap<String, (i64, i64)>,
    /// Local users who sent something, and where: they have read up to it.
    pub sent: BTreeMap<String, i64>,
}

/// An event that notifies somebody.
#[derive(Debug)]
pub(super) struct Notified {
    pub position: i64,
    pub event_id: String,
    pub thread: String,
    pub sender: String,
    /// Whom it invites.
    pub invites: Option<String>,
    /// By the default rules.
    pub verdict: Verdict,
    /// Members with rules of their own, and invited users.
    pub known: Vec<(String, Verdict)>,
    /// Mentioned local users; they may not be members.
    pub mentioned: Vec<(String, Verdict)>,
}

/// All changes of one room.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub room_id: String,
    pub seen: Option<i64>,
    pub members_changed: i64,
    pub first: i64,
    pub last: i64,
    pub threads: BTreeMap<String, Thread>,
    pub joined: BTreeMap<String, i64>,
    pub left: BTreeSet<String>,
    pub notified: Vec<Notified>,
    /// What pushers are told of it.
    pub pushes: Vec<Push>,
}

/// Evaluates the events of a room, oldest first. `invited`: pushers of those whom the batch invites.
pub(super) fn write(room: &Room, tenant: &str, invited: &[Pusher]) -> Ledger {
    let mut ledger = Ledger {
        room_id: room.room_id.clone(),
        seen: room.seen,
        members_changed: room.members_changed,
        first: room.events.first().map_or(0, |event| event.position),
        last: room.events.last().map_or(0, |event| event.position),
        ..Ledger::default()
    };
    let mut judge = Judge { room, tenant, context: None, memo: Memo::default() };
    for event in room.events.iter().filter(|event| !event.silent) {
        if !room.stays.contains(&event.position) {
            ledger.member(event, tenant);
        }
        let threaded = evaluate::may_be_threaded(event);
        let evaluated = evaluate::matters(event) || !room.custom.is_empty();
        let mut parsed = if evaluated || threaded { evaluate::parse(event) } else { None };
        // What names a root that is none belongs to the main timeline.
        if let Some(parsed) = parsed.as_mut().filter(|parsed| !room.roots.contains(&parsed.thread))
        {
            parsed.thread.clear();
        }
        let notified =
            parsed.as_ref().filter(|_| evaluated).and_then(|parsed| judge.judge(event, parsed));
        let thread = parsed.map(|parsed| parsed.thread).unwrap_or_default();
        ledger.enter(event, thread, notified, server_name(&event.sender) == tenant);
    }
    ledger.push(room, invited);
    ledger
}

impl Ledger {
    fn member(&mut self, event: &Event, tenant: &str) {
        let Some(user) = event.state_key.as_ref().filter(|_| event.kind == "m.room.member") else {
            return;
        };
        if server_name(user) != tenant {
            return;
        }
        let content = serde_json::from_str::<serde_json::Value>(&event.json).ok();
        let membership = content
            .as_ref()
            .and_then(|event| event.get("content")?.get("membership")?.as_str())
            .unwrap_or_default();
        if membership == "join" {
            self.joined.entry(user.clone()).or_insert(event.position);
        } else {
            self.joined.remove(user);
            self.left.insert(user.clone());
        }
    }

    /// What pushers are told.
    fn push(&mut self, room: &Room, invited: &[Pusher]) {
        if room.pushers.is_empty() && invited.is_empty() {
            return;
        }
        for notified in &self.notified {
            let position = notified.position;
            let own = |user: &str| {
                let exceptions = notified.known.iter().chain(&notified.mentioned);
                exceptions.into_iter().find(|(known, _)| known == user).map(|(_, verdict)| verdict)
            };
            let members = room.pushers.iter().filter_map(|pusher| {
                let user = pusher.key.user_id.as_str();
                // Who joined in this batch hears of nothing before.
                let joined = self.joined.get(user).is_none_or(|joined| *joined < position);
                let hears = joined && user != notified.sender;
                hears.then(|| (pusher, own(user).unwrap_or(&notified.verdict)))
            });
            let invited = invited.iter().filter_map(|pusher| {
                let user = pusher.key.user_id.as_str();
                let target = notified.invites.as_deref() == Some(user) && user != notified.sender;
                own(user).filter(|_| target).map(|verdict| (pusher, verdict))
            });
            let told = members.chain(invited).filter(|(_, verdict)| verdict.notify);
            self.pushes.extend(told.map(|(pusher, verdict)| Push {
                pusher: pusher.clone(),
                position,
                event_id: notified.event_id.clone(),
                actions: verdict.actions.clone(),
            }));
        }
    }

    fn enter(&mut self, event: &Event, thread: String, notified: Option<Notified>, local: bool) {
        // A reaction or a redaction does not show that its sender has read everything.
        let read = local
            && event.state_key.is_none()
            && !matches!(event.kind.as_str(), "m.reaction" | "m.room.redaction");
        if notified.is_none() && !read {
            return;
        }
        let entry = self.threads.entry(thread).or_default();
        if read {
            entry.sent.insert(event.sender.clone(), event.position);
        }
        let Some(notified) = notified else { return };
        let (n, h) = notified.verdict.counts();
        entry.told = true;
        entry.last = event.position;
        entry.notifications += n;
        entry.highlights += h;
        for (user, verdict) in notified.known.iter().chain(&notified.mentioned) {
            let (own_n, own_h) = verdict.counts();
            let sum = entry.adjust.entry(user.clone()).or_default();
            *sum = (sum.0 + n - own_n, sum.1 + h - own_h);
        }
        if local && !read {
            let sum = entry.adjust.entry(event.sender.clone()).or_default();
            *sum = (sum.0 + n, sum.1 + h);
        }
        self.notified.push(notified);
    }
}

struct Judge<'a> {
    room: &'a Room,
    tenant: &'a str,
    context: Option<PushConditionRoomCtx>,
    /// Of the event at hand.
    memo: Memo,
}

impl Judge<'_> {
    /// What an event does to whom; nothing if it notifies nobody.
    fn judge(&mut self, event: &Event, parsed: &Parsed) -> Option<Notified> {
        self.memo = Memo::default();
        let nobody = nobody(event, parsed)?;
        let common = self.by_default(&nobody, parsed)?;
        let mut notified = Notified {
            position: event.position,
            event_id: event.event_id.clone(),
            thread: parsed.thread.clone(),
            sender: event.sender.clone(),
            invites: event.state_key.clone().filter(|_| parsed.invite),
            verdict: common,
            known: Vec::new(),
            mentioned: Vec::new(),
        };
        let room = self.room;
        for custom in room.custom.iter().filter(|custom| custom.user_id != event.sender) {
            if let Some(verdict) = self.own(custom, parsed)
                && verdict != notified.verdict
            {
                notified.known.push((custom.user_id.clone(), verdict));
            }
        }
        self.mentioned(event, parsed, &mut notified);
        if parsed.invite {
            self.invited(event, parsed, &mut notified);
        }
        if let Some(users) = room.ignoring.get(&event.sender) {
            ignore(users, &mut notified);
        }
        let told = notified.verdict.notify
            || notified.known.iter().chain(&notified.mentioned).any(|(_, verdict)| verdict.notify);
        told.then_some(notified)
    }

    /// The default rules look at a user in two ways only: as the target of an invite and as one who is mentioned. So all
    /// whom an event mentions share one verdict.
    fn mentioned(&mut self, event: &Event, parsed: &Parsed, notified: &mut Notified) {
        let mut users: BTreeSet<&String> = parsed
            .mentions
            .iter()
            .filter(|user| server_name(user) == self.tenant && **user != event.sender)
            .collect();
        for custom in &self.room.custom {
            users.remove(&custom.user_id);
        }
        let first = users.iter().find_map(|user| OwnedUserId::try_from(user.as_str()).ok());
        let Some(verdict) = first.and_then(|first| self.by_default(&first, parsed)) else { return };
        if verdict == notified.verdict {
            return;
        }
        notified.mentioned =
            users.into_iter().map(|user| (user.clone(), verdict.clone())).collect();
    }

    fn invited(&mut self, event: &Event, parsed: &Parsed, notified: &mut Notified) {
        let Some(user) = event.state_key.as_ref().filter(|user| server_name(user) == self.tenant)
        else {
            return;
        };
        let room = self.room;
        let own = room.invited.iter().find(|custom| custom.user_id == *user);
        let verdict = match own {
            Some(custom) => self.own(custom, parsed),
            None => OwnedUserId::try_from(user.as_str())
                .ok()
                .and_then(|user| self.by_default(&user, parsed)),
        };
        notified.mentioned.retain(|(mentioned, _)| mentioned != user);
        notified.known.retain(|(known, _)| known != user);
        if let Some(verdict) = verdict.filter(|verdict| *verdict != notified.verdict) {
            notified.known.push((user.clone(), verdict));
        }
    }

    fn by_default(&mut self, user: &UserId, parsed: &Parsed) -> Option<Verdict> {
        let context = context(&mut self.context, self.room, user, "")?;
        Some(verdict(&Ruleset::server_default(user), &parsed.flat, context, &mut self.memo))
    }

    fn own(&mut self, custom: &Custom, parsed: &Parsed) -> Option<Verdict> {
        let user = <&UserId>::try_from(custom.user_id.as_str()).ok()?;
        let context = context(&mut self.context, self.room, user, &custom.display_name)?;
        Some(verdict(&custom.rules, &parsed.flat, context, &mut self.memo))
    }
}

/// Whoever ignores the sender is told nothing.
fn ignore(users: &BTreeSet<String>, notified: &mut Notified) {
    notified.mentioned.retain(|(user, _)| !users.contains(user));
    notified.known.retain(|(user, _)| !users.contains(user));
    if notified.verdict != Verdict::default() {
        notified.known.extend(users.iter().map(|user| (user.clone(), Verdict::default())));
    }
}

/// The room as this user sees it; made once, then only the user changes.
fn context<'a>(
    made: &'a mut Option<PushConditionRoomCtx>,
    room: &Room,
    user: &UserId,
    name: &str,
) -> Option<&'a PushConditionRoomCtx> {
    if made.is_none() {
        *made = room::context(room, user);
    }
    let context = made.as_mut()?;
    user.clone_into(&mut context.user_id);
    name.clone_into(&mut context.user_display_name);
    Some(context)
}

/// A user whom the event neither mentions nor concerns: what the default rules say to them they say to all others.
fn nobody(event: &Event, parsed: &Parsed) -> Option<OwnedUserId> {
    (0..=parsed.mentions.len() + 1)
        .map(|n| format!("@nobody{n}:push.invalid"))
        .find(|user| {
            !parsed.mentions.contains(user)
                && event.state_key.as_ref() != Some(user)
                && event.sender != *user
        })
        .and_then(|user| OwnedUserId::try_from(user).ok())
}
