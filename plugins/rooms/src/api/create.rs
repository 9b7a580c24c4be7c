//! POST /createRoom.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>
//!
//! Errors: `M_UNSUPPORTED_ROOM_VERSION`, `M_INVALID_ROOM_STATE` (the events asked for break the auth rules),
//! `M_ROOM_IN_USE` (the alias is taken), `M_INVALID_PARAM`, `M_BAD_JSON`, `M_TOO_LARGE`,
//! `M_INVITE_BLOCKED`, what a policy refuses.

mod defaults;
mod request;

use serde::Serialize;
use serde_json::{Map, Value};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, select};
use tessera_sdk::{clock, crypto, hooks, limits, params, random};

pub(crate) use self::defaults::{create_content, member};
use self::request::CreateRoom;
use super::directory::visibility::may_list;
use super::membership::{blocking, threepid};
use crate::asker::Asker;
use crate::compose::{ComposeError, Composer};
use crate::core::{Draft, State, Version};
use crate::ids;
use crate::policy::{Policy, ROOM_POLICY, ROOM_RULES, Verdict};
use crate::settings::Settings;
use crate::store::RoomRow;
use crate::store::view::ProfileRow;
use crate::store::write::{NewRoom, write};

/// How often a room is made again because another had its id or alias at the same moment.
const ATTEMPTS: u64 = 5;

#[derive(Serialize)]
struct Response<'a> {
    room_id: &'a str,
}

/// A room that is about to be.
pub(crate) struct Founding<'a> {
    pub(crate) creator: &'a str,
    pub(crate) version: Version,
    /// Where the id is not the hash of the create event, it may be chosen before.
    pub(crate) room_id: Option<String>,
    pub(crate) create_content: ruma::canonical_json::CanonicalJsonObject,
    /// What follows the create event, in order.
    pub(crate) drafts: Vec<Draft>,
    pub(crate) alias: Option<String>,
    pub(crate) published: bool,
    /// Whose doing it is, for modules to judge, and the numbers of the drafts that are asked about.
    pub(crate) asked: Option<(&'a Asker, Vec<usize>)>,
    /// What else is written in the commit that makes the room.
    pub(crate) along: Option<Along<'a>>,
}

/// Adds to the commit that makes a room of that id.
pub(crate) type Along<'a> = &'a dyn Fn(Batch, &str) -> Batch;

/// Makes the room.
pub fn handle(request: &Request) -> Result {
    let room_id = create(&Asker::of(request)?, request.json()?)?;
    Answer::json(&Response { room_id: &room_id })
}

/// Makes a room as a client asks for it; its id.
///
/// # Errors
/// As the endpoint.
pub(crate) fn create(
    asker: &Asker,
    body: Map<String, Value>,
) -> std::result::Result<String, Error> {
    create_along(asker, body, None)
}

/// The same, and something else in the same commit. Where that finds itself too late, no room is made.
///
/// # Errors
/// As the endpoint; 503 where the commit came too late.
pub(crate) fn create_along(
    asker: &Asker,
    body: Map<String, Value>,
    along: Option<Along<'_>>,
) -> std::result::Result<String, Error> {
    let creator = asker.user();
    let (mut wish, mut version) = checked(creator, body.clone())?;
    if hooks::answered(ROOM_RULES) {
        let request = Value::Object(body).to_string();
        if let Some(changed) = hooks::create_room(&request, asker.who())? {
            let changed = serde_json::from_str(&changed).map_err(|error| {
                Error::internal(format!("a module gave a request that is none: {error}"))
            })?;
            (wish, version) = checked(creator, changed)?;
        }
    }
    let alias = wish.alias()?;
    let invites = wish.invite.len() + wish.invite_3pid.len();
    let invites = u32::try_from(invites).unwrap_or(u32::MAX);
    blocking::check(&wish.invite)?;
    if invites > 0 {
        limits::take("invites", creator, invites).map_err(Error::limit_exceeded)?;
    }
    let hidden = asker.is_shadow_banned();
    if hidden {
        wish.invite.clear();
        wish.invite_3pid.clear();
    }
    let profiles = look(creator, &wish, alias.as_deref())?;
    // A room that nobody is to find: that the alias is taken is said all the same.
    let alias = alias.filter(|_| !hidden);
    let plan = defaults::plan(&wish, creator, &version, alias.as_deref(), &profiles)?;
    let room_id = found(Founding {
        creator,
        version,
        room_id: None,
        create_content: plan.create,
        drafts: plan.drafts,
        alias,
        published: wish.is_published()? && !hidden,
        asked: Some((asker, plan.chosen)),
        along,
    })?;
    // Identity servers are told the room's id, so the room has to be there first. The client hears what went wrong.
    for invite in &wish.invite_3pid {
        threepid::invite(&room_id, asker, invite, None)?;
    }
    Ok(room_id)
}

fn checked(
    creator: &str,
    body: Map<String, Value>,
) -> std::result::Result<(CreateRoom, Version), Error> {
    let wish = CreateRoom::read(body)?;
    let name = wish.room_version.clone().unwrap_or_else(|| Settings::get().default_room_version);
    let version = Version::named(&name).ok_or_else(|| {
        let text = format!("room version {name:?} is not supported");
        Error::new(ErrorCode::UnsupportedRoomVersion, text)
    })?;
    wish.check(creator)?;
    Ok((wish, version))
}

/// Reads the profiles of those concerned and whether the alias is free.
fn look(
    creator: &str,
    wish: &CreateRoom,
    alias: Option<&str>,
) -> std::result::Result<Vec<ProfileRow>, Error> {
    let mut users = wish.invite.clone();
    users.push(creator.to_owned());
    let mut answers = storage::snapshot(&[
        select(
            "SELECT user_id, displayname, avatar_url FROM accounts_v1_profiles WHERE user_id IN ($1)",
            params![users],
        ),
        select("SELECT room_id FROM rooms_aliases WHERE alias = $1", params![alias.unwrap_or_default()]),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let profiles = next()?
        .all::<(String, Option<String>, Option<String>)>()?
        .into_iter()
        .map(|(user, displayname, avatar_url)| ProfileRow { user, displayname, avatar_url })
        .collect();
    if next()?.first::<(String,)>()?.is_some() {
        return Err(alias_taken());
    }
    Ok(profiles)
}

fn alias_taken() -> Error {
    Error::new(ErrorCode::RoomInUse, "the alias belongs to another room")
}

fn refused(error: ComposeError) -> Error {
    match error {
        ComposeError::Refused(reason) => Error::new(ErrorCode::InvalidRoomState, reason),
        other => other.into(),
    }
}

/// An id for a room of a version whose rooms are not named after their create events.
pub(crate) fn new_room_id() -> String {
    format!("!{}:{}", random::letters(18), crypto::tenant_name())
}

/// Whether the room could be made.
///
/// # Errors
/// As [`found`].
pub(crate) fn try_out(founding: &Founding<'_>) -> std::result::Result<(), Error> {
    compose(founding, founding.room_id.clone(), clock::now_ms()).map(|_| ())
}

/// Makes a room out of its first events; gives its id.
pub(crate) fn found(mut founding: Founding<'_>) -> std::result::Result<String, Error> {
    for attempt in 0..ATTEMPTS {
        // From version 12 the id is a hash: the same wish at the same millisecond would be the same room.
        let now_ms = clock::now_ms() + attempt;
        let chosen = (!founding.version.room_id_is_hash())
            .then(|| founding.room_id.clone().unwrap_or_else(new_room_id));
        let mut composer = compose(&founding, chosen.clone(), now_ms)?;
        if let Some((asker, about)) = founding.asked.take()
            && ask(asker, &about, &mut founding, &composer)?
        {
            composer = compose(&founding, chosen, now_ms)?;
        }
        let room_id = composer.room_id().unwrap_or_default().to_owned();
        ids::room(&room_id).map_err(|_| Error::internal("a new room has no id"))?;
        let events = composer.sign()?;
        let room = RoomRow::nascent(&founding.version, &room_id);
        let new =
            NewRoom { creator: founding.creator.to_owned(), published: founding.published, now_ms };
        let mut batch = write(&room, Some(&new), &events)?;
        if let Some(alias) = &founding.alias {
            batch = batch.run(
                "INSERT INTO rooms_aliases (alias, room_id, creator, created_ms) VALUES ($1, $2, $3, $4)",
                params![alias, &room_id, founding.creator, now_ms],
            );
        }
        if let Some(along) = founding.along {
            batch = along(batch, &room_id);
        }
        match batch.commit() {
            Ok(_) => return Ok(room_id),
            Err(storage::Error::Conflict(0)) => {}
            Err(storage::Error::Conflict(_)) if founding.alias.is_some() => {
                return Err(alias_taken());
            }
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::new(ErrorCode::Unknown, "no free room id was found; try again").status(503))
}

fn compose(
    founding: &Founding<'_>,
    chosen: Option<String>,
    now_ms: u64,
) -> std::result::Result<Composer, Error> {
    let version = founding.version.clone();
    let mut composer = Composer::new(version, chosen, Vec::new(), State::default(), now_ms);
    let create =
        Draft::state("m.room.create", "", founding.creator, founding.create_content.clone());
    for draft in std::iter::once(&create).chain(&founding.drafts) {
        composer.push(draft).map_err(refused)?;
    }
    Ok(composer)
}

/// Asks modules about the alias, the place in the public list and the events that are the user's choice; whether the drafts are others now:
/// with the contents that modules gave, without what only looks sent.
fn ask(
    asker: &Asker,
    about: &[usize],
    founding: &mut Founding<'_>,
    composer: &Composer,
) -> std::result::Result<bool, Error> {
    let room_id = composer.room_id().unwrap_or_default();
    if let Some(alias) = founding.alias.as_deref().filter(|_| hooks::answered(ROOM_POLICY)) {
        hooks::may_create_alias(asker.who(), alias, room_id)?;
    }
    if founding.published {
        may_list(asker, room_id, true)?;
    }
    let Some(policy) = Policy::of(asker, true) else {
        return Ok(false);
    };
    let mut drafts = Vec::with_capacity(founding.drafts.len());
    let mut changed = false;
    // The create event stands before the drafts.
    let proposals = composer.proposals().skip(1);
    for ((number, draft), proposal) in founding.drafts.iter().enumerate().zip(proposals) {
        let verdict =
            if about.contains(&number) { policy.ask(composer, &proposal)? } else { Verdict::Keep };
        match verdict {
            Verdict::Keep => drafts.push(draft.clone()),
            Verdict::Replace(content) => {
                changed = true;
                drafts.push(Draft { content, ..draft.clone() });
            }
            Verdict::Pretend => changed = true,
        }
    }
    founding.drafts = drafts;
    Ok(changed)
}
