//! GET /_synapse/admin/v1/event_reports, GET and DELETE …/event_reports/{reportId}; the same for `user_reports`, and for `room_reports`, which
//! Synapse has no list of.
//!
//! Errors: `M_NOT_FOUND`, `M_INVALID_PARAM`.

use serde_json::{Map, Value as Json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, IntoValue, select};

use super::page;
use crate::admin;
use crate::api::read::client_event::{Found, with_room_id};

/// What was reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Event,
    User,
    Room,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::User => "user",
            Self::Room => "room",
        }
    }

    fn of(request: &Request) -> std::result::Result<Self, Error> {
        match request.wire().route.rsplit('-').next() {
            Some("events") => Ok(Self::Event),
            Some("users") => Ok(Self::User),
            Some("rooms") => Ok(Self::Room),
            _ => Err(Error::internal("a route of reports is not known")),
        }
    }
}

const COLUMNS: &str = "SELECT p.number AS number, p.created_ms, p.room_id, p.event_id, p.user_id, p.reporter, p.reason,
    a.name, a.canonical_alias FROM rooms_reports p LEFT JOIN rooms_about a ON a.room_id = p.room_id WHERE p.kind = $1";

type Row = (i64, i64, String, String, String, String, String, Option<String>, Option<String>);

fn told(kind: Kind, row: Row) -> Map<String, Json> {
    let (id, ts, room, event, user, reporter, reason, name, alias) = row;
    let mut told = Map::new();
    told.insert("id".to_owned(), id.into());
    told.insert("received_ts".to_owned(), ts.into());
    told.insert("user_id".to_owned(), reporter.into());
    told.insert("reason".to_owned(), reason.into());
    let mut also = |key: &str, value: Json| told.insert(key.to_owned(), value);
    if kind == Kind::User {
        also("target_user_id", user.into());
        return told;
    }
    also("room_id", room.into());
    also("name", name.into());
    also("canonical_alias", alias.into());
    if kind == Kind::Event {
        also("event_id", event.into());
        also("sender", user.into());
        also("score", Json::Null);
    }
    told
}

/// Lists reports, the newest first.
pub fn list(request: &Request) -> Result {
    admin::only(request)?;
    let kind = Kind::of(request)?;
    let (from, limit) = page::of(request)?;
    let direction = if page::forwards(request, false)? { "ASC" } else { "DESC" };
    let mut condition = String::new();
    let mut values = params![kind.name()];
    let filters = [
        ("user_id", "p.reporter"),
        ("room_id", "p.room_id"),
        ("event_sender_user_id", "p.user_id"),
        ("target_user_id", "p.user_id"),
    ];
    for (name, column) in filters {
        if let Some(part) = request.query(name).filter(|part| !part.is_empty()) {
            values.push(part.into_value());
            let n = values.len();
            condition.push_str(&format!(" AND replace({column}, ${n}, '') <> {column}"));
        }
    }
    let count =
        format!("SELECT COUNT(p.report_id) AS n FROM rooms_reports p WHERE p.kind = $1{condition}");
    let mut paged = values.clone();
    paged.extend(params![limit, from]);
    let (take, skip) = (paged.len() - 1, paged.len());
    let some =
        format!("{COLUMNS}{condition} ORDER BY number {direction} LIMIT ${take} OFFSET ${skip}");
    let mut answers = storage::snapshot(&[select(&some, paged), select(&count, values)])?.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let reports: Vec<_> = next()?.all::<Row>()?.into_iter().map(|row| told(kind, row)).collect();
    let total = next()?.first::<(i64,)>()?.map_or(0, |(n,)| n);
    let end = from.saturating_add(i64::try_from(reports.len()).unwrap_or(limit));
    let mut answer = Map::from_iter([
        ("total".to_owned(), total.into()),
        (format!("{}_reports", kind.name()), reports.into()),
    ]);
    if end < total {
        answer.insert("next_token".to_owned(), end.into());
    }
    Answer::json(&answer)
}

fn number(request: &Request) -> std::result::Result<i64, Error> {
    let number = request.param("reportId").parse().ok().filter(|number: &i64| *number >= 0);
    number.ok_or_else(|| Error::invalid_param("the id of a report is a positive integer"))
}

fn unknown() -> Error {
    Error::not_found("there is no such report")
}

/// Tells of one report, with the event as far as it is there.
pub fn one(request: &Request) -> Result {
    admin::only(request)?;
    let kind = Kind::of(request)?;
    let found = storage::query(
        &format!("{COLUMNS} AND p.number = $2 LIMIT 1"),
        params![kind.name(), number(request)?],
    )?;
    let row = found.first::<Row>()?.ok_or_else(unknown)?;
    let (room_id, event_id) = (row.2.clone(), row.3.clone());
    let mut report = told(kind, row);
    if kind == Kind::Event {
        let found = storage::query(
            "SELECT json FROM rooms_events WHERE event_id = $1 AND room_id = $2",
            params![&event_id, &room_id],
        )?;
        let event = match found.first::<(String,)>()? {
            Some((json,)) => {
                let event = with_room_id(&Found { event_id, json }, &room_id)?;
                serde_json::from_str(event.get()).map_err(Error::internal)?
            }
            None => Json::Null,
        };
        report.insert("event_json".to_owned(), event);
    }
    Answer::json(&report)
}

/// Forgets a report.
pub fn delete(request: &Request) -> Result {
    admin::only(request)?;
    let kind = Kind::of(request)?;
    let gone = Batch::new()
        .run(
            "DELETE FROM rooms_reports WHERE kind = $1 AND number = $2",
            params![kind.name(), number(request)?],
        )
        .expect(1)
        .commit();
    match gone {
        Ok(_) => Answer::empty(),
        Err(storage::Error::Conflict(_)) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}
