//! PUT /rooms/{roomId}/send/{eventType}/{txnId}.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>
//!
//! Errors: `M_FORBIDDEN`, `M_BAD_JSON`, `M_NOT_JSON`, `M_TOO_LARGE`, `M_DUPLICATE_ANNOTATION`, `M_NOT_FOUND` (what is
//! to be redacted), what a policy refuses,
//! `M_USER_SUSPENDED`. A repeated transaction id gives the first event's id.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage::{Select, select};

use crate::act::{Act, Sending, Step};
use crate::asker::Asker;
use crate::core::{Draft, Relation};
use crate::redaction::Target;
use crate::store::{Needs, View};
use crate::transactions::Transaction;
use crate::{api::body, api::delayed::Scheduled, delayed, ids};

/// The id of the event that was sent.
#[derive(Debug, Serialize)]
pub struct Response<'a> {
    /// Event id.
    pub event_id: &'a str,
}

/// Sends the event.
pub fn handle(request: &Request) -> Result {
    let asker = Asker::of(request)?;
    let room_id = ids::room(request.param("roomId"))?;
    let kind = request.param("eventType");
    let content = body::content(request)?;
    if let Some(delay_ms) = delayed::wanted(request)? {
        let transaction = Transaction::of(request, format!("delay/{room_id}/{kind}"))?;
        let transaction = Some(&transaction);
        let content = &content;
        let wish = delayed::Wish { room_id, kind, state_key: None, content, delay_ms, transaction };
        let device = request.device().unwrap_or_default();
        let delay_id = delayed::schedule(&asker, device, &wish)?;
        return Answer::json(&Scheduled { delay_id: &delay_id });
    }
    let transaction = Transaction::of(request, format!("send/{room_id}/{kind}"))?;
    let event_id = any(room_id, &asker, kind, content, Some(transaction))?;
    Answer::json(&Response { event_id: &event_id })
}

/// Sends the event without a transaction id: POST on the same path without it, as older clients have it.
pub fn plain(request: &Request) -> Result {
    let room_id = ids::room(request.param("roomId"))?;
    let content = body::content(request)?;
    let event_id = any(room_id, &Asker::of(request)?, request.param("eventType"), content, None)?;
    Answer::json(&Response { event_id: &event_id })
}

/// Sends any event that is no state event, a redaction among them.
///
/// # Errors
/// As the endpoint.
pub fn any(
    room_id: &str,
    asker: &Asker,
    kind: &str,
    content: CanonicalJsonObject,
    transaction: Option<Transaction>,
) -> std::result::Result<String, Error> {
    if kind == "m.room.redaction" {
        let target = content.get("redacts").and_then(CanonicalJsonValue::as_str);
        let target = target.ok_or_else(|| Error::bad_json("redacts is missing"))?.to_owned();
        return redact(room_id, asker, &target, content, transaction);
    }
    message(room_id, asker, kind, content, transaction)
}

fn message(
    room_id: &str,
    asker: &Asker,
    kind: &str,
    content: CanonicalJsonObject,
    transaction: Option<Transaction>,
) -> std::result::Result<String, Error> {
    let sender = asker.user();
    let relation = Relation::of(&content);
    let mut needs = Needs::of(sender);
    if let Some(check) = relation.as_ref().and_then(|relation| check(relation, kind, sender)) {
        needs = needs.also(check);
    }
    let draft = Draft::message(kind, sender, content);
    Act { room_id, needs, transaction, asker: Some(asker) }.run(|view| {
        if let Some(relation) = &relation {
            refuse(relation, view)?;
        }
        Ok(draft.clone().into())
    })
}

/// What is to be looked up for a relation. Spec: client-server API, Annotations and Threading.
fn check(relation: &Relation, kind: &str, sender: &str) -> Option<Select> {
    match relation.rel_type.as_str() {
        "m.annotation" => Some(select(
            "SELECT event_id FROM rooms_relations WHERE relates_to = $1 AND rel_type = 'm.annotation'
               AND type = $2 AND agg_key = $3 AND sender = $4 LIMIT 1",
            params![&relation.event_id, kind, &relation.key, sender],
        )),
        "m.thread" => Some(select(
            "SELECT rel_type FROM rooms_relations WHERE event_id = $1",
            params![&relation.event_id],
        )),
        _ => None,
    }
}

fn refuse(relation: &Relation, view: &mut View) -> std::result::Result<(), Error> {
    let found = view.extra(0).first::<(String,)>()?;
    match (relation.rel_type.as_str(), found) {
        ("m.annotation", Some(_)) => Err(Error::new(
            ErrorCode::DuplicateAnnotation,
            "the sender has annotated the event in this way already",
        )),
        ("m.thread", Some(_)) => Err(Error::new(
            ErrorCode::Unknown,
            "an event that relates to another cannot begin a thread",
        )
        .status(400)),
        _ => Ok(()),
    }
}

/// Sends a redaction and prunes its target in the same commit.
///
/// # Errors
/// As the endpoint.
pub fn redact(
    room_id: &str,
    asker: &Asker,
    target: &str,
    content: CanonicalJsonObject,
    transaction: Option<Transaction>,
) -> std::result::Result<String, Error> {
    ids::event(target)?;
    let sender = asker.user();
    let needs = Needs::of(sender).also(Target::select(target));
    let draft = Draft {
        redacts: Some(target.to_owned()),
        ..Draft::message("m.room.redaction", sender, content)
    };
    Act { room_id, needs, transaction, asker: Some(asker) }.run(|view| {
        let redacts = Target::read(view, 0, target, asker)?;
        Ok(Step::Send(Sending {
            drafts: vec![draft.clone()],
            redacts: Some(redacts),
            ..Sending::default()
        }))
    })
}
