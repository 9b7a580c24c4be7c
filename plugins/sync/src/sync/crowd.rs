//! Members of rooms that are told whole. They are most of what a first sync reads, so they go the shortest way: few columns, and text
//! that becomes text.

use std::collections::HashMap;

use serde_json::value::RawValue;
use tessera_sdk::matrix::{Error, Pdu};
use tessera_sdk::params;
use tessera_sdk::storage::{FromRow, RowError, Select, Value, select};

use crate::event::{EventRow, Extra, Writer};
use crate::filter::EventFilter;
use crate::raw::Parts;
use crate::state::Undone;

pub(super) const MEMBER: &str = "m.room.member";

/// A member event of the current state.
#[derive(Debug)]
pub(super) struct Member {
    pub room_id: String,
    pub event_id: String,
    pub user: String,
    pub json: String,
}

impl FromRow for Member {
    fn from_row(row: Vec<Value>) -> Result<Self, RowError> {
        let (room_id, event_id, user, json) = <_>::from_row(row)?;
        Ok(Self { room_id, event_id, user, json })
    }
}

const ROWS: &str = "SELECT room_id, event_id, state_key, json FROM rooms_v1_current_state WHERE type = 'm.room.member'";

/// All members of rooms.
pub(super) fn select_all(rooms: &[String]) -> Select {
    select(&format!("{ROWS} AND room_id IN ($1)"), params![rooms])
}

/// So many members of a room, in the order of their ids, from the one after `after` on.
pub(super) fn select_slice(room: &str, after: &str, limit: usize) -> Select {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = format!("{ROWS} AND room_id = $1 AND state_key > $2 ORDER BY state_key LIMIT $3");
    select(&sql, params![room, after, limit])
}

/// How members are written.
pub(super) struct Scribe<'a> {
    pub wanted: &'a EventFilter,
    pub writer: &'a Writer<'a>,
    /// As text; else as events that others look at before they are sent.
    pub direct: bool,
}

/// Members as they are sent.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Whether the text goes on with others before it: it begins with a comma then.
    pub follows: bool,
    /// With commas between.
    pub text: String,
    pub events: Vec<Box<RawValue>>,
}

impl Written {
    /// Adds an event to the text.
    pub(super) fn push(&mut self, event: &str) {
        self.comma();
        self.text.push_str(event);
    }

    fn comma(&mut self) {
        if self.follows || !self.text.is_empty() {
            self.text.push(',');
        }
    }
}

impl Scribe<'_> {
    /// Writes members of one room as they were before changes, which are undone. Rows go as they are written, so that they are not
    /// held twice.
    pub(super) fn write(
        &self,
        members: Vec<Member>,
        undone: &[Undone],
        written: &mut Written,
    ) -> Result<(), Error> {
        if members.first().is_none_or(|member| !self.wanted.allows_room(&member.room_id)) {
            return Ok(());
        }
        let mut before: HashMap<&str, Option<&EventRow>> = HashMap::new();
        for Undone { delta, replaced } in undone.iter().rev().filter(|u| u.delta.kind == MEMBER) {
            before.insert(&delta.state_key, replaced.as_ref());
        }
        for member in members {
            let (event_id, json) = match before.get(member.user.as_str()) {
                None => (&member.event_id, &member.json),
                Some(Some(row)) => (&row.event_id, &row.json),
                Some(None) => continue,
            };
            self.one(written, &member.room_id, &member.user, event_id, json)?;
        }
        Ok(())
    }

    fn one(
        &self,
        written: &mut Written,
        room_id: &str,
        user: &str,
        event_id: &str,
        json: &str,
    ) -> Result<(), Error> {
        let parts = Parts::of(json);
        if !self.wanted.any_sender() || self.wanted.contains_url.is_some() {
            let known = parts.as_ref().and_then(Parts::sender).map(str::to_owned);
            let sender = match known {
                Some(sender) => sender,
                None => Pdu::parse(json).map_err(Error::internal)?.sender.into_owned(),
            };
            if !self.wanted.allows(MEMBER, &sender, json) {
                return Ok(());
            }
        }
        if self.direct {
            let begins = written.text.len();
            written.comma();
            if parts
                .and_then(|parts| parts.write(&mut written.text, event_id, self.writer.now_ms))
                .is_some()
            {
                return Ok(());
            }
            written.text.truncate(begins);
        }
        let row = EventRow {
            event_id: event_id.to_owned(),
            room_id: room_id.to_owned(),
            kind: MEMBER.to_owned(),
            state_key: Some(user.to_owned()),
            json: json.to_owned(),
            ..EventRow::default()
        };
        let event = self.writer.write(&row, Extra::default())?;
        if self.direct {
            written.push(event.get());
        } else {
            written.events.push(event);
        }
        Ok(())
    }
}
