//! What the events of one room change.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ruma::push::PushConditionRoomCtx;
use ruma::{OwnedUserId, UserId};
use tessera_sdk::matrix::server_name;

use super::evaluate::{self, Parsed};
use super::own::{Case, Memo, Own, Verdict, unchanged};
use super::read::{Change, Custom, Event, Room};
use super::room;
use crate::pushers::Pusher;

/// Changes of one thread.
#[derive(Debug, Default)]
pub(super) struct Thread {
    /// Whether an event of the batch notified anybody.
    pub told: bool,
    /// By how much the totals rise.
    pub notifications: i64,
    pub highlights: i64,
    /// Its first and last event that are kept.
    pub first: i64,
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
    pub verdict: Rc<Verdict>,
    /// Local users to whom it is something else. They may not be members.
    pub own: BTreeMap<String, Rc<Verdict>>,
}

impl Notified {
    fn tells_anybody(&self) -> bool {
        self.verdict.notify || self.own.values().any(|verdict| verdict.notify)
    }
}

/// What the pushers of some users are told of an event.
#[derive(Debug)]
pub(super) struct Push {
    pub position: i64,
    pub event_id: String,
    pub verdict: Rc<Verdict>,
    /// In order, once each.
    pub users: Vec<String>,
}

/// All changes of one room.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub room_id: String,
    pub seen: Option<i64>,
    /// Whether everybody who counts has a mark of the main timeline.
    pub marked: bool,
    pub members_changed: i64,
    pub first: i64,
    pub last: i64,
    pub threads: BTreeMap<String, Thread>,
    pub joined: BTreeMap<String, i64>,
    /// Whose marks go; those who joined get new ones.
    pub left: BTreeSet<String>,
    /// Rooms that replace this one from now on.
    pub replaced_by: Vec<String>,
    pub notified: Vec<Notified>,
    pub pushes: Vec<Push>,
    /// Pushers that are told something.
    pub told: Vec<Pusher>,
}

/// A room whose members' rules are being applied.
pub(super) struct Draft<'a> {
    judge: Judge<'a>,
    /// One for each event; none where it cannot be read, or notifies nobody for sure.
    notified: Vec<Option<Notified>>,
}

/// Applies the default rules to the events of a room, and the rules of those members who were read with it.
pub(super) fn begin<'a>(room: &'a Room, tenant: &'a str) -> Draft<'a> {
    let mut judge = Judge { room, tenant, context: None, memo: Memo::default() };
    let notified = room.events.iter().map(|event| {
        let looked_at = !event.silent
            && (evaluate::matters(event) || !room.custom.is_empty() || room.more_custom);
        let parsed = if looked_at { evaluate::parse(event) } else { None };
        parsed.and_then(|parsed| judge.judge(event, &parsed))
    });
    let notified = notified.collect();
    Draft { judge, notified }
}

impl Draft<'_> {
    pub(super) fn room(&self) -> &Room {
        self.judge.room
    }

    /// Applies the rules of more members.
    pub(super) fn more(&mut self, customs: &[Custom]) {
        if customs.is_empty() {
            return;
        }
        for (event, notified) in self.judge.room.events.iter().zip(&mut self.notified) {
            let Some(notified) = notified else { continue };
            if let Some(parsed) = evaluate::parse(event) {
                self.judge.memo = Memo::default();
                self.judge.customs(customs, event, &parsed, notified);
            }
        }
    }

    /// What follows, events oldest first. `invited`: pushers of those whom the batch invites.
    pub(super) fn finish(self, invited: &[Pusher]) -> Ledger {
        let (room, tenant) = (self.judge.room, self.judge.tenant);
        let mut ledger = Ledger {
            room_id: room.room_id.clone(),
            seen: room.seen,
            marked: room.marked_upto.is_some_and(|upto| upto >= room.members_changed),
            members_changed: room.members_changed,
            first: room.events.first().map_or(0, |event| event.position),
            last: room.events.last().map_or(0, |event| event.position),
            replaced_by: room.replaced_by.clone(),
            ..Ledger::default()
        };
        for change in &room.changes {
            ledger.member(change);
        }
        for (event, notified) in room.events.iter().zip(self.notified) {
            if event.silent {
                continue;
            }
            let notified = notified.and_then(|mut notified| {
                if let Some(users) = room.ignoring.get(&event.sender) {
                    ignore(users, &mut notified);
                }
                notified.tells_anybody().then_some(notified)
            });
            let thread = room.threads.get(&event.event_id).cloned().unwrap_or_default();
            ledger.enter(event, thread, notified, server_name(&event.sender) == tenant);
        }
        ledger.push(room, invited);
        ledger
    }
}

impl Ledger {
    /// What a member event says does not count: where the graph forked it may not be in force.
    fn member(&mut self, change: &Change) {
        let Change { position, user_id, membership, before } = change;
        if membership == "join" && before == "join" {
            return;
        }
        if membership == "join" {
            self.joined.insert(user_id.clone(), *position);
        } else {
            self.joined.remove(user_id);
        }
        // Also of those who come in: they begin anew, whatever is left of their last time here.
        self.left.insert(user_id.clone());
    }

    /// What pushers are told: all of a user's are told the same.
    fn push(&mut self, room: &Room, invited: &[Pusher]) {
        if room.pushers.is_empty() && invited.is_empty() {
            return;
        }
        let mut hearing = BTreeSet::new();
        for notified in &self.notified {
            let position = notified.position;
            let own = |user: &str| notified.own.get(user);
            let members = room.pushers.iter().filter_map(|pusher| {
                let user = pusher.key.user_id.as_str();
                // Who joined in this batch hears of nothing before.
                let joined = self.joined.get(user).is_none_or(|joined| *joined < position);
                let hears = joined && user != notified.sender;
                hears.then(|| (user, own(user).unwrap_or(&notified.verdict)))
            });
            let invited = invited.iter().filter_map(|pusher| {
                let user = pusher.key.user_id.as_str();
                let target = notified.invites.as_deref() == Some(user) && user != notified.sender;
                own(user).filter(|_| target).map(|verdict| (user, verdict))
            });
            let mut told: BTreeMap<&Rc<Verdict>, BTreeSet<&str>> = BTreeMap::new();
            for (user, verdict) in members.chain(invited).filter(|(_, verdict)| verdict.notify) {
                told.entry(verdict).or_default().insert(user);
            }
            for (verdict, users) in told {
                self.pushes.push(Push {
                    position,
                    event_id: notified.event_id.clone(),
                    verdict: Rc::clone(verdict),
                    users: users.iter().map(|user| (*user).to_owned()).collect(),
                });
                hearing.extend(users);
            }
        }
        let all = room.pushers.iter().chain(invited);
        let told = all.filter(|pusher| hearing.contains(pusher.key.user_id.as_str()));
        self.told = told.cloned().collect();
    }

    fn enter(&mut self, event: &Event, thread: String, notified: Option<Notified>, local: bool) {
        // A reaction or a redaction does not show that its sender has read everything.
        let read = local
            && event.state_key.is_none()
            && !matches!(event.kind.as_str(), "m.reaction" | "m.room.redaction");
        if notified.is_none() && !read {
            return;
        }
        let entry = self.threads.entry(thread.clone()).or_default();
        if read {
            entry.sent.insert(event.sender.clone(), event.position);
        }
        let Some(mut notified) = notified else { return };
        notified.thread = thread;
        let (n, h) = notified.verdict.counts();
        entry.told = true;
        if entry.first == 0 {
            entry.first = event.position;
        }
        entry.last = event.position;
        entry.notifications += n;
        entry.highlights += h;
        for (user, verdict) in &notified.own {
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
    /// What an event does to whom, the members aside who were not read yet.
    fn judge(&mut self, event: &Event, parsed: &Parsed) -> Option<Notified> {
        self.memo = Memo::default();
        let nobody = nobody(event, parsed)?;
        let verdict = self.of(&unchanged(), "", &nobody, parsed)?;
        let mut notified = Notified {
            position: event.position,
            event_id: event.event_id.clone(),
            thread: String::new(),
            sender: event.sender.clone(),
            invites: event.state_key.clone().filter(|_| parsed.invite),
            verdict,
            own: BTreeMap::new(),
        };
        self.mentioned(event, parsed, &mut notified);
        let room = self.room;
        self.customs(&room.custom, event, parsed, &mut notified);
        Some(notified)
    }

    /// The default rules look at a user in two ways only: as the target of an invite and as one who is mentioned. So all
    /// whom an event mentions share one verdict.
    fn mentioned(&mut self, event: &Event, parsed: &Parsed, notified: &mut Notified) {
        let users: BTreeSet<&String> = parsed
            .mentions
            .iter()
            .filter(|user| server_name(user) == self.tenant && **user != event.sender)
            .collect();
        let first = users.iter().find_map(|user| OwnedUserId::try_from(user.as_str()).ok());
        let verdict = first.and_then(|first| self.of(&unchanged(), "", &first, parsed));
        if let Some(verdict) = verdict.filter(|verdict| *verdict != notified.verdict) {
            notified.own =
                users.into_iter().map(|user| (user.clone(), Rc::clone(&verdict))).collect();
        }
        if let Some(user) = notified.invites.clone().filter(|user| server_name(user) == self.tenant)
        {
            let own = self.room.invited.iter().find(|custom| custom.user_id == user);
            let rules = own.map_or_else(unchanged, |custom| Rc::clone(&custom.rules));
            self.enter(&rules, "", &user, parsed, notified);
        }
    }

    /// What it is to these users, whatever it was without their rules.
    fn customs(
        &mut self,
        customs: &[Custom],
        event: &Event,
        parsed: &Parsed,
        notified: &mut Notified,
    ) {
        for custom in customs {
            if custom.user_id != event.sender && notified.invites.as_ref() != Some(&custom.user_id)
            {
                let Custom { user_id, display_name, rules } = custom;
                self.enter(rules, display_name, user_id, parsed, notified);
            }
        }
    }

    fn enter(
        &mut self,
        rules: &Own,
        name: &str,
        user_id: &str,
        parsed: &Parsed,
        notified: &mut Notified,
    ) {
        let Ok(user) = <&UserId>::try_from(user_id) else { return };
        let Some(verdict) = self.of(rules, name, user, parsed) else { return };
        if verdict == notified.verdict {
            notified.own.remove(user_id);
        } else {
            notified.own.insert(user_id.to_owned(), verdict);
        }
    }

    fn of(
        &mut self,
        rules: &Own,
        name: &str,
        user: &UserId,
        parsed: &Parsed,
    ) -> Option<Rc<Verdict>> {
        if self.context.is_none() {
            self.context = room::context(self.room, user);
        }
        let context = self.context.as_mut()?;
        user.clone_into(&mut context.user_id);
        name.clone_into(&mut context.user_display_name);
        Some(Case { event: parsed, context, memo: &mut self.memo }.verdict(rules))
    }
}

/// Whoever ignores the sender is told nothing.
fn ignore(users: &BTreeSet<String>, notified: &mut Notified) {
    notified.own.retain(|user, _| !users.contains(user));
    if *notified.verdict != Verdict::default() {
        let nothing: Rc<Verdict> = Rc::default();
        notified.own.extend(users.iter().map(|user| (user.clone(), Rc::clone(&nothing))));
    }
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
