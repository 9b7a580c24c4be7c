//! POST /_matrix/client/v3/search
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search>
//!
//! Words are looked up in the index of `rooms`, in the rooms that the user is or was in. What they may not see, and what the filter
//! refuses, is taken out afterwards: so a page may be shorter than its limit, with a token to go on.

mod around;
mod ask;
mod rooms;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::services::{self, RoomsError, rooms::Found};
use tessera_sdk::{params, storage};

use crate::event::{COLUMNS, EventRow, TRANSACTION};
use crate::history;
use ask::{Ask, Body, Grouping, Place};
use rooms::Searched;

/// Rooms of one call to the index.
const ROOMS_AT_ONCE: usize = 1000;
/// Finds of one call to the index.
const MAX_FOUND: u32 = 500;
/// Found events read in one go.
const READ_AT_ONCE: usize = 100;
/// Calls for one answer: a filter that lets next to nothing pass gets a shorter answer and a token to go on.
const MAX_CALLS: u32 = 4;

/// A message that was found and may be seen.
struct Hit {
    rank: f64,
    event: EventRow,
}

/// What a page holds.
#[derive(Default)]
struct Page {
    hits: Vec<Hit>,
    /// How many finds were looked at, those of earlier pages included.
    looked: u32,
    /// About how many there are.
    count: usize,
    more: bool,
    /// The last find looked at past the one that the page begins after, if that was found.
    last: Option<String>,
}

/// # Errors
/// `M_NOT_JSON`, `M_BAD_JSON` for a malformed body; `M_MISSING_PARAM` without a search term; `M_INVALID_PARAM` for an unknown order,
/// key, group or token.
pub(crate) fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    let Some(criteria) = body.search_categories.room_events else {
        return Answer::json(&json!({ "search_categories": {} }));
    };
    let ask = Ask::new(request, criteria)?;
    let searched = rooms::searched(&ask)?;
    let page = page(&ask, &searched)?;
    Answer::json(&json!({ "search_categories": { "room_events": answer(&ask, &searched, page)? } }))
}

fn refused(error: RoomsError) -> Error {
    match error {
        RoomsError::Refused((errcode, text)) => Error::with_status(400, &errcode, text),
        error => Error::internal(format!("{error:?}")),
    }
}

/// Finds from `offset` on, of as many rooms as there are; the best or newest first.
fn find(ask: &Ask<'_>, rooms: &[String], offset: u32) -> std::result::Result<Vec<Found>, Error> {
    let words = ask.criteria.search_term.as_str();
    let search = |rooms: &[String], limit: u32, offset: u32| {
        services::search_rooms(words, rooms, ask.newest, limit, offset).map_err(refused)
    };
    if rooms.len() <= ROOMS_AT_ONCE {
        return search(rooms, MAX_FOUND, offset);
    }
    // Each call knows a part of the rooms: the first of all are among the first of each.
    let mut found = Vec::new();
    for rooms in rooms.chunks(ROOMS_AT_ONCE) {
        for call in 0..=offset / MAX_FOUND {
            let part = search(rooms, MAX_FOUND, call * MAX_FOUND)?;
            let last = part.len() < MAX_FOUND as usize;
            found.extend(part);
            if last {
                break;
            }
        }
    }
    if ask.newest {
        let ids: Vec<String> = found.iter().map(|hit| hit.event_id.clone()).collect();
        let positions: HashMap<String, i64> = storage::query(
            "SELECT event_id, position FROM rooms_v1_events WHERE event_id IN ($1)",
            params![ids],
        )?
        .all::<(String, i64)>()?
        .into_iter()
        .collect();
        found.sort_by_key(|hit| std::cmp::Reverse(positions.get(&hit.event_id).copied()));
    } else {
        found.sort_by(|a, b| b.rank.total_cmp(&a.rank));
    }
    let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(found.len());
    found.drain(..offset);
    found.truncate(MAX_FOUND as usize);
    Ok(found)
}

fn page(ask: &Ask<'_>, searched: &Searched) -> std::result::Result<Page, Error> {
    let mut page = Page::default();
    let limit = ask.limit();
    if searched.rooms.is_empty() || limit == 0 {
        return Ok(page);
    }
    let (mut offset, mut after) = match &ask.place {
        Place::Start => (0, None),
        Place::Offset(offset) => (*offset, None),
        Place::After(event_id, _, looked) => (*looked, Some(event_id.clone())),
    };
    for _ in 0..MAX_CALLS {
        let found = find(ask, &searched.rooms, offset)?;
        let whole = found.len() < MAX_FOUND as usize;
        page.count = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(found.len());
        let mut fresh = found.as_slice();
        if let Some(id) = &after {
            match fresh.iter().position(|hit| hit.event_id == *id) {
                Some(at) => {
                    offset += u32::try_from(at + 1).unwrap_or(u32::MAX);
                    fresh = fresh.get(at + 1..).unwrap_or(&[]);
                    page.last = after.take();
                }
                None => {
                    offset += u32::try_from(fresh.len()).unwrap_or(u32::MAX);
                    fresh = &[];
                }
            }
        }
        for fresh in fresh.chunks(READ_AT_ONCE) {
            if page.hits.len() == limit {
                page.more = true;
                page.looked = offset;
                return Ok(page);
            }
            let mut rows = rows(ask, searched, fresh)?;
            for hit in fresh {
                if page.hits.len() == limit {
                    page.more = true;
                    page.looked = offset;
                    return Ok(page);
                }
                offset = offset.saturating_add(1);
                page.last = Some(hit.event_id.clone());
                if let Some(event) = rows.remove(&hit.event_id) {
                    page.hits.push(Hit { rank: hit.rank, event });
                }
            }
        }
        page.looked = offset;
        if whole {
            return Ok(page);
        }
        if page.hits.len() >= limit {
            break;
        }
    }
    page.more = true;
    Ok(page)
}

/// Found events that the user may see and the filter lets pass, by id. Reads no more than a few pages' worth.
fn rows(
    ask: &Ask<'_>,
    searched: &Searched,
    found: &[Found],
) -> std::result::Result<HashMap<String, EventRow>, Error> {
    if found.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<String> = found.iter().map(|hit| hit.event_id.clone()).collect();
    let rows: Vec<EventRow> = storage::query(
        &format!(
            "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.event_id IN ($3) \
             AND e.stream AND NOT e.rejected AND e.redacted_by IS NULL"
        ),
        params![ask.user, ask.device.unwrap_or(""), ids],
    )?
    .all()?;
    let filter = &ask.criteria.filter;
    let passes = |row: &EventRow| {
        searched.sees(row)
            && !searched.ignored.contains(&row.sender)
            && ask.wants(&row.kind)
            && filter.allows(&row.kind, &row.sender, &row.json)
    };
    Ok(rows.into_iter().filter(passes).map(|row| (row.event_id.clone(), row)).collect())
}

/// Written events, those of rooms that the user has left apart: what relates to them may have come later.
fn write(
    ask: &Ask<'_>,
    searched: &Searched,
    rows: &[&EventRow],
) -> std::result::Result<HashMap<String, Value>, Error> {
    let mut parts: BTreeMap<i64, Vec<&EventRow>> = BTreeMap::new();
    for row in rows {
        parts.entry(searched.last_position(&row.room_id)).or_default().push(row);
    }
    let mut written = HashMap::new();
    for (last, rows) in parts {
        let membership = |row: &EventRow| searched.membership_at(row).to_owned();
        let chunk =
            history::write(ask.user, ask.device, &searched.ignored, &rows, last, None, membership)?
                .chunk;
        for (row, raw) in rows.iter().zip(chunk) {
            let value = serde_json::from_str(raw.get()).map_err(Error::internal)?;
            written.insert(row.event_id.clone(), value);
        }
    }
    Ok(written)
}

fn answer(ask: &Ask<'_>, searched: &Searched, page: Page) -> std::result::Result<Value, Error> {
    let around = around::around(ask, searched, &page.hits)?;
    let mut rows: Vec<&EventRow> = page.hits.iter().map(|hit| &hit.event).collect();
    rows.extend(around.iter().flat_map(|around| around.before.iter().chain(&around.after)));
    rows.sort_by_key(|row| row.position);
    rows.dedup_by_key(|row| row.position);
    let written = write(ask, searched, &rows)?;
    let of = |row: &EventRow| written.get(&row.event_id).cloned().unwrap_or_default();
    let mut results = Vec::with_capacity(page.hits.len());
    for (n, hit) in page.hits.iter().enumerate() {
        let mut result = json!({ "rank": hit.rank, "result": of(&hit.event) });
        if let (Some(around), Some(map)) = (around.get(n), result.as_object_mut()) {
            map.insert("context".to_owned(), around.json(&of));
        }
        results.push(result);
    }
    let mut body = json!({
        "count": page.count,
        "highlights": ask.highlights(),
        "results": results,
    });
    let Some(map) = body.as_object_mut() else { return Ok(body) };
    if page.more {
        map.insert("next_batch".to_owned(), ask.next(&page).into());
    }
    if !ask.criteria.groups().is_empty() {
        map.insert("groups".to_owned(), groups(ask, &page));
    }
    if ask.criteria.include_state {
        map.insert("state".to_owned(), rooms::states(ask, searched, &page.hits)?);
    }
    Ok(body)
}

fn groups(ask: &Ask<'_>, page: &Page) -> Value {
    let mut groups = Map::new();
    for grouping in ask.criteria.groups() {
        let mut group: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
        for hit in &page.hits {
            let key = match grouping {
                Grouping::RoomId => hit.event.room_id.as_str(),
                Grouping::Sender => hit.event.sender.as_str(),
            };
            let order = group.len() + 1;
            group.entry(key).or_insert((order, Vec::new())).1.push(&hit.event.event_id);
        }
        let group: Map<String, Value> = group
            .into_iter()
            .map(|(key, (order, results))| {
                let mut value = json!({ "order": order, "results": results });
                let last = results.last().filter(|_| page.more && grouping == Grouping::RoomId);
                if let (Some(last), Some(map)) = (last, value.as_object_mut()) {
                    let next = Place::After((*last).to_owned(), key.to_owned(), 0);
                    map.insert("next_batch".to_owned(), next.to_string().into());
                }
                (key.to_owned(), value)
            })
            .collect();
        groups.insert(grouping.name().to_owned(), Value::Object(group));
    }
    Value::Object(groups)
}
