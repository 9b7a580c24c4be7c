//! Users of this server who leave without being asked: a room is shut down, an account is deactivated.

use ruma::canonical_json::CanonicalJsonObject;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, crypto, hooks, log, params};

use crate::act::{Act, Sending, Step};
use crate::api::body::{object, text};
use crate::asker::Asker;
use crate::core::Draft;
use crate::ids;
use crate::policy::ROOM_RULES;
use crate::store::Needs;

/// So many users leave in one commit: with five rows each it stays far below a batch's bounds.
pub(crate) const TOGETHER: usize = 50;
/// So many leave in one call: some 300 ms of it.
const IN_ONE_CALL: usize = 1_000;
/// Rooms or members that are looked up at a time.
const PAGE: u32 = 200;

/// Shuts a room down; how many users of this server are still in it. See `tessera:services/rooms.delete-room`.
///
/// # Errors
/// `M_NOT_FOUND` if there is no such room here, `M_INVALID_PARAM`, what modules refuse; storage.
pub fn shut_down(asker: &Asker, room_id: &str, block: bool) -> Result<u32, Error> {
    let room_id = ids::room(room_id)?;
    ids::user(asker.user())?;
    if hooks::answered(ROOM_RULES) {
        hooks::can_shut_down(asker.who(), room_id)?;
    }
    let mut closed = Batch::new()
        // The revision is raised so that a join which has looked already finds itself too late.
        .run(
            "UPDATE rooms_rooms SET revision = revision + 1, published = FALSE, blocked = $2 WHERE room_id = $1",
            params![room_id, block],
        )
        .expect(1)
        .run("DELETE FROM rooms_aliases WHERE room_id = $1", params![room_id])
        .run("UPDATE rooms_about SET published = FALSE WHERE room_id = $1", params![room_id])
        .run("DELETE FROM rooms_blocked WHERE room_id = $1", params![room_id]);
    if block {
        closed = closed.run(
            "INSERT INTO rooms_blocked (room_id, user_id, created_ms) VALUES ($1, $2, $3)",
            params![room_id, asker.user(), clock::now_ms()],
        );
    }
    let closed = closed.commit();
    match closed {
        Ok(_) => {}
        Err(storage::Error::Conflict(0)) => {
            return Err(Error::not_found("there is no such room here"));
        }
        Err(error) => return Err(error.into()),
    }
    let mut gone = 0;
    loop {
        let some = members(room_id)?;
        if some.is_empty() || gone >= IN_ONE_CALL {
            return u32::try_from(some.len()).map_err(Error::internal);
        }
        for users in some.chunks(TOGETHER) {
            all_leave(room_id, users)?;
        }
        gone += some.len();
    }
}

/// A user and their membership.
pub(crate) type Member = (String, String);

/// Users of this server who are in a room or at its door, as many as may leave in one call.
fn members(room_id: &str) -> Result<Vec<String>, Error> {
    let (members, _) = local_members(room_id, "", IN_ONE_CALL)?;
    Ok(members.into_iter().map(|(user, _)| user).collect())
}

/// Users of this server who are in a room or at its door, with their memberships, after one in the order of ids: at most so many. Who is
/// the last that was looked at; none where there are no more.
///
/// # Errors
/// Storage failed.
pub(crate) fn local_members(
    room_id: &str,
    after: &str,
    limit: usize,
) -> Result<(Vec<Member>, Option<String>), Error> {
    // Most rooms have few users of others; a room full of them costs a look at each.
    let mut local = Vec::new();
    let mut last = after.to_owned();
    loop {
        let rows = storage::query(
            "SELECT user_id, membership FROM rooms_memberships
             WHERE room_id = $1 AND membership IN ('join', 'invite', 'knock')
               AND user_id > $2 ORDER BY user_id LIMIT $3",
            params![room_id, &last, PAGE],
        )?
        .all::<(String, String)>()?;
        let Some((end, _)) = rows.last().cloned() else {
            return Ok((local, None));
        };
        local.extend(rows.into_iter().filter(|(user, _)| ids::is_local(user)));
        last = end;
        if local.len() >= limit {
            local.truncate(limit);
            let last = local.last().map_or(last, |(user, _)| user.clone());
            return Ok((local, Some(last)));
        }
    }
}

fn left() -> CanonicalJsonObject {
    object([("membership", text(Some("leave")))])
}

/// Makes users leave in one commit; those who are not there any more are passed over.
///
/// # Errors
/// `M_FORBIDDEN` if the room's rules stand against it; storage.
pub(crate) fn all_leave(room_id: &str, users: &[String]) -> Result<(), Error> {
    let needs = users.iter().fold(Needs::default(), |needs, user| needs.member(user));
    Act { room_id, needs, transaction: None, asker: None }
        .run(|view| {
            let there = users.iter().filter(|user| {
                matches!(view.state.membership(user).as_str(), "join" | "invite" | "knock")
            });
            let drafts: Vec<_> =
                there.map(|user| Draft::state("m.room.member", user, user, left())).collect();
            if drafts.is_empty() {
                return Ok(Step::Done(String::new()));
            }
            Ok(Step::Send(Sending { drafts, ..Sending::default() }))
        })
        .map(|_| ())
}

/// Makes a deactivated user leave every room. A repetition costs one query.
///
/// # Errors
/// Storage failed, or a room was too busy; what was done stays done.
pub fn leaves_all(user: &str) -> Result<(), Error> {
    if tessera_sdk::matrix::server_name(user) != crypto::tenant_name() {
        return Ok(());
    }
    let mut last = String::new();
    loop {
        let rooms = storage::query(
            "SELECT room_id FROM rooms_memberships WHERE user_id = $1 AND membership IN ('join', 'invite', 'knock')
               AND room_id > $2 ORDER BY room_id LIMIT $3",
            params![user, &last, PAGE],
        )?
        .all::<(String,)>()?;
        let Some((end,)) = rooms.last().cloned() else {
            return Ok(());
        };
        for (room_id,) in &rooms {
            match all_leave(room_id, std::slice::from_ref(&user.to_owned())) {
                Ok(()) => {}
                // Its rules may stand against it; other rooms are to be left all the same.
                Err(error) if error.http_status() < 500 => {
                    let fields = [("room", room_id.as_str()), ("reason", error.message())];
                    log::warn("a deactivated user stays in a room", &fields);
                }
                Err(error) => return Err(error),
            }
        }
        last = end;
    }
}
