//! What was said around a result, and what its speakers were called then.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, select};

use super::rooms::Searched;
use super::{Ask, Hit};
use crate::event::{COLUMNS, EventRow, TRANSACTION, content};
use crate::ignored;
use crate::token::Token;

/// The context of one result.
pub(super) struct Around {
    /// Newest first, as for /context.
    pub before: Vec<EventRow>,
    /// Oldest first.
    pub after: Vec<EventRow>,
    start: i64,
    end: i64,
    /// By user; none where they are not wanted.
    profiles: Option<Map<String, Value>>,
}

impl Around {
    /// `of`: an event as it is written.
    pub(super) fn json(&self, of: &impl Fn(&EventRow) -> Value) -> Value {
        let mut context = json!({
            "start": Token(self.start).to_string(),
            "end": Token(self.end).to_string(),
            "events_before": self.before.iter().map(of).collect::<Vec<_>>(),
            "events_after": self.after.iter().map(of).collect::<Vec<_>>(),
        });
        if let (Some(profiles), Some(map)) = (&self.profiles, context.as_object_mut()) {
            map.insert("profile_info".to_owned(), Value::Object(profiles.clone()));
        }
        context
    }
}

/// The context of each result, if it is wanted. One storage call, or two with profiles.
pub(super) fn around(
    ask: &Ask<'_>,
    searched: &Searched,
    hits: &[Hit],
) -> Result<Vec<Around>, Error> {
    let Some(wanted) = ask.criteria.event_context.as_ref().filter(|_| !hits.is_empty()) else {
        return Ok(Vec::new());
    };
    let (before, after) = wanted.limits();
    let device = ask.device.unwrap_or("");
    let mut selects = Vec::with_capacity(hits.len() * 2);
    for hit in hits {
        let (room, at) = (hit.event.room_id.as_str(), hit.event.position);
        for (condition, order, limit) in [("< $4", "DESC", before), ("> $4", "ASC", after)] {
            selects.push(select(
                &format!(
                    "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.room_id = $3 AND e.position {condition} \
                     AND e.stream AND NOT e.rejected ORDER BY e.position {order} LIMIT $5"
                ),
                params![ask.user, device, room, at, limit],
            ));
        }
    }
    let shown = |row: &EventRow| searched.sees(row) && !ignored::hides(&searched.ignored, row);
    let mut answers = storage::snapshot(&selects)?.answers();
    let mut next = || -> Result<Vec<EventRow>, Error> {
        let rows: Rows = answers.next().ok_or_else(|| Error::internal("an answer is missing"))?;
        Ok(rows.all::<EventRow>()?.into_iter().filter(|row| shown(row)).collect())
    };
    let mut list = Vec::with_capacity(hits.len());
    for hit in hits {
        let (before, after) = (next()?, next()?);
        let start = before.last().map_or(hit.event.position, |row| row.position) - 1;
        let end = after.last().map_or(hit.event.position, |row| row.position);
        list.push(Around { before, after, start, end, profiles: None });
    }
    if wanted.include_profile {
        profiles(hits, &mut list)?;
    }
    Ok(list)
}

/// Who spoke where, with their names and pictures from a position on.
type Names = BTreeMap<(String, String), Vec<(i64, Value)>>;

fn profiles(hits: &[Hit], list: &mut [Around]) -> Result<(), Error> {
    let rows = |hit: &Hit, around: &Around| -> Vec<(String, String)> {
        let all = std::iter::once(&hit.event).chain(&around.before).chain(&around.after);
        all.map(|row| (row.room_id.clone(), row.sender.clone())).collect()
    };
    let mut speakers: Vec<(String, String)> =
        hits.iter().zip(&*list).flat_map(|(hit, around)| rows(hit, around)).collect();
    speakers.sort_unstable();
    speakers.dedup();
    let mut rooms: Vec<String> = speakers.iter().map(|(room, _)| room.clone()).collect();
    rooms.dedup();
    let users: Vec<String> = speakers.into_iter().map(|(_, user)| user).collect();
    let found: Vec<(String, String, i64, String)> = storage::query(
        "SELECT d.room_id, d.state_key, d.position, e.json FROM rooms_v1_state_deltas d \
         JOIN rooms_v1_events e ON e.event_id = d.event_id \
         WHERE d.room_id IN ($1) AND d.type = 'm.room.member' AND d.state_key IN ($2) ORDER BY d.position",
        params![rooms, users],
    )?
    .all()?;
    let mut names = Names::new();
    for (room, user, position, json) in found {
        names.entry((room, user)).or_default().push((position, content(&json)?));
    }
    for (hit, around) in hits.iter().zip(list) {
        let mut profiles = Map::new();
        for key in rows(hit, around) {
            let then = names.get(&key).and_then(|changes| {
                changes
                    .iter()
                    .rev()
                    .find(|(from, _)| *from <= hit.event.position)
                    .or(changes.first())
            });
            let mut profile = Map::new();
            for field in ["displayname", "avatar_url"] {
                let value = then.and_then(|(_, content)| content.get(field));
                if let Some(value) = value.filter(|value| value.is_string()) {
                    profile.insert(field.to_owned(), value.clone());
                }
            }
            profiles.insert(key.1, Value::Object(profile));
        }
        around.profiles = Some(profiles);
    }
    Ok(())
}
