//! Rows of rooms and of history that go, slice by slice. Each slice is a commit of its own and can be repeated.

use std::collections::HashSet;

use ruma::state_res::Event as _;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, Rows, select};

use super::room::RoomRow;
use crate::core::{Extremity, StoredEvent};
use crate::ids;

/// Events of one slice.
const EVENTS: u32 = 200;
/// State groups that one slice looks at.
const GROUPS: u32 = 100;
/// Their entries that go in one slice: one group in fifty is a whole state.
const ENTRIES: u32 = 10_000;
/// Rows of each table of one slice of a room that is deleted.
const ROWS: u32 = 500;
/// How often a lost race for the room is run again.
const ATTEMPTS: usize = 20;
const LOCK_MS: u32 = 2_000;

/// One slice of a room's history at the positions `from..before`, oldest first; where to go on: negative once only state
/// groups are left. None: it is done, or there is no such room.
///
/// What goes: messages of other servers, with `delete_local` of this one, too. State events stay known, since states and auth
/// chains rest on them, yet lose their place in the timeline; those of this server only with `delete_local`. Forward extremities and what they follow
/// directly stay as they are. Of transactions nothing goes: a request that is repeated is answered as it was.
///
/// # Errors
/// Storage failed, or the room is too busy: what was done stays done.
pub fn history(
    room_id: &str,
    from: i64,
    before: i64,
    delete_local: bool,
) -> Result<Option<i64>, Error> {
    for _ in 0..ATTEMPTS {
        storage::lock(&[format!("room:{room_id}")], LOCK_MS);
        let slice = match from < 0 {
            true => groups(room_id, from.saturating_neg())?,
            false => events(room_id, from, before, delete_local)?,
        };
        let Some((batch, next)) = slice else {
            return Ok(None);
        };
        match batch.map(Batch::commit) {
            None | Some(Ok(_)) => return Ok(next),
            Some(Err(storage::Error::Conflict(_))) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Err(Error::internal(format!("{room_id} is too busy to be purged")))
}

/// A commit, where there is something to do, and where to go on.
type Slice = Option<(Option<Batch>, Option<i64>)>;

/// Writers that have looked at what goes find themselves too late.
fn guard(room: &RoomRow) -> Batch {
    Batch::new()
        .run(
            "UPDATE rooms_rooms SET revision = revision + 1 WHERE room_id = $1 AND revision = $2",
            params![room.room_id.as_str(), room.revision],
        )
        .expect(1)
}

fn read_room(room_id: &str, rows: Option<Rows>) -> Result<Option<RoomRow>, Error> {
    let rows = rows.ok_or_else(|| Error::internal("an answer is missing"))?;
    RoomRow::read(room_id, rows)
}

/// Ends of the room and what they follow.
fn front(room: &RoomRow) -> Result<HashSet<String>, Error> {
    let mut front: HashSet<String> =
        room.extremities.iter().map(|Extremity(id, ..)| id.clone()).collect();
    let rows = storage::query(
        "SELECT event_id, json FROM rooms_events WHERE event_id IN ($1)",
        params![front.iter().cloned().collect::<Vec<_>>()],
    )?;
    for (id, json) in rows.all::<(String, String)>()? {
        let event = StoredEvent::parse(&id, &json, false).map_err(Error::internal)?;
        front.extend(event.prev_events().map(ToString::to_string));
    }
    Ok(front)
}

fn events(room_id: &str, from: i64, before: i64, delete_local: bool) -> Result<Slice, Error> {
    let mut answers = storage::snapshot(&[
        RoomRow::select(room_id),
        select(
            "SELECT position, event_id, sender, state_key FROM rooms_events
             WHERE room_id = $1 AND position >= $2 AND position < $3 AND outlier = FALSE ORDER BY position LIMIT $4",
            params![room_id, from, before, EVENTS],
        ),
    ])?
    .answers();
    let Some(room) = read_room(room_id, answers.next())? else {
        return Ok(None);
    };
    let page = answers.next().ok_or_else(|| Error::internal("an answer is missing"))?;
    let page = page.all::<(i64, String, String, Option<String>)>()?;
    let next = match page.last() {
        Some((last, ..)) if page.len() == EVENTS as usize => last + 1,
        _ => before.saturating_neg(),
    };
    let next = (next != 0).then_some(next);
    let front = front(&room)?;
    let (mut gone, mut ids, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for (position, event_id, sender, state_key) in page {
        if front.contains(&event_id) || (!delete_local && ids::is_local(&sender)) {
            continue;
        }
        match state_key {
            Some(_) => kept.push(position),
            None => gone.push(position),
        }
        ids.push(event_id);
    }
    if ids.is_empty() {
        return Ok(Some((None, next)));
    }
    let places: Vec<i64> = gone.iter().chain(&kept).copied().collect();
    let mut batch = guard(&room)
        .run(
            "UPDATE rooms_events SET outlier = TRUE, stream = FALSE, state_before = NULL, state_after = NULL
             WHERE position IN ($1)",
            params![kept],
        )
        .run("DELETE FROM rooms_events WHERE position IN ($1)", params![gone])
        .run("DELETE FROM rooms_late WHERE position IN ($1)", params![places])
        .run("DELETE FROM rooms_relations WHERE event_id IN ($1)", params![ids.clone()])
        .run("DELETE FROM rooms_held_redactions WHERE event_id IN ($1)", params![ids.clone()]);
    for id in ids {
        batch = batch.text("messages", &id, room_id, None);
    }
    Ok(Some((Some(batch), next)))
}

/// State groups below one, newest first, since a newer one may rest on an older.
fn groups(room_id: &str, below: i64) -> Result<Slice, Error> {
    let page = storage::query(
        "SELECT group_id FROM rooms_state_groups WHERE room_id = $1 AND group_id < $2 ORDER BY group_id DESC LIMIT $3",
        params![room_id, below, GROUPS],
    )?;
    let page: Vec<i64> = page.all::<(i64,)>()?.into_iter().map(|(group,)| group).collect();
    let Some(last) = page.last().copied() else {
        return Ok(None);
    };
    let next = (page.len() == GROUPS as usize).then_some(last.saturating_neg());
    let mut answers = storage::snapshot(&[
        RoomRow::select(room_id),
        select(
            "SELECT DISTINCT state_before FROM rooms_events WHERE state_before IN ($1)",
            params![page.clone()],
        ),
        // Other events than the one that made it have it before them, too.
        select(
            "SELECT state_after FROM rooms_events WHERE position IN ($1) AND state_after = position",
            params![page.clone()],
        ),
        select("SELECT group_id FROM rooms_idle_groups WHERE group_id IN ($1)", params![page.clone()]),
        select(
            "SELECT g.group_id AS below, n.group_id AS above FROM rooms_state_groups g
             JOIN rooms_state_groups n ON n.base = g.base AND n.prev_group = g.group_id WHERE g.group_id IN ($1)",
            params![page.clone()],
        ),
    ])?
    .answers();
    let Some(room) = read_room(room_id, answers.next())? else {
        return Ok(None);
    };
    let mut next_rows = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let mut used = HashSet::from([room.group, room.base]);
    for _ in 0..3 {
        used.extend(next_rows()?.all::<(i64,)>()?.into_iter().map(|(group,)| group));
    }
    let rests: Vec<(i64, i64)> = next_rows()?.all()?;
    let mut gone: Vec<i64> = Vec::new();
    for group in page {
        let mut above = rests.iter().filter(|(below, _)| *below == group).map(|(_, above)| above);
        if !used.contains(&group) && above.all(|above| gone.contains(above)) {
            gone.push(group);
        }
    }
    if gone.is_empty() {
        return Ok(Some((None, next)));
    }
    let (batch, at) = without(guard(&room), gone)?;
    let next = at.map(|at| (at + 1).saturating_neg()).or(next);
    Ok(Some((Some(batch), next)))
}

/// Groups (newest first) go with their entries, as many as a slice may hold; the first one that is left, if any. A group of more entries than that
/// goes bit by bit: nothing leads to it any more.
fn without(batch: Batch, mut groups: Vec<i64>) -> Result<(Batch, Option<i64>), Error> {
    let left = storage::query(
        "SELECT group_id FROM rooms_state_entries WHERE group_id IN ($1) ORDER BY group_id DESC LIMIT 1 OFFSET $2",
        params![groups.clone(), ENTRIES],
    )?;
    let left = left.first::<(i64,)>()?.map(|(group,)| group);
    if let Some(left) = left {
        groups.retain(|group| *group > left);
        if groups.is_empty() {
            let batch = batch.run(
                "DELETE FROM rooms_state_entries WHERE group_id = $1 AND (type, state_key) IN
                   (SELECT type, state_key FROM rooms_state_entries WHERE group_id = $1 LIMIT $2)",
                params![left, ENTRIES],
            );
            return Ok((batch, Some(left)));
        }
    }
    let batch = batch
        .run("DELETE FROM rooms_state_entries WHERE group_id IN ($1)", params![groups.clone()])
        .run("DELETE FROM rooms_state_groups WHERE group_id IN ($1)", params![groups]);
    Ok((batch, left))
}

/// One slice of all that is known of a room; whether nothing is left. The first one closes it: whoever writes finds no room.
/// Tables that are not the graph's (aliases, reports, delayed events, …) are not touched, but for what lists show of it.
///
/// # Errors
/// Storage failed: what was done stays done.
pub fn room(room_id: &str) -> Result<bool, Error> {
    let there =
        storage::query("SELECT version FROM rooms_rooms WHERE room_id = $1", params![room_id])?;
    if there.first::<(String,)>()?.is_some() {
        Batch::new()
            .run("DELETE FROM rooms_rooms WHERE room_id = $1", params![room_id])
            // With it, so that nobody fills it anew.
            .run("DELETE FROM rooms_about WHERE room_id = $1", params![room_id])
            .commit_blind()?;
        return Ok(false);
    }
    let some = |sql: &str, limit: u32| select(sql, params![room_id, limit]);
    let mut answers = storage::snapshot(&[
        some(
            "SELECT event_id FROM rooms_events WHERE room_id = $1 ORDER BY position LIMIT $2",
            ROWS,
        ),
        some(
            "SELECT group_id FROM rooms_state_groups WHERE room_id = $1 ORDER BY group_id DESC LIMIT $2",
            GROUPS,
        ),
        some("SELECT user_id FROM rooms_memberships WHERE room_id = $1 LIMIT $2", ROWS),
        some("SELECT type FROM rooms_current_state WHERE room_id = $1 LIMIT $2", ROWS),
        some("SELECT type FROM rooms_state_deltas WHERE room_id = $1 LIMIT $2", ROWS),
        some("SELECT user_id FROM rooms_membership_changes WHERE room_id = $1 LIMIT $2", ROWS),
        some("SELECT user_id FROM rooms_late WHERE room_id = $1 LIMIT $2", ROWS),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let events: Vec<String> = next()?.all::<(String,)>()?.into_iter().map(|(id,)| id).collect();
    let groups: Vec<i64> = next()?.all::<(i64,)>()?.into_iter().map(|(id,)| id).collect();
    let mut others = 0;
    for _ in 0..5 {
        others += next()?.all::<(String,)>()?.len();
    }
    if events.is_empty() && groups.is_empty() && others == 0 {
        // What is left of events that are not here: a few rows, looked at once.
        Batch::new()
            .run("DELETE FROM rooms_followed WHERE room_id = $1", params![room_id])
            .run("DELETE FROM rooms_idle_groups WHERE room_id = $1", params![room_id])
            .run("DELETE FROM rooms_held_redactions WHERE room_id = $1", params![room_id])
            .commit_blind()?;
        return Ok(true);
    }
    let mut batch = Batch::new();
    for sql in [
        "DELETE FROM rooms_memberships WHERE room_id = $1 AND user_id IN
           (SELECT user_id FROM rooms_memberships WHERE room_id = $1 LIMIT $2)",
        // A room that began elsewhere has as many rows of one position as it had members.
        "DELETE FROM rooms_membership_changes WHERE room_id = $1 AND (position, user_id) IN
           (SELECT position, user_id FROM rooms_membership_changes WHERE room_id = $1 ORDER BY position LIMIT $2)",
        "DELETE FROM rooms_current_state WHERE room_id = $1 AND (type, state_key) IN
           (SELECT type, state_key FROM rooms_current_state WHERE room_id = $1 LIMIT $2)",
        "DELETE FROM rooms_state_deltas WHERE room_id = $1 AND (position, type, state_key) IN
           (SELECT position, type, state_key FROM rooms_state_deltas WHERE room_id = $1 ORDER BY position LIMIT $2)",
        "DELETE FROM rooms_late WHERE room_id = $1 AND (position, user_id) IN
           (SELECT position, user_id FROM rooms_late WHERE room_id = $1 LIMIT $2)",
    ] {
        batch = batch.run(sql, params![room_id, ROWS]);
    }
    for sql in [
        "DELETE FROM rooms_relations WHERE event_id IN ($1)",
        "DELETE FROM rooms_transactions WHERE event_id IN ($1)",
        "DELETE FROM rooms_auth_edges WHERE event_id IN ($1)",
        "DELETE FROM rooms_held_redactions WHERE event_id IN ($1)",
        "DELETE FROM rooms_events WHERE event_id IN ($1)",
    ] {
        batch = batch.run(sql, params![events.clone()]);
    }
    (batch, _) = without(batch, groups)?;
    for id in events {
        batch = batch.text("messages", &id, room_id, None);
    }
    batch.commit_blind()?;
    Ok(false)
}
