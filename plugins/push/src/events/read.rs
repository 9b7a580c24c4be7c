//! What a batch of events needs to know.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use tessera_sdk::matrix::{Error, server_name};
use tessera_sdk::params;
use tessera_sdk::storage::{self, FromRow, RowError, Rows, Select, Value, select};
use tessera_sdk::{crypto, log};

use super::evaluate::{self, Relation};
use super::own::Own;
use super::{Payload, upgrade};
use crate::pushers::{Key, Pusher};
use crate::rules;

/// Rules kept in memory, in bytes, about. Past it all are forgotten and read again when they are needed.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Pushers of a batch's rooms; what is beyond hears nothing of it.
const MAX_PUSHERS: u32 = 50_000;
/// Rule sets read at once: each has up to `rules::MAX_BYTES`.
const CHUNK: usize = 50;
/// Bytes of rules, about, after which a page of members ends.
const PAGE_BYTES: usize = 12 * 1024 * 1024;
/// What the default rules take of what is stored of each user, at least.
const DEFAULTS_BYTES: usize = 5000;
/// Members with rules of their own who are looked at together: their rules are in memory at one time.
const PAGE: u32 = 500;
/// How far the relations of an event are followed to a thread. Spec: client-server API, Marking notifications as read.
const HOPS: usize = 3;

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
#[derive(Debug)]
pub(super) struct Custom {
    pub user_id: String,
    pub display_name: String,
    pub rules: Rc<Own>,
}

/// A change of a local user's membership.
#[derive(Debug)]
pub(super) struct Change {
    pub position: i64,
    pub user_id: String,
    pub membership: String,
    pub before: String,
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
    /// The last time that somebody came in.
    pub members_changed: i64,
    /// Who came in up to here has a mark of the main timeline.
    pub marked_upto: Option<i64>,
    pub events: Vec<Event>,
    /// The roots of threads that events of the batch belong to and that are in the room, by event.
    pub threads: HashMap<String, String>,
    /// How memberships of local users changed at the events' positions, oldest first: by the events themselves, or by what state
    /// resolution made of them.
    pub changes: Vec<Change>,
    /// The rooms that tombstones of the batch name anew.
    pub replaced_by: Vec<String>,
    /// Joined members: the first page.
    pub custom: Vec<Custom>,
    /// There may be more of them.
    pub more_custom: bool,
    /// Those among the invited of this batch.
    pub invited: Vec<Custom>,
    /// Users who ignore a sender of the batch, by sender.
    pub ignoring: HashMap<String, BTreeSet<String>>,
    /// Pushers of joined members.
    pub pushers: Vec<Pusher>,
    /// JSON of `m.room.power_levels` and `m.room.create`, if anything asks for them.
    pub power_levels: Option<String>,
    pub create: Option<String>,
}

/// Whom a page of members with rules of their own ends with: room and user.
type Place = (String, String);
/// A member and the room.
type InRoom = (String, Custom);
/// Members with rules of their own, by room, and where their page ends, if there are more.
type Page = (HashMap<String, Vec<Custom>>, Option<Place>);

/// All of it.
#[derive(Debug)]
pub(super) struct Work {
    pub tenant: String,
    /// Pushers of those whom events of the batch invite.
    pub invited: Vec<Pusher>,
    /// In the order of their ids.
    pub rooms: Vec<Room>,
    /// Where the first page of members with rules of their own ends, if there are more.
    pub more: Option<Place>,
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
    rules: HashMap<String, (i64, Rc<Own>)>,
    bytes: usize,
}

/// `room_id, version, creator, seen, marked_upto, members_changed`
type Known = (String, String, String, Option<i64>, Option<i64>, Option<i64>);
/// `room_id, user_id, display_name, position` of the rules
type Member = (String, String, Option<String>, i64);

const MEMBERS: &str = "SELECT m.room_id, m.user_id, m.display_name, r.position FROM rooms_v1_memberships m \
     JOIN push_rules r ON r.user_id = m.user_id WHERE m.room_id IN ($1) AND m.membership = 'join'";

/// Reads it: one storage call for most batches. One more each: for 50 members whose rules are not known here yet, where events relate to
/// others or call everybody, or somebody joins.
///
/// # Errors
/// Storage.
pub(super) fn batch(told: &[&Payload]) -> Result<Work, Error> {
    let tenant = crypto::tenant_name();
    let ids: Vec<String> = told.iter().map(|event| event.event_id.clone()).collect();
    let names: BTreeSet<&str> = told.iter().map(|event| event.room_id.as_str()).collect();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let member_events = told.iter().filter(|event| event.kind == "m.room.member");
    let concerned: Vec<String> = member_events
        .clone()
        .filter_map(|event| event.state_key.clone())
        .filter(|user| server_name(user) == tenant)
        .collect();
    let mut selects = vec![
        select(
            "SELECT position, event_id, room_id, type, state_key, sender, json, redacted_by, rejected, stream \
             FROM rooms_v1_events WHERE event_id IN ($1) ORDER BY position",
            params![ids.clone()],
        ),
        select(
            "SELECT r.room_id, r.version, r.creator, p.position, t.members_position, (SELECT c.position \
             FROM rooms_v1_membership_changes c WHERE c.room_id = r.room_id AND c.membership = 'join' \
             AND c.prev_membership <> 'join' ORDER BY c.position DESC LIMIT 1) AS changed \
             FROM rooms_v1_rooms r LEFT JOIN push_rooms p ON p.room_id = r.room_id \
             LEFT JOIN push_totals t ON t.room_id = r.room_id AND t.thread_id = '' WHERE r.room_id IN ($1)",
            params![names.clone()],
        ),
        select(
            "SELECT room_id, COUNT(*) AS n FROM rooms_v1_memberships \
             WHERE room_id IN ($1) AND membership = 'join' GROUP BY room_id",
            params![names.clone()],
        ),
        select(
            &format!("{MEMBERS} ORDER BY m.room_id, m.user_id LIMIT $2"),
            params![names.clone(), PAGE],
        ),
        select(
            "SELECT m.room_id, p.user_id, p.app_id, p.pushkey, p.shard, p.kind, p.tries FROM rooms_v1_memberships m \
             JOIN push_pushers p ON p.user_id = m.user_id WHERE m.room_id IN ($1) AND m.membership = 'join' \
             AND p.enabled = TRUE LIMIT $2",
            params![names.clone(), MAX_PUSHERS],
        ),
        // The list is JSON of which SQL knows nothing: whoever it names stands there in quotation marks.
        select(
            "SELECT m.room_id, m.user_id, s.sender FROM rooms_v1_memberships m \
             CROSS JOIN accounts_v1_account_data a CROSS JOIN (SELECT DISTINCT e.room_id, e.sender \
             FROM rooms_v1_events e WHERE e.event_id IN ($1)) s WHERE m.room_id IN ($2) \
             AND m.membership IN ('join', 'invite') AND a.user_id = m.user_id AND a.room_id = '' \
             AND a.type = 'm.ignored_user_list' AND s.room_id = m.room_id AND s.sender <> m.user_id \
             AND REPLACE(a.content, '\"' || s.sender || '\"', '') <> a.content",
            params![ids.clone(), names.clone()],
        ),
        changes(ids, &tenant),
    ];
    if !concerned.is_empty() {
        selects.extend(of_member_events(concerned.clone()));
    }
    let mut answers = storage::snapshot(&selects)?.answers();
    let events: Vec<Event> = next(&mut answers)?;
    let known: Vec<Known> = next(&mut answers)?;
    let counts: Vec<(String, i64)> = next(&mut answers)?;
    let members: Vec<Member> = next(&mut answers)?;
    let pushers: Vec<PusherRow> = next(&mut answers)?;
    let ignoring: Vec<(String, String, String)> = next(&mut answers)?;
    let changes: Vec<ChangeRow> = next(&mut answers)?;
    let (mut invitees, mut invited) = (Vec::new(), Vec::new());
    if !concerned.is_empty() {
        invitees = next::<(String, i64)>(&mut answers)?;
        invited = next::<PusherRow>(&mut answers)?;
    }

    let mut rooms: BTreeMap<String, Room> = known
        .into_iter()
        .map(|(room_id, version, creator, seen, marked_upto, changed)| {
            let members_changed = changed.unwrap_or(0);
            let room =
                Room { version, creator, seen, marked_upto, members_changed, ..Room::default() };
            (room_id.clone(), Room { room_id, ..room })
        })
        .collect();
    for (room, n) in counts {
        rooms.entry(room).and_modify(|room| room.members = n);
    }
    if pushers.len() >= MAX_PUSHERS as usize {
        log::error("too many pushers in rooms", &[("rooms", &names.len().to_string())]);
    }
    for row in pushers {
        let (room, pusher) = pusher(row);
        rooms.entry(room).and_modify(|room| room.pushers.push(pusher));
    }
    let invited = invited.into_iter().map(|row| pusher(row).1).collect();
    for (room, position, user_id, membership, before) in changes {
        if let Some(room) = rooms.get_mut(&room)
            && room.seen.is_none_or(|seen| position > seen)
        {
            room.changes.push(Change { position, user_id, membership, before });
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
    threads(&mut rooms)?;

    let (custom, more) = customs(members)?;
    if let Some((last, _)) = &more {
        rooms.values_mut().for_each(|room| room.more_custom = room.room_id >= *last);
    }
    for (room, custom) in custom {
        rooms.entry(room).and_modify(|room| room.custom.push(custom));
    }
    let wanted = invitees.iter().map(|(user, position)| (user.as_str(), *position)).collect();
    let parsed = parsed(&wanted)?;
    for (user_id, rules) in parsed {
        let named = |event: &Event| event.state_key.as_deref() == Some(user_id.as_str());
        for room in rooms.values_mut().filter(|room| room.events.iter().any(named)) {
            let (user_id, display_name) = (user_id.clone(), String::new());
            room.invited.push(Custom { user_id, display_name, rules: Rc::clone(&rules) });
        }
    }
    state(&mut rooms, !concerned.is_empty())?;
    upgrade::replaced(&mut rooms)?;
    Ok(Work { tenant, invited, rooms: rooms.into_values().collect(), more })
}

fn next<T: FromRow>(answers: &mut impl Iterator<Item = Rows>) -> Result<Vec<T>, Error> {
    let answer = answers.next().ok_or_else(|| Error::internal("an answer is missing"))?;
    Ok(answer.all()?)
}

/// `room_id, position, user_id, membership, prev_membership`
type ChangeRow = (String, i64, String, String, String);

/// How memberships of local users changed where these events are.
fn changes(events: Vec<String>, tenant: &str) -> Select {
    let suffix = format!(":{tenant}");
    let length = i64::try_from(suffix.chars().count()).unwrap_or(i64::MAX);
    select(
        "SELECT c.room_id, c.position, c.user_id, c.membership, c.prev_membership FROM rooms_v1_events e \
         JOIN rooms_v1_membership_changes c ON c.room_id = e.room_id AND c.position = e.position \
         WHERE e.event_id IN ($1) AND LENGTH(c.user_id) > $2 \
         AND SUBSTR(c.user_id, LENGTH(c.user_id) - $2 + 1) = $3 ORDER BY c.position",
        params![events, length, suffix],
    )
}

/// What is asked of local users whom member events are about: their rules and pushers.
fn of_member_events(users: Vec<String>) -> [Select; 2] {
    [
        select(
            "SELECT user_id, position FROM push_rules WHERE user_id IN ($1)",
            params![users.clone()],
        ),
        select(
            "SELECT '' AS room_id, user_id, app_id, pushkey, shard, kind, tries FROM push_pushers \
             WHERE user_id IN ($1) AND enabled = TRUE LIMIT $2",
            params![users, MAX_PUSHERS],
        ),
    ]
}

fn place((room, user, ..): &Member) -> Place {
    (room.clone(), user.clone())
}

/// What a page of members holds: their rules, with the room, and where it ends, if there are more of them.
fn customs(members: Vec<Member>) -> Result<(Vec<InRoom>, Option<Place>), Error> {
    let last = if members.len() < PAGE as usize { None } else { members.last().map(place) };
    let mut found = Vec::with_capacity(members.len());
    let (mut bytes, all) = (0, members.len());
    for (at, members) in members.chunks(CHUNK).enumerate() {
        let users =
            members.iter().map(|(_, user, _, position)| (user.as_str(), *position)).collect();
        let parsed = parsed(&users)?;
        for (room, user_id, display_name, _) in members {
            let Some(rules) = parsed.get(user_id).map(Rc::clone) else { continue };
            bytes += rules.weight;
            let display_name = display_name.clone().unwrap_or_default();
            found.push((room.clone(), Custom { user_id: user_id.clone(), display_name, rules }));
        }
        if bytes > PAGE_BYTES && (at + 1) * CHUNK < all {
            return Ok((found, members.last().map(place)));
        }
    }
    Ok((found, last))
}

/// The next page of members of these rooms who have rules of their own, by room, and where it ends.
///
/// # Errors
/// Storage.
pub(super) fn more(rooms: Vec<String>, (room, user): Place) -> Result<Page, Error> {
    let members: Vec<Member> = storage::query(
        &format!(
            "{MEMBERS} AND (m.room_id > $2 OR (m.room_id = $2 AND m.user_id > $3)) \
             ORDER BY m.room_id, m.user_id LIMIT $4"
        ),
        params![rooms, room, user, PAGE],
    )?
    .all()?;
    let (found, more) = customs(members)?;
    let mut by_room: HashMap<String, Vec<Custom>> = HashMap::new();
    for (room, custom) in found {
        by_room.entry(room).or_default().push(custom);
    }
    Ok((by_room, more))
}

/// `room_id, user_id, app_id, pushkey, shard, kind, tries`
type PusherRow = (String, String, String, String, i64, String, i64);

fn pusher((room, user_id, app_id, pushkey, shard, kind, tries): PusherRow) -> (String, Pusher) {
    let key = Key { user_id, app_id, pushkey };
    let email = kind == "email";
    (room, Pusher { key, shard, email, slow: email || tries > 0 })
}

/// Reads the state that rules may ask for: power levels where everybody may be called, the beginning of the room where somebody joins.
fn state(rooms: &mut BTreeMap<String, Room>, joins: bool) -> Result<(), Error> {
    let asks = |room: &&Room| {
        joins
            || room.more_custom
            || room.custom.iter().chain(&room.invited).any(|custom| custom.rules.powers)
            || room.events.iter().any(evaluate::may_call_all)
    };
    let asking: Vec<String> =
        rooms.values().filter(asks).map(|room| room.room_id.clone()).collect();
    if asking.is_empty() {
        return Ok(());
    }
    let state: Vec<(String, String, String)> = storage::query(
        "SELECT room_id, type, json FROM rooms_v1_current_state WHERE room_id IN ($1) \
         AND type IN ('m.room.power_levels', 'm.room.create') AND state_key = ''",
        params![asking],
    )?
    .all()?;
    for (room, kind, json) in state {
        if let Some(room) = rooms.get_mut(&room) {
            let place =
                if kind == "m.room.create" { &mut room.create } else { &mut room.power_levels };
            *place = Some(json);
        }
    }
    Ok(())
}

/// Finds the threads that events belong to: by themselves, or because what they relate to does. Only what is an event of the room
/// begins one: each thread costs a row for every member.
fn threads(rooms: &mut BTreeMap<String, Room>) -> Result<(), Error> {
    // Event, its room, and what leads to its thread.
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut leads: Vec<(String, String, String)> = Vec::new();
    for event in rooms.values().flat_map(|room| &room.events) {
        let of = |id| (event.event_id.clone(), event.room_id.clone(), id);
        match evaluate::relation(event) {
            Relation::Nothing => {}
            Relation::Thread(root) => found.push(of(root)),
            Relation::Event(id) => leads.push(of(id)),
        }
    }
    for _ in 0..HOPS {
        if leads.is_empty() {
            break;
        }
        let asked: BTreeSet<&String> = leads.iter().map(|(_, _, id)| id).collect();
        let asked: Vec<String> = asked.into_iter().cloned().collect();
        let rows: Vec<(String, String, String)> = storage::query(
            "SELECT event_id, relates_to, rel_type FROM rooms_v1_relations WHERE event_id IN ($1)",
            params![asked],
        )?
        .all()?;
        let known: HashMap<String, (String, String)> =
            rows.into_iter().map(|(id, to, kind)| (id, (to, kind))).collect();
        for (event, room, id) in std::mem::take(&mut leads) {
            if let Some((to, kind)) = known.get(&id) {
                let list = if kind == "m.thread" { &mut found } else { &mut leads };
                list.push((event, room, to.clone()));
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let roots: BTreeSet<&String> = found.iter().map(|(_, _, root)| root).collect();
    let roots: Vec<String> = roots.into_iter().cloned().collect();
    let known: Vec<(String, String)> = storage::query(
        "SELECT room_id, event_id FROM rooms_v1_events WHERE event_id IN ($1)",
        params![roots],
    )?
    .all()?;
    let known: BTreeSet<(String, String)> = known.into_iter().collect();
    for (event, room, root) in found {
        let place = (room, root);
        if known.contains(&place)
            && let Some(room) = rooms.get_mut(&place.0)
        {
            room.threads.insert(event, place.1);
        }
    }
    Ok(())
}

/// The rules of these users at these positions, from memory where they are there.
fn parsed(wanted: &BTreeMap<&str, i64>) -> Result<HashMap<String, Rc<Own>>, Error> {
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
                Ok(rules) => {
                    let weight = content.len().saturating_sub(DEFAULTS_BYTES) * 2;
                    Rc::new(Own::new(&rules, 300 + user.len() + weight))
                }
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
                if cache.bytes + rules.weight > CACHE_BYTES {
                    *cache = Cache::default();
                }
                cache.bytes += rules.weight;
                cache.rules.insert(user, (position, rules));
            });
        }
    }
    Ok(found)
}
