//! Brings what was read to the horizon. On a database with several writers a snapshot sees rows whose positions lie above it, as
//! something lower is still to appear; a token says nothing of them. See docs/views.md, Tokens and the horizon.
//!
//! Rows that are only ever added (events, deltas, changes) are left out above the horizon. The user's memberships, of which each has
//! one row, are rewound by the changes. Of what a later row replaces as a whole (receipts, account data and the like) an incremental
//! answer leaves out what lies above, as it will be told when the horizon has come there; an initial one tells it now and then.

use std::collections::{BTreeMap, HashMap};

use super::ask::Ask;
use super::queries::{self, NEWEST_CHANGES, Path};
use super::read::{Change, Membership, News};
use crate::event::EventRow;
use crate::filter::Filter;
use crate::near::Movements;

impl Change {
    /// Whether the user came into the room.
    pub(super) fn enters(&self) -> bool {
        self.membership == "join" && self.prev_membership != "join"
    }
}

impl News {
    /// Whether a row at this position is news to the client now.
    pub(super) fn tells(&self, ask: &Ask, position: i64) -> bool {
        position > ask.from() && (position <= self.horizon || ask.since.is_none())
    }
}

/// Whether rows above the horizon took the place of rows below it that belong to the answer.
pub(super) fn displaced(ask: &Ask, filter: &Filter, news: &News, path: Path) -> bool {
    let full = |events: &[EventRow], looks: usize| {
        if events.iter().all(|event| event.position <= news.horizon) {
            return false;
        }
        let mut rooms: HashMap<&str, (usize, bool)> = HashMap::new();
        for event in events {
            let (rows, above) = rooms.entry(&event.room_id).or_default();
            *rows += 1;
            *above |= event.position > news.horizon;
        }
        rooms.values().any(|(rows, above)| *above && *rows >= looks)
    };
    let oldest = news.changes.last().map_or(0, |change| change.position);
    let changes =
        ask.since.is_none() && news.changes.len() >= NEWEST_CHANGES && oldest > news.horizon;
    changes
        || (path != Path::Positions && full(&news.events, queries::looks(filter)))
        || full(&news.fresh, queries::fresh_looks(filter))
}

/// Makes the news what they were at the horizon.
pub(super) fn settle(ask: &Ask, news: &mut News) {
    let horizon = news.horizon;
    news.events.retain(|event| event.position <= horizon);
    news.fresh.retain(|event| event.position <= horizon);
    news.deltas.retain(|delta| delta.position <= horizon);
    memberships(ask, news);
    if ask.since.is_none() {
        return;
    }
    let mut moved: Vec<String> = news
        .typing
        .iter()
        .filter(|typing| news.tells(ask, typing.3))
        .map(|typing| typing.0.clone())
        .collect();
    moved.sort_unstable();
    // Who types in these rooms is told as it is: it is told again when it is due.
    news.typing.retain(|typing| moved.binary_search(&typing.0).is_ok());
    news.account_data.retain(|row| row.3 <= horizon);
    news.receipts.retain(|row| row.6 <= horizon);
    news.presence.retain(|row| row.5 <= horizon);
    news.push_rules = news.push_rules.take().filter(|(_, position)| *position <= horizon);
}

/// Rewinds the user's memberships. Comes with the changes newest first and leaves them oldest first.
fn memberships(ask: &Ask, news: &mut News) {
    let mut changes = std::mem::take(&mut news.changes);
    changes.reverse();
    let known = changes.partition_point(|change| change.position <= news.horizon);
    let above = changes.split_off(known);
    if ask.since.is_some() {
        news.changes = changes;
    }
    let mut rewound: BTreeMap<String, String> = BTreeMap::new();
    for change in above {
        rewound.entry(change.room_id).or_insert(change.prev_membership);
    }
    for (room_id, membership) in rewound {
        let row = news.memberships.iter().position(|row| row.room_id == room_id);
        let row = row.map(|at| news.memberships.swap_remove(at));
        let last = news.changes.iter().rfind(|change| change.room_id == room_id);
        let told = match membership.as_str() {
            "join" => last.is_some() || (ask.wants_all() && row.is_some()),
            "leave" | "ban" => last.is_some(),
            // What an invite or a knock came with is no longer there. What became of it is told next.
            _ => false,
        };
        if told {
            let (event_id, position) =
                last.map(|change| (change.event_id.clone(), change.position)).unwrap_or_default();
            news.memberships.push(Membership {
                room_id,
                membership,
                event_id,
                sender: String::new(),
                position,
                stripped_state: None,
            });
        } else if membership != "join" || ask.since.is_none() {
            news.absent.insert(room_id);
        }
    }
}

impl Movements {
    /// What the news say, before rooms are filtered.
    pub(super) fn of(ask: &Ask, news: &News) -> Self {
        let mut movements = Self::default();
        if ask.since.is_none() {
            return movements;
        }
        for change in &news.changes {
            // The last change of a room decides.
            let (now, other) = if change.membership == "join" {
                (&mut movements.entered, &mut movements.left)
            } else {
                (&mut movements.left, &mut movements.entered)
            };
            other.remove(&change.room_id);
            if (change.membership == "join") != (change.prev_membership == "join") {
                now.insert(change.room_id.clone());
            }
        }
        let members = news.deltas.iter().filter(|delta| {
            delta.kind == "m.room.member"
                && delta.state_key != ask.user
                && !movements.entered.contains(&delta.room_id)
                && !movements.left.contains(&delta.room_id)
        });
        if news.deltas.len() > queries::MAX_DELTAS {
            // There are more than were read.
            let joined = news.memberships.iter().filter(|row| row.membership == "join");
            movements.changed = joined
                .map(|row| row.room_id.clone())
                .filter(|room| !movements.entered.contains(room))
                .collect();
            return movements;
        }
        movements.changed = members.map(|delta| delta.room_id.clone()).collect();
        movements
    }
}
