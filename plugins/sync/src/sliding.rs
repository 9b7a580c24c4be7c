//! POST /_matrix/client/v4/sync and POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync
//!
//! Simplified sliding sync, MSC4186: the client names rooms by lists with ranges and by subscriptions, and is told what is new in
//! those. The first form is the MSC as it was merged, the second the one that clients knew before.
//!
//! Storage calls: an overview of the user's rooms; what is new in those that matter; at most one for what the events found need
//! beside themselves; and one that keeps what was sent, where that has changed. Another where this process has not got at hand
//! what was sent before. A client for whom there is nothing new costs two.

mod ask;
mod connection;
mod details;
mod extensions;
mod facts;
mod fill;
mod lazy;
mod overview;
mod pos;
mod request;
mod response;
mod rooms;
mod scope;
mod wanted;

use tessera_sdk::http::{Answer, Parked, Request, Result};
use tessera_sdk::matrix::{ClientFormat, Error};
use tessera_sdk::{bus, clock, presentation, storage};

use ask::{Ask, Resumed};
use connection::Connection;
use details::Details;
use fill::Plan;
use lazy::Sending;
use overview::Overview;
use pos::Pos;
use request::Body;
use response::{List, Op, Response};
use scope::{After, Scope};

use crate::devices;
use crate::event::Writer;
use crate::{online, visibility};

/// Topics of one watch; see `tessera:host/bus`. Rooms past it are seen when the client comes back.
const MAX_WATCHED: usize = 16_000;

/// Answers `/v4/sync`.
///
/// # Errors
/// `M_NOT_JSON`, `M_BAD_JSON`; `M_INVALID_PARAM` for what is too much or malformed; `M_UNKNOWN_POS` for a token that is not, or no
/// longer, known for this device and `conn_id`.
pub(crate) fn handle(request: &Request) -> Result {
    start(request, true)
}

/// Answers the form that came before.
///
/// # Errors
/// As [`handle`].
pub(crate) fn handle_unstable(request: &Request) -> Result {
    start(request, false)
}

fn start(request: &Request, stable: bool) -> Result {
    let mut body: Body = request.json()?;
    let ask = Ask::from_request(request, &mut body, stable)?;
    let presence = body.set_presence.as_deref().or(request.query("set_presence"));
    online::mark_as(&ask.user, presence.unwrap_or("online"))?;
    go_on(ask)
}

/// Looks again after a wake-up, or answers when the time is over.
///
/// # Errors
/// As [`handle`].
pub(crate) fn resume(parked: &Parked) -> Result {
    match Ask::from_parked(parked)? {
        Resumed::Ask(ask) => go_on(*ask),
        Resumed::Lost(pos) => Answer::json(&Response { pos, ..Response::default() }),
    }
}

fn horizon() -> std::result::Result<i64, Error> {
    Ok(i64::try_from(storage::snapshot(&[])?.horizon).unwrap_or(i64::MAX))
}

/// Whom to wait for. Rooms out of reach may come into it by what happens in them.
fn topics(ask: &Ask, overview: &Overview) -> Vec<String> {
    let everywhere = !ask.wishes.lists.is_empty() || ask.wishes.extensions.e2ee();
    let subscribed = ask.wishes.subscribed();
    let rooms = overview
        .rooms
        .values()
        .filter(|row| row.membership == "join")
        .filter(|row| everywhere || subscribed.contains(&row.room_id))
        .map(|row| format!("room:{}", row.room_id));
    std::iter::once(format!("user:{}", ask.user)).chain(rooms.take(MAX_WATCHED)).collect()
}

fn go_on(mut ask: Ask) -> Result {
    let sent = Connection::load(&ask.key(), ask.pos().map_or(0, |pos| pos.serial))?;
    let mut watch = None;
    loop {
        let mut overview = Overview::read(&ask, &sent)?;
        if let (Some((told, _)), Some(rows)) =
            (ask.wishes.extensions.to_device(), overview.told_messages.take())
            // What lies above the horizon was told of another past of the database.
            && told > 0
            && told <= overview.horizon
        {
            devices::acknowledge(&ask.user, ask.device.as_deref(), rows)?;
        }
        let waits = ask.may_park();
        let topics = if waits { topics(&ask, &overview) } else { Vec::new() };
        // Keys that are used up have no positions: what the device had when it asked is compared.
        let keys = overview.keys.as_ref().map(|k| format!("{:?}{:?}", k.one_time, k.fallback));
        let fewer = ask.keys.is_some() && ask.keys != keys;
        ask.keys = ask.keys.or(keys);

        let news = News::of(&ask, &sent, overview)?;
        if !waits || fewer || !news.response.is_empty() || news.cut {
            return news.answer(&ask, &sent);
        }
        if !news.moves_on(&sent) {
            // What was looked at need not be looked at again.
            ask.advance(news.horizon);
        }
        let seen = news.horizon;
        match watch {
            Some(watch) => return ask.park(watch),
            // Taken before looking once more, so that nothing falls between.
            None => {
                let taken = bus::watch(&topics);
                if horizon()? == seen {
                    return ask.park(taken);
                }
                watch = Some(taken);
            }
        }
    }
}

/// What there is to tell.
struct News {
    horizon: i64,
    response: Response,
    after: Connection,
    /// Something was left for the next answer.
    cut: bool,
    /// Members sent, by room.
    lazy: Sending,
}

impl News {
    fn of(
        ask: &Ask,
        sent: &Connection,
        mut overview: Overview,
    ) -> std::result::Result<Self, Error> {
        let since = ask.pos().map(|pos| pos.position);
        let from = since.unwrap_or(0);
        let mut scope = Scope::of(&ask.wishes, &ask.user, &overview, sent, from);
        let windows = std::mem::take(&mut scope.windows);
        let (looks, cut) = scope::looks(&mut scope, &overview, sent, since);
        let mut details = Details::read(ask, &looks, &scope, &overview, sent)?;
        let late = details.late_rooms();
        details.views.extend(visibility::views(&ask.user, &late, overview.horizon)?);
        let drafts = looks
            .into_iter()
            .map(|look| rooms::draft(look, ask, &overview, &mut details))
            .collect::<std::result::Result<Vec<_>, _>>()?;

        let now_ms = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
        let writer =
            Writer { now_ms, format: ClientFormat::WithoutRoomId, fields: None, federation: false };
        let mut filled = {
            let mut plan = Plan::default();
            plan.wants.movements = extensions::movements(ask, &overview);
            plan.wants.ignored = overview.ignored.clone();
            for draft in &drafts {
                draft.plan(&mut plan);
                let room = &draft.look.row.room_id;
                if details.due_receipts.get(room) == Some(&None) {
                    let shown = draft.events.iter().map(|event| event.event_id.clone());
                    plan.receipts.insert(room.clone(), shown.collect());
                }
            }
            // The extension may come to a room later than the room to the client: what was shown then is not known now.
            let unknown = details.due_receipts.iter().filter(|(_, told)| told.is_none());
            let late = unknown.filter(|(room, _)| !plan.receipts.contains_key(*room));
            plan.wants.receipts = late.map(|(room, _)| room.clone()).collect();
            plan.fill(ask, &writer, from, overview.horizon)?
        };

        let mut lazy = Sending::new();
        let mut response = Response { txn_id: ask.txn_id.clone(), ..Response::default() };
        for draft in drafts {
            let id = draft.look.row.room_id.clone();
            let (counted, moved) = (draft.look.counted, !draft.look.joined());
            let expanded = draft.look.expanded;
            let room = draft.write(ask, &overview, &mut filled, &writer, &mut lazy)?;
            if counted || moved || expanded || !room.is_silent() {
                response.rooms.insert(id, room);
            }
        }
        for window in windows {
            let mut list = List { count: window.count, ops: Vec::new() };
            if !ask.stable {
                let ops = window.ranges.into_iter();
                list.ops =
                    ops.map(|(range, room_ids)| Op { op: "SYNC", range, room_ids }).collect();
            }
            response.lists.insert(window.name, list);
        }
        response.extensions =
            extensions::answer(ask, &mut overview, &mut details, &mut filled, now_ms)?;
        presentation::add_fields(response.events(), &ask.user);
        let after = After {
            wishes: &ask.wishes,
            scope: &scope,
            overview: &overview,
            since: from,
            user: &ask.user,
        };
        Ok(Self { horizon: overview.horizon, response, after: after.version(sent), cut, lazy })
    }

    /// Whether what the client has been sent is other than before.
    fn moves_on(&self, sent: &Connection) -> bool {
        !self.after.same_rooms(sent)
    }

    fn answer(mut self, ask: &Ask, sent: &Connection) -> Result {
        let key = ask.key();
        let before = ask.pos().map(|pos| pos.serial);
        // Nothing at all needs no keeping.
        let serial =
            if self.moves_on(sent) { self.after.store(&key, before)? } else { before.unwrap_or(0) };
        let pos = Pos { position: self.horizon, serial };
        for (room, (members, sent)) in self.lazy {
            members.sent(&key, &room, sent, pos);
        }
        self.response.pos = key.text(pos);
        Answer::json(&self.response)
    }
}
