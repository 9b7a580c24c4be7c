//! What /sync asks the views. Each statement begins with the rows that are fewest, and CROSS JOIN keeps SQLite to that.

use tessera_sdk::params;
use tessera_sdk::storage::{Select, select};

use super::ask::Ask;
use crate::event::{COLUMNS, COUNTED, CURRENT, RELATED, TRANSACTION};
use crate::filter::Filter;
use crate::receipts;

/// How many events of a room are looked at for each that a filter may let pass.
const FILTER_LOOKS: usize = 10;
/// So many are looked at, however short the timeline shall be.
const MIN_LOOKS: usize = 50;
/// The most events read of a room.
const MAX_LOOKS: usize = 1000;
/// So few rooms are asked one by one without a thought.
const FEW_ROOMS: usize = 64;
/// Presence changes looked at in one go, newest first.
const MAX_PRESENCE: i64 = 2000;
/// Of an initial sync only those changes of memberships count that lie above the horizon: they are among the newest.
pub(super) const NEWEST_CHANGES: usize = 100;

/// So many changes of state are told one by one; after more the state is told whole.
pub(super) const MAX_DELTAS: usize = 10_000;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// At the token's position, whatever the room: little has happened.
    Positions,
    /// At the token's position of each room.
    Rooms,
    /// At each room's end: much has happened, and only the newest is told.
    Ends,
}

impl Path {
    /// The cheapest one. `gap`: how many positions lie between token and horizon, if that is known.
    pub(super) fn choose(ask: &Ask, gap: Option<i64>, looks: usize) -> Self {
        if ask.since.is_none() {
            return Self::Ends;
        }
        let Some(gap) = gap.and_then(|gap| usize::try_from(gap).ok()) else { return Self::Rooms };
        if gap <= ask.rooms.max(8) {
            Self::Positions
        } else if gap <= ask.rooms.saturating_mul(looks.max(8)) {
            Self::Rooms
        } else {
            Self::Ends
        }
    }

    /// Whether the choice needs to know the gap.
    pub(super) fn needs_gap(ask: &Ask) -> bool {
        ask.rooms > FEW_ROOMS
    }
}

/// How many events to read of each room that was joined since the token: some of them may have been sent while the user was away.
pub(super) fn fresh_looks(filter: &Filter) -> usize {
    (filter.room.timeline.limit() * FILTER_LOOKS).min(MAX_LOOKS) + 1
}

/// How many events of each room to read.
pub(super) fn looks(filter: &Filter) -> usize {
    let timeline = &filter.room.timeline;
    if timeline.is_open() {
        return timeline.limit().min(MAX_LOOKS) + 1;
    }
    (timeline.limit() * FILTER_LOOKS).clamp(MIN_LOOKS, MAX_LOOKS) + 1
}

const LIVE: &str = "e.stream AND NOT e.rejected";
/// Joined rooms, and up to the leave those that were left since.
const IN_REACH: &str = "m.user_id = $1 AND (m.membership = 'join' OR (m.membership IN ('leave', 'ban') \
     AND NOT m.forgotten AND m.position > $2 AND e.position <= m.position))";
const JOINED: &str = "m.user_id = $1 AND m.membership = 'join'";

/// Newest first, up to a position: events of joined rooms, and of those left since the token.
pub(super) fn timelines(ask: &Ask, filter: &Filter, path: Path, upto: i64) -> Select {
    let device = ask.device.as_deref().unwrap_or("");
    let looks = i64::try_from(looks(filter)).unwrap_or(i64::MAX);
    let in_reach = IN_REACH.replace("$2", "$3");
    let (user, from) = (&ask.user, ask.from());
    // Nobody waits for the counts of an initial sync.
    let counted = if ask.since.is_some() { COUNTED } else { "NULL AS counted" };
    // Whoever was in a room all the time since the token has seen everything.
    let current = if ask.since.is_some() { "NULL AS current" } else { CURRENT };
    match path {
        Path::Positions => {
            let mut params = params![user, device, from, upto];
            let part = ask.within("m.room_id", &mut params);
            select(
                &format!(
                    "SELECT {COLUMNS}, {RELATED}, {counted} FROM rooms_v1_events e \
                 CROSS JOIN rooms_v1_memberships m {TRANSACTION} \
                 WHERE e.position > $3 AND e.position <= $4 AND {LIVE} AND m.room_id = e.room_id AND {in_reach}{part} ORDER BY e.position DESC"
                ),
                params,
            )
        }
        Path::Rooms => {
            let mut params = params![user, device, from, looks, upto];
            let part = ask.within("m.room_id", &mut params);
            select(
                &format!(
                    "SELECT {COLUMNS}, {RELATED}, {counted} FROM (SELECT e.position AS spot, ROW_NUMBER() OVER \
                 (PARTITION BY e.room_id ORDER BY e.position DESC) AS place \
                 FROM rooms_v1_memberships m CROSS JOIN rooms_v1_events e \
                 WHERE {in_reach}{part} AND e.room_id = m.room_id AND e.position > $3 AND e.position <= $5 AND {LIVE}) t \
                 CROSS JOIN rooms_v1_events e {TRANSACTION} \
                 WHERE t.place <= $4 AND e.position = t.spot ORDER BY e.position DESC"
                ),
                params,
            )
        }
        // The event just before the newest `looks` bounds the range: work for each room is limited
        // however long the gap.
        Path::Ends => {
            let mut params = params![
                user,
                device,
                ask.new_from(),
                i64::from(ask.all_left(filter)),
                from,
                looks,
                upto
            ];
            let part = ask.within("m.room_id", &mut params);
            select(
                &format!(
                    "SELECT {COLUMNS}, {RELATED}, {counted}, {current} FROM rooms_v1_memberships m \
                 CROSS JOIN rooms_v1_events e {TRANSACTION} WHERE m.user_id = $1{part} AND (m.membership = 'join' OR (m.membership IN ('leave', 'ban') \
                 AND NOT m.forgotten AND (m.position > $3 OR $4 = 1) AND e.position <= m.position)) \
                 AND e.room_id = m.room_id AND e.position > COALESCE((SELECT l.position FROM rooms_v1_events l \
                 WHERE l.room_id = m.room_id AND l.position > $5 AND l.position <= $7 AND l.stream AND NOT l.rejected \
                 AND (m.membership = 'join' OR l.position <= m.position) \
                 ORDER BY l.position DESC LIMIT 1 OFFSET $6), $5) AND e.position <= $7 AND {LIVE} \
                 ORDER BY e.position DESC"
                ),
                params,
            )
        }
    }
}

/// Newest first, up to a position: the newest events of rooms that were joined since the token. They start anew.
pub(super) fn fresh(ask: &Ask, filter: &Filter, upto: i64) -> Select {
    let device = ask.device.as_deref().unwrap_or("");
    let looks = i64::try_from(fresh_looks(filter)).unwrap_or(i64::MAX);
    let mut params = params![&ask.user, device, ask.new_from(), looks, upto];
    let part = ask.within("c.room_id", &mut params);
    select(
        &format!(
            "SELECT {COLUMNS}, {RELATED}, NULL AS counted, {CURRENT} FROM rooms_v1_membership_changes c CROSS JOIN rooms_v1_memberships m \
             CROSS JOIN rooms_v1_events e {TRANSACTION} WHERE c.user_id = $1{part} AND c.position > $3 \
             AND c.membership = 'join' AND c.prev_membership <> 'join' AND m.room_id = c.room_id AND {JOINED} \
             AND e.room_id = c.room_id AND e.position > COALESCE((SELECT l.position FROM rooms_v1_events l \
             WHERE l.room_id = c.room_id AND l.position <= $5 AND l.stream AND NOT l.rejected \
             ORDER BY l.position DESC LIMIT 1 OFFSET $4), 0) AND e.position <= $5 AND {LIVE} ORDER BY e.position DESC"
        ),
        params,
    )
}

/// Rooms that the user joined since the token, as `c`.
const ENTERED: &str = "rooms_v1_membership_changes c WHERE c.user_id = $1 AND c.position > $2 \
     AND c.membership = 'join' AND c.prev_membership <> 'join'";

/// Who may read what in rooms that were joined since the token: for [`crate::visibility::read_views`].
pub(super) fn fresh_settings(ask: &Ask) -> Select {
    select(
        &format!(
            "SELECT d.room_id, d.position, e.json FROM (SELECT DISTINCT c.room_id FROM {ENTERED}) f \
             CROSS JOIN rooms_v1_state_deltas d CROSS JOIN rooms_v1_events e \
             WHERE d.room_id = f.room_id AND d.type = 'm.room.history_visibility' AND d.state_key = '' \
             AND e.event_id = d.event_id ORDER BY d.position"
        ),
        params![&ask.user, ask.new_from()],
    )
}

/// The user's memberships there.
pub(super) fn fresh_memberships(ask: &Ask) -> Select {
    select(
        &format!(
            "SELECT h.room_id, h.position, h.membership FROM (SELECT DISTINCT c.room_id FROM {ENTERED}) f \
             CROSS JOIN rooms_v1_membership_changes h \
             WHERE h.user_id = $1 AND h.room_id = f.room_id ORDER BY h.position"
        ),
        params![&ask.user, ask.new_from()],
    )
}

/// The user's rooms: all that matter, or only those where the membership has changed.
pub(super) fn memberships(ask: &Ask, filter: &Filter) -> Select {
    const ROWS: &str = "SELECT room_id, membership, event_id, sender, position, stripped_state \
         FROM rooms_v1_memberships WHERE user_id = $1 AND NOT forgotten";
    if ask.wants_all() {
        let mut params = params![&ask.user, ask.new_from(), i64::from(ask.all_left(filter))];
        // Invites, and in which rooms the user is, are told at once.
        let part = if ask.goes_on() { ask.within("room_id", &mut params) } else { String::new() };
        select(
            &format!(
                "{ROWS}{part} AND (membership IN ('join', 'invite', 'knock') OR position > $2 OR $3 = 1)"
            ),
            params,
        )
    } else {
        select(&format!("{ROWS} AND position > $2"), params![&ask.user, ask.from()])
    }
}

/// Newest first: changes of the user's memberships, since the token and above the horizon. `upto`: the horizon, where it is known.
pub(super) fn changes(ask: &Ask, upto: Option<i64>) -> Select {
    const ROWS: &str = "SELECT position, room_id, membership, prev_membership, event_id FROM rooms_v1_membership_changes \
         WHERE user_id = $1";
    match ask.since.or(upto) {
        Some(from) => select(
            &format!("{ROWS} AND position > $2 ORDER BY position DESC"),
            params![&ask.user, from],
        ),
        None => select(
            &format!("{ROWS} ORDER BY position DESC LIMIT $2"),
            params![&ask.user, i64::try_from(NEWEST_CHANGES).unwrap_or(i64::MAX)],
        ),
    }
}

/// Oldest first: changes of state, one more than [`MAX_DELTAS`] where there are more. None for an initial sync, which takes the state whole.
pub(super) fn deltas(ask: &Ask, path: Path) -> Select {
    const ROWS: &str =
        "SELECT e.position, e.room_id, e.type, e.state_key, e.event_id, e.prev_event_id";
    let sql = match path {
        Path::Positions => format!(
            "{ROWS} FROM rooms_v1_state_deltas e CROSS JOIN rooms_v1_memberships m \
             WHERE e.position > $2 AND m.room_id = e.room_id AND {IN_REACH} ORDER BY e.position LIMIT $3"
        ),
        Path::Rooms | Path::Ends => format!(
            "{ROWS} FROM rooms_v1_memberships m CROSS JOIN rooms_v1_state_deltas e \
             WHERE {IN_REACH} AND e.room_id = m.room_id AND e.position > $2 ORDER BY e.position LIMIT $3"
        ),
    };
    let most = i64::try_from(MAX_DELTAS).unwrap_or(i64::MAX).saturating_add(1);
    select(&sql, params![&ask.user, ask.new_from(), most])
}

const ACCOUNT_DATA: &str = "SELECT a.room_id, a.type, a.content, a.position";

/// All account data of the user in some rooms.
pub(super) fn account_data_of(ask: &Ask, rooms: &[String]) -> Select {
    select(
        &format!(
            "{ACCOUNT_DATA} FROM accounts_v1_account_data a WHERE a.user_id = $1 AND a.room_id IN ($2)"
        ),
        params![&ask.user, rooms],
    )
}

/// Account data, global and of joined rooms.
pub(super) fn account_data(ask: &Ask) -> Select {
    let mut params = params![&ask.user, ask.from()];
    let part = ask.within("a.room_id", &mut params);
    select(
        &format!(
            "{ACCOUNT_DATA} FROM accounts_v1_account_data a \
             WHERE a.user_id = $1{part} AND a.position > $2 AND (a.room_id = '' OR EXISTS ( \
             SELECT 1 FROM rooms_v1_memberships m WHERE m.room_id = a.room_id AND {JOINED}))"
        ),
        params,
    )
}

/// Receipts in joined rooms.
pub(super) fn receipts(ask: &Ask, path: Path) -> Select {
    if path != Path::Positions {
        return receipts::newest(&ask.user, ask.from(), |params| ask.within("m.room_id", params));
    }
    let sql = format!(
        "SELECT r.room_id, r.user_id, r.type, r.thread_id, r.event_id, r.ts, r.position \
         FROM presence_v1_receipts r CROSS JOIN rooms_v1_memberships m \
         WHERE {JOINED} AND r.room_id = m.room_id AND r.position > $2"
    );
    select(&sql, params![&ask.user, ask.from()])
}

/// Who types in joined rooms where that has changed, and whoever has ceased to: never all who once did.
pub(super) fn typing(ask: &Ask, path: Path) -> Select {
    const ROWS: &str = "SELECT t.room_id, t.user_id, t.until_ms, t.position FROM";
    const ROOMS: &str = "rooms_v1_memberships m CROSS JOIN presence_v1_typing t";
    let now = format!("{JOINED} AND t.room_id = m.room_id AND t.until_ms > 0");
    let sql = match path {
        // Nobody typing is no news to somebody new.
        _ if ask.since.is_none() => {
            let mut params = params![&ask.user];
            let part = ask.within("m.room_id", &mut params);
            return select(&format!("{ROWS} {ROOMS} WHERE {now}{part}"), params);
        }
        Path::Positions => format!(
            "{ROWS} (SELECT DISTINCT room_id FROM presence_v1_typing WHERE position > $2) n CROSS JOIN {ROOMS} \
             WHERE m.room_id = n.room_id AND {now} \
             UNION {ROWS} presence_v1_typing t CROSS JOIN rooms_v1_memberships m \
             WHERE t.position > $2 AND m.room_id = t.room_id AND {JOINED}"
        ),
        Path::Rooms | Path::Ends => format!(
            "{ROWS} {ROOMS} WHERE {now} \
             AND EXISTS (SELECT 1 FROM presence_v1_typing n WHERE n.room_id = m.room_id AND n.position > $2) \
             UNION {ROWS} {ROOMS} WHERE {JOINED} AND t.room_id = m.room_id AND t.position > $2"
        ),
    };
    select(&sql, params![&ask.user, ask.from()])
}

/// Unread counts that have changed, and those that are not zero.
pub(super) fn counts(ask: &Ask) -> Select {
    let mut params = params![&ask.user, ask.from()];
    let part = ask.within("c.room_id", &mut params);
    select(
        &format!(
            "SELECT c.room_id, c.thread_id, c.notification_count, c.highlight_count, c.position \
             FROM push_v1_counts c WHERE c.user_id = $1{part} AND ((c.notification_count > 0 AND c.position <= $2) \
             OR (c.position > $2 AND EXISTS (SELECT 1 FROM rooms_v1_memberships m \
             WHERE m.room_id = c.room_id AND {JOINED})))"
        ),
        params,
    )
}

/// Presence of the user, of those who share a room with them, and of those whom modules let them see.
pub(super) fn presence(ask: &Ask) -> Select {
    select(
        "SELECT p.user_id, p.presence, p.status_msg, p.last_active_ms, p.currently_active, p.position FROM ( \
         SELECT user_id, presence, status_msg, last_active_ms, currently_active, position \
         FROM presence_v1_presence WHERE position > $2 ORDER BY position DESC LIMIT $3) p \
         WHERE p.user_id = $1 OR EXISTS (SELECT 1 FROM rooms_v1_memberships a \
         CROSS JOIN rooms_v1_memberships b WHERE a.user_id = p.user_id AND a.membership = 'join' \
         AND b.room_id = a.room_id AND b.user_id = $1 AND b.membership = 'join') \
         OR EXISTS (SELECT 1 FROM presence_v1_routes r WHERE r.user_id = p.user_id AND r.viewer = $1)",
        params![&ask.user, ask.personal_from(), MAX_PRESENCE],
    )
}

/// Push rules, if they have changed.
pub(super) fn push_rules(ask: &Ask) -> Select {
    select(
        "SELECT content, position FROM push_v1_rules WHERE user_id = $1 AND position > $2",
        params![&ask.user, ask.personal_from()],
    )
}
