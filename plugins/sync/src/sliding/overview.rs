//! The first read: all rooms of the user with their newest activity, and what belongs to no room. One storage call, whatever the lists.

use std::collections::{BTreeMap, BTreeSet};

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, FromRow, RowError, Rows, Select, Value, select};

use super::ask::Ask;
use super::connection::Connection;
use super::facts::{self, Facts, Needs};
use crate::devices::{self, BORN, Message};
use crate::ignored;

/// Its count is told even where it is 0: clients take a missing count for no news.
const USUAL_ALGORITHM: &str = "signed_curve25519";
/// Of a first request only those changes of memberships count that lie above the horizon: they are among the newest.
const NEWEST_CHANGES: usize = 100;

/// The user's membership in a room, with what orders it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub room_id: String,
    pub membership: String,
    pub event_id: String,
    pub sender: String,
    /// Of the membership's event.
    pub position: i64,
    pub stripped: Option<String>,
    /// Of the newest event in the room; for who is not in it, of their own.
    pub active: i64,
    /// Where the user was last in the room, for who no longer is; none if they never were.
    pub left_at: Option<i64>,
}

impl FromRow for Row {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (room_id, membership, event_id, sender, position, stripped, active, left_at) =
            <_>::from_row(row)?;
        Ok(Self { room_id, membership, event_id, sender, position, stripped, active, left_at })
    }
}

/// A change of one of the user's memberships.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub position: i64,
    pub room_id: String,
    pub membership: String,
    pub before: String,
    pub event_id: String,
}

impl FromRow for Change {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (position, room_id, membership, before, event_id) = <_>::from_row(row)?;
        Ok(Self { position, room_id, membership, before, event_id })
    }
}

/// `room_id` (empty for global ones)`, type, content, position`
pub(super) type AccountData = (String, String, String, i64);

/// Keys of the device, and users whose devices changed.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub one_time: BTreeMap<String, i64>,
    pub fallback: Vec<String>,
    pub changed: BTreeSet<String>,
    /// The user's rooms where others came or went.
    pub stirred: BTreeSet<String>,
}

/// What is known before looking into rooms.
#[derive(Debug, Default)]
pub(super) struct Overview {
    pub horizon: i64,
    pub rooms: BTreeMap<String, Row>,
    /// Oldest first, up to the horizon.
    pub changes: Vec<Change>,
    pub ignored: BTreeSet<String>,
    /// Rooms that are direct chats.
    pub direct: BTreeSet<String>,
    pub facts: Facts,
    /// Of the user: what has changed, or at first all that is global.
    pub account_data: Vec<AccountData>,
    pub push_rules: Option<(String, i64)>,
    /// Rooms whose unread counts have changed, with the positions.
    pub counted: BTreeMap<String, i64>,
    pub keys: Option<Keys>,
    /// One more than the limit where there are more.
    pub messages: Vec<Message>,
    /// For [`devices::acknowledge`].
    pub told_messages: Option<Rows>,
}

fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn memberships(ask: &Ask, oldest: i64) -> Select {
    select(
        "SELECT m.room_id, m.membership, m.event_id, m.sender, m.position, \
         CASE WHEN m.membership IN ('invite', 'knock') THEN m.stripped_state ELSE NULL END AS stripped, \
         CASE WHEN m.membership = 'join' THEN COALESCE((SELECT e.position FROM rooms_v1_events e \
         WHERE e.room_id = m.room_id AND e.stream AND NOT e.rejected ORDER BY e.position DESC LIMIT 1), m.position) \
         ELSE m.position END AS active, \
         CASE WHEN m.membership IN ('leave', 'ban') THEN (SELECT MAX(c.position) FROM rooms_v1_membership_changes c \
         WHERE c.room_id = m.room_id AND c.user_id = $1 AND c.prev_membership = 'join' AND c.membership <> 'join') \
         ELSE NULL END AS left_at \
         FROM rooms_v1_memberships m WHERE m.user_id = $1 AND NOT m.forgotten \
         AND (m.membership <> 'leave' OR m.sender <> $1 OR m.position > $2 OR m.room_id IN ($3))",
        params![&ask.user, oldest, ask.wishes.subscribed()],
    )
}

/// Newest first.
fn changes(ask: &Ask, from: Option<i64>) -> Select {
    const ROWS: &str = "SELECT position, room_id, membership, prev_membership, event_id \
         FROM rooms_v1_membership_changes WHERE user_id = $1";
    match from {
        Some(from) => select(
            &format!("{ROWS} AND position > $2 ORDER BY position DESC"),
            params![&ask.user, from],
        ),
        None => select(
            &format!("{ROWS} ORDER BY position DESC LIMIT $2"),
            params![&ask.user, int(NEWEST_CHANGES)],
        ),
    }
}

fn account_data(ask: &Ask, since: Option<i64>) -> Select {
    const ROWS: &str =
        "SELECT room_id, type, content, position FROM accounts_v1_account_data WHERE user_id = $1";
    match since {
        Some(since) => select(&format!("{ROWS} AND position > $2"), params![&ask.user, since]),
        None => select(&format!("{ROWS} AND room_id = ''"), params![&ask.user]),
    }
}

/// The statements that not every request has.
#[derive(Debug, Clone, Copy)]
struct Parts {
    account_data: bool,
    counts: bool,
    e2ee: bool,
    to_device: Option<(i64, i64)>,
}

fn selects(ask: &Ask, sent: &Connection, needs: &Needs, parts: Parts) -> Vec<Select> {
    let since = ask.pos().map(|pos| pos.position);
    let from = since.map(|since| sent.oldest(since));
    let device = ask.device.as_deref();
    let mut selects = vec![
        memberships(ask, from.unwrap_or(i64::MAX)),
        changes(ask, from),
        ignored::select(&ask.user),
        select(
            "SELECT content FROM accounts_v1_account_data \
             WHERE user_id = $1 AND room_id = '' AND type = 'm.direct'",
            params![&ask.user],
        ),
        ignored::select_blocking(&ask.user),
    ];
    if parts.account_data {
        selects.push(account_data(ask, since));
        selects.push(select(
            "SELECT content, position FROM push_v1_rules WHERE user_id = $1 AND position > $2",
            params![&ask.user, since.unwrap_or(0)],
        ));
    }
    if parts.counts {
        selects.push(select(
            "SELECT room_id, position FROM push_v1_counts WHERE user_id = $1 AND position > $2",
            params![&ask.user, from.unwrap_or(i64::MAX)],
        ));
    }
    if parts.e2ee {
        selects.push(select(
            &format!(
                "SELECT d.user_id, d.position FROM keys_v1_device_lists d \
                 WHERE d.position > $2 AND (d.user_id = $1 OR {}) \
                 UNION ALL SELECT p.user_id, p.position FROM keys_v1_private_changes p \
                 WHERE p.viewer = $1 AND p.position > $2",
                devices::shares("d.user_id")
            ),
            params![&ask.user, since.unwrap_or(i64::MAX)],
        ));
        selects.push(select(
            "SELECT DISTINCT c.room_id FROM rooms_v1_memberships m CROSS JOIN rooms_v1_membership_changes c \
             WHERE m.user_id = $1 AND m.membership = 'join' AND c.room_id = m.room_id AND c.position > $2 \
             AND c.user_id <> $1 AND c.membership <> c.prev_membership",
            params![&ask.user, since.unwrap_or(i64::MAX)],
        ));
        let own = || params![&ask.user, device.unwrap_or("")];
        selects.push(select(
            "SELECT algorithm, count FROM keys_v1_one_time_counts WHERE user_id = $1 AND device_id = $2",
            own(),
        ));
        selects.push(select(
            "SELECT algorithm FROM keys_v1_unused_fallback WHERE user_id = $1 AND device_id = $2",
            own(),
        ));
    }
    if let Some((told, limit)) = parts.to_device {
        selects.push(devices::select_told(&ask.user, device, told));
        selects.push(select(
            &format!(
                "SELECT position, sender, type, content FROM keys_v1_to_device WHERE user_id = $1 AND device_id = $2 \
                 AND position > $3 AND position > {BORN} ORDER BY position LIMIT $4"
            ),
            params![&ask.user, device.unwrap_or(""), told, limit + 1],
        ));
    }
    selects.extend(facts::selects(&ask.user, needs));
    selects
}

impl Overview {
    /// Reads it. One storage call; two where most of the user's rooms came after the horizon.
    ///
    /// # Errors
    /// The database does not answer, or a view is not as documented.
    pub(super) fn read(ask: &Ask, sent: &Connection) -> Result<Self, Error> {
        let needs = Needs::of(&ask.wishes);
        let parts = Parts {
            account_data: ask.wishes.extensions.account_data().is_some(),
            counts: !ask.stable,
            e2ee: ask.wishes.extensions.e2ee(),
            to_device: ask.wishes.extensions.to_device(),
        };
        let moment = storage::snapshot(&selects(ask, sent, &needs, parts))?;
        let horizon = i64::try_from(moment.horizon).unwrap_or(i64::MAX);
        let mut answers = moment.answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let rows: Vec<Row> = next()?.all()?;
        let mut changes: Vec<Change> = next()?.all()?;
        let ignored = next()?.first::<(String,)>()?;
        let direct = next()?.first::<(String,)>()?;
        let no_invites =
            next()?.first::<(String,)>()?.is_some_and(|(text,)| ignored::blocks(&text));
        let mut overview = Self {
            horizon,
            ignored: ignored.map(|(list,)| ignored::users(&list)).unwrap_or_default(),
            direct: direct.map(|(list,)| facts::direct(&list)).unwrap_or_default(),
            ..Self::default()
        };
        let first = ask.pos().is_none();
        if parts.account_data {
            overview.account_data = next()?.all()?;
            overview.push_rules = next()?.first()?;
            if !first {
                overview.account_data.retain(|row| row.3 <= horizon);
                overview.push_rules = overview.push_rules.filter(|rules| rules.1 <= horizon);
            }
        }
        if parts.counts {
            let counted = next()?.all::<(String, i64)>()?;
            for (room, at) in counted.into_iter().filter(|(_, at)| *at <= horizon) {
                let newest = overview.counted.entry(room).or_default();
                *newest = at.max(*newest);
            }
        }
        if parts.e2ee {
            let changed = next()?.all::<(String, i64)>()?.into_iter();
            let mut one_time = BTreeMap::from([(USUAL_ALGORITHM.to_owned(), 0)]);
            let names = |rows: Vec<(String,)>| rows.into_iter().map(|(name,)| name);
            let changed = changed.filter(|(_, at)| *at <= horizon).map(|(user, _)| user).collect();
            let stirred = names(next()?.all()?).collect();
            one_time.extend(next()?.all::<(String, i64)>()?);
            let fallback = names(next()?.all()?).collect();
            overview.keys = Some(Keys { one_time, fallback, changed, stirred });
        }
        if parts.to_device.is_some() {
            overview.told_messages = Some(next()?);
            overview.messages = next()?.all()?;
            // They are read oldest first: none below the horizon has made room for one above.
            overview.messages.retain(|message| message.0 <= horizon);
        }
        overview.facts = Facts::read(&needs, &mut next)?;

        let oldest = changes.last().map_or(0, |change| change.position);
        if first && changes.len() >= NEWEST_CHANGES && oldest > horizon {
            let above = [changes_above(ask, horizon)];
            changes = storage::snapshot(&above)?.answers().next().map_or(Ok(vec![]), Rows::all)?;
        }
        changes.reverse();
        overview.rooms = rows.into_iter().map(|row| (row.room_id.clone(), row)).collect();
        overview.settle(changes, first);
        let ignored = &overview.ignored;
        let refused =
            |row: &Row| row.membership == "invite" && (no_invites || ignored.contains(&row.sender));
        overview.rooms.retain(|_, row| !refused(row));
        Ok(overview)
    }

    /// Makes the memberships what they were at the horizon. `changes`: oldest first.
    fn settle(&mut self, mut changes: Vec<Change>, first: bool) {
        let known = changes.partition_point(|change| change.position <= self.horizon);
        let above = changes.split_off(known);
        let mut rewound: BTreeMap<String, Change> = BTreeMap::new();
        for change in above {
            rewound.entry(change.room_id.clone()).or_insert(change);
        }
        for (room, change) in rewound {
            let last = changes.iter().rfind(|change| change.room_id == room);
            let row = self.rooms.remove(&room);
            let told = match change.before.as_str() {
                "join" => row.is_some() || last.is_some(),
                "leave" | "ban" => last.is_some(),
                // What an invite or a knock came with is no longer there. What became of it is told next.
                _ => false,
            };
            if !told {
                continue;
            }
            let position = last.map_or(0, |change| change.position);
            let left = changes.iter().rfind(|change| change.room_id == room && change.leaves());
            let joined = change.before == "join";
            let row = Row {
                membership: change.before,
                event_id: last.map(|change| change.event_id.clone()).unwrap_or_default(),
                sender: String::new(),
                position,
                stripped: None,
                active: if joined { change.position } else { position },
                left_at: left.map(|change| change.position),
                room_id: room.clone(),
            };
            self.rooms.insert(room, row);
        }
        if !first {
            self.changes = changes;
        }
    }

    /// Whether the user came into a room after a position.
    pub(super) fn entered(&self, room: &str, after: i64) -> bool {
        self.changes.iter().any(|c| c.room_id == room && c.position > after && c.enters())
    }

    /// Whether anything of the user's memberships changed in a room after a position.
    pub(super) fn moved(&self, room: &str, after: i64) -> bool {
        self.changes.iter().any(|change| change.room_id == room && change.position > after)
    }
}

fn changes_above(ask: &Ask, horizon: i64) -> Select {
    changes(ask, Some(horizon))
}

impl Change {
    /// Whether the user came into the room.
    pub(super) fn enters(&self) -> bool {
        self.membership == "join" && self.before != "join"
    }

    /// Whether the user went.
    pub(super) fn leaves(&self) -> bool {
        self.membership != "join" && self.before == "join"
    }
}
