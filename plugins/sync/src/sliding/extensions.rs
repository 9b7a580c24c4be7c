//! Extensions: messages to the device (MSC3885), keys (MSC3884), account data (MSC3959), receipts (MSC3960) and typing (MSC3961).

use std::collections::BTreeMap;

use tessera_sdk::matrix::Error;
use tessera_sdk::{log, services};

use super::ask::Ask;
use super::details::Details;
use super::fill::Filled;
use super::overview::{Keys, Overview};
use super::response::{AccountData, E2ee, Ephemeral, Extensions, ToDevice};
use crate::devices::{self, DeviceLists};
use crate::near::Movements;
use crate::sync::ephemeral;

/// Rooms where somebody came or went since the token: whose devices matter may have changed.
pub(super) fn movements(ask: &Ask, overview: &Overview) -> Movements {
    let mut movements = Movements::default();
    let (Some(pos), Some(keys)) = (ask.pos(), &overview.keys) else { return movements };
    movements.changed = keys.stirred.clone();
    for change in overview.changes.iter().filter(|change| change.position > pos.position) {
        if change.enters() {
            movements.left.remove(&change.room_id);
            movements.entered.insert(change.room_id.clone());
        } else if change.leaves() {
            movements.entered.remove(&change.room_id);
            movements.left.insert(change.room_id.clone());
        }
    }
    movements
}

fn to_device(ask: &Ask, overview: &mut Overview) -> Result<Option<ToDevice>, Error> {
    let Some((_, limit)) = ask.wishes.extensions.to_device() else { return Ok(None) };
    let mut messages = std::mem::take(&mut overview.messages);
    let (events, last) = devices::told(&mut messages, usize::try_from(limit).unwrap_or(0))?;
    // All below the horizon has been told, unless there was too much of it. A token above it is taken for the horizon: what comes
    // between would never be told.
    let next = last.unwrap_or(overview.horizon);
    Ok(Some(ToDevice { next_batch: next.to_string(), events }))
}

fn e2ee(ask: &Ask, keys: Keys, filled: &mut Filled) -> E2ee {
    let lists = ask.pos().map(|_| {
        let mut changed = keys.changed;
        changed.append(&mut filled.given.moved.came);
        let left = std::mem::take(&mut filled.given.moved.gone);
        DeviceLists { changed, left }
    });
    E2ee {
        device_lists: lists.filter(|lists| !lists.none()),
        device_one_time_keys_count: keys.one_time,
        device_unused_fallback_key_types: keys.fallback,
    }
}

fn account_data(
    ask: &Ask,
    overview: &mut Overview,
    details: &mut Details,
) -> Result<AccountData, Error> {
    let since = ask.pos().map(|pos| pos.position);
    let mut found = AccountData::default();
    let mut rooms: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (room, kind, content, _) in std::mem::take(&mut overview.account_data) {
        if room.is_empty() {
            found.global.push(ephemeral::account_data(&kind, &content)?);
        } else if details.due_account_data.get(&room).is_some_and(|told| *told == since) {
            rooms.entry(room).or_default().insert(kind, content);
        }
    }
    for (room, kind, content, position) in std::mem::take(&mut details.account_data) {
        let told = details.due_account_data.get(&room).copied().flatten();
        if told.is_none() || position <= overview.horizon {
            rooms.entry(room).or_default().insert(kind, content);
        }
    }
    for (room, data) in rooms {
        let events = data.iter().map(|(kind, content)| ephemeral::account_data(kind, content));
        found.rooms.insert(room, events.collect::<Result<_, _>>()?);
    }
    let rules = match overview.push_rules.take() {
        Some((rules, _)) => Some(rules),
        None if since.is_some() => None,
        // Without `push` a client still gets its answer.
        None => services::push_rules(&ask.user)
            .inspect_err(|error| log::warn("no push rules", &[("reason", &format!("{error:?}"))]))
            .ok(),
    };
    if let Some(rules) = rules {
        found.global.push(ephemeral::account_data("m.push_rules", &rules)?);
    }
    Ok(found)
}

fn receipts(
    ask: &Ask,
    overview: &Overview,
    details: &mut Details,
    filled: &mut Filled,
) -> Result<Ephemeral, Error> {
    let known = std::mem::take(&mut details.receipts).into_iter().filter(|receipt| {
        let told = details.due_receipts.get(&receipt.0).copied().flatten();
        told.is_some_and(|told| receipt.6 > told)
    });
    let all = known.chain(std::mem::take(&mut filled.given.receipts));
    Ok(Ephemeral { rooms: ephemeral::receipts(all, &ask.user, &overview.ignored)? })
}

fn typing(details: &mut Details, horizon: i64, now_ms: i64) -> Result<Ephemeral, Error> {
    let mut rows = std::mem::take(&mut details.typing);
    rows.sort_unstable();
    rows.dedup();
    let news: BTreeMap<String, bool> = details
        .due_typing
        .iter()
        .map(|(room, told)| {
            let moved = |told: i64| {
                rows.iter().any(|row| row.0 == *room && row.3 > told && row.3 <= horizon)
            };
            (room.clone(), told.is_none_or(moved))
        })
        .collect();
    rows.retain(|row| news.get(&row.0) == Some(&true));
    let events = ephemeral::typing(rows, now_ms)?;
    let new = |room: &str| details.due_typing.get(room).is_some_and(Option::is_none);
    // To somebody new, nobody typing is no news.
    let told = events.into_iter().filter(|(room, (anybody, _))| *anybody || !new(room));
    Ok(Ephemeral { rooms: told.map(|(room, (_, event))| (room, event)).collect() })
}

/// What is asked for.
///
/// # Errors
/// A view is not as documented.
pub(super) fn answer(
    ask: &Ask,
    overview: &mut Overview,
    details: &mut Details,
    filled: &mut Filled,
    now_ms: i64,
) -> Result<Extensions, Error> {
    let wanted = &ask.wishes.extensions;
    let mut extensions = Extensions { to_device: to_device(ask, overview)?, ..<_>::default() };
    if let Some(keys) = overview.keys.take() {
        extensions.e2ee = Some(e2ee(ask, keys, filled));
    }
    if wanted.account_data().is_some() {
        extensions.account_data = Some(account_data(ask, overview, details)?);
    }
    if wanted.receipts().is_some() {
        extensions.receipts = Some(receipts(ask, overview, details, filled)?);
    }
    if wanted.typing().is_some() {
        extensions.typing = Some(typing(details, overview.horizon, now_ms)?);
    }
    Ok(extensions)
}
