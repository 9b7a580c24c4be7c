//! Puts an answer together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use serde_json::value::RawValue;
use tessera_sdk::matrix::{ClientFormat, Error};
use tessera_sdk::{cache, clock, log, services};

use super::ask::Ask;
use super::draft::{Draft, drafts};
use super::ephemeral;
use super::fill::{Filled, Plan};
use super::read::{Count, News};
use super::response::{Counts, Events, Invited, Knocked, Response, Room, Rooms, Timeline};
use super::state;
use crate::event::{EventRow, Extra, Writer, content};
use crate::filter::Filter;
use crate::token::Token;

/// How long it is remembered which members a lazy client has been sent.
const SENT_MEMBERS_MS: u32 = 60 * 60 * 1000;

/// Everything that belongs to one answer.
struct Answering<'a> {
    ask: &'a Ask,
    filter: &'a Filter,
    writer: Writer<'a>,
    horizon: i64,
    lazy: bool,
}

/// Makes the answer. At most one storage call, two where a room was joined since the token.
pub(super) fn assemble(ask: &Ask, filter: &Filter, mut news: News) -> Result<Response, Error> {
    let now_ms = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
    let federation = filter.event_format.as_deref() == Some("federation");
    let answering = Answering {
        ask,
        filter,
        writer: Writer {
            now_ms,
            format: ClientFormat::WithoutRoomId,
            fields: filter.event_fields.as_deref(),
            federation,
        },
        horizon: news.horizon,
        lazy: filter.room.state.lazy_load_members,
    };
    let drafts = drafts(ask, filter, &mut news)?;
    let (plan, newly_sent) = answering.plan(&drafts);
    let mut filled = plan.fill(ask)?;

    let mut account_data = ephemeral::by_room(news.account_data);
    let mut receipts = ephemeral::receipts(news.receipts, &ask.user)?;
    let mut typing = ephemeral::typing(news.typing, now_ms)?;
    let mut counts: HashMap<String, Vec<Count>> = HashMap::new();
    for count in news.counts {
        counts.entry(count.0.clone()).or_default().push(count);
    }

    let mut rooms = Rooms::default();
    for membership in news.memberships {
        let new = ask.since.is_none_or(|since| membership.position > since) || ask.full_state;
        if !new || !filter.room.allows(&membership.room_id) {
            continue;
        }
        let stripped = || -> Result<Events, Error> {
            let text = membership.stripped_state.as_deref().unwrap_or("[]");
            Ok(Events { events: serde_json::from_str(text).map_err(Error::internal)? })
        };
        match membership.membership.as_str() {
            "invite" => {
                let invited = Invited { invite_state: stripped()? };
                rooms.invite.insert(membership.room_id, invited);
            }
            "knock" => {
                let knocked = Knocked { knock_state: stripped()? };
                rooms.knock.insert(membership.room_id, knocked);
            }
            _ => {}
        }
    }
    for draft in drafts {
        let id = draft.room_id.clone();
        let (joined, full) = (draft.joined, draft.full);
        let mut room = answering.room(draft, &mut filled)?;
        if joined {
            let wanted = &filter.room.account_data;
            for (kind, content) in account_data.remove(&id).unwrap_or_default() {
                if wanted.allows_type(&kind) && wanted.allows_room(&id) {
                    room.account_data.events.push(ephemeral::account_data(&kind, &content)?);
                }
            }
            let wanted = &filter.room.ephemeral;
            let mut events = Vec::new();
            for (kind, event) in
                [("m.receipt", receipts.remove(&id)), ("m.typing", typing.remove(&id))]
            {
                events
                    .extend(event.filter(|_| wanted.allows_type(kind) && wanted.allows_room(&id)));
            }
            room.ephemeral = (!events.is_empty()).then_some(Events { events });
            let counts = counts.remove(&id).unwrap_or_default();
            let news = counts.iter().any(|count| count.4 > ask.from());
            answering.count(&mut room, &counts);
            if full || news || !answering.is_silent(&room) {
                rooms.join.insert(id, room);
            }
        } else if full || !answering.is_silent(&room) {
            rooms.leave.insert(id, room);
        }
    }
    for (key, users) in newly_sent {
        cache::put(&key, users.as_bytes(), SENT_MEMBERS_MS, &[]);
    }

    let mut response = Response {
        next_batch: Token(news.horizon).to_string(),
        account_data: Events::default(),
        presence: Events::default(),
        rooms,
        device_lists: <_>::default(),
        device_one_time_keys_count: BTreeMap::new(),
        device_unused_fallback_key_types: Vec::new(),
    };
    for (kind, content) in account_data.remove("").unwrap_or_default() {
        if filter.account_data.allows_type(&kind) {
            response.account_data.events.push(ephemeral::account_data(&kind, &content)?);
        }
    }
    if let Some(rules) = push_rules(ask, filter, news.push_rules) {
        response.account_data.events.push(ephemeral::account_data("m.push_rules", &rules)?);
    }
    for row in news.presence {
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
    if changed.is_some() || ask.since.is_some() {
        return changed;
    }
    services::push_rules(&ask.user)
        .inspect_err(|error| log::warn("no push rules", &[("reason", &format!("{error:?}"))]))
        .ok()
}

impl Answering<'_> {
    /// What the drafts lack, and what the cache shall say of sent members afterwards.
    fn plan(&self, drafts: &[Draft]) -> (Plan, Vec<(String, String)>) {
        let mut plan = Plan { lazy: self.lazy, ..Plan::default() };
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
                    plan.members.insert(room.clone(), members);
                }
            }
            let end = if draft.joined { self.horizon } else { draft.own_position };
            plan.events.extend(draft.events.iter().filter_map(|e| e.redacted_by.clone()));
            if draft.full {
                plan.full.insert(room.clone(), draft.first_position(end + 1));
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
            let members_changed = draft.deltas.iter().any(|delta| delta.kind == "m.room.member");
            if draft.joined && (draft.full || members_changed) {
                plan.summaries.insert(room.clone());
            }
        }
        (plan, newly_sent)
    }

    fn room(&self, mut draft: Draft, filled: &mut Filled) -> Result<Room, Error> {
        let end = if draft.joined { self.horizon } else { draft.own_position };
        let view = filled.visibility.remove(&draft.room_id);
        if let Some(view) = view.as_ref().filter(|_| draft.full) {
            let before = draft.events.len();
            draft.events.retain(|event| view.sees(event.position));
            draft.limited &= draft.events.len() == before;
        }
        let first = draft.first_position(end + 1);
        let undone = filled.undone.remove(&draft.room_id).unwrap_or_default();
        let mut current = filled.state.remove(&draft.room_id).unwrap_or_default();
        if self.lazy && draft.full {
            let heroes = filled.heroes.remove(&draft.room_id).unwrap_or_default();
            current.extend(heroes);
        }

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
            let membership = match view.as_ref().filter(|_| draft.full) {
                Some(view) => view.membership_at(event.position),
                None => draft.membership_at(event.position),
            };
            let extra = Extra {
                replaced: replaced
                    .map(|row| Ok::<_, Error>((row.event_id.clone(), content(&row.json)?)))
                    .transpose()?,
                redacted_because: self.redaction(event, filled)?,
                membership: Some(membership.to_owned()),
                relations: None,
            };
            timeline.push(self.writer.write(event, extra)?);
        }

        let after = self.ask.use_state_after;
        let state =
            self.state(&draft, current, &undone, filled, if after { end + 1 } else { first })?;
        let prev = if draft.events.is_empty() { end } else { first - 1 };
        let state = Events { events: state };
        let (state, state_after) = if after { (None, Some(state)) } else { (Some(state), None) };
        Ok(Room {
            timeline: Timeline {
                events: timeline,
                limited: draft.limited,
                prev_batch: Token(prev).to_string(),
            },
            state,
            state_after,
            account_data: Events::default(),
            ephemeral: None,
            summary: filled.summaries.remove(&draft.room_id),
            unread_notifications: None,
            unread_thread_notifications: BTreeMap::new(),
        })
    }

    /// The state that goes with a timeline, as it is just before position `at`.
    fn state(
        &self,
        draft: &Draft,
        current: Vec<EventRow>,
        undone: &[super::fill::Undone],
        filled: &Filled,
        at: i64,
    ) -> Result<Vec<Box<RawValue>>, Error> {
        let wanted = &self.filter.room.state;
        let allowed = |row: &EventRow| {
            wanted.allows_room(&row.room_id) && wanted.allows(&row.kind, &row.sender, &row.json)
        };
        let mut rows: BTreeMap<state::Key, EventRow> = BTreeMap::new();
        if draft.full {
            let later = undone.iter().position(|u| u.delta.position >= at).unwrap_or(undone.len());
            rows = state::rewound(current, undone.get(later..).unwrap_or(&[]));
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
        rows.values()
            .filter(|row| allowed(row))
            .map(|row| self.writer.write(row, Extra::default()))
            .collect()
    }

    fn redaction(&self, event: &EventRow, filled: &Filled) -> Result<Option<Value>, Error> {
        let Some(row) = event.redacted_by.as_ref().and_then(|id| filled.events.get(id)) else {
            return Ok(None);
        };
        let writer = Writer { fields: None, federation: false, ..self.writer.clone() };
        let raw = writer.write(row, Extra::default())?;
        Ok(Some(serde_json::from_str(raw.get()).map_err(Error::internal)?))
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
            && room.account_data.events.is_empty()
            && none(&room.ephemeral)
    }
}
