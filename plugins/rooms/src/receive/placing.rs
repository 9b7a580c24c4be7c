//! Where an event goes: the state before it, the auth rules, the room's state after it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ruma::state_res::Event as _;
use tessera_sdk::matrix::{Error, server_name};
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, params};

use super::look::Look;
use super::merge::is_merge;
use super::{Outcome, policy, redacts, state_of};
use crate::core::incoming::Incoming;
use crate::core::power::Power;
use crate::core::{Decision, Extremity, State, StoredEvent, Version, decide, reads};
use crate::ids;
use crate::redaction::{Target, prune};
use crate::store::late::{self, Arrival};
use crate::store::new_event::{search_text, stripped_state};
use crate::store::place::{Changed, Current, Near, Placement, Released};
use crate::store::state_at::chains;
use crate::store::states::{Change, Key, Plan, difference, pick, side_by_side};
use crate::store::view::STRIPPED_TYPES;
use crate::store::write::Marks;
use crate::store::{NewEvent, RoomRow, auth};

/// How far back refused events are followed for the ends of the room that they stand on.
const MOST_REFUSED: usize = 100;

/// Entries of a state that are read at a time.
const STATE_PAGE: u32 = 5_000;

/// The state before an event as another server told it.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// Event ids by type and state key.
    pub(super) entries: HashMap<Key, String>,
}

/// A commit that is ready, and what it makes of the event.
pub(super) struct Placed {
    pub(super) batch: Batch,
    pub(super) outcome: Outcome,
    pub(super) leaves_idle: bool,
    /// Ends of the room afterwards.
    pub(super) ends: usize,
}

/// Decides about an event and makes its commit. `heard`: what modules said; without it none is made where they are to be asked.
pub(super) fn place(
    look: &Look,
    incoming: &Incoming,
    given: Option<&Given>,
    heard: Option<&Result<(), String>>,
) -> Result<Option<Placed>, Error> {
    let (room, event) = (&look.room, &incoming.event);
    let version = &room.version;
    let before = match given {
        Some(given) => given_plan(look, given)?,
        None => state_before(look, event)?,
    };
    let keys = keys_of(look, incoming)?;
    let (state, chain) = pick(version, &before, &keys)?;
    let now = Plan::stored(room.group);
    let current = match before.changes.is_empty() && before.group == room.group {
        true => None,
        false => Some(pick(version, &now, &keys)?),
    };
    let (current, now) = current.unzip();
    let mut marks = Marks::default();
    let mut outcome = Outcome::Accepted;
    let rested_on = look.known.as_ref().is_some_and(|known| !known.rejected);
    let mut is_void = false;
    let allowed = match event.prev_events().next() {
        // A room has one beginning; without this a second one would have an empty state before it.
        None => Decision::Reject("the room has begun already".to_owned()),
        Some(_) => decide(version, event, &state_of(&look.auth), &state, current.as_ref()),
    };
    match allowed {
        Decision::Allow if room.blocked && lets_in(event) => {
            marks.soft_failed = true;
            outcome = Outcome::SoftFailed("the room is shut down on this server".to_owned());
        }
        Decision::Allow => match heard {
            None if policy::asks() => return Ok(None),
            Some(Err(reason)) => {
                marks.soft_failed = true;
                outcome = Outcome::SoftFailed(reason.clone());
            }
            _ => {}
        },
        // A state rests on it that another server told, and what follows it was judged by that.
        Decision::Reject(reason) if rested_on => {
            (marks.soft_failed, is_void) = (true, true);
            outcome = Outcome::SoftFailed(reason);
        }
        Decision::Reject(reason) => {
            marks.rejected = true;
            outcome = Outcome::Rejected(reason);
        }
        Decision::SoftFail(reason) => {
            marks.soft_failed = true;
            outcome = Outcome::SoftFailed(reason);
        }
    }
    if is_merge(event) && marks.shown() {
        marks.held = true;
    }
    let redaction = if marks.shown() { redaction(look, event, &state, &mut marks)? } else { None };
    let mut new = NewEvent {
        event: Arc::clone(event),
        json: incoming.json.clone(),
        extremity: incoming.extremity.clone(),
        replaces: None,
        stripped: stripped(event, current.as_ref().unwrap_or(&state)),
        relation: incoming.relation.clone(),
        text: search_text(event),
    };
    let (redaction_of_it, mut redacted_by) = released(look, &mut new, marks)?;
    if let Some(id) = look.known.as_ref().and_then(|known| known.redacted_by.clone()) {
        prune_new(&room.version, &mut new)?;
        redacted_by = Some(id);
    }

    let joins = !marks.rejected && !marks.soft_failed;
    let extremities = if joins { extremities(look, &new)? } else { room.extremities.clone() };
    let (current, changed) = if joins {
        settle_current(look, &before, &new.event, &extremities)?
    } else {
        (Current::Same, Vec::new())
    };
    let changes = changes(look, &new.event, changed)?;
    let arrival = Arrival { room, chain: now.as_ref().unwrap_or(&chain), changes: &changes };
    let late = match marks.shown() {
        true => late::rows((&before, &chain), arrival, Some(&new.event))?,
        false => Vec::new(),
    };
    let released = redaction_of_it.map(|redaction| release(redaction, arrival)).transpose()?;
    let now_ms = clock::now_ms();
    let placement = Placement {
        room,
        new: &new,
        marks,
        before: (before, chain),
        current,
        changes,
        extremities,
        was_outlier: look.known.is_some(),
        is_void,
        released: released.into_iter().collect(),
        late,
        now_ms,
    };
    let mut batch = placement.write()?;
    if given.is_some() {
        for prev in event.prev_events().filter(|id| !look.prevs.contains_key(id.as_str())) {
            batch = batch.run(
                "INSERT INTO rooms_followed (event_id, follower, room_id) VALUES ($1, $2, $3)
                 ON CONFLICT DO NOTHING",
                params![prev.as_str(), event.id(), room.room_id.as_str()],
            );
        }
    }
    if look.followed {
        batch = batch.run("DELETE FROM rooms_followed WHERE event_id = $1", params![event.id()]);
    }
    if !look.waiting.is_empty() {
        // Those that may not redact it never will.
        batch = batch.run(
            "DELETE FROM rooms_held_redactions WHERE target = $1 AND room_id = $2",
            params![event.id(), room.room_id.as_str()],
        );
    }
    if let Some(id) = redacted_by {
        batch = batch.run(
            "UPDATE rooms_events SET redacted_by = $2 WHERE event_id = $1",
            params![event.id(), id],
        );
    }
    batch = match redaction {
        Some(Redaction::Of(target)) => target.write(batch, event.id()),
        Some(Redaction::Waits { target, by_power }) => batch.run(
            "INSERT INTO rooms_held_redactions (event_id, target, room_id, by_power) VALUES ($1, $2, $3, $4)",
            params![event.id(), target, room.room_id.as_str(), by_power],
        ),
        None => batch,
    };
    let (leaves_idle, ends) = (placement.leaves_idle(), placement.extremities.len());
    Ok(Some(Placed { batch, outcome, leaves_idle, ends }))
}

/// What the auth rules and the event's rows look at.
fn keys_of(look: &Look, incoming: &Incoming) -> Result<BTreeSet<Key>, Error> {
    let event = &incoming.event;
    let mut keys: BTreeSet<Key> = reads(&look.room.version, event).collect();
    keys.insert(("m.room.create".to_owned(), String::new()));
    keys.insert(("m.room.power_levels".to_owned(), String::new()));
    if event.kind() == "m.room.member" {
        keys.extend(STRIPPED_TYPES.map(|kind| (kind.to_owned(), String::new())));
    }
    Ok(keys)
}

/// Whether a user of this server would come into the room.
fn lets_in(event: &StoredEvent) -> bool {
    let lets_in = matches!(event.membership().as_deref(), Some("join" | "invite" | "knock"));
    let user = event.state_key().filter(|_| event.kind() == "m.room.member");
    user.is_some_and(|user| lets_in && ids::is_local(user))
}

/// What a redaction leaves of an event that is about to be stored.
fn prune_new(version: &Version, new: &mut NewEvent) -> Result<(), Error> {
    new.json = prune(version, &new.json)?;
    new.event = Arc::new(auth::parse(version, new.event.id(), &new.json, false)?);
    (new.relation, new.text) = (None, None);
    Ok(())
}

fn stripped(event: &StoredEvent, state: &State) -> Option<String> {
    let user = event.state_key().filter(|_| event.kind() == "m.room.member")?;
    let shows = matches!(event.membership().as_deref(), Some("invite" | "knock"));
    (shows && ids::is_local(user)).then(|| stripped_state(state, event))
}

/// The state after what an event follows.
fn state_before(look: &Look, event: &StoredEvent) -> Result<Plan, Error> {
    let named: HashSet<&str> = event.prev_events().map(|id| id.as_str()).collect();
    if follows_all(&look.room, &named) {
        return Ok(Plan::stored(look.room.group));
    }
    let groups = named.iter().filter_map(|id| look.prevs.get(*id)).map(|prev| prev.after);
    resolved(&look.room, groups.collect())
}

/// Whether these are all the ends of a room, whose state then is the one that is wanted.
fn follows_all(room: &RoomRow, named: &HashSet<&str>) -> bool {
    let ends: HashSet<&str> =
        room.extremities.iter().map(|Extremity(id, ..)| id.as_str()).collect();
    *named == ends
}

/// The state after some of a room's ends.
pub(super) fn plan_after(room: &RoomRow, ends: &[Extremity]) -> Result<Plan, Error> {
    let ids: Vec<String> = ends.iter().map(|Extremity(id, ..)| id.clone()).collect();
    if follows_all(room, &ids.iter().map(String::as_str).collect()) {
        return Ok(Plan::stored(room.group));
    }
    let rows = storage::query(
        "SELECT event_id, state_after FROM rooms_events WHERE event_id IN ($1)",
        params![ids],
    )?;
    let groups = rows.all::<(String, Option<i64>)>()?;
    resolved(room, groups.into_iter().filter_map(|(_, group)| group).collect())
}

/// What these state groups are resolved to.
fn resolved(room: &RoomRow, groups: BTreeSet<i64>) -> Result<Plan, Error> {
    let groups: Vec<i64> = groups.into_iter().collect();
    match groups.as_slice() {
        [] => Ok(Plan::stored(room.group)),
        [group] => Ok(Plan::stored(*group)),
        _ => {
            auth::complete(&room.room_id)?;
            let plans: Vec<Plan> = groups.iter().copied().map(Plan::stored).collect();
            let side = side_by_side(&plans)?;
            let resolved = side.resolve(&room.version, plans.len(), None)?;
            // The one that is nearest to what comes of them.
            let near = side.maps.iter().zip(&groups).map(|(map, group)| {
                let changes = difference(map, &resolved);
                (changes.len(), std::cmp::Reverse(*group), changes)
            });
            let near = near.min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
            let (_, group, changes) =
                near.ok_or_else(|| Error::internal("a resolution of nothing"))?;
            Ok(Plan { group: group.0, changes })
        }
    }
}

/// What the auth rules look at for a message of a user.
pub(super) fn keys_for(user: &str) -> BTreeSet<Key> {
    let own = ("m.room.member".to_owned(), user.to_owned());
    let first = ["m.room.create", "m.room.power_levels"];
    first.map(|kind| (kind.to_owned(), String::new())).into_iter().chain([own]).collect()
}

/// The given state as a difference to that of the room, which is read in pages: it may be large.
fn given_plan(look: &Look, given: &Given) -> Result<Plan, Error> {
    let mut changes: Vec<Change> = Vec::new();
    let mut open: HashSet<&Key> = given.entries.keys().collect();
    let mut last = Key::default();
    loop {
        let rows = storage::query(
            "SELECT type, state_key, event_id FROM rooms_current_state
             WHERE room_id = $1 AND (type, state_key) > ($2, $3) ORDER BY type, state_key LIMIT $4",
            params![&look.room.room_id, last.0, last.1, STATE_PAGE],
        )?;
        let rows = rows.all::<(String, String, String)>()?;
        let is_last = rows.len() < STATE_PAGE as usize;
        last = Key::default();
        for (kind, key, id) in rows {
            let key = (kind, key);
            let wanted = given.entries.get(&key);
            open.remove(&key);
            if wanted != Some(&id) {
                changes.push((key.clone(), wanted.cloned()));
            }
            last = key;
        }
        if is_last {
            break;
        }
    }
    let new = open.into_iter().map(|key| (key.clone(), given.entries.get(key).cloned()));
    changes.extend(new);
    changes.sort();
    Ok(Plan { group: look.room.group, changes })
}

/// The ends of the room once the event is there. Spec: server-server API, Soft failure.
fn extremities(look: &Look, new: &NewEvent) -> Result<Vec<Extremity>, Error> {
    let mut passed: HashSet<String> = new.event.prev_events().map(ToString::to_string).collect();
    let refused = look.prevs.iter().filter(|(_, prev)| prev.unfollowed);
    let mut open: Vec<String> = refused.map(|(id, _)| id.clone()).collect();
    let mut steps = 0;
    // Nothing follows refused events here, so what they follow may still be an end of the room.
    while !open.is_empty() && steps < MOST_REFUSED {
        steps += open.len();
        let rows = storage::query(
            "SELECT event_id, json, rejected, soft_failed FROM rooms_events WHERE event_id IN ($1)",
            params![std::mem::take(&mut open)],
        )?;
        for (id, json, rejected, soft) in rows.all::<(String, String, bool, bool)>()? {
            passed.insert(id.clone());
            if rejected || soft {
                let event = StoredEvent::parse(&id, &json, false).map_err(Error::internal)?;
                let above = event.prev_events().map(ToString::to_string);
                open.extend(above.filter(|id| !passed.contains(id)));
            }
        }
    }
    let kept = look.room.extremities.iter().filter(|Extremity(id, ..)| !passed.contains(id));
    let mut kept: Vec<Extremity> = kept.cloned().collect();
    if !look.followed || kept.is_empty() {
        kept.push(new.extremity.clone());
    }
    Ok(kept)
}

/// What the room's state is once these are its ends, and what that changes.
fn settle_current(
    look: &Look,
    before: &Plan,
    event: &Arc<StoredEvent>,
    ends: &[Extremity],
) -> Result<(Current, Vec<Change>), Error> {
    let room = &look.room;
    let own = event.state_key().map(|key| (event.kind(), key.to_owned()));
    let after = match &own {
        Some(key) => before.clone().with(key.clone(), event.id()),
        None => before.clone(),
    };
    let is_end = ends.iter().any(|Extremity(id, ..)| id == event.id());
    let others: Vec<&str> =
        ends.iter().map(|Extremity(id, ..)| id.as_str()).filter(|id| *id != event.id()).collect();
    if others.is_empty() {
        if before.changes.is_empty() && before.group == room.group {
            return Ok(match own {
                Some(key) => (Current::After, vec![(key, Some(event.id().to_owned()))]),
                None => (Current::Same, Vec::new()),
            });
        }
        let side = side_by_side(&[after, Plan::stored(room.group)])?;
        let [then, now] = side.maps.as_slice() else {
            return Err(Error::internal("two states were asked for"));
        };
        return Ok((Current::After, difference(now, then)));
    }
    let rows = storage::query(
        "SELECT event_id, state_after FROM rooms_events WHERE event_id IN ($1)",
        params![others.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()],
    )?;
    let groups = rows.all::<(String, Option<i64>)>()?;
    let mut groups: BTreeMap<i64, ()> =
        groups.into_iter().filter_map(|(_, group)| Some((group?, ()))).collect();
    let mut plans = Vec::new();
    if is_end {
        if after.changes.is_empty() {
            groups.insert(after.group, ());
        } else {
            plans.push(after);
        }
    }
    plans.extend(groups.into_keys().map(Plan::stored));
    // One end goes on with a message: the states to be resolved are those that were.
    if own.is_none() && is_end && before.changes.is_empty() {
        let old: BTreeSet<i64> = look.prevs.values().map(|prev| prev.after).collect();
        let was_end = event
            .prev_events()
            .all(|id| room.extremities.iter().any(|Extremity(end, ..)| end == id.as_str()));
        if was_end && old.len() == 1 && old.contains(&before.group) {
            return Ok((Current::Same, Vec::new()));
        }
    }
    auth::complete(&room.room_id)?;
    let count = plans.len();
    plans.push(Plan::stored(room.group));
    let side = side_by_side(&plans)?;
    let resolved = side.resolve(&room.version, count, Some(event))?;
    let now = side.maps.last().ok_or_else(|| Error::internal("no state was read"))?;
    let changed = difference(now, &resolved);
    if changed.is_empty() {
        return Ok((Current::Same, changed));
    }
    let near = side.maps.iter().zip(&plans).take(count).map(|(map, plan)| {
        let changes = difference(map, &resolved);
        (changes.len(), plan, changes)
    });
    let (_, plan, changes) =
        near.min_by_key(|near| near.0).ok_or_else(|| Error::internal("a resolution of nothing"))?;
    let near = match (plan.changes.is_empty(), side.chain(plan.group)) {
        (true, Some(chain)) => Near::Stored(plan.group, chain.clone()),
        _ => Near::After,
    };
    Ok((Current::Resolved { near, changes }, changed))
}

/// The events behind changes of ids.
fn changes(
    look: &Look,
    event: &Arc<StoredEvent>,
    changed: Vec<Change>,
) -> Result<Vec<Changed>, Error> {
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let kinds: BTreeSet<String> = changed.iter().map(|((kind, _), _)| kind.clone()).collect();
    let keys: BTreeSet<String> = changed.iter().map(|((_, key), _)| key.clone()).collect();
    let ids: Vec<String> = changed.iter().filter_map(|(_, id)| id.clone()).collect();
    let mut answers = storage::snapshot(&[
        storage::select(
            "SELECT e.event_id, e.json, e.position, s.type, s.state_key FROM rooms_current_state s
             JOIN rooms_events e ON e.position = s.position
             WHERE s.room_id = $1 AND s.type IN ($2) AND s.state_key IN ($3)",
            params![
                &look.room.room_id,
                kinds.into_iter().collect::<Vec<_>>(),
                keys.into_iter().collect::<Vec<_>>()
            ],
        ),
        storage::select(
            "SELECT event_id, json, position FROM rooms_events WHERE event_id IN ($1)",
            params![ids],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let mut old: HashMap<Key, Arc<StoredEvent>> = HashMap::new();
    for (id, json, _, kind, key) in next()?.all::<(String, String, i64, String, String)>()? {
        let event = StoredEvent::parse(&id, &json, false).map_err(Error::internal)?;
        old.insert((kind, key), Arc::new(event));
    }
    let mut new: HashMap<String, (Arc<StoredEvent>, i64)> = HashMap::new();
    for (id, json, position) in next()?.all::<(String, String, i64)>()? {
        let event = StoredEvent::parse(&id, &json, false).map_err(Error::internal)?;
        new.insert(id, (Arc::new(event), position));
    }
    let change = |(key, id): Change| {
        let new = match id {
            Some(id) if id == event.id() => Some((Arc::clone(event), None)),
            Some(id) => {
                let (event, position) = new
                    .remove(&id)
                    .ok_or_else(|| Error::internal(format!("event {id} of a state is missing")))?;
                Some((event, Some(position)))
            }
            None => None,
        };
        let old = old.remove(&key);
        Ok(Changed { key, new, old, stripped: None })
    };
    let mut changes = changed.into_iter().map(change).collect::<Result<Vec<_>, Error>>()?;
    show_invites(look, event, &mut changes)?;
    Ok(changes)
}

/// Invites and knocks that are in force again show the room as it is now.
fn show_invites(look: &Look, event: &StoredEvent, changes: &mut [Changed]) -> Result<(), Error> {
    let again = |changed: &Changed| {
        let (new, _) = changed.new.as_ref()?;
        let shows = matches!(new.membership().as_deref(), Some("invite" | "knock"));
        let own = new.id() == event.id();
        (changed.key.0 == "m.room.member" && shows && !own && ids::is_local(&changed.key.1))
            .then(|| Arc::clone(new))
    };
    let invites: Vec<_> = changes.iter().filter_map(again).collect();
    if invites.is_empty() {
        return Ok(());
    }
    let senders = invites.iter().map(|new| ("m.room.member".to_owned(), new.sender().to_string()));
    let stripped = STRIPPED_TYPES.map(|kind| (kind.to_owned(), String::new()));
    let keys: BTreeSet<Key> = senders.chain(stripped).collect();
    let (mut state, _) = pick(&look.room.version, &Plan::stored(look.room.group), &keys)?;
    for (new, _) in changes.iter().filter_map(|changed| changed.new.as_ref()) {
        state.insert(Arc::clone(new));
    }
    for changed in changes {
        changed.stripped = again(changed).map(|new| stripped_state(&state, &new));
    }
    Ok(())
}

enum Redaction {
    Of(Target),
    Waits { target: String, by_power: bool },
}

/// What a redaction does. Spec: room version 3, Handling redactions; before, the auth rules said it all.
fn redaction(
    look: &Look,
    event: &StoredEvent,
    state: &State,
    marks: &mut Marks,
) -> Result<Option<Redaction>, Error> {
    let version = &look.room.version;
    let Some(target) = redacts(version, event) else {
        return Ok(None);
    };
    let by_rules = version.rules().authorization.special_case_room_redaction;
    let sender = event.sender().as_str();
    let by_power = by_rules || Power::of(version, state).may_redact_all(sender);
    let Some(found) = &look.redacted else {
        marks.held = true;
        return Ok(Some(Redaction::Waits { target, by_power }));
    };
    let may = by_power || server_name(&found.sender) == server_name(sender);
    if !may || found.rejected || found.kind == "m.room.create" {
        marks.held = true;
        return Ok(None);
    }
    let target = Target::of_row(version, &target, &look.room.room_id, found.redacted, &found.json)?;
    Ok(Some(Redaction::Of(target)))
}

/// A redaction that comes into force, long after it came.
fn release(redaction: NewEvent, arrival: Arrival<'_>) -> Result<Released, Error> {
    let rows = storage::query(
        "SELECT state_before FROM rooms_events WHERE event_id = $1",
        params![redaction.event.id()],
    )?;
    let group = rows.first::<(Option<i64>,)>()?.and_then(|(group,)| group);
    let plan = Plan::stored(group.unwrap_or(arrival.room.group));
    let chain = chains(&[plan.group])?.remove(&plan.group);
    let chain = chain.unwrap_or_else(|| arrival.chain.clone());
    let late = late::rows((&plan, &chain), arrival, None)?;
    Ok(Released { redaction, late })
}

/// The redaction that waited for the event, which is pruned by it before it is stored.
fn released(
    look: &Look,
    new: &mut NewEvent,
    marks: Marks,
) -> Result<(Option<NewEvent>, Option<String>), Error> {
    let sender = new.event.sender().as_str();
    let waiting = look.waiting.iter().find(|waiting| waiting.may(sender));
    let Some(waiting) = waiting.filter(|_| marks.shown() && new.event.kind() != "m.room.create")
    else {
        return Ok((None, None));
    };
    prune_new(&look.room.version, new)?;
    let redaction = NewEvent {
        event: Arc::clone(&waiting.event),
        json: waiting.json.clone(),
        extremity: new.extremity.clone(),
        replaces: None,
        stripped: None,
        relation: None,
        text: None,
    };
    Ok((Some(redaction), Some(waiting.event.id().to_owned())))
}
