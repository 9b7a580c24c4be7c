//! What the endpoints share that read a room's past.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use tessera_sdk::http::Request;
use tessera_sdk::matrix::{ClientFormat, Error};
use tessera_sdk::storage::{self, select};
use tessera_sdk::{clock, params, presentation};

use crate::aggregate;
use crate::event::{EventRow, Extra, STATE, Writer};
use crate::filter::EventFilter;
use crate::ignored;
use crate::visibility::{self, Setting, Visibility};

/// Where the request names no limit.
const DEFAULT_LIMIT: usize = 10;
/// The most events of one answer.
const MAX_LIMIT: usize = 1000;

/// A reader in a room.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub user: &'a str,
    pub device: Option<&'a str>,
    pub room_id: &'a str,
    pub view: Visibility,
    pub ignored: BTreeSet<String>,
}

/// Events as clients get them.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// In the order given.
    pub chunk: Vec<Box<RawValue>>,
    /// Member events of the senders, where they were asked for.
    pub state: Vec<Box<RawValue>>,
}

impl<'a> Reader<'a> {
    /// Finds out what the asking user may read. One storage call.
    ///
    /// # Errors
    /// `M_FORBIDDEN` for who never was in the room or has forgotten it, unless it is world readable now.
    pub(crate) fn of(request: &'a Request) -> Result<Self, Error> {
        Self::in_room(request, request.param("roomId"))
    }

    /// As [`Reader::of`], for a room that the path does not name.
    ///
    /// # Errors
    /// As [`Reader::of`].
    pub(crate) fn in_room(request: &'a Request, room_id: &'a str) -> Result<Self, Error> {
        Self::find(request.user()?, request.device(), room_id)
    }

    /// As [`Reader::of`], where there is no request.
    ///
    /// # Errors
    /// As [`Reader::of`].
    pub(crate) fn find(
        user: &'a str,
        device: Option<&'a str>,
        room_id: &'a str,
    ) -> Result<Self, Error> {
        let rooms = [room_id.to_owned()];
        let moment = storage::snapshot(&[
            visibility::select_settings(&rooms),
            visibility::select_memberships(user, &rooms),
            select(
                "SELECT room_id FROM rooms_v1_memberships WHERE room_id = $1 AND user_id = $2 AND forgotten",
                params![room_id, user],
            ),
            ignored::select(user),
        ])?;
        let mut answers = moment.answers();
        let mut view = Visibility::default();
        if let (Some(settings), Some(memberships)) = (answers.next(), answers.next()) {
            let settings = visibility::read_settings(settings)?;
            view.settings = settings.into_iter().map(|(_, from, s)| (from, s)).collect();
            let memberships = visibility::read_memberships(memberships)?;
            view.memberships = memberships.into_iter().map(|(_, from, m)| (from, m)).collect();
        }
        let forgotten = answers.next().is_some_and(|rows| !rows.rows.is_empty());
        let ignored: Option<(String,)> = match answers.next() {
            Some(rows) => rows.first()?,
            None => None,
        };
        let ignored = ignored.map(|(list,)| ignored::users(&list)).unwrap_or_default();
        let was_in = !forgotten && view.memberships.iter().any(|(_, m)| m == "join");
        let open = view.settings.last().is_some_and(|(_, s)| *s == Setting::WorldReadable);
        if !was_in && !open {
            return Err(Error::forbidden("you are not in this room"));
        }
        Ok(Self { user, device, room_id, view, ignored })
    }

    /// Whether an event is for this reader: they may see it, and do not ignore its sender.
    pub(crate) fn reads(&self, event: &EventRow) -> bool {
        self.view.sees_event(event) && !ignored::hides(&self.ignored, event)
    }

    /// The position past which the reader sees nothing: that of their leave, unless the room is world readable now.
    pub(crate) fn last_position(&self) -> i64 {
        let open = self.view.settings.last().is_some_and(|(_, s)| *s == Setting::WorldReadable);
        match self.view.memberships.last() {
            Some((left, membership)) if membership != "join" && !open => *left,
            _ => i64::MAX,
        }
    }

    /// Whether the reader is in the room now.
    pub(crate) fn is_in(&self) -> bool {
        self.view.memberships.last().is_some_and(|(_, membership)| membership == "join")
    }

    /// Writes events with their redactions and aggregations, and for `lazy` the member events of their senders. One storage call.
    pub(crate) fn write(&self, events: &[EventRow], lazy: bool) -> Result<Written, Error> {
        let events: Vec<&EventRow> = events.iter().collect();
        let membership = |event: &EventRow| self.view.membership_after(event).to_owned();
        let lazy = lazy.then_some(self.room_id);
        let last = self.last_position();
        write(self.user, self.device, &self.ignored, &events, last, lazy, membership)
    }
}

/// Writes events for a user with their redactions and with what relates to them up to a position, and the member events of their
/// senders in the room `lazy`. `membership`: the user's, at an event. One storage call.
///
/// # Errors
/// Storage; a view is not as documented.
pub(crate) fn write(
    user: &str,
    device: Option<&str>,
    ignored: &BTreeSet<String>,
    events: &[&EventRow],
    last: i64,
    lazy: Option<&str>,
    membership: impl Fn(&EventRow) -> String,
) -> Result<Written, Error> {
    if events.is_empty() {
        return Ok(Written::default());
    }
    let writer = writer();
    let mut selects = aggregate::selects(user, device, events, last, ignored);
    if let Some(room) = lazy {
        let mut senders: Vec<String> = events.iter().map(|e| e.sender.clone()).collect();
        senders.sort_unstable();
        senders.dedup();
        selects.push(select(
            &format!(
                "{STATE} WHERE room_id = $1 AND type = 'm.room.member' AND state_key IN ($2) \
                 AND position <= $3"
            ),
            params![room, senders, last],
        ));
    }
    let mut answers = storage::snapshot(&selects)?.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let mut extras = aggregate::extras(&writer, user, events, &mut next)?;
    let mut chunk = events
        .iter()
        .map(|event| {
            let extra = extras.remove(&event.event_id).unwrap_or_default();
            writer.write(event, Extra { membership: Some(membership(event)), ..extra })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let members: Vec<EventRow> = match answers.next() {
        Some(rows) => rows.all()?,
        None => Vec::new(),
    };
    let mut state = members
        .iter()
        .map(|row| writer.write(row, Extra::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let written = chunk.iter_mut().chain(&mut state);
    presentation::add_fields(written.map(|event| (None, event)), user);
    Ok(Written { chunk, state })
}

/// How the endpoints of history write events.
pub(crate) fn writer() -> Writer<'static> {
    Writer {
        now_ms: i64::try_from(clock::now_ms()).unwrap_or(i64::MAX),
        format: ClientFormat::WithRoomId,
        fields: None,
        federation: false,
    }
}

/// The query parameter `limit`, within bounds.
pub(crate) fn limit(request: &Request) -> Result<usize, Error> {
    let limit: Option<u64> = request.query_as("limit")?;
    Ok(limit.map_or(DEFAULT_LIMIT, |n| usize::try_from(n).unwrap_or(MAX_LIMIT).min(MAX_LIMIT)))
}

/// The query parameter `filter` of the endpoints that take one for events.
pub(crate) fn filter(request: &Request) -> Result<EventFilter, Error> {
    match request.query("filter") {
        None | Some("") => Ok(EventFilter::default()),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            let text = format!("filter: {error}");
            if error.is_data() { Error::bad_json(text) } else { Error::not_json(text) }
        }),
    }
}

/// Which way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From old to new.
    Forward,
    /// From new to old.
    Backward,
}

impl Direction {
    /// The query parameter `dir`.
    pub(crate) fn of(request: &Request) -> Result<Option<Self>, Error> {
        match request.query("dir") {
            None => Ok(None),
            Some("b") => Ok(Some(Self::Backward)),
            Some("f") => Ok(Some(Self::Forward)),
            Some(_) => Err(Error::invalid_param("dir must be b or f")),
        }
    }
}
