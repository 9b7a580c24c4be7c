//! What a batch of events needs to know.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use ruma::push::Ruleset;
use tessera_sdk::matrix::{Error, server_name};
use tessera_sdk::params;
use tessera_sdk::storage::{self, FromRow, RowError, Value, select};
use tessera_sdk::{crypto, log};

use super::{Payload, evaluate};
use crate::pushers::{Key, Pusher};
use crate::rules;

/// Rules kept parsed, in bytes of their JSON. Past it all are forgotten and read again when they are needed.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Pushers of a batch's rooms; what is beyond hears nothing of it.
const MAX_PUSHERS: i64 = 20_000;
/// Rule sets read at once.
const CHUNK: usize = 200;

/// An event to evaluate.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub position: i64,
    pub event_id: String,
    pub room_id: String,
    pub kind: String,
    pub state_key: Option<String>,
    pub sender: String,
    pub json: String,
    /// Refused, redacted or without a place in the timeline: it notifies nobody.
    pub silent: bool,
}

impl FromRow for Event {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (
            position,
            event_id,
            room_id,
            kind,
            state_key,
            sender,
            json,
            redacted_by,
            rejected,
            stream,
        ) = <(_, _, _, _, _, _, _, Option<String>, bool, bool)>::from_row(row)?;
        let silent = redacted_by.is_some() || rejected || !stream;
        Ok(Self { position, event_id, room_id, kind, state_key, sender, json, silent })
    }
}

/// Somebody whose rules are not the defaults.
#[derive(Debug, Clone)]
pub(super) struct Custom {
    pub user_id: String,
    pub display_name: String,
    pub rules: Rc<Ruleset>,
}

/// A room and its events of the batch, oldest first, without those that were evaluated before.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub room_id: String,
    pub version: String,
    pub creator: String,
    /// The last event evaluated before.
    pub seen: Option<i64>,
    /// Joined members, remote ones included.
    pub members: i64,
    /// The last change of any membership.
    pub members_changed: i64,
    pub events: Vec<Event>,
    /// Roots of threads that events of the batch name and that are in the room.
    pub roots: BTreeSet<String>,
    /// Positions of member events that let a joined member stay joined: changes of profiles.
    pub stays: BTreeSet<i64>,
    /// Joined members.
    pub custom: Vec<Custom>,
    /// Those among the invited of this batch.
    pub invited: Vec<Custom>,
    /// Users who ignore a sender of the batch, by sender.
    pub ignoring: HashMap<String, BTreeSet<String>>,
    /// Pushers of joined members.
    pub pushers: Vec<Pusher>,
    /// JSON of `m.room.power_levels` and `m.room.create`.
    pub power_levels: Option<String>,
    pub create: Option<String>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Work {
    pub tenant: String,
    /// Pushers of those whom events of the batch invite.
    pub invited: Vec<Pusher>,
    /// In the order of their ids.
    pub rooms: Vec<Room>,
}

impl Work {
    /// How many notifications of pushers may come of it, at most.
    pub(super) fn pushes(&self) -> usize {
        self.rooms.iter().map(|room| room.pushers.len().saturating_mul(room.events.len())).sum()
    }
}

thread_local! {
    static PARSED: RefCell<Cache> = RefCell::new(Cache::default());
}

#[derive(Default)]
struct Cache {
    rules: HashMap<String, (i64, Rc<Ruleset>)>,
    bytes: usize,
}

/// `room_id, version, creator, seen, members_changed`
type Known = (String, String, String, Option<i64>, Option<i64>);

/// Reads it: one storage call, and one for each 200 members whose rules are not known here yet.
///
/// # Errors
/// Storage.
pub(super) fn batch(told: &[&Payload]) -> Result<Work, Error> {
    let tenant = crypto::tenant_name();
    let ids: Vec<String> = told.iter().map(|event| event.event_id.clone()).collect();
    let names: BTreeSet<&str> = told.iter().map(|event| event.room_id.as_str()).collect();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let invitees_told: Vec<String> = told
        .iter()
        .filter(|event| event.kind == "m.room.member")
        .filter_map(|event| event.state_key.clone())
        .filter(|user| server_name(user) == tenant)
        .collect();
    let mut answers = storage::snapshot(&[
        select(
            "SELECT position, event_id, room_id, type, state_key, sender, json, redacted_by, rejected, stream \
             FROM rooms_v1_events WHERE event_id IN ($1) ORDER BY position",
            params![ids.clone()],
        ),
        select(
            "SELECT r.room_id, r.version, r.creator, p.position, (SELECT MAX(c.position) \
             FROM rooms_v1_membership_changes c WHERE c.room_id = r.room_id) AS changed \
             FROM rooms_v1_rooms r LEFT JOIN push_rooms p ON p.room_id = r.room_id WHERE r.room_id IN ($1)",
            params![names.clone()],
        ),
        select(
            "SELECT room_id, COUNT(*) AS n FROM rooms_v1_memberships \
             WHERE room_id IN ($1) AND membership = 'join' GROUP BY room_id",
            params![names.clone()],
        ),
        select(
            "SELECT m.room_id, m.user_id, m.display_name, r.position FROM rooms_v1_memberships m \
             JOIN push_rules r ON r.user_id = m.user_id WHERE m.room_id IN ($1) AND m.membership = 'join'",
            params![names.clone()],
        ),
        select(
            "SELECT user_id, position FROM push_rules WHERE user_id IN ($1)",
            params![invitees_told.clone()],
        ),
        select(
            "SELECT m.room_id, p.user_id, p.app_id, p.pushkey, p.shard, p.kind FROM rooms_v1_memberships m \
             JOIN push_pushers p ON p.user_id = m.user_id WHERE m.room_id IN ($1) AND m.membership = 'join' \
             AND p.enabled = TRUE LIMIT $2",
            params![names.clone(), MAX_PUSHERS],
        ),
        select(
            "SELECT '' AS room_id, user_id, app_id, pushkey, shard, kind FROM push_pushers \
             WHERE user_id IN ($1) AND enabled = TRUE LIMIT $2",
            params![invitees_told, MAX_PUSHERS],
        ),
        select(
            "SELECT room_id, type, json FROM rooms_v1_current_state WHERE room_id IN ($1) \
             AND type IN ('m.room.power_levels', 'm.room.create') AND state_key = ''",
            params![names.clone()],
        ),
        select(
            "SELECT c.room_id, c.position FROM rooms_v1_events e JOIN rooms_v1_membership_changes c \
             ON c.room_id = e.room_id AND c.position = e.position WHERE e.event_id IN ($1) \
             AND c.membership = 'join' AND c.prev_membership = 'join'",
            params![members_of(told)],
        ),
        // The list is JSON of which SQL knows nothing: whoever it names stands there in quotation marks.
        select(
            "SELECT m.room_id, m.user_id, s.sender FROM rooms_v1_memberships m \
             CROSS JOIN accounts_v1_account_data a CROSS JOIN (SELECT DISTINCT e.room_id, e.sender \
             FROM rooms_v1_events e WHERE e.event_id IN ($1)) s WHERE m.room_id IN ($2) \
             AND m.membership IN ('join', 'invite') AND a.user_id = m.user_id AND a.room_id = '' \
             AND a.type = 'm.ignored_user_list' AND s.room_id = m.room_id AND s.sender <> m.user_id \
             AND REPLACE(a.content, '\"' || s.sender || '\"', '') <> a.content",
            params![ids, names],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let events: Vec<Event> = next()?.all()?;
    let known: Vec<Known> = next()?.all()?;
    let counts: Vec<(String, i64)> = next()?.all()?;
    let members: Vec<(String, String, Option<String>, i64)> = next()?.all()?;
    let invitees: Vec<(String, i64)> = next()?.all()?;
    let pushers: Vec<PusherRow> = next()?.all()?;
    let invited_pushers: Vec<PusherRow> = next()?.all()?;
    let state: Vec<(String, String, String)> = next()?.all()?;
    let stays: Vec<(String, i64)> = next()?.all()?;
    let ignoring: Vec<(String, String, String)> = next()?.all()?;

    let mut rooms: BTreeMap<String, Room> = known
        .into_iter()
        .map(|(room_id, version, creator, seen, changed)| {
            let members_changed = changed.unwrap_or(0);
            let room = Room { version, creator, seen, members_changed, ..Room::default() };
            (room_id.clone(), Room { room_id, ..room })
        })
        .collect();
    for (room, n) in counts {
        rooms.entry(room).and_modify(|room| room.members = n);
    }
    for row in pushers {
        let (room, pusher) = pusher(row);
        rooms.entry(room).and_modify(|room| room.pushers.push(pusher));
    }
    let invited = invited_pushers.into_iter().map(|row| pusher(row).1).collect();
    for (room, kind, json) in state {
        if let Some(room) = rooms.get_mut(&room) {
            let place =
                if kind == "m.room.create" { &mut room.create } else { &mut room.power_levels };
            *place = Some(json);
        }
    }
    for (room, position) in stays {
        if let Some(room) = rooms.get_mut(&room) {
            room.stays.insert(position);
        }
    }
    for (room, user, sender) in ignoring {
        if let Some(room) = rooms.get_mut(&room) {
            room.ignoring.entry(sender).or_default().insert(user);
        }
    }
    for event in events {
        if let Some(room) = rooms.get_mut(&event.room_id)
            && room.seen.is_none_or(|seen| event.position > seen)
        {
            room.events.push(event);
        }
    }
    rooms.retain(|_, room| !room.events.is_empty());
    roots(&mut rooms)?;

    let wanted: BTreeMap<&str, i64> = members
        .iter()
        .filter(|(room, ..)| rooms.contains_key(room))
        .map(|(_, user, _, position)| (user.as_str(), *position))
        .chain(invitees.iter().map(|(user, position)| (user.as_str(), *position)))
        .collect();
    let parsed = parsed(&wanted)?;
    for (room, user_id, display_name, _) in members {
        if let (Some(room), Some(rules)) = (rooms.get_mut(&room), parsed.get(&user_id)) {
            let display_name = display_name.unwrap_or_default();
            room.custom.push(Custom { user_id, display_name, rules: Rc::clone(rules) });
        }
    }
    for (user_id, _) in invitees {
        let Some(rules) = parsed.get(&user_id) else { continue };
        let named = |event: &Event| event.state_key.as_deref() == Some(user_id.as_str());
        for room in rooms.values_mut().filter(|room| room.events.iter().any(named)) {
            let (user_id, display_name) = (user_id.clone(), String::new());
            room.invited.push(Custom { user_id, display_name, rules: Rc::clone(rules) });
        }
    }
    Ok(Work { tenant, invited, rooms: rooms.into_values().collect() })
}

/// `room_id, user_id, app_id, pushkey, shard, kind`
type PusherRow = (String, String, String, String, i64, String);

fn pusher((room, user_id, app_id, pushkey, shard, kind): PusherRow) -> (String, Pusher) {
    let key = Key { user_id, app_id, pushkey };
    (room, Pusher { key, shard, email: kind == "email" })
}

/// Finds the roots of threads. Only what is an event of the room begins one: each thread costs a row for every member.
fn roots(rooms: &mut BTreeMap<String, Room>) -> Result<(), Error> {
    let named: BTreeSet<String> = rooms
        .values()
        .flat_map(|room| &room.events)
        .filter(|event| evaluate::may_be_threaded(event))
        .filter_map(|event| evaluate::parse(event).map(|parsed| parsed.thread))
        .filter(|root| !root.is_empty())
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = named.into_iter().collect();
    let found: Vec<(String, String)> = storage::query(
        "SELECT room_id, event_id FROM rooms_v1_events WHERE event_id IN ($1)",
        params![named],
    )?
    .all()?;
    for (room, root) in found {
        if let Some(room) = rooms.get_mut(&room) {
            room.roots.insert(root);
        }
    }
    Ok(())
}

/// Ids of the member events.
fn members_of(told: &[&Payload]) -> Vec<String> {
    let members = told.iter().filter(|event| event.kind == "m.room.member");
    members.map(|event| event.event_id.clone()).collect()
}

/// The rules of these users at these positions, from memory where they are there.
fn parsed(wanted: &BTreeMap<&str, i64>) -> Result<HashMap<String, Rc<Ruleset>>, Error> {
    let mut found = HashMap::with_capacity(wanted.len());
    let mut missing = Vec::new();
    PARSED.with_borrow(|cache| {
        for (user, position) in wanted {
            match cache.rules.get(*user) {
                Some((at, rules)) if at == position => {
                    found.insert((*user).to_owned(), Rc::clone(rules));
                }
                _ => missing.push((*user).to_owned()),
            }
        }
    });
    for users in missing.chunks(CHUNK) {
        let rows: Vec<(String, String, i64)> = storage::query(
            "SELECT user_id, content, position FROM push_rules WHERE user_id IN ($1)",
            params![users],
        )?
        .all()?;
        for (user, content, position) in rows {
            let rules = match rules::parse(&user, &content) {
                Ok(rules) => Rc::new(rules),
                Err(error) => {
                    log::error(
                        "unreadable push rules",
                        &[("user", &user), ("reason", error.message())],
                    );
                    continue;
                }
            };
            found.insert(user.clone(), Rc::clone(&rules));
            PARSED.with_borrow_mut(|cache| {
                if cache.bytes + content.len() > CACHE_BYTES {
                    *cache = Cache::default();
                }
                cache.bytes += content.len();
                cache.rules.insert(user, (position, rules));
            });
        }
    }
    Ok(found)
}
