//! PUT /rooms/{roomId}/state/{eventType}/{stateKey}.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey>
//!
//! What says the same as the state in force, by the same sender, makes no event: the id of the one in force is given.
//! Errors: `M_FORBIDDEN`, `M_BAD_JSON`, `M_NOT_JSON`, `M_TOO_LARGE`, `M_BAD_ALIAS`, what a policy refuses; for memberships what their own endpoints say.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use ruma::state_res::Event as _;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::select;
use tessera_sdk::{limits, params};

use super::message::Response;
use crate::access::not_there;
use crate::act::{Act, Sending, Step};
use crate::api::delayed::Scheduled;
use crate::api::membership::blocking;
use crate::api::membership::guests::{self, GUEST_ACCESS};
use crate::api::membership::inherit::carry_over;
use crate::api::membership::notices;
use crate::api::membership::restricted::{AUTHORISER, authoriser};
use crate::asker::Asker;
use crate::core::{Draft, StoredEvent};
use crate::store::view::STRIPPED_TYPES;
use crate::store::{Needs, View};
use crate::transactions::Transaction;
use crate::{api::body, delayed, ids};

/// Sends the state event.
pub fn handle(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let (kind, key) = (request.param("eventType"), request.param("stateKey"));
    let content = body::content(request)?;
    let asker = Asker::of(request)?;
    if let Some(delay_ms) = delayed::wanted(request)? {
        let (state_key, content) = (Some(key), &content);
        let wish = delayed::Wish { room_id, kind, state_key, content, delay_ms, transaction: None };
        let device = request.device().unwrap_or_default();
        let delay_id = delayed::schedule(&asker, device, &wish)?;
        return Answer::json(&Scheduled { delay_id: &delay_id });
    }
    let event_id = send(room_id, &asker, kind, key, content)?;
    Answer::json(&Response { event_id: &event_id })
}

/// Sends a state event as a client would.
///
/// # Errors
/// As the endpoint.
pub fn send(
    room_id: &str,
    asker: &Asker,
    kind: &str,
    key: &str,
    content: CanonicalJsonObject,
) -> std::result::Result<String, Error> {
    send_once(room_id, asker, kind, key, content, None)
}

/// The same for what may be repeated.
///
/// # Errors
/// As the endpoint.
pub fn send_once(
    room_id: &str,
    asker: &Asker,
    kind: &str,
    key: &str,
    mut content: CanonicalJsonObject,
    transaction: Option<Transaction>,
) -> std::result::Result<String, Error> {
    let sender = asker.user();
    let mut needs = Needs::of(sender).pair(kind, key);
    let membership = member(&content, "membership").filter(|_| kind == "m.room.member");
    let membership = membership.unwrap_or_default().to_owned();
    let joins = membership == "join" && key == sender;
    if membership == "invite" {
        limits::take("invites", sender, 1).map_err(Error::limit_exceeded)?;
        blocking::check(&[key.to_owned()])?;
    }
    if joins {
        // Who lets somebody in is for the server to say: it has looked whether they may come.
        content.remove(AUTHORISER);
        if let Some(user) = authoriser(room_id, sender).map_err(no_such_room)? {
            content.insert(AUTHORISER.to_owned(), user.into());
        }
    }
    if kind == "m.room.member" {
        needs = Needs::of_member(sender, key).types(STRIPPED_TYPES).types([GUEST_ACCESS]);
        if let Some(user) = member(&content, AUTHORISER) {
            needs = needs.member(user);
        }
    }
    let aliases = aliases_of(kind, &content)?;
    if !aliases.is_empty() {
        needs = needs.also(select(
            "SELECT alias FROM rooms_aliases WHERE room_id = $1 AND alias IN ($2)",
            params![room_id, aliases.clone()],
        ));
    }
    let closes_to_guests = kind == GUEST_ACCESS && key.is_empty() && !guests::lets_in(&content);
    let draft = Draft::state(kind, key, sender, content);
    let mut comes = false;
    let event_id = Act { room_id, needs, transaction, asker: Some(asker) }.run(|view| {
        if !aliases.is_empty() {
            check_aliases(&aliases, view)?;
        }
        if joins && view.state.membership(sender) != "join" {
            comes = true;
            guests::admit(asker, view)?;
        }
        if membership == "leave" && key == sender && view.state.membership(sender) == "invite" {
            notices::may_reject(room_id, sender)?;
        }
        Ok(match view.state.get(kind, key) {
            Some(old) if says_the_same(old, &draft) && view.state.membership(sender) == "join" => {
                Step::Done(old.id().to_owned())
            }
            _ => Step::Send(Sending {
                drafts: vec![draft.clone()],
                // What others left to be sent here later was for a state that is no more (MSC4140).
                statements: vec![(
                    "DELETE FROM rooms_delayed
                     WHERE room_id = $1 AND type = $2 AND state_key = $3 AND user_id <> $4 AND revision >= 0",
                    params![room_id, kind, key, sender],
                )],
                ..Sending::default()
            }),
        })
    })?;
    if closes_to_guests {
        guests::turn_out(room_id);
    }
    if comes {
        carry_over(room_id, sender);
    }
    Ok(event_id)
}

/// Here nobody is told whether there is such a room.
fn no_such_room(error: Error) -> Error {
    if error.http_status() == 404 { not_there() } else { error }
}

fn says_the_same(old: &StoredEvent, draft: &Draft) -> bool {
    old.sender().as_str() == draft.sender
        && old.content_as::<CanonicalJsonObject>().is_some_and(|content| content == draft.content)
}

fn member<'a>(content: &'a CanonicalJsonObject, key: &str) -> Option<&'a str> {
    content.get(key).and_then(CanonicalJsonValue::as_str)
}

/// Aliases in a canonical alias event. Spec: client-server API, m.room.canonical_alias.
fn aliases_of(
    kind: &str,
    content: &CanonicalJsonObject,
) -> std::result::Result<Vec<String>, Error> {
    if kind != "m.room.canonical_alias" {
        return Ok(Vec::new());
    }
    let mut aliases: Vec<String> = member(content, "alias")
        .filter(|alias| !alias.is_empty())
        .map(str::to_owned)
        .into_iter()
        .collect();
    let others = content.get("alt_aliases").and_then(CanonicalJsonValue::as_array);
    for other in others.unwrap_or_default() {
        let alias = other.as_str().ok_or_else(|| Error::bad_json("alt_aliases holds no text"))?;
        aliases.push(alias.to_owned());
    }
    for alias in &aliases {
        ids::alias(alias)?;
    }
    Ok(aliases)
}

/// Aliases that are new in the event must lead to this room.
fn check_aliases(aliases: &[String], view: &mut View) -> std::result::Result<(), Error> {
    let ours = view.extra(0).all::<(String,)>()?;
    let before: CanonicalJsonObject = view
        .state
        .get("m.room.canonical_alias", "")
        .and_then(|event| event.content_as())
        .unwrap_or_default();
    let before = aliases_of("m.room.canonical_alias", &before).unwrap_or_default();
    let stray = aliases
        .iter()
        .find(|alias| !before.contains(alias) && !ours.iter().any(|(known,)| known == *alias));
    match stray {
        None => Ok(()),
        Some(alias) => {
            let text = format!("{alias} does not lead to this room");
            Err(Error::with_status(400, "M_BAD_ALIAS", text))
        }
    }
}
