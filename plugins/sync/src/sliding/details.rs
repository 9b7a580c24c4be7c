//! The second read: what is new in the rooms that an answer may tell of. One storage call for all of them; rooms that the client
//! knows equally well are asked for together.

use std::collections::{BTreeMap, HashMap};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, Select, select};

use super::ask::Ask;
use super::connection::{Connection, Sent, Told};
use super::overview::{AccountData, Overview};
use super::request::OfRooms;
use super::scope::{Look, Scope};
use super::wanted::Reads;
use crate::event::{COLUMNS, EventRow, RELATED, STATE, TRANSACTION};
use crate::state::{Undone, select_undone};
use crate::visibility::{self, Visibility};

/// Events that make a room's `bump_stamp`. MSC4186: Room results.
const BUMPING: [&str; 8] = [
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "org.matrix.msc3381.poll.start",
    "m.beacon_info",
];
/// How far back such an event is looked for.
const BUMP_LOOKS: i64 = 200;
/// A gap so small is read whole, whatever the rooms.
const SMALL_GAP: i64 = 1_000;

/// `room_id, user_id, type, thread_id, event_id, ts, position`
pub(super) use crate::sync::read::Receipt;
/// `room_id, user_id, until_ms, position`
pub(super) type Typing = (String, String, i64, i64);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// Newest first in each room; one more than the limit where there are more.
    pub events: HashMap<String, Vec<EventRow>>,
    /// Changes of state with the new events, oldest first.
    pub changes: HashMap<String, Vec<Undone>>,
    /// Current state, as far as it is wanted.
    pub state: HashMap<String, Vec<EventRow>>,
    /// Changes after the end of the user's view with the events that they replaced, oldest first.
    pub undone: HashMap<String, Vec<Undone>>,
    pub views: HashMap<String, Visibility>,
    pub bumps: HashMap<String, i64>,
    /// Notifications and highlights.
    pub counts: HashMap<String, (i64, i64)>,
    pub account_data: Vec<AccountData>,
    pub receipts: Vec<Receipt>,
    pub typing: Vec<Typing>,
    /// The names of rooms that the client knows, as they are now.
    pub names: HashMap<String, EventRow>,
    /// Rooms of each extension and up to where the client knows them; none: not at all.
    pub due_account_data: Due,
    pub due_receipts: Due,
    pub due_typing: Due,
}

/// Rooms and up to where they have been told.
pub(super) type Due = BTreeMap<String, Option<i64>>;

/// The kinds of statements, in their order.
enum Part {
    Events,
    Names,
    Changes,
    State,
    Undone,
    Settings,
    Memberships,
    Bumps,
    Counts,
    AccountData,
    Receipts,
    Typing,
}

struct Plan<'a> {
    user: &'a str,
    device: &'a str,
    selects: Vec<(Part, Select)>,
}

/// Rooms by what is asked for them.
type Groups<K> = BTreeMap<K, Vec<String>>;

fn group<K: Ord>(groups: &mut Groups<K>, key: K, room: &str) {
    groups.entry(key).or_default().push(room.to_owned());
}

impl Plan<'_> {
    fn add(&mut self, part: Part, sql: &str, params: Vec<storage::Value>) {
        self.selects.push((part, select(sql, params)));
    }

    /// Timelines and activity.
    fn timelines(&mut self, looks: &[Look]) {
        let mut timelines = Groups::new();
        let mut bumps = Groups::new();
        for look in looks.iter().filter(|look| !look.outside()) {
            let room = &look.row.room_id;
            if look.stranger() {
                let own = look.row.position;
                group(&mut timelines, (own - 1, own, 1), room);
                continue;
            }
            let limit = i64::try_from(look.within.config.limit).unwrap_or(i64::MAX);
            if look.timeline_from() < look.end {
                group(&mut timelines, (look.timeline_from(), look.end, limit), room);
            }
            if look.joined() {
                group(&mut bumps, (look.told.unwrap_or(0), look.end), room);
            }
        }
        for ((from, end, limit), rooms) in timelines {
            // The event just before the newest ones bounds the range: work for each room is limited however long its past.
            let sql = format!(
                "SELECT {COLUMNS}, {RELATED} FROM rooms_v1_memberships r CROSS JOIN rooms_v1_events e {TRANSACTION} \
                 WHERE r.user_id = $1 AND r.room_id IN ($3) AND e.room_id = r.room_id AND e.position > COALESCE((SELECT l.position \
                 FROM rooms_v1_events l WHERE l.room_id = r.room_id AND l.position > $4 AND l.position <= $5 \
                 AND l.stream AND NOT l.rejected ORDER BY l.position DESC LIMIT 1 OFFSET $6), $4) \
                 AND e.position <= $5 AND e.stream AND NOT e.rejected ORDER BY e.position DESC"
            );
            let params = params![self.user, self.device, rooms, from, end, limit + 1];
            self.add(Part::Events, &sql, params);
        }
        let types: Vec<String> = BUMPING.iter().map(|kind| (*kind).to_owned()).collect();
        for ((from, end), rooms) in bumps {
            self.add(
                Part::Bumps,
                "SELECT r.room_id, (SELECT MAX(t.position) FROM (SELECT e.position AS position, e.type AS type \
                 FROM rooms_v1_events e WHERE e.room_id = r.room_id AND e.position > $2 AND e.position <= $3 \
                 AND e.stream AND NOT e.rejected ORDER BY e.position DESC LIMIT $4) t WHERE t.type IN ($5)) AS bump \
                 FROM rooms_v1_memberships r WHERE r.user_id = $6 AND r.room_id IN ($1)",
                params![rooms, from, end, BUMP_LOOKS, types.clone(), self.user],
            );
        }
    }

    /// State: whole, or what has changed.
    fn state(&mut self, looks: &[Look]) {
        let mut whole: Groups<Reads> = Groups::new();
        let mut changed = Groups::new();
        let mut rewound = BTreeMap::new();
        let mut named = Vec::new();
        for look in looks.iter().filter(|look| !look.outside() && !look.stranger()) {
            let room = &look.row.room_id;
            if look.whole_state() {
                let mut reads = look.within.config.reads();
                reads.types.extend(["m.room.name", "m.room.avatar"].map(str::to_owned));
                group(&mut whole, reads, room);
                rewound.insert(room.clone(), look.end.saturating_add(1));
            }
            if let Some(told) = look.told.filter(|told| *told < look.end) {
                group(&mut changed, (told, look.end), room);
                named.push(room.clone());
            }
        }
        if !named.is_empty() {
            self.add(
                Part::Names,
                &format!(
                    "{STATE} WHERE room_id IN ($1) AND type = 'm.room.name' AND state_key = ''"
                ),
                params![named],
            );
        }
        for (reads, rooms) in whole {
            let members = if reads.members { "" } else { " AND type <> 'm.room.member'" };
            let (filter, mut params) = if reads.all {
                (members.to_owned(), params![rooms.clone()])
            } else {
                let types: Vec<String> = reads.types.into_iter().collect();
                let members = if reads.members { " OR type = 'm.room.member'" } else { "" };
                (format!(" AND (type IN ($2){members})"), params![rooms.clone(), types])
            };
            let sql = format!("{STATE} WHERE room_id IN ($1){filter}");
            self.add(Part::State, &sql, std::mem::take(&mut params));
            if !reads.members && !reads.named.is_empty() {
                let named: Vec<String> = reads.named.into_iter().collect();
                self.add(
                    Part::State,
                    &format!(
                        "{STATE} WHERE room_id IN ($1) AND type = 'm.room.member' AND state_key IN ($2)"
                    ),
                    params![rooms, named],
                );
            }
        }
        for ((told, end), rooms) in changed {
            let sql = format!(
                "SELECT d.position, d.room_id, d.type, d.state_key, d.event_id, d.prev_event_id, {COLUMNS} \
                 FROM rooms_v1_state_deltas d LEFT JOIN rooms_v1_events e ON e.event_id = d.event_id {TRANSACTION} \
                 WHERE d.room_id IN ($3) AND d.position > $4 AND d.position <= $5 ORDER BY d.position"
            );
            let params = params![self.user, self.device, rooms, told, end];
            self.add(Part::Changes, &sql, params);
        }
        let undone = select_undone(self.user, Some(self.device), &rewound);
        self.selects.extend(undone.into_iter().map(|select| (Part::Undone, select)));
    }

    /// What the user may see, and their unread counts.
    fn personal(&mut self, ask: &Ask, looks: &[Look], overview: &Overview) {
        let views: Vec<String> = looks
            .iter()
            .filter(|look| !look.outside() && !look.stranger())
            .filter(|look| {
                let moved = |told| overview.moved(&look.row.room_id, told);
                look.expanded || look.told.is_none_or(moved)
            })
            .map(|look| look.row.room_id.clone())
            .collect();
        if !views.is_empty() {
            self.selects.push((Part::Settings, visibility::select_settings(&views)));
            let memberships = visibility::select_memberships(self.user, &views);
            self.selects.push((Part::Memberships, memberships));
        }
        let joined = looks.iter().filter(|look| look.joined());
        let joined: Vec<String> = joined.map(|look| look.row.room_id.clone()).collect();
        if !ask.stable && !joined.is_empty() {
            self.add(
                Part::Counts,
                "SELECT room_id, SUM(notification_count) AS n, SUM(highlight_count) AS h FROM push_v1_counts \
                 WHERE user_id = $1 AND room_id IN ($2) GROUP BY room_id",
                params![self.user, joined],
            );
        }
    }
}

/// The rooms of an extension and how far the client knows them, without those that have nothing new.
fn due(
    wish: Option<&OfRooms>,
    scope: &Scope,
    overview: &Overview,
    told: impl Fn(&str) -> Option<i64>,
) -> Due {
    let mut due = Due::new();
    let Some(wish) = wish else { return due };
    for (room, within) in &scope.rooms {
        let joined = overview.rooms.get(room).is_some_and(|row| row.membership == "join");
        if !joined || !wish.takes(room, &within.lists, within.subscribed) {
            continue;
        }
        let told = told(room).filter(|told| !overview.entered(room, *told));
        if told.is_none_or(|told| told < overview.horizon) {
            due.insert(room.clone(), told);
        }
    }
    due
}

fn grouped(due: &Due) -> Groups<Option<i64>> {
    let mut groups = Groups::new();
    for (room, told) in due {
        group(&mut groups, *told, room);
    }
    groups
}

impl Plan<'_> {
    /// What extensions tell of rooms. Receipts of rooms that get them for the first time are for the third read.
    fn extensions(&mut self, since: i64, overview: &Overview, details: &Details) {
        let small = |from: i64| overview.horizon.saturating_sub(from) <= SMALL_GAP;

        for (told, rooms) in grouped(&details.due_account_data) {
            // What has changed since the token is known already.
            if told != Some(since) {
                self.add(
                    Part::AccountData,
                    "SELECT room_id, type, content, position FROM accounts_v1_account_data \
                     WHERE user_id = $1 AND room_id IN ($2) AND position > $3",
                    params![self.user, rooms, told.unwrap_or(0)],
                );
            }
        }

        const RECEIPTS: &str = "SELECT r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, r.position \
             FROM presence_v1_receipts r WHERE";
        for (told, rooms) in grouped(&details.due_receipts) {
            match told {
                None => {}
                Some(told) if small(told) => {
                    let sql = format!("{RECEIPTS} r.position > $1 AND r.position <= $2");
                    self.add(Part::Receipts, &sql, params![told, overview.horizon]);
                }
                Some(told) => {
                    let sql = format!(
                        "{RECEIPTS} r.room_id IN ($1) AND r.position > $2 AND r.position <= $3"
                    );
                    self.add(Part::Receipts, &sql, params![rooms, told, overview.horizon]);
                }
            }
        }

        const TYPING: &str =
            "SELECT t.room_id, t.user_id, t.until_ms, t.position FROM presence_v1_typing t WHERE";
        for (told, rooms) in grouped(&details.due_typing) {
            match told {
                // To somebody new, nobody typing is no news.
                None => {
                    let sql = format!("{TYPING} t.room_id IN ($1) AND t.until_ms > 0");
                    self.add(Part::Typing, &sql, params![rooms]);
                }
                Some(told) if small(told) => {
                    let sql = format!(
                        "{TYPING} t.until_ms > 0 AND t.room_id IN (SELECT n.room_id FROM presence_v1_typing n \
                         WHERE n.position > $1 AND n.position <= $2) \
                         UNION {TYPING} t.position > $1 AND t.position <= $2"
                    );
                    self.add(Part::Typing, &sql, params![told, overview.horizon]);
                }
                Some(told) => {
                    let sql = format!(
                        "{TYPING} t.room_id IN ($1) AND t.until_ms > 0 AND EXISTS (SELECT 1 FROM presence_v1_typing n \
                         WHERE n.room_id = t.room_id AND n.position > $2 AND n.position <= $3) \
                         UNION {TYPING} t.room_id IN ($1) AND t.position > $2 AND t.position <= $3"
                    );
                    self.add(Part::Typing, &sql, params![rooms, told, overview.horizon]);
                }
            }
        }
    }
}

impl Details {
    /// Rooms with events that came late, where it is not known yet what the user may see: hardly ever any.
    pub(super) fn late_rooms(&self) -> Vec<String> {
        let late = |events: &[EventRow]| events.iter().any(|event| event.late.is_some());
        let rooms = self.events.iter().filter(|(room, _)| !self.views.contains_key(*room));
        rooms.filter(|(_, events)| late(events)).map(|(room, _)| room.clone()).collect()
    }

    /// Reads it. One storage call, or none where there is nothing to look at.
    ///
    /// # Errors
    /// The database does not answer, or a view is not as documented.
    pub(super) fn read(
        ask: &Ask,
        looks: &[Look],
        scope: &Scope,
        overview: &Overview,
        sent: &Connection,
    ) -> Result<Self, Error> {
        let device = ask.device.as_deref().unwrap_or("");
        let mut plan = Plan { user: &ask.user, device, selects: Vec::new() };
        plan.timelines(looks);
        plan.state(looks);
        plan.personal(ask, looks, overview);
        let since = ask.pos().map_or(0, |pos| pos.position);
        let told = |room: &str, of: fn(Sent) -> Told| of(sent.sent(room)?).from(since);
        let extensions = &ask.wishes.extensions;
        let mut details = Self {
            due_account_data: due(extensions.account_data(), scope, overview, |room| {
                told(room, |sent| sent.account_data)
            }),
            due_receipts: due(extensions.receipts(), scope, overview, |room| {
                told(room, |sent| sent.receipts)
            }),
            due_typing: due(extensions.typing(), scope, overview, |room| {
                told(room, |sent| sent.room)
            }),
            ..Self::default()
        };
        plan.extensions(since, overview, &details);
        if plan.selects.is_empty() {
            return Ok(details);
        }
        let (parts, selects): (Vec<Part>, Vec<Select>) = plan.selects.into_iter().unzip();
        let answers = storage::snapshot(&selects)?.answers();
        for (part, rows) in parts.into_iter().zip(answers) {
            details.take(&part, rows, overview.horizon)?;
        }
        Ok(details)
    }

    fn take(&mut self, part: &Part, rows: Rows, horizon: i64) -> Result<(), Error> {
        fn by_room<T>(
            rooms: &mut HashMap<String, Vec<T>>,
            rows: Vec<T>,
            room: impl Fn(&T) -> &str,
        ) {
            for row in rows {
                match rooms.get_mut(room(&row)) {
                    Some(list) => list.push(row),
                    None => {
                        rooms.insert(room(&row).to_owned(), vec![row]);
                    }
                }
            }
        }
        match part {
            Part::Events => by_room(&mut self.events, rows.all()?, |row: &EventRow| &row.room_id),
            Part::Names => {
                let names = rows.all::<EventRow>()?.into_iter();
                self.names.extend(names.map(|row| (row.room_id.clone(), row)));
            }
            Part::State => by_room(&mut self.state, rows.all()?, |row: &EventRow| &row.room_id),
            Part::Changes => by_room(&mut self.changes, rows.all()?, |c: &Undone| &c.delta.room_id),
            Part::Undone => by_room(&mut self.undone, rows.all()?, |c: &Undone| &c.delta.room_id),
            // What the horizon hides is not known yet: a later join would open what was shut.
            Part::Settings => {
                let settings = visibility::read_settings(rows)?.into_iter();
                for (room, at, setting) in settings.filter(|(_, at, _)| *at <= horizon) {
                    self.views.entry(room).or_default().settings.push((at, setting));
                }
            }
            Part::Memberships => {
                let memberships = visibility::read_memberships(rows)?.into_iter();
                for (room, at, membership) in memberships.filter(|(_, at, _)| *at <= horizon) {
                    self.views.entry(room).or_default().memberships.push((at, membership));
                }
            }
            Part::Bumps => {
                let bumps = rows.all::<(String, Option<i64>)>()?.into_iter();
                self.bumps.extend(bumps.filter_map(|(room, bump)| Some((room, bump?))));
            }
            Part::Counts => {
                let counts = rows.all::<(String, i64, i64)>()?.into_iter();
                self.counts.extend(counts.map(|(room, n, highlights)| (room, (n, highlights))));
            }
            Part::AccountData => self.account_data.extend(rows.all::<AccountData>()?),
            Part::Receipts => self.receipts.extend(rows.all::<Receipt>()?),
            Part::Typing => self.typing.extend(rows.all::<Typing>()?),
        }
        Ok(())
    }
}
