//! The two reads of every /sync: what to watch, and what is new.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, FromRow, RowError, Value, select};
use tessera_sdk::{cache, config, params};

use super::ask::Ask;
use super::queries::{self, Path};
use super::settle;
use crate::budget::{Budget, Failure};
use crate::devices::{self, Devices};
use crate::event::EventRow;
use crate::filter::Filter;
use crate::ignored;
use crate::near::Presence;
use crate::state::Delta;
use crate::visibility::{self, Visibility};

/// Fired by push whenever it has evaluated more events.
pub(super) const PROGRESS_TOPIC: &str = "push.progress";
/// `[plugins.sync.config]`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// How long a found answer may wait for its unread counts, in milliseconds. 0: never.
    push_wait_ms: u64,
    /// How many members of rooms are read and told in one go, where all are told.
    members_at_once: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { push_wait_ms: 50, members_at_once: 3_000 }
    }
}

/// How long a stored filter is kept at hand. It never changes.
const FILTER_MS: u32 = 10 * 60 * 1000;

/// What is known before looking for news.
#[derive(Debug)]
pub(super) struct Basics {
    pub filter: Filter,
    pub joined: Vec<String>,
    pub horizon: i64,
}

fn filter_key(user: &str, id: &str) -> String {
    format!("filter:{user}:{id}")
}

/// The id of a stored filter, if that is what was given.
fn filter_id(ask: &Ask) -> Option<&str> {
    ask.filter.as_deref().filter(|filter| !filter.starts_with('{'))
}

/// The filter, if it is there without asking the database.
pub(super) fn known_filter(ask: &Ask) -> Result<Option<Filter>, Error> {
    match (filter_id(ask), &ask.filter) {
        (Some(id), _) => cache::get(&filter_key(&ask.user, id))
            .and_then(|json| String::from_utf8(json).ok())
            .map(|json| Filter::parse(&json))
            .transpose(),
        (None, Some(inline)) => Filter::parse(inline).map(Some),
        (None, None) => Ok(Some(Filter::default())),
    }
}

/// Filter, joined rooms and horizon: one storage call. What the device has come past is acknowledged.
pub(super) fn basics(ask: &Ask) -> Result<Basics, Error> {
    let device = ask.device.as_deref();
    let mut selects = vec![
        select(
            "SELECT room_id FROM rooms_v1_memberships WHERE user_id = $1 AND membership = 'join'",
            params![&ask.user],
        ),
        devices::select_told(&ask.user, device, ask.told()),
    ];
    let known = known_filter(ask)?;
    if let (None, Some(id)) = (&known, filter_id(ask)) {
        selects.push(select(
            "SELECT json FROM accounts_v1_filters WHERE user_id = $1 AND filter_id = $2",
            params![&ask.user, id],
        ));
    }
    let moment = storage::snapshot(&selects)?;
    let horizon = i64::try_from(moment.horizon).unwrap_or(i64::MAX);
    let mut answers = moment.answers();
    let joined: Vec<(String,)> = answers.next().map_or(Ok(Vec::new()), |rows| rows.all())?;
    if let Some(told) = answers.next() {
        devices::acknowledge(&ask.user, device, told)?;
    }
    let filter = match (known, answers.next()) {
        (Some(known), _) => known,
        (None, Some(rows)) => {
            let (json,) = rows
                .first::<(String,)>()?
                .ok_or_else(|| Error::not_found("there is no filter of this id"))?;
            let key = filter_key(&ask.user, filter_id(ask).unwrap_or(""));
            cache::put(&key, json.as_bytes(), FILTER_MS, &[]);
            Filter::parse(&json)?
        }
        (None, None) => return Err(Error::internal("an answer is missing")),
    };
    Ok(Basics { filter, joined: joined.into_iter().map(|(room,)| room).collect(), horizon })
}

/// The filter, whatever it takes.
pub(super) fn filter(ask: &Ask) -> Result<Filter, Error> {
    match known_filter(ask)? {
        Some(filter) => Ok(filter),
        None => Ok(basics(ask)?.filter),
    }
}

/// The horizon, now: one storage call that reads no row.
pub(super) fn horizon() -> Result<i64, Error> {
    Ok(i64::try_from(storage::snapshot(&[])?.horizon).unwrap_or(i64::MAX))
}

/// The user's membership in one room, now.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    pub room_id: String,
    pub membership: String,
    pub event_id: String,
    pub sender: String,
    pub position: i64,
    pub stripped_state: Option<String>,
}

impl FromRow for Membership {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (room_id, membership, event_id, sender, position, stripped_state) = <_>::from_row(row)?;
        Ok(Self { room_id, membership, event_id, sender, position, stripped_state })
    }
}

/// A change of the user's membership since the token.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub position: i64,
    pub room_id: String,
    pub membership: String,
    pub prev_membership: String,
    pub event_id: String,
}

impl FromRow for Change {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (position, room_id, membership, prev_membership, event_id) = <_>::from_row(row)?;
        Ok(Self { position, room_id, membership, prev_membership, event_id })
    }
}

/// `room_id` (empty for global ones)`, type, content, position`
pub(crate) type AccountData = (String, String, String, i64);
/// `room_id, user_id, type, thread_id, event_id, ts, position`
pub(crate) type Receipt = (String, String, String, String, String, i64, i64);
/// `room_id, user_id, until_ms, position`
pub(crate) type Typing = (String, String, i64, i64);
/// `room_id, thread_id, notifications, highlights, position`
pub(super) type Count = (String, String, i64, i64, i64);

/// All that is new since the token, as of the horizon.
#[derive(Debug, Default)]
pub(super) struct News {
    pub horizon: i64,
    /// What may be read beyond it.
    pub budget: Budget,
    pub memberships: Vec<Membership>,
    pub changes: Vec<Change>,
    /// Newest first in each room; one more than the limit where there are more.
    pub events: Vec<EventRow>,
    /// The same for rooms that were joined since the token, whatever their age. May hold an event twice.
    pub fresh: Vec<EventRow>,
    /// Oldest first.
    pub deltas: Vec<Delta>,
    pub account_data: Vec<AccountData>,
    pub receipts: Vec<Receipt>,
    pub typing: Vec<Typing>,
    pub counts: Vec<Count>,
    pub presence: Vec<Presence>,
    /// `m.push_rules` and their position, if they changed.
    pub push_rules: Option<(String, i64)>,
    /// Users whose messages and invites are kept back.
    pub ignored: BTreeSet<String>,
    /// Whether the user takes no invites.
    pub no_invites: bool,
    /// What the user may see in rooms that they joined since the token.
    pub views: HashMap<String, Visibility>,
    pub devices: Devices,
    /// Rooms that are not told of: the user is in them only above the horizon.
    pub absent: BTreeSet<String>,
}

/// Everything that is new, as of the horizon: one storage call, or two where what lies above it left too little room for what lies
/// below. `horizon`: as last known, to choose the way. No more is read than the budget of who asks allows.
pub(super) fn news(ask: &Ask, filter: &Filter, horizon: Option<i64>) -> Result<News, Failure> {
    let gap = horizon.map(|horizon| horizon.saturating_sub(ask.from()));
    let looks = queries::looks(filter);
    let path = Path::choose(ask, gap, looks);
    let upto = ask.part.as_ref().and_then(|part| part.horizon);
    let mut news = read(ask, filter, path, upto)?;
    if upto.is_none() && settle::displaced(ask, filter, &news, path) {
        news = read(ask, filter, path, Some(news.horizon))?;
    }
    settle::settle(ask, &mut news);
    Ok(news)
}

/// `upto`: the horizon, where it is known.
fn read(ask: &Ask, filter: &Filter, path: Path, upto: Option<i64>) -> Result<News, Failure> {
    let last = upto.unwrap_or(i64::MAX);
    let mut selects = vec![
        queries::memberships(ask, filter),
        queries::changes(ask, upto),
        queries::timelines(ask, filter, path, last),
        queries::fresh(ask, filter, last),
        queries::deltas(ask, path),
        queries::account_data(ask),
        queries::receipts(ask, path),
        queries::typing(ask, path),
        queries::counts(ask),
        queries::presence(ask),
        queries::push_rules(ask),
        ignored::select(&ask.user),
        ignored::select_blocking(&ask.user),
        queries::fresh_settings(ask),
        queries::fresh_memberships(ask),
    ];
    let since = if ask.goes_on() { i64::MAX } else { ask.new_from() };
    selects.extend(devices::selects(&ask.user, ask.device.as_deref(), ask.told(), since));
    let mut budget = ask.budget;
    let moment = budget.snapshot(&selects)?;
    let horizon = upto.unwrap_or_else(|| i64::try_from(moment.horizon).unwrap_or(i64::MAX));
    let mut answers = moment.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    Ok(News {
        horizon,
        budget,
        memberships: next()?.all()?,
        changes: next()?.all()?,
        events: next()?.all()?,
        fresh: next()?.all()?,
        deltas: next()?.all()?,
        account_data: next()?.all()?,
        receipts: next()?.all()?,
        typing: next()?.all()?,
        counts: next()?.all()?,
        presence: next()?.all()?,
        push_rules: next()?.first()?,
        ignored: next()?
            .first::<(String,)>()?
            .map(|(json,)| ignored::users(&json))
            .unwrap_or_default(),
        no_invites: next()?.first::<(String,)>()?.is_some_and(|(json,)| ignored::blocks(&json)),
        views: visibility::read_views(next()?, next()?, horizon)?,
        devices: Devices::read(next, horizon)?,
        absent: BTreeSet::new(),
    })
}

/// Rooms past which finding the newest event costs more than the look that it may spare.
const PEEK_ROOMS: usize = 64;

/// Until when a woken answer should wait for push, found without looking at what is new: one small storage call, or none. `None`
/// where there is nothing to wait for, or only a look tells.
pub(super) fn peek(ask: &Ask, now_ms: u64) -> Result<Option<u64>, Error> {
    let wait = push_wait_ms();
    let Some(since) = ask.since.filter(|_| wait > 0 && ask.rooms <= PEEK_ROOMS) else {
        return Ok(None);
    };
    let found = storage::query(
        "SELECT 1 FROM rooms_v1_memberships m JOIN rooms_v1_events e ON e.room_id = m.room_id \
         LEFT JOIN push_v2_progress g ON g.room_id = m.room_id \
         WHERE m.user_id = $1 AND m.membership = 'join' AND e.position > $2 AND e.sender <> $1 \
         AND (g.position IS NULL OR g.position < e.position) LIMIT 1",
        params![&ask.user, since],
    )?;
    Ok((!found.rows.is_empty()).then(|| now_ms.saturating_add(wait)))
}

fn push_wait_ms() -> u64 {
    config::get::<Config>().unwrap_or_default().push_wait_ms
}

/// How many members of rooms are read and told in one go.
pub(super) fn members_at_once() -> usize {
    config::get::<Config>().unwrap_or_default().members_at_once.max(1)
}

impl News {
    /// Until when an answer should wait for the unread counts of its events: only where push has not come to others' events
    /// in their rooms, and never longer than configured.
    pub(super) fn wants_hold(&self, ask: &Ask, now_ms: u64) -> Option<u64> {
        ask.since?;
        // One's own messages count for nothing, but whoever writes has read what was there.
        let unread: HashSet<&str> =
            self.counts.iter().filter(|count| count.2 > 0).map(|count| count.0.as_str()).collect();
        let counts = |e: &EventRow| e.sender != ask.user || unread.contains(e.room_id.as_str());
        if !self.events.iter().any(|e| e.counted == Some(false) && counts(e)) {
            return None;
        }
        let until = ask.held_until_ms.unwrap_or_else(|| now_ms.saturating_add(push_wait_ms()));
        (until > now_ms).then_some(until)
    }
}
