//! The two reads of every /sync: what to watch, and what is new.

use serde::Deserialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, FromRow, RowError, Select, Value, select};
use tessera_sdk::{config, params};

use super::ask::Ask;
use crate::event::{COLUMNS, EventRow, TRANSACTION};
use crate::filter::Filter;

/// Fired by push whenever it has evaluated more events.
pub(super) const PROGRESS_TOPIC: &str = "push.progress";
/// Past this many positions a room's new events are found from its end, not from the token.
const LONG_GAP: i64 = 20_000;
/// How many events of a room are looked at for each that a filter may let pass.
const FILTER_LOOKS: usize = 10;

/// `[plugins.sync.config]`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// How long a found answer may wait for its unread counts, in milliseconds. 0: never.
    push_wait_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { push_wait_ms: 50 }
    }
}

/// Filter, joined rooms and horizon: one storage call.
pub(super) fn basics(ask: &Ask) -> Result<(Filter, Vec<String>, i64), Error> {
    let stored = ask.filter.as_deref().filter(|f| !f.starts_with('{'));
    let mut selects = vec![select(
        "SELECT room_id FROM rooms_v1_memberships WHERE user_id = $1 AND membership = 'join'",
        params![&ask.user],
    )];
    if let Some(id) = stored {
        selects.push(select(
            "SELECT json FROM accounts_v1_filters WHERE user_id = $1 AND filter_id = $2",
            params![&ask.user, id],
        ));
    }
    let moment = storage::snapshot(&selects)?;
    let horizon = i64::try_from(moment.horizon).unwrap_or(i64::MAX);
    let mut answers = moment.answers();
    let joined: Vec<(String,)> = answers.next().map_or(Ok(Vec::new()), |rows| rows.all())?;
    let filter = match (&ask.filter, answers.next()) {
        (None, _) => Filter::default(),
        (Some(_), Some(rows)) => {
            let (json,) = rows
                .first::<(String,)>()?
                .ok_or_else(|| Error::not_found("there is no filter of this id"))?;
            Filter::parse(&json)?
        }
        (Some(inline), None) => Filter::parse(inline)?,
    };
    Ok((filter, joined.into_iter().map(|(room,)| room).collect(), horizon))
}

/// The user's membership in one room, now.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    pub room_id: String,
    pub membership: String,
    pub event_id: String,
    pub position: i64,
    pub stripped_state: Option<String>,
}

impl FromRow for Membership {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (room_id, membership, event_id, position, stripped_state) = <_>::from_row(row)?;
        Ok(Self { room_id, membership, event_id, position, stripped_state })
    }
}

/// A change of the user's membership since the token.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub position: i64,
    pub room_id: String,
    pub membership: String,
    pub prev_membership: String,
}

impl FromRow for Change {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (position, room_id, membership, prev_membership) = <_>::from_row(row)?;
        Ok(Self { position, room_id, membership, prev_membership })
    }
}

/// A change of a room's state.
#[derive(Debug, Clone)]
pub(super) struct Delta {
    pub position: i64,
    pub room_id: String,
    pub kind: String,
    pub state_key: String,
    pub event_id: Option<String>,
    pub prev_event_id: Option<String>,
}

impl FromRow for Delta {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (position, room_id, kind, state_key, event_id, prev_event_id) = <_>::from_row(row)?;
        Ok(Self { position, room_id, kind, state_key, event_id, prev_event_id })
    }
}

/// A row of account data; `room_id` is empty for global ones.
pub(super) type AccountData = (String, String, String);
/// `room_id, user_id, type, thread_id, event_id, ts`
pub(super) type Receipt = (String, String, String, String, String, i64);
/// `room_id, user_id, until_ms`
pub(super) type Typing = (String, String, i64);
/// `room_id, thread_id, notifications, highlights, position`
pub(super) type Count = (String, String, i64, i64, i64);
/// `user_id, presence, status_msg, last_active_ms, currently_active`
pub(super) type Presence = (String, String, Option<String>, i64, bool);

/// All that is new since the token, as of one moment.
#[derive(Debug)]
pub(super) struct News {
    pub horizon: i64,
    pub memberships: Vec<Membership>,
    pub changes: Vec<Change>,
    /// Newest first in each room; one more than the limit where there are more.
    pub events: Vec<EventRow>,
    /// Oldest first.
    pub deltas: Vec<Delta>,
    pub account_data: Vec<AccountData>,
    pub receipts: Vec<Receipt>,
    pub typing: Vec<Typing>,
    pub counts: Vec<Count>,
    pub presence: Vec<Presence>,
    /// `m.push_rules`, if they changed.
    pub push_rules: Option<String>,
    push_progress: i64,
}

/// Which of the user's rooms have a timeline: joined ones, and those left since. `$3`: the token's position; `$4`: 1 to
/// have all that were left.
const HAS_TIMELINE: &str = "m.user_id = $1 AND (m.membership = 'join' OR (m.membership IN ('leave', 'ban') \
     AND NOT m.forgotten AND (m.position > $3 OR $4 = 1) AND e.position <= m.position))";

fn timelines(ask: &Ask, limit: usize, all_left: bool, gap: i64) -> Select {
    let device = ask.device.as_deref().unwrap_or("");
    let (limit, left) = (i64::try_from(limit).unwrap_or(i64::MAX), i64::from(all_left));
    let params = params![&ask.user, device, ask.from(), left, limit];
    if gap > LONG_GAP {
        // The position of the (limit + 2)nd event from the end bounds the range: work for each room is limited
        // however long the gap.
        let sql = format!(
            "SELECT {COLUMNS} FROM rooms_v1_memberships m JOIN rooms_v1_events e ON e.room_id = m.room_id \
             {TRANSACTION} WHERE {HAS_TIMELINE} AND e.position > $3 AND e.position > COALESCE((SELECT l.position \
             FROM rooms_v1_events l WHERE l.room_id = m.room_id AND l.stream AND NOT l.rejected \
             AND (m.membership = 'join' OR l.position <= m.position) \
             ORDER BY l.position DESC LIMIT 1 OFFSET $5), 0) \
             AND e.stream AND NOT e.rejected ORDER BY e.position DESC"
        );
        return select(&sql, params);
    }
    let sql = format!(
        "SELECT t.position, t.event_id, t.room_id, t.type, t.state_key, t.sender, t.json, t.redacted_by, t.txn_id \
         FROM (SELECT {COLUMNS}, ROW_NUMBER() OVER (PARTITION BY e.room_id ORDER BY e.position DESC) AS place \
         FROM rooms_v1_memberships m JOIN rooms_v1_events e ON e.room_id = m.room_id {TRANSACTION} \
         WHERE {HAS_TIMELINE} AND e.position > $3 AND e.stream AND NOT e.rejected) t \
         WHERE t.place <= $5 ORDER BY t.position DESC"
    );
    select(&sql, params)
}

fn selects(ask: &Ask, filter: &Filter, horizon: i64) -> Vec<Select> {
    let timeline = &filter.room.timeline;
    let looks = if timeline.is_open() { 1 } else { FILTER_LOOKS };
    let limit = (timeline.limit() * looks).min(1000) + 1;
    let user = &ask.user;
    let from = ask.from();
    let all_left = ask.since.is_none() && filter.room.include_leave;
    vec![
        select(
            "SELECT room_id, membership, event_id, position, stripped_state FROM rooms_v1_memberships \
             WHERE user_id = $1 AND NOT forgotten \
             AND (membership IN ('join', 'invite', 'knock') OR position > $2 OR $3 = 1)",
            params![user, if ask.since.is_some() { from } else { i64::MAX }, i64::from(all_left)],
        ),
        select(
            "SELECT position, room_id, membership, prev_membership FROM rooms_v1_membership_changes \
             WHERE user_id = $1 AND position > $2 ORDER BY position",
            params![user, if ask.since.is_some() { from } else { i64::MAX }],
        ),
        timelines(ask, limit, all_left, horizon - from),
        select(
            "SELECT e.position, e.room_id, e.type, e.state_key, e.event_id, e.prev_event_id \
             FROM rooms_v1_memberships m JOIN rooms_v1_state_deltas e ON e.room_id = m.room_id \
             WHERE m.user_id = $1 AND (m.membership = 'join' OR (m.membership IN ('leave', 'ban') \
             AND m.position > $2 AND e.position <= m.position)) AND e.position > $2 ORDER BY e.position",
            params![user, if ask.since.is_some() { from } else { i64::MAX }],
        ),
        select(
            "SELECT room_id, type, content FROM accounts_v1_account_data \
             WHERE user_id = $1 AND position > $2",
            params![user, from],
        ),
        select(
            "SELECT r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts \
             FROM rooms_v1_memberships m JOIN presence_v1_receipts r ON r.room_id = m.room_id \
             WHERE m.user_id = $1 AND m.membership = 'join' AND r.position > $2",
            params![user, from],
        ),
        select(
            "SELECT t.room_id, t.user_id, t.until_ms \
             FROM rooms_v1_memberships m JOIN presence_v1_typing t ON t.room_id = m.room_id \
             WHERE m.user_id = $1 AND m.membership = 'join' AND EXISTS (SELECT 1 FROM presence_v1_typing n \
             WHERE n.room_id = m.room_id AND n.position > $2)",
            params![user, from],
        ),
        select(
            "SELECT room_id, thread_id, notification_count, highlight_count, position \
             FROM push_v1_counts WHERE user_id = $1 AND (notification_count > 0 OR position > $2)",
            params![user, from],
        ),
        select(
            "SELECT p.user_id, p.presence, p.status_msg, p.last_active_ms, p.currently_active \
             FROM presence_v1_presence p WHERE p.position > $2 AND (p.user_id = $1 OR EXISTS ( \
             SELECT 1 FROM rooms_v1_memberships a JOIN rooms_v1_memberships b ON b.room_id = a.room_id \
             WHERE a.user_id = p.user_id AND a.membership = 'join' AND b.user_id = $1 AND b.membership = 'join'))",
            params![user, from],
        ),
        select(
            "SELECT content FROM push_v1_rules WHERE user_id = $1 AND position > $2",
            params![user, from],
        ),
        select("SELECT position FROM push_v1_progress", params![]),
    ]
}

/// Everything that is new, as of one moment: one storage call.
pub(super) fn news(ask: &Ask, filter: &Filter, horizon: i64) -> Result<News, Error> {
    let moment = storage::snapshot(&selects(ask, filter, horizon))?;
    let horizon = i64::try_from(moment.horizon).unwrap_or(i64::MAX);
    let mut answers = moment.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    Ok(News {
        horizon,
        memberships: next()?.all()?,
        changes: next()?.all()?,
        events: next()?.all()?,
        deltas: next()?.all()?,
        account_data: next()?.all()?,
        receipts: next()?.all()?,
        typing: next()?.all()?,
        counts: next()?.all()?,
        presence: next()?.all()?,
        push_rules: next()?.first::<(String,)>()?.map(|(content,)| content),
        push_progress: next()?.first::<(i64,)>()?.map_or(i64::MAX, |(position,)| position),
    })
}

impl News {
    /// Until when an answer should wait for the unread counts of its newest event: only where others' events are newer than
    /// what push has seen, and never longer than configured.
    pub(super) fn wants_hold(&self, ask: &Ask, now_ms: u64) -> Option<u64> {
        ask.since?;
        let newest =
            self.events.iter().filter(|e| e.sender != ask.user).map(|e| e.position).max()?;
        if newest <= self.push_progress {
            return None;
        }
        let wait = config::get::<Config>().unwrap_or_default().push_wait_ms;
        let until = ask.held_until_ms.unwrap_or_else(|| now_ms.saturating_add(wait));
        (until > now_ms).then_some(until)
    }
}
