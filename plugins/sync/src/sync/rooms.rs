//! Puts an answer together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::value::RawValue;
use tessera_sdk::matrix::{ClientFormat, Error};
use tessera_sdk::{cache, clock, hooks, log, services};

use super::ask::{Ask, Part};
use super::crowd::{Member, Scribe, Written};
use super::draft::{self, Draft, drafts};
use super::ephemeral;
use super::fill::{Filled, Plan};
use super::read::{Count, Membership, News};
use super::response::{Counts, Events, Invited, Knocked, Open, Response, Room, Rooms, Timeline};
use super::whole;
use crate::budget::Failure;
use crate::devices::DeviceLists;
use crate::event::{EventRow, Extra, Writer, content};
use crate::fill::Given;
use crate::filter::Filter;
use crate::near::{Moved, Movements};
use crate::state::{self, Undone};
use crate::token::{SyncToken, Token};
use crate::visibility::Visibility;

/// How long it is remembered which members a lazy client has been sent.
const SENT_MEMBERS_MS: u32 = 60 * 60 * 1000;

/// Everything that belongs to one answer.
struct Answering<'a> {
    ask: &'a Ask,
    filter: &'a Filter,
    writer: Writer<'a>,
    lazy: bool,
    /// Members of rooms told whole are written as text.
    direct: bool,
}

/// How events are written that the filter lets pass.
pub(super) fn writer(filter: &Filter, format: ClientFormat) -> Writer<'_> {
    Writer {
        now_ms: i64::try_from(clock::now_ms()).unwrap_or(i64::MAX),
        format,
        fields: filter.event_fields.as_deref(),
        federation: filter.event_format.as_deref() == Some("federation"),
    }
}

/// Whether state can be written as it is stored: nobody looks at it before it is sent.
pub(super) fn direct(filter: &Filter, format: ClientFormat) -> bool {
    format == ClientFormat::WithoutRoomId
        && filter.event_fields.is_none()
        && filter.event_format.as_deref() != Some("federation")
        && !hooks::answered("tessera:hooks/presentation")
}

/// Invites and knocks, where they are new to the client.
fn offers(ask: &Ask, filter: &Filter, news: &mut News, rooms: &mut Rooms) -> Result<(), Error> {
    for Membership { room_id, membership, position, sender, stripped_state, .. } in
        std::mem::take(&mut news.memberships)
    {
        let new = ask.since.is_none_or(|since| position > since) || ask.full_state;
        if !new || !filter.room.allows(&room_id) {
            continue;
        }
        let text = stripped_state.as_deref().unwrap_or("[]");
        let state = Events { events: serde_json::from_str(text).map_err(Error::internal)? };
        match membership.as_str() {
            "invite" if news.no_invites || news.ignored.contains(&sender) => {}
            "invite" => {
                rooms.invite.insert(room_id, Invited { invite_state: state });
            }
            "knock" => {
                rooms.knock.insert(room_id, Knocked { knock_state: state });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes the answer, or of a later part what it tells of its rooms. At most one storage call, which reads no more than the news have
/// left of the budget.
pub(super) fn assemble(
    ask: &Ask,
    filter: &Filter,
    mut news: News,
    format: ClientFormat,
) -> Result<Response, Failure> {
    let answering = Answering {
        ask,
        filter,
        writer: writer(filter, format),
        lazy: filter.room.state.lazy_load_members,
        direct: direct(filter, format),
    };
    let now_ms = answering.writer.now_ms;
    let movements = if ask.goes_on() { Movements::default() } else { Movements::of(ask, &news) };
    let drafts = drafts(ask, filter, &mut news);
    let (mut plan, newly_sent) = answering.plan(&drafts);
    plan.wants.movements = movements;
    plan.wants.ignored = news.ignored.clone();
    let mut filled = plan.fill(ask, &answering.writer, news.horizon, news.budget)?;
    let (fresh, left) = (plan.fresh, plan.left);
    let given = std::mem::take(&mut filled.given);
    let Given { members, extras, receipts: fresh_receipts, moved } = given;
    for (room, rows) in members {
        filled.state.entry(room).or_default().extend(rows);
    }
    filled.given.extras = extras;

    // Of a room joined since the token all account data is read once more.
    let old = std::mem::take(&mut filled.account_data);
    let mut account_data = std::mem::take(&mut news.account_data);
    account_data.retain(|row| !fresh.contains(&row.0) && !left.contains(&row.0));
    account_data.extend(old);
    let mut account_data = ephemeral::by_room(account_data);
    let all_receipts = std::mem::take(&mut news.receipts).into_iter();
    let all_receipts = all_receipts.chain(fresh_receipts);
    let mut receipts = ephemeral::receipts(all_receipts, &ask.user, &news.ignored)?;
    let mut typing = ephemeral::typing(std::mem::take(&mut news.typing), now_ms)?;
    let mut counts: HashMap<String, Vec<Count>> = HashMap::new();
    for count in std::mem::take(&mut news.counts) {
        counts.entry(count.0.clone()).or_default().push(count);
    }

    let mut rooms = Rooms::default();
    if !ask.goes_on() {
        offers(ask, filter, &mut news, &mut rooms)?;
    }
    for draft in drafts {
        let id = draft.room_id.clone();
        let (joined, full) = (draft.joined, draft.full);
        let mut room = answering.room(draft, &mut filled)?;
        let silent = !joined && answering.is_silent(&room);
        let wanted = &filter.room.account_data;
        for (kind, content) in account_data.remove(&id).unwrap_or_default() {
            if wanted.allows_type(&kind) && wanted.allows_room(&id) {
                room.account_data.events.push(ephemeral::account_data(&kind, &content)?);
            }
        }
        if joined {
            let wanted = &filter.room.ephemeral;
            let mut events = Vec::new();
            // To somebody new, nobody typing is no news.
            let typing = typing.remove(&id).filter(|(anybody, _)| *anybody || !full);
            let typing = typing.map(|(_, event)| event);
            for (kind, event) in [("m.receipt", receipts.remove(&id)), ("m.typing", typing)] {
                events
                    .extend(event.filter(|_| wanted.allows_type(kind) && wanted.allows_room(&id)));
            }
            room.ephemeral = Some(Events { events });
            let counts = counts.remove(&id).unwrap_or_default();
            let news = counts.iter().any(|count| news.tells(ask, count.4));
            answering.count(&mut room, &counts);
            if full || news || !answering.is_silent(&room) {
                rooms.join.insert(id, room);
            }
        } else if full || !silent {
            rooms.leave.insert(id, room);
        }
    }
    for (key, users) in newly_sent {
        cache::put(&key, users.as_bytes(), SENT_MEMBERS_MS, &[]);
    }

    let Moved { came, gone, presence: newcomers } = moved;
    let mut changed = news.devices.changed();
    changed.extend(came);
    let (messages, told) = news.devices.messages()?;
    let mut response = Response {
        next_batch: SyncToken { position: news.horizon, to_device: told }.to_string(),
        account_data: Events::default(),
        presence: Events::default(),
        rooms,
        to_device: Events { events: messages },
        device_lists: DeviceLists { changed, left: gone },
        device_one_time_keys_count: news.devices.one_time_counts(),
        device_unused_fallback_key_types: news.devices.unused_fallback(),
    };
    for (kind, content) in account_data.remove("").unwrap_or_default() {
        if filter.account_data.allows_type(&kind) {
            response.account_data.events.push(ephemeral::account_data(&kind, &content)?);
        }
    }
    if let Some(rules) = push_rules(ask, filter, news.push_rules.take().map(|(rules, _)| rules)) {
        response.account_data.events.push(ephemeral::account_data("m.push_rules", &rules)?);
    }
    for row in std::mem::take(&mut news.presence).into_iter().chain(newcomers) {
        if filter.presence.allows_type("m.presence") && filter.presence.allows_sender(&row.0) {
            response.presence.events.push(ephemeral::presence(row, now_ms)?);
        }
    }
    Ok(response)
}

/// Changed push rules, or at the start those in force. Without `push` a client still gets its answer.
fn push_rules(ask: &Ask, filter: &Filter, changed: Option<String>) -> Option<String> {
    if !filter.account_data.allows_type("m.push_rules") {
        return None;
    }
    if changed.is_some() || ask.since.is_some() || ask.goes_on() {
        return changed;
    }
    services::push_rules(&ask.user)
        .inspect_err(|error| log::warn("no push rules", &[("reason", &format!("{error:?}"))]))
        .ok()
}

/// Takes away what the user may not see.
fn restrict(draft: &mut Draft, view: &Visibility, current: &mut Vec<EventRow>) {
    draft::restrict(&mut draft.events, view, draft.own_event.as_deref(), &draft.deltas);
    if draft.joined {
        return;
    }
    match view.left_at() {
        Some(left) => draft.end = draft.end.min(left),
        None => {
            current.clear();
            draft.deltas.retain(|delta| delta.event_id == draft.own_event);
        }
    }
}

impl Answering<'_> {
    /// What the drafts lack, and what the cache shall say of sent members afterwards.
    fn plan<'d>(&'d self, drafts: &'d [Draft]) -> (Plan<'d>, Vec<(String, String)>) {
        let mut plan = Plan {
            crowds: whole::crowds(self.filter),
            slice: self.ask.part.as_ref().and_then(Part::large),
            ..Plan::default()
        };
        let mut newly_sent = Vec::new();
        for draft in drafts {
            let room = &draft.room_id;
            if self.lazy {
                let mut members: BTreeSet<String> =
                    draft.events.iter().map(|event| event.sender.clone()).collect();
                if draft.full {
                    members.insert(self.ask.user.clone());
                }
                let device = self.ask.device.as_deref().unwrap_or("");
                let key = format!("sent:{}:{device}:{room}", self.ask.user);
                let sent = if draft.full { None } else { cache::get(&key) };
                let sent = sent.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
                let mut all: BTreeSet<String> = sent.lines().map(str::to_owned).collect();
                if !self.filter.room.state.include_redundant_members {
                    members.retain(|member| !all.contains(member));
                }
                if !members.is_empty() {
                    all.extend(members.iter().cloned());
                    newly_sent.push((key, Vec::from_iter(all).join("\n")));
                    if draft.joined || draft.full {
                        plan.wants.members.insert(room.clone(), members);
                    } else {
                        plan.wants.members_at.insert(room.clone(), (members, draft.left_at()));
                    }
                }
            }
            // What relates to an event may have come after a leave.
            let aggregated = |e: &&EventRow| {
                e.redacted_by.is_some() || (draft.joined && e.related == Some(true))
            };
            plan.wants.aggregated.extend(draft.events.iter().filter(aggregated));
            if draft.needs_view() {
                plan.views.insert(room.clone());
            }
            if draft.fresh {
                plan.fresh.insert(room.clone());
                plan.wants.receipts.insert(room.clone());
            }
            if !draft.joined {
                plan.left.insert(room.clone());
            }
            if draft.full {
                plan.full.insert(room.clone(), draft.first_position());
            } else {
                let have: BTreeSet<&str> =
                    draft.events.iter().map(|e| e.event_id.as_str()).collect();
                for delta in &draft.deltas {
                    match &delta.event_id {
                        Some(id) if have.contains(id.as_str()) => {
                            plan.events.extend(delta.prev_event_id.clone());
                        }
                        id => plan.events.extend(id.clone()),
                    }
                }
            }
            plan.summaries.want(draft, &self.ask.user);
        }
        (plan, newly_sent)
    }

    fn room(&self, mut draft: Draft, filled: &mut Filled) -> Result<Room, Error> {
        let view = draft.view.take().or_else(|| filled.visibility.remove(&draft.room_id));
        let undone = filled.undone.remove(&draft.room_id).unwrap_or_default();
        let mut current = filled.state.remove(&draft.room_id).unwrap_or_default();
        if self.lazy && draft.full {
            current.extend(filled.summaries.heroes.remove(&draft.room_id).unwrap_or_default());
        }
        let mut crowd = filled.crowds.remove(&draft.room_id).unwrap_or_default();
        if let Some(view) = &view {
            restrict(&mut draft, view, &mut current);
            if !draft.joined && view.left_at().is_none() {
                crowd.clear();
            }
        }
        let (first, end) = (draft.first_position(), draft.end);

        let mut timeline = Vec::with_capacity(draft.events.len());
        for event in &draft.events {
            let replaced = if draft.full {
                let change =
                    undone.iter().find(|u| u.delta.event_id.as_deref() == Some(&event.event_id));
                change.and_then(|u| u.replaced.as_ref())
            } else {
                let change =
                    draft.deltas.iter().find(|d| d.event_id.as_deref() == Some(&event.event_id));
                change.and_then(|d| d.prev_event_id.as_ref()).and_then(|id| filled.events.get(id))
            };
            let membership = match &view {
                Some(view) => view.membership_after(event),
                None => draft.membership_at(event.position),
            };
            let replaced = replaced
                .map(|row| Ok::<_, Error>((row.event_id.clone(), content(&row.json)?)))
                .transpose()?;
            let extra = filled.given.extras.remove(&event.event_id).unwrap_or_default();
            let extra = Extra { replaced, membership: Some(membership.to_owned()), ..extra };
            timeline.push(self.writer.write(event, extra)?);
        }

        let after = self.ask.use_state_after;
        let at = if after { end.saturating_add(1) } else { first };
        let never_in = !draft.joined && view.as_ref().is_some_and(|view| view.left_at().is_none());
        let undone = if never_in { &[] } else { undone.as_slice() };
        let large = self.ask.part.as_ref().and_then(Part::large);
        let large = large.filter(|(room, _)| *room == draft.room_id);
        let limit = large.map_or(usize::MAX, |(_, limit)| limit);
        let open = crowd.last().filter(|_| crowd.len() >= limit);
        let open = open.map(|last| Open { member: last.user.clone(), at, some: true });
        let (state, more_state) = self.state(&draft, current, crowd, undone, filled, at)?;
        // Nothing lies before the beginning: whoever asks all the same gets what they have, as from other servers.
        let begins = draft.events.first().is_some_and(|event| event.kind == "m.room.create");
        let prev = if draft.events.is_empty() || begins { end } else { first - 1 };
        let state = Events { events: state };
        let (state, state_after, unstable_state_after) =
            match (after, self.ask.unstable_state_after) {
                (false, _) => (Some(state), None, None),
                (true, false) => (None, Some(state), None),
                (true, true) => (None, None, Some(state)),
            };
        Ok(Room {
            timeline: Timeline {
                events: timeline,
                limited: draft.limited,
                prev_batch: Token(prev).to_string(),
            },
            state,
            state_after,
            unstable_state_after,
            account_data: Events::default(),
            ephemeral: None,
            summary: filled.summaries.summaries.remove(&draft.room_id),
            unread_notifications: None,
            unread_thread_notifications: BTreeMap::new(),
            more_state,
            open,
        })
    }

    /// The state that goes with a timeline, as it is just before position `at`: events, and such as are text already.
    fn state(
        &self,
        draft: &Draft,
        current: Vec<EventRow>,
        crowd: Vec<Member>,
        undone: &[Undone],
        filled: &Filled,
        at: i64,
    ) -> Result<(Vec<Box<RawValue>>, String), Error> {
        let wanted = &self.filter.room.state;
        let allowed = |row: &EventRow| {
            wanted.allows_room(&row.room_id) && wanted.allows(&row.kind, &row.sender, &row.json)
        };
        let mut rows: BTreeMap<state::Key, EventRow> = BTreeMap::new();
        let mut members = Written::default();
        if draft.full {
            let later = undone.iter().position(|u| u.delta.position >= at).unwrap_or(undone.len());
            let undone = undone.get(later..).unwrap_or(&[]);
            let scribe = Scribe { wanted, writer: &self.writer, direct: self.direct };
            scribe.write(crowd, undone, &mut members)?;
            rows = state::rewound(current, undone);
        } else {
            let shown: HashMap<&str, i64> =
                draft.events.iter().map(|e| (e.event_id.as_str(), e.position)).collect();
            for row in current {
                // Members for a lazy client; those that the timeline itself shows are not repeated.
                if !shown.contains_key(row.event_id.as_str()) {
                    let key = (row.kind.clone(), row.state_key.clone().unwrap_or_default());
                    rows.insert(key, row);
                }
            }
            let deltas: Vec<_> = draft.deltas.iter().collect();
            for (key, id) in state::changed(&deltas, at, &shown) {
                let row = filled.events.get(&id);
                let row = row.or_else(|| draft.events.iter().find(|event| event.event_id == id));
                if let Some(row) = row {
                    rows.insert(key, row.clone());
                }
            }
        }
        let rows = rows.into_values().filter(allowed);
        let mut events = rows
            .map(|row| self.writer.write(&row, Extra::default()))
            .collect::<Result<Vec<_>, _>>()?;
        events.append(&mut members.events);
        Ok((events, members.text))
    }

    /// Unread counts: the main timeline's, and each thread's where the client asks for them apart.
    fn count(&self, room: &mut Room, counts: &[Count]) {
        let threaded = self.filter.room.timeline.unread_thread_notifications;
        let mut main = Counts::default();
        for (_, thread, notifications, highlights, position) in counts {
            if thread.is_empty() || !threaded {
                main.notification_count += notifications;
                main.highlight_count += highlights;
            } else if *notifications > 0 || *position > self.ask.from() {
                let counts =
                    Counts { notification_count: *notifications, highlight_count: *highlights };
                room.unread_thread_notifications.insert(thread.clone(), counts);
            }
        }
        room.unread_notifications = Some(main);
    }

    /// Whether a room has nothing to tell but counts.
    fn is_silent(&self, room: &Room) -> bool {
        let none = |events: &Option<Events>| events.as_ref().is_none_or(|e| e.events.is_empty());
        room.timeline.events.is_empty()
            && !room.timeline.limited
            && none(&room.state)
            && none(&room.state_after)
            && none(&room.unstable_state_after)
            && room.more_state.is_empty()
            && room.account_data.events.is_empty()
            && none(&room.ephemeral)
    }
}
