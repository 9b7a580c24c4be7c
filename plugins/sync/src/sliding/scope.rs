//! Which rooms an answer may tell of: those within the ranges of the lists, and those subscribed to.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::connection::{Connection, Sent, Told};
use super::overview::{Overview, Row};
use super::request::{OfRooms, Wishes};
use super::wanted::Config;

/// Rooms within reach of one answer. A list that asks for more shows its newest.
const MAX_ROOMS: usize = 5_000;

/// Rooms told of in one answer, and events read for them: what one answer may hold in memory. The next tells the rest.
const MAX_TOLD: usize = 500;
const MAX_EVENTS: usize = 20_000;

/// A list as it stands.
#[derive(Debug)]
pub(super) struct Window {
    pub name: String,
    /// Rooms that the filters let pass.
    pub count: usize,
    /// Each range with its rooms.
    pub ranges: Vec<((u64, u64), Vec<String>)>,
}

/// A room within reach.
#[derive(Debug, Default, Clone)]
pub(super) struct Within {
    pub config: Config,
    /// Names of the lists that show it.
    pub lists: Vec<String>,
    pub subscribed: bool,
}

/// What is within reach.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub windows: Vec<Window>,
    pub rooms: BTreeMap<String, Within>,
}

/// Whether a room belongs to the user's list of rooms. MSC4186, Lists.
fn listed(row: &Row, sent: Option<Sent>, since: i64, overview: &Overview, user: &str) -> bool {
    match row.membership.as_str() {
        "join" | "knock" => true,
        "invite" => !overview.ignored.contains(&row.sender),
        _ => {
            let told = sent.and_then(|sent| sent.room.from(since));
            let untold = told.is_some_and(|told| row.position > told);
            // Who was thrown out may not have seen it yet; who went knows.
            let thrown_out = row.left_at.is_some() && row.sender != user && !row.sender.is_empty();
            untold || thrown_out
        }
    }
}

impl Scope {
    /// Finds out. `since`: position of the token, 0 for none.
    pub(super) fn of(
        wishes: &Wishes,
        user: &str,
        overview: &Overview,
        sent: &Connection,
        since: i64,
    ) -> Self {
        let mut scope = Self::default();
        let mut order: Vec<&Row> = overview
            .rooms
            .values()
            .filter(|row| listed(row, sent.sent(&row.room_id), since, overview, user))
            .collect();
        order.sort_unstable_by_key(|row| (Reverse(row.active), &row.room_id));
        for (config, rooms) in &wishes.subscriptions {
            for room in rooms {
                let row = overview.rooms.get(room);
                let offered = |row: &&Row| row.membership == "invite";
                let refused = |row: &Row| overview.ignored.contains(&row.sender);
                let Some(row) = row.filter(|row| !(offered(row) && refused(row))) else { continue };
                // Somebody who never was in the room may know of it what they have been told before.
                let foreign = matches!(row.membership.as_str(), "leave" | "ban")
                    && row.left_at.is_none()
                    && sent.sent(room).is_none();
                if foreign {
                    continue;
                }
                let within = scope.rooms.entry(room.clone()).or_default();
                within.config.add(config);
                within.subscribed = true;
            }
        }
        for list in &wishes.lists {
            let rooms: Vec<&str> = order
                .iter()
                .filter(|row| {
                    let direct = overview.direct.contains(&row.room_id);
                    overview.facts.pass(&list.filters, row, direct)
                })
                .map(|row| row.room_id.as_str())
                .collect();
            let whole = [(0, u64::try_from(rooms.len()).unwrap_or(u64::MAX).saturating_sub(1))];
            let ranges = list.ranges.as_deref().unwrap_or(&whole);
            let mut window =
                Window { name: list.name.clone(), count: rooms.len(), ranges: Vec::new() };
            for (first, last) in ranges {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                let shown = at(last.saturating_sub(*first)).saturating_add(1);
                let inside: Vec<String> =
                    rooms.iter().skip(at(*first)).take(shown).map(|id| (*id).to_owned()).collect();
                for room in &inside {
                    if scope.rooms.len() >= MAX_ROOMS && !scope.rooms.contains_key(room) {
                        break;
                    }
                    let within = scope.rooms.entry(room.clone()).or_default();
                    within.config.add(&list.config);
                    if within.lists.last() != Some(&list.name) {
                        within.lists.push(list.name.clone());
                    }
                }
                window.ranges.push(((*first, *last), inside));
            }
            scope.windows.push(window);
        }
        scope
    }
}

/// Why a room is looked into.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub row: Row,
    pub within: Within,
    /// Up to where the client knows the room; none for a room that it gets whole.
    pub told: Option<i64>,
    /// The timeline is longer than before: it is told again from its beginning.
    pub expanded: bool,
    /// State is wanted that was not asked for before.
    pub before: Option<Config>,
    /// The last position that belongs to the user's view of the room.
    pub end: i64,
    /// It became a direct chat, or is none any more.
    pub direct_changed: bool,
    /// The unread counts have changed.
    pub counted: bool,
}

impl Look {
    /// Whether the user sees nothing but what an invite or a knock came with.
    pub(super) fn outside(&self) -> bool {
        matches!(self.row.membership.as_str(), "invite" | "knock")
    }

    /// Whether the user never was in the room: they see what became of them, no more.
    pub(super) fn stranger(&self) -> bool {
        matches!(self.row.membership.as_str(), "leave" | "ban") && self.row.left_at.is_none()
    }

    /// Whether the user is in the room.
    pub(super) fn joined(&self) -> bool {
        self.row.membership == "join"
    }

    /// Whether all wanted state is read, not only what has changed.
    pub(super) fn whole_state(&self) -> bool {
        !self.outside() && !self.stranger() && (self.told.is_none() || self.before.is_some())
    }

    /// From where on the timeline is told.
    pub(super) fn timeline_from(&self) -> i64 {
        if self.expanded { 0 } else { self.told.unwrap_or(0) }
    }
}

/// Rooms with something to look at, the newest first. `since`: position of the token; none for who starts anew. What is too much for
/// one answer is taken out of reach, and so left for the next: `true` if that was anything.
pub(super) fn looks(
    scope: &mut Scope,
    overview: &Overview,
    sent: &Connection,
    since: Option<i64>,
) -> (Vec<Look>, bool) {
    let horizon = overview.horizon;
    let mut looks = Vec::new();
    for (room, within) in &scope.rooms {
        let Some(row) = overview.rooms.get(room) else { continue };
        let known = sent.sent(room);
        let told = known.and_then(|sent| sent.room.from(since.unwrap_or(0)));
        // Who came back gets the room whole.
        let told = told.filter(|told| !overview.entered(room, *told));
        let end = match row.membership.as_str() {
            "leave" | "ban" => row.left_at.unwrap_or(row.position),
            _ => horizon,
        };
        let joined = row.membership == "join";
        let mut look = Look {
            row: row.clone(),
            within: within.clone(),
            told,
            expanded: false,
            before: None,
            end,
            direct_changed: false,
            counted: false,
        };
        if let (Some(told), Some(known)) = (told, known) {
            let before = sent.config(known).cloned().unwrap_or_default();
            if !look.outside() && !look.stranger() {
                look.expanded = within.config.limit > before.limit;
                let more = within.config.more_state_than(&before);
                look.before = more.then_some(before);
            }
            look.direct_changed = overview.direct.contains(room) != known.direct;
            let news = overview.counted.get(room);
            look.counted = joined && news.is_some_and(|position| *position > told);
            let active = if joined { row.active } else { row.position };
            let new = active > told
                || look.expanded
                || look.before.is_some()
                || look.direct_changed
                || look.counted;
            if !new {
                continue;
            }
        }
        looks.push(look);
    }
    looks.sort_by_key(|look| Reverse(look.row.active));
    let mut events = 0;
    let fits = looks.iter().take(MAX_TOLD).take_while(|look| {
        events += look.within.config.limit + 1;
        events <= MAX_EVENTS
    });
    // A single room is never too much.
    let fits = fits.count().max(1).min(looks.len());
    let cut = looks.split_off(fits);
    for look in &cut {
        scope.rooms.remove(&look.row.room_id);
    }
    (looks, !cut.is_empty())
}

/// What each room of a connection will have been told of after an answer to the rooms within reach.
pub(super) struct After<'a> {
    pub wishes: &'a Wishes,
    pub scope: &'a Scope,
    pub overview: &'a Overview,
    /// Position of the token; 0 for none.
    pub since: i64,
    pub user: &'a str,
}

impl After<'_> {
    /// The next version.
    pub(super) fn version(&self, before: &Connection) -> Connection {
        let mut after = before.clone();
        for (room, sent) in before.rooms() {
            if !self.overview.rooms.contains_key(room) {
                after.forget(room);
            } else if !self.scope.rooms.contains_key(room) {
                after.set(
                    room,
                    Sent {
                        room: sent.room.left_out(self.since),
                        account_data: sent.account_data.left_out(self.since),
                        receipts: sent.receipts.left_out(self.since),
                        ..sent
                    },
                );
            }
        }
        for (room, within) in &self.scope.rooms {
            let Some(row) = self.overview.rooms.get(room) else { continue };
            let went = row.sender == self.user || row.sender.is_empty();
            let gone = match row.membership.as_str() {
                "leave" => row.left_at.is_none() || went,
                "ban" => row.left_at.is_none(),
                _ => false,
            };
            if gone && !within.subscribed {
                after.forget(room);
                continue;
            }
            let old = before.sent(room);
            let told = |wish: Option<&OfRooms>, old: Option<Told>| {
                let takes = |wish: &&OfRooms| wish.takes(room, &within.lists, within.subscribed);
                match wish.filter(|wish| row.membership == "join" && takes(wish)) {
                    Some(_) => Told::Live,
                    None => old.unwrap_or_default().left_out(self.since),
                }
            };
            let extensions = &self.wishes.extensions;
            let config = after.place(&within.config);
            after.set(
                room,
                Sent {
                    config,
                    room: Told::Live,
                    account_data: told(extensions.account_data(), old.map(|o| o.account_data)),
                    receipts: told(extensions.receipts(), old.map(|o| o.receipts)),
                    direct: self.overview.direct.contains(room),
                },
            );
        }
        after
    }
}
