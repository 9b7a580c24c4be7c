//! Answers that tell all rooms: a first sync, one with `full_state`, one after so long that the state is told anew.
//!
//! What an account in many or large rooms is told passes any cap on rows and memory, so it is read and written in parts, one after the
//! other, in the order of the rooms' ids: first those that the user is in, then those that they left. A part is some rooms, or a slice of
//! one large room's members. All are as of the first one's horizon: what comes later is undone, as it is above any horizon.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Continued, Piece, Result as Outcome};
use tessera_sdk::matrix::{ClientFormat, Error};
use tessera_sdk::{params, presentation, storage};

use super::ask::{Ask, Part, Section};
use super::crowd::{self, Member, Scribe, Written};
use super::response::{END_OF_STATE, Open, Response, write_rooms};
use super::{queries, read, rooms};
use crate::budget::{self, Budget, Failure};
use crate::filter::Filter;
use crate::state::{Undone, select_undone};

/// Rooms of one part.
const MAX_ROOMS: usize = 150;
/// Rooms looked at in one go to find out how large they are.
const MAX_SIZED: usize = 500;
/// Cuts that are kept from one part to the next: the rest is found anew.
const MAX_CUTS: usize = 50;
/// Where events are so large that as many members as configured cannot be read, fewer are tried, and fewer rooms with them, down to
/// these: what is needed then is needed.
const FEW_MEMBERS: usize = 20;
/// After a part that is smaller than this the next may have twice the members.
const SMALL: usize = budget::MOST / 8;
/// Events of one part.
const MAX_EVENTS: usize = 2_500;
/// First byte of what is kept between parts.
const STATE_VERSION: u8 = 1;
/// What is kept is capped at 16 KiB by the host.
const MAX_STATE: usize = 16 * 1024;

/// Where a part ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cut {
    /// The last room; none: there are no more.
    upto: Option<String>,
    /// The last room is one whose members are told in slices.
    large: bool,
}

/// What is still to be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rest {
    ask: Ask,
    horizon: i64,
    section: Section,
    /// The last room told.
    after: String,
    /// The next parts, as far as they are known.
    cuts: VecDeque<Cut>,
    /// Whether a room of the section was told.
    some: bool,
    /// A room whose members are not all told.
    open: Option<(String, Open)>,
    /// Members of a part.
    members: usize,
}

/// A stretch of the answer, and what follows it.
type Told = (Vec<u8>, Option<Rest>);

/// Whether the members of rooms are told that nobody asked for.
pub(super) fn crowds(filter: &Filter) -> bool {
    let wanted = &filter.room.state;
    !wanted.lazy_load_members && wanted.allows_type(crowd::MEMBER)
}

/// Cuts what follows a room of a section into parts of so many members at most.
fn cuts(
    ask: &Ask,
    filter: &Filter,
    section: Section,
    after: &str,
    most: usize,
) -> Result<VecDeque<Cut>, Error> {
    let size = if crowds(filter) {
        "(SELECT COUNT(*) FROM rooms_v1_memberships b WHERE b.room_id = a.room_id)"
    } else {
        "0"
    };
    let (which, params) = match section {
        Section::Join => ("m.membership = 'join' AND 0 = $4 AND 0 = $5", (0, 0)),
        Section::Leave => (
            "m.membership IN ('leave', 'ban') AND NOT m.forgotten AND (m.position > $4 OR $5 = 1)",
            (ask.new_from(), i64::from(ask.all_left(filter))),
        ),
    };
    let sized = storage::query(
        &format!(
            "SELECT a.room_id, {size} AS members FROM (SELECT m.room_id FROM rooms_v1_memberships m \
             WHERE m.user_id = $1 AND m.room_id > $2 AND {which} ORDER BY m.room_id LIMIT $3) a ORDER BY a.room_id"
        ),
        params![&ask.user, after, i64::try_from(MAX_SIZED).unwrap_or(i64::MAX), params.0, params.1],
    )?;
    let sized: Vec<(String, usize)> = sized
        .all::<(String, u64)>()?
        .into_iter()
        .map(|(room, members)| (room, usize::try_from(members).unwrap_or(usize::MAX)))
        .collect();
    let all = sized.len() < MAX_SIZED;
    if sized.is_empty() && section == Section::Leave {
        return Ok(VecDeque::new());
    }
    let looks = queries::looks(filter).max(1);
    let most_rooms = (MAX_EVENTS / looks).clamp(1, MAX_ROOMS).saturating_mul(most);
    let most_rooms = (most_rooms / read::members_at_once()).max(1);
    let mut cuts = VecDeque::new();
    let (mut rooms, mut members, mut last) = (0, 0_usize, None);
    for (room, size) in sized {
        let large = size > most;
        if rooms > 0 && (large || rooms >= most_rooms || members.saturating_add(size) > most) {
            cuts.push_back(Cut { upto: last.take(), large: false });
            (rooms, members) = (0, 0);
        }
        if large {
            cuts.push_back(Cut { upto: Some(room), large });
            continue;
        }
        (rooms, members, last) = (rooms + 1, members + size, Some(room));
    }
    if cuts.len() >= MAX_CUTS {
        cuts.truncate(MAX_CUTS);
    } else if all {
        // Whoever came into a room above the horizon, or is back in one, may be anywhere.
        cuts.push_back(Cut { upto: None, large: false });
    } else if rooms > 0 {
        cuts.push_back(Cut { upto: last, large: false });
    }
    Ok(cuts)
}

/// The answer, or its first part, to which [`next`] gives the others.
///
/// # Errors
/// Storage; a view is not as documented.
pub(super) fn answer(ask: &Ask, filter: &Filter) -> Outcome {
    let (text, rest) = begin(ask, filter)?;
    let answer = Answer::raw_json(200, text);
    match rest {
        Some(rest) => answer.and_then(&rest.kept()?),
        None => Ok(answer),
    }
}

/// The next part of an answer that was begun.
///
/// # Errors
/// As [`answer`].
pub(crate) fn next(continued: &Continued) -> Result<Piece, Error> {
    let principal = continued.principal.as_ref().ok_or_else(Error::missing_token)?;
    let mut rest: Rest = match continued.state.split_first() {
        Some((&STATE_VERSION, json)) => serde_json::from_slice(json).map_err(Error::internal)?,
        _ => return Err(Error::internal("begun by an unknown version")),
    };
    rest.ask.user.clone_from(&principal.user);
    rest.ask.device.clone_from(&principal.device);
    let (text, rest) = go_on(rest)?;
    let more = rest.map(Rest::kept).transpose()?;
    Ok(Piece { bytes: text, more })
}

/// Tries it with fewer and fewer members where it would be too many bytes.
fn with_fewer<T>(
    members: usize,
    attempt: impl Fn(usize) -> Result<T, Failure>,
) -> Result<T, Error> {
    let mut members = members;
    loop {
        match attempt(members) {
            Err(Failure::TooLarge) if members > FEW_MEMBERS => {
                members = (members / 8).max(FEW_MEMBERS);
            }
            other => return Ok(other?),
        }
    }
}

/// What a part of so many members may read.
fn budget(members: usize) -> Budget {
    if members > FEW_MEMBERS { Budget::usual() } else { Budget::default() }
}

/// The first part.
fn begin(ask: &Ask, filter: &Filter) -> Result<Told, Error> {
    with_fewer(read::members_at_once(), |members| {
        let mut cuts = cuts(ask, filter, Section::Join, "", members)?;
        let cut = cuts.pop_front().ok_or_else(|| Error::internal("a part is missing"))?;
        let whole = cut.upto.is_none() && {
            let left =
                leaves(ask, filter).then(|| self::cuts(ask, filter, Section::Leave, "", members));
            left.transpose()?.is_none_or(|cuts| cuts.len() < 2)
        };
        if whole {
            let ask = Ask { budget: budget(members), ..ask.clone() };
            return Ok((tell(&ask, filter)?.0.text()?, None));
        }
        let rest = Rest {
            ask: ask.clone(),
            horizon: 0,
            section: Section::Join,
            after: String::new(),
            cuts,
            some: false,
            open: None,
            members,
        };
        rest.first(filter, cut)
    })
}

/// What follows.
fn go_on(rest: Rest) -> Result<Told, Error> {
    let filter = read::filter(&rest.ask)?;
    let before = rest.members;
    let (text, mut rest) = with_fewer(before, |members| {
        let mut rest = Rest { members, ..rest.clone() };
        if let Some((room, open)) = rest.open.take() {
            return rest.slice(&filter, &room, &open);
        }
        // Fewer than were thought to fit: it is cut anew.
        if members < before || rest.cuts.is_empty() {
            rest.cuts = cuts(&rest.ask, &filter, rest.section, &rest.after, members)?;
        }
        match rest.cuts.pop_front() {
            Some(cut) => rest.part(&filter, cut),
            None => Ok(rest.finish(&filter, None, Vec::new())?),
        }
    })?;
    if let Some(rest) = rest.as_mut().filter(|_| text.len() < SMALL) {
        rest.members = rest.members.saturating_mul(2).min(read::members_at_once());
    }
    Ok((text, rest))
}

/// Whether any rooms that were left are told.
fn leaves(ask: &Ask, filter: &Filter) -> bool {
    ask.since.is_some() || ask.all_left(filter)
}

/// What is told of the rooms of a part, or of all, and the horizon.
fn tell(ask: &Ask, filter: &Filter) -> Result<(Response, i64), Failure> {
    let news = read::news(ask, filter, None)?;
    let horizon = news.horizon;
    let mut response = rooms::assemble(ask, filter, news, ClientFormat::WithoutRoomId)?;
    if filter.shows_unsigned() {
        presentation::add_fields(response.events(), &ask.user);
    }
    Ok((response, horizon))
}

impl Rest {
    /// What [`next`] needs. Cuts that have no room in it are found anew.
    fn kept(mut self) -> Result<Vec<u8>, Error> {
        loop {
            let mut state = vec![STATE_VERSION];
            serde_json::to_writer(&mut state, &self).map_err(Error::internal)?;
            if state.len() <= MAX_STATE || self.cuts.is_empty() {
                return Ok(state);
            }
            self.cuts.truncate(self.cuts.len() / 2);
        }
    }

    fn asking(&self, cut: &Cut, horizon: Option<i64>) -> Ask {
        let part = Part {
            section: self.section,
            after: self.after.clone(),
            upto: cut.upto.clone(),
            horizon,
            slice: cut.large.then_some(self.members),
        };
        Ask { part: Some(part), budget: budget(self.members), ..self.ask.clone() }
    }

    /// All but rooms, and the first of these.
    fn first(mut self, filter: &Filter, cut: Cut) -> Result<Told, Failure> {
        let (response, horizon) = tell(&self.asking(&cut, None), filter)?;
        self.horizon = horizon;
        let mut out = response.begin()?;
        out.extend_from_slice(b"\"join\":{");
        self.open = write_rooms(&mut out, response.rooms.join, &mut self.some)?;
        Ok(self.finish(filter, cut.upto, out)?)
    }

    /// The next rooms.
    fn part(mut self, filter: &Filter, cut: Cut) -> Result<Told, Failure> {
        let (response, _) = tell(&self.asking(&cut, Some(self.horizon)), filter)?;
        let rooms = match self.section {
            Section::Join => response.rooms.join,
            Section::Leave => response.rooms.leave,
        };
        let mut out = Vec::new();
        self.open = write_rooms(&mut out, rooms, &mut self.some)?;
        Ok(self.finish(filter, cut.upto, out)?)
    }

    /// More members of a large room.
    fn slice(mut self, filter: &Filter, room: &str, open: &Open) -> Result<Told, Failure> {
        let ask = &self.ask;
        let mut selects = vec![crowd::select_slice(room, &open.member, self.members)];
        selects.extend(select_undone(
            &ask.user,
            ask.device.as_deref(),
            [(&room.to_owned(), &open.at)],
        ));
        let mut answers = budget(self.members).snapshot(&selects)?.answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let members: Vec<Member> = next()?.all()?;
        let undone: Vec<Undone> = next()?.all()?;
        let writer = rooms::writer(filter, ClientFormat::WithoutRoomId);
        let direct = rooms::direct(filter, ClientFormat::WithoutRoomId);
        let scribe = Scribe { wanted: &filter.room.state, writer: &writer, direct };
        let last = members.last().filter(|_| members.len() >= self.members);
        let last = last.map(|last| last.user.clone());
        let mut written = Written { follows: open.some, ..Written::default() };
        scribe.write(members, &undone, &mut written)?;
        if filter.shows_unsigned() {
            let events = written.events.iter_mut().map(|event| (Some(room), event));
            presentation::add_fields(events, &ask.user);
        }
        for event in std::mem::take(&mut written.events) {
            written.push(event.get());
        }
        let some = open.some || !written.text.is_empty();
        let mut out = written.text.into_bytes();
        match last {
            Some(member) => {
                self.open = Some((room.to_owned(), Open { member, at: open.at, some }));
            }
            None => out.extend_from_slice(END_OF_STATE.as_bytes()),
        }
        Ok(self.finish(filter, Some(room.to_owned()), out)?)
    }

    /// Closes what is over, and says what is next. `upto`: the last room of what was told; none: it was the section's end.
    fn finish(
        mut self,
        filter: &Filter,
        upto: Option<String>,
        mut out: Vec<u8>,
    ) -> Result<Told, Error> {
        if self.open.is_some() {
            return Ok((out, Some(self)));
        }
        if let Some(upto) = upto {
            self.after = upto;
            if self.cuts.is_empty() {
                self.cuts = cuts(&self.ask, filter, self.section, &self.after, self.members)?;
            }
            if !self.cuts.is_empty() {
                return Ok((out, Some(self)));
            }
        }
        if self.section == Section::Join && leaves(&self.ask, filter) {
            self.cuts = cuts(&self.ask, filter, Section::Leave, "", self.members)?;
            if !self.cuts.is_empty() {
                out.extend_from_slice(b"},\"leave\":{");
                let rest =
                    Self { section: Section::Leave, after: String::new(), some: false, ..self };
                return Ok((out, Some(rest)));
            }
        }
        out.extend_from_slice(b"}}}");
        Ok((out, None))
    }
}
