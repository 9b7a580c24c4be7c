//! Clean-up of state groups that came of a resolution and that no event ever used.

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, hooks, log, timers};

/// The timer that wakes it.
pub const TIMER: &str = "state-groups";
/// What modules know the work as.
const JOB: &str = "rooms:state-groups";
/// The hook that is asked for the pace.
const PACE: &str = "tessera:hooks/background-pace";
/// So long a group stays after it was made: what was read before may still be asked for its state.
pub const AGE_MS: u64 = 600_000;
/// Groups looked at in one go, where no module says otherwise; at most [`MOST`].
const ITEMS: u32 = 100;
const MOST: u32 = 1_000;
/// Rest between two goes, where no module says otherwise.
const REST_MS: u64 = 1_000;

/// Has the clean-up look once what is new now is old enough.
pub fn later() {
    set(clock::now_ms() + AGE_MS, "0 0");
}

fn set(due_ms: u64, payload: &str) {
    if let Err(reason) = timers::set(TIMER, due_ms, payload) {
        // The next resolution tries again; until then some groups too many are kept.
        log::warn("the clean-up of state groups has no timer", &[("reason", &reason)]);
    }
}

/// One go. `payload`: items of the last one and how long it took in milliseconds.
///
/// # Errors
/// Storage failed: the host fires again.
pub fn fire(payload: &str) -> Result<(), Error> {
    let mut last = payload.split(' ').map(|number| number.parse().unwrap_or(0_u32));
    let (items, took) = (last.next().unwrap_or(0), last.next().unwrap_or(0));
    let pace = if hooks::answered(PACE) { hooks::background_pace(JOB, items, took) } else { None };
    let limit = pace.as_ref().map_or(ITEMS, |pace| pace.items).clamp(1, MOST);
    let began = clock::now_ms();
    let seen = sweep(limit, began.saturating_sub(AGE_MS))?;
    let took = clock::now_ms().saturating_sub(began);
    let rest = pace.map_or(REST_MS, |pace| u64::from(pace.rest_ms).max(1));
    if seen == limit {
        set(clock::now_ms() + rest, &format!("{seen} {took}"));
    } else if any()? {
        later();
    }
    Ok(())
}

/// Those that are in force stay as long as they are.
const NOT_IN_FORCE: &str = "NOT EXISTS (SELECT r.room_id FROM rooms_rooms r
     WHERE r.room_id = i.room_id AND r.state_group = i.group_id)";

fn any() -> Result<bool, Error> {
    let one = format!("SELECT i.group_id FROM rooms_idle_groups i WHERE {NOT_IN_FORCE} LIMIT 1");
    Ok(storage::query(&one, params![])?.first::<(i64,)>()?.is_some())
}

/// Looks at groups made before a time, newest first, since a newer one may rest on an older; how many.
///
/// # Errors
/// Storage failed.
pub fn sweep(limit: u32, before_ms: u64) -> Result<u32, Error> {
    let idle = storage::query(
        &format!(
            "SELECT i.group_id FROM rooms_idle_groups i WHERE i.created_ms < $1 AND {NOT_IN_FORCE}
             ORDER BY i.group_id DESC LIMIT $2"
        ),
        params![before_ms, limit],
    )?;
    let idle: Vec<i64> = idle.all::<(i64,)>()?.into_iter().map(|(group,)| group).collect();
    if idle.is_empty() {
        return Ok(0);
    }
    let rows = storage::query(
        "SELECT g.group_id, n.group_id FROM rooms_state_groups g
         JOIN rooms_state_groups n ON n.base = g.base AND n.prev_group = g.group_id
         WHERE g.group_id IN ($1)",
        params![idle.clone()],
    )?;
    let rests: Vec<(i64, i64)> = rows.all()?;
    let (mut gone, mut needed) = (Vec::new(), Vec::new());
    for group in &idle {
        let mut above = rests.iter().filter(|(below, _)| below == group).map(|(_, above)| above);
        if above.all(|above| gone.contains(above)) {
            gone.push(*group);
        } else {
            needed.push(*group);
        }
    }
    // What is needed by a group that stays is needed for good.
    let done: Vec<i64> = gone.iter().chain(&needed).copied().collect();
    Batch::new()
        .run("DELETE FROM rooms_state_entries WHERE group_id IN ($1)", params![gone.clone()])
        .run("DELETE FROM rooms_state_groups WHERE group_id IN ($1)", params![gone])
        .run("DELETE FROM rooms_idle_groups WHERE group_id IN ($1)", params![done])
        .commit()?;
    Ok(u32::try_from(idle.len()).unwrap_or(limit))
}
