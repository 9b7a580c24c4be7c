//! Writing what the ledgers say, all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tessera_sdk::storage::{self, Batch, Value, position};
use tessera_sdk::{clock, params};

use super::PROGRESS;
use super::ledger::{Ledger, Notified, Thread};
use super::own::Verdict;
use crate::pushers::{self, Pusher};
use crate::recount;

/// Events kept in each room; nobody has more unread after a partial read, and `/notifications` tells of no others.
const KEPT: i64 = 1000;
/// A room is cleared when a batch crosses a multiple of this many positions.
const CLEAR_EVERY: i64 = 32;

/// A mark for each local member who has none. Not for those who joined after this batch: their turn is when their join
/// is evaluated. A count that is 0 and was none has not changed: its position stays 0 until the totals rise for it.
const MARKS: &str = "INSERT INTO push_marks (room_id, user_id, thread_id, notifications, highlights, since, \
     read_position, same_at, position) \
     SELECT t.room_id, m.user_id, t.thread_id, t.notifications, t.highlights, $3, $3, t.position, 0 \
     FROM push_totals t JOIN rooms_v1_memberships m ON m.room_id = t.room_id \
     WHERE t.room_id = $1 AND t.thread_id = $2 AND t.members_position < $4 AND m.membership = 'join' \
     AND LENGTH(m.user_id) > $5 AND SUBSTR(m.user_id, LENGTH(m.user_id) - $5 + 1) = $6 \
     AND (m.position <= $7 OR NOT EXISTS (SELECT 1 FROM rooms_v1_membership_changes c WHERE c.room_id = m.room_id \
     AND c.user_id = m.user_id AND c.position > $7 AND c.prev_membership <> 'join')) \
     ON CONFLICT (room_id, user_id, thread_id) DO NOTHING";

/// Receipts that came before the events they cover were evaluated. `$3`: the first of them; who joined since has read up to the join.
/// `$4`: the thread as receipts call it.
const READ_EARLY: &str = "UPDATE push_marks SET read_position = COALESCE((SELECT MAX(r.event_position) \
     FROM presence_v1_receipts r WHERE r.room_id = push_marks.room_id AND r.user_id = push_marks.user_id \
     AND (r.thread_id = '' OR r.thread_id = $4) AND r.event_position > push_marks.read_position), \
     push_marks.read_position) WHERE room_id = $1 AND thread_id = $2 AND (read_position < $3 OR since >= $3) AND user_id IN (SELECT r.user_id \
     FROM presence_v1_receipts r WHERE r.room_id = $1 AND r.position > $3 AND r.event_position >= $3 \
     AND (r.thread_id = '' OR r.thread_id = $4))";

/// Parameter rows, one list for each statement.
#[derive(Default)]
struct Rows {
    rooms: Vec<Vec<Value>>,
    left: Vec<Vec<Value>>,
    totals: Vec<Vec<Value>>,
    marks: Vec<Vec<Value>>,
    joined: Vec<Vec<Value>>,
    events: Vec<Vec<Value>>,
    own: Vec<Vec<Value>>,
    raise: Vec<Vec<Value>>,
    read_early: Vec<Vec<Value>>,
    sent: Vec<Vec<Value>>,
    recount: Vec<Vec<Value>>,
    changed: Vec<Vec<Value>>,
    same: Vec<Vec<Value>>,
    clear: Vec<Vec<Value>>,
    upgrades: Vec<Vec<Value>>,
    wake: BTreeSet<String>,
}

/// Guards the rooms and takes their locks: `LOCK` of the receipts waits for it, and it waits for that. In the order of
/// room ids, as everyone takes them. `$3`: where the reader found the room; -1 if it was not there.
const GUARD: &str = "INSERT INTO push_rooms (room_id, position) VALUES ($1, $2) \
     ON CONFLICT (room_id) DO UPDATE SET position = excluded.position WHERE push_rooms.position = $3";

/// Commits the ledgers and tells that evaluation has come further in their rooms.
///
/// # Errors
/// `conflict` if another evaluated one of the rooms meanwhile; storage.
pub(super) fn all(
    ledgers: &[Ledger],
    tenant: &str,
    mail_after_ms: u64,
) -> Result<(), storage::Error> {
    if ledgers.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    let at = batch.take_positions(1);
    let mut rows = Rows::default();
    for ledger in ledgers {
        rows.room(ledger, tenant, at);
    }
    let guarded = rows.rooms.len() as u64;
    batch = batch
        .run_many(GUARD, rows.rooms)
        .expect(guarded)
        .run_many("DELETE FROM push_marks WHERE room_id = $1 AND user_id = $2", rows.left)
        .run_many(
            "INSERT INTO push_totals (room_id, thread_id, notifications, highlights, members_position, \
             event_position, position) VALUES ($1, $2, 0, 0, 0, 0, 0) ON CONFLICT (room_id, thread_id) DO NOTHING",
            rows.totals,
        )
        .run_many(MARKS, rows.marks)
        .run_many(
            // Those just made: no mark of an earlier batch begins where this one does.
            "UPDATE push_marks SET since = $4, read_position = $4 \
             WHERE room_id = $1 AND user_id = $2 AND thread_id = $3 AND since = $5",
            rows.joined,
        )
        .run_many(
            "INSERT INTO push_events (position, event_id, room_id, thread_id, sender, notify, highlight, actions, \
             created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            rows.events,
        )
        .run_many(
            "INSERT INTO push_exceptions (room_id, position, user_id, notify, highlight, actions) \
             SELECT m.room_id, $2, m.user_id, $4, $5, $6 FROM rooms_v1_memberships m \
             WHERE m.room_id = $1 AND m.user_id IN ($3) AND m.membership IN ('join', 'invite')",
            rows.own,
        )
        .run_many(
            "UPDATE push_totals SET notifications = notifications + $3, highlights = highlights + $4, \
             members_position = $5, event_position = $6, \
             position = CASE WHEN $3 > 0 OR $4 > 0 THEN $7 ELSE position END \
             WHERE room_id = $1 AND thread_id = $2",
            rows.raise,
        )
        .run_many(READ_EARLY, rows.read_early)
        .run_many(
            "UPDATE push_marks SET read_position = $4 \
             WHERE room_id = $1 AND user_id = $2 AND thread_id = $3 AND read_position < $4",
            rows.sent,
        )
        .run_many(
            &recount::sql("room_id = $4 AND thread_id = $5 AND read_position >= $6"),
            rows.recount,
        )
        .run_many(
            "UPDATE push_marks SET notifications = notifications + $4, highlights = highlights + $5, position = $6 \
             WHERE room_id = $1 AND user_id IN ($2) AND thread_id = $3 AND read_position < $7",
            rows.changed,
        )
        .run_many(
            "UPDATE push_marks SET notifications = notifications + $4, highlights = highlights + $5, same_at = $6 \
             WHERE room_id = $1 AND user_id IN ($2) AND thread_id = $3 AND read_position < $7",
            rows.same,
        )
        .run_many(
            "INSERT INTO push_upgrades (new_room, old_room, user_id) VALUES ($1, $2, '') \
             ON CONFLICT (new_room, old_room) DO UPDATE SET user_id = ''",
            rows.upgrades,
        );
    for sql in CLEAR {
        batch = batch.run_many(sql, rows.clear.clone());
    }
    for ledger in ledgers {
        batch = queue(batch, ledger);
    }
    let told: Vec<&Pusher> = ledgers.iter().flat_map(|ledger| &ledger.told).collect();
    let slow = told.iter().filter(|pusher| pusher.slow).map(|pusher| &pusher.key);
    batch = pushers::trim(batch, slow.collect::<BTreeSet<_>>());
    batch = pushers::touch(batch, told, mail_after_ms);
    for topic in rows.wake {
        batch = batch.wake(topic);
    }
    batch.wake(PROGRESS).commit().map(|_| ())
}

/// `$1`: room, `$2`: events to keep. Threads of which no event is kept are forgotten, with their counts.
const CLEAR: &[&str] = &[
    "DELETE FROM push_exceptions WHERE room_id = $1 AND position <= (SELECT e.position FROM push_events e \
     WHERE e.room_id = $1 ORDER BY e.position DESC LIMIT 1 OFFSET $2)",
    "DELETE FROM push_events WHERE room_id = $1 AND position <= (SELECT e.position FROM push_events e \
     WHERE e.room_id = $1 ORDER BY e.position DESC LIMIT 1 OFFSET $2)",
    "DELETE FROM push_marks WHERE room_id = $1 AND thread_id IN (SELECT t.thread_id FROM push_totals t \
     WHERE t.room_id = $1 AND t.thread_id <> '' AND t.event_position < (SELECT e.position FROM push_events e \
     WHERE e.room_id = $1 ORDER BY e.position DESC LIMIT 1 OFFSET $2 - 1))",
    "DELETE FROM push_totals WHERE room_id = $1 AND thread_id <> '' AND event_position < (SELECT e.position \
     FROM push_events e WHERE e.room_id = $1 ORDER BY e.position DESC LIMIT 1 OFFSET $2 - 1)",
];

impl Rows {
    fn room(&mut self, ledger: &Ledger, tenant: &str, at: u32) {
        let room = &ledger.room_id;
        self.rooms.push(params![room, ledger.last, ledger.seen.unwrap_or(-1)]);
        for user in &ledger.left {
            self.left.push(params![room, user]);
        }
        for new in &ledger.replaced_by {
            self.upgrades.push(params![new, room]);
        }
        for (thread, changes) in &ledger.threads {
            self.thread(ledger, thread, changes, tenant, at);
        }
        let now = clock::now_ms();
        for event in &ledger.notified {
            let (n, h) = event.verdict.counts();
            self.events.push(params![
                event.position,
                &event.event_id,
                room,
                &event.thread,
                &event.sender,
                n,
                h,
                &event.verdict.actions,
                now
            ]);
            self.own.extend(alike(event).into_iter().map(|(verdict, users)| {
                let (n, h) = verdict.counts();
                params![room, event.position, users, n, h, &verdict.actions]
            }));
        }
        let before = ledger.seen.unwrap_or(0);
        if !ledger.notified.is_empty() && before / CLEAR_EVERY != ledger.last / CLEAR_EVERY {
            self.clear.push(params![room, KEPT]);
        }
    }

    fn thread(&mut self, ledger: &Ledger, thread: &str, changes: &Thread, tenant: &str, at: u32) {
        let room = &ledger.room_id;
        let (n, h) = (changes.notifications, changes.highlights);
        if changes.told {
            // Where everybody has a mark, receipts have moved it already, however early they came.
            if !(ledger.marked && thread.is_empty()) {
                self.marks(ledger, thread, tenant);
            }
            self.raise.push(params![room, thread, n, h, ledger.last, changes.last, position(at)]);
        }
        for (user, sent) in &changes.sent {
            self.sent.push(params![room, user, thread, *sent]);
            self.wake.insert(format!("user:{user}"));
        }
        self.recount.push(params![n, h, position(at), room, thread, ledger.first]);
        let mut alike: BTreeMap<(i64, i64), Vec<String>> = BTreeMap::new();
        for (user, less) in &changes.adjust {
            alike.entry(*less).or_default().push(user.clone());
        }
        for ((less_n, less_h), users) in alike {
            let changed = n != less_n || h != less_h;
            if changed && n == 0 && h == 0 {
                self.wake.extend(users.iter().map(|user| format!("user:{user}")));
            }
            let row = params![room, users, thread, less_n, less_h, position(at), ledger.first];
            let rows = if changed { &mut self.changed } else { &mut self.same };
            rows.push(row);
        }
        if n > 0 || h > 0 {
            self.wake.insert(format!("room:{room}"));
        }
    }

    /// Marks for all who have none, and receipts that came before there was one.
    fn marks(&mut self, ledger: &Ledger, thread: &str, tenant: &str) {
        let room = &ledger.room_id;
        let suffix = format!(":{tenant}");
        let length = i64::try_from(suffix.chars().count()).unwrap_or(i64::MAX);
        let before = ledger.first - 1;
        self.totals.push(params![room, thread]);
        self.marks.push(params![
            room,
            thread,
            before,
            ledger.members_changed,
            length,
            suffix,
            ledger.last
        ]);
        for (user, joined) in &ledger.joined {
            self.joined.push(params![room, user, thread, *joined, before]);
        }
        let name = if thread.is_empty() { "main" } else { thread };
        self.read_early.push(params![room, thread, ledger.first, name]);
    }
}

/// Users to whom an event is the same.
fn alike(event: &Notified) -> BTreeMap<&Rc<Verdict>, Vec<String>> {
    let mut alike: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (user, verdict) in &event.own {
        alike.entry(verdict).or_default().push(user.clone());
    }
    alike
}

/// Adds to a batch what pushers are told.
fn queue(batch: Batch, ledger: &Ledger) -> Batch {
    let now = clock::now_ms();
    let rows = ledger.pushes.iter().map(|push| {
        params![
            push.position,
            &push.event_id,
            &ledger.room_id,
            &push.verdict.actions,
            now,
            push.users.clone()
        ]
    });
    batch.run_many(
        "INSERT INTO push_queue (user_id, app_id, pushkey, position, event_id, room_id, actions, created_ms) \
         SELECT p.user_id, p.app_id, p.pushkey, $1, $2, $3, $4, $5 FROM push_pushers p \
         WHERE p.user_id IN ($6) AND p.enabled = TRUE ON CONFLICT DO NOTHING",
        rows.collect(),
    )
}
