//! What is searched for.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;

use super::Page;
use crate::filter::EventFilter;

/// The most results of one answer.
const MAX_LIMIT: usize = 100;
/// The most events around a result, on each side.
const MAX_AROUND: u64 = 100;
const DEFAULT_AROUND: u64 = 5;

/// The body of a request.
#[derive(Deserialize)]
pub(super) struct Body {
    pub search_categories: Categories,
}

#[derive(Deserialize)]
pub(super) struct Categories {
    #[serde(default)]
    pub room_events: Option<Criteria>,
}

/// Spec: Room Events Criteria.
#[derive(Deserialize)]
pub(super) struct Criteria {
    #[serde(default)]
    pub search_term: String,
    #[serde(default)]
    keys: Option<Vec<String>>,
    #[serde(default)]
    pub filter: EventFilter,
    #[serde(default)]
    order_by: Option<String>,
    #[serde(default)]
    pub event_context: Option<Context>,
    #[serde(default)]
    pub include_state: bool,
    #[serde(default)]
    groupings: Groupings,
}

/// What is wanted around a result.
#[derive(Deserialize)]
pub(super) struct Context {
    #[serde(default)]
    before_limit: Option<u64>,
    #[serde(default)]
    after_limit: Option<u64>,
    #[serde(default)]
    pub include_profile: bool,
}

impl Context {
    /// Events before and after.
    pub(super) fn limits(&self) -> (u64, u64) {
        let limit = |wanted: Option<u64>| wanted.unwrap_or(DEFAULT_AROUND).min(MAX_AROUND);
        (limit(self.before_limit), limit(self.after_limit))
    }
}

#[derive(Default, Deserialize)]
struct Groupings {
    #[serde(default)]
    group_by: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    key: Grouping,
}

/// What results are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Grouping {
    RoomId,
    Sender,
}

impl Grouping {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RoomId => "room_id",
            Self::Sender => "sender",
        }
    }
}

impl Criteria {
    pub(super) fn groups(&self) -> Vec<Grouping> {
        self.groupings.group_by.iter().map(|group| group.key).collect()
    }
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    /// So many finds were looked at.
    Offset(u32),
    /// After this find in one room, which is not among the first so many.
    After(String, String, u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => write!(f, "n0"),
            Self::Offset(offset) => write!(f, "n{offset}"),
            Self::After(event, room, 0) => write!(f, "g{event} {room}"),
            Self::After(event, room, looked) => write!(f, "g{event} {room} {looked}"),
        }
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::invalid_param("next_batch is not one of this server's");
        if let Some(offset) = text.strip_prefix('n') {
            return offset.parse().map(Self::Offset).map_err(|_| bad());
        }
        let (event, room) =
            text.strip_prefix('g').and_then(|rest| rest.split_once(' ')).ok_or_else(bad)?;
        let (room, looked) = match room.split_once(' ') {
            Some((room, looked)) => (room, looked.parse().map_err(|_| bad())?),
            None => (room, 0),
        };
        Ok(Self::After(event.to_owned(), room.to_owned(), looked))
    }
}

/// A request, parsed.
pub(super) struct Ask<'a> {
    pub user: &'a str,
    pub device: Option<&'a str>,
    pub criteria: Criteria,
    pub newest: bool,
    pub place: Place,
}

impl<'a> Ask<'a> {
    pub(super) fn new(request: &'a Request, criteria: Criteria) -> Result<Self, Error> {
        if criteria.search_term.trim().is_empty() {
            return Err(Error::missing_param("search_term is missing"));
        }
        let newest = match criteria.order_by.as_deref() {
            None | Some("rank") => false,
            Some("recent") => true,
            Some(_) => return Err(Error::invalid_param("order_by must be rank or recent")),
        };
        let known = ["content.body", "content.name", "content.topic"];
        if criteria.keys.iter().flatten().any(|key| !known.contains(&key.as_str())) {
            let text = "keys must be content.body, content.name or content.topic";
            return Err(Error::invalid_param(text));
        }
        let place = match request.query("next_batch") {
            None | Some("") => Place::Start,
            Some(token) => token.parse()?,
        };
        Ok(Self { user: request.user()?, device: request.device(), criteria, newest, place })
    }

    /// The most results to give.
    pub(super) fn limit(&self) -> usize {
        self.criteria.filter.limit().min(MAX_LIMIT)
    }

    /// Whether the field that holds the words is one of those asked for.
    pub(super) fn wants(&self, kind: &str) -> bool {
        let key = match kind {
            "m.room.name" => "content.name",
            "m.room.topic" => "content.topic",
            _ => "content.body",
        };
        self.criteria.keys.as_ref().is_none_or(|keys| keys.iter().any(|k| k == key))
    }

    /// Where the next page begins.
    pub(super) fn next(&self, page: &Page) -> String {
        match (&self.place, page.hits.last()) {
            (Place::After(_, room, _), Some(last)) => {
                Place::After(last.event.event_id.clone(), room.clone(), 0).to_string()
            }
            // Nothing yet, but still of this room only.
            (Place::After(event, room, _), None) => {
                let event = page.last.as_ref().unwrap_or(event);
                let looked = if page.last.is_some() { 0 } else { page.looked };
                Place::After(event.clone(), room.clone(), looked).to_string()
            }
            _ => Place::Offset(page.looked).to_string(),
        }
    }

    /// The words to show in bold.
    pub(super) fn highlights(&self) -> Vec<String> {
        let mut words: Vec<String> = self
            .criteria
            .search_term
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        words.sort_unstable();
        words.dedup();
        words
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn tokens_survive_the_round_trip_and_garbage_is_refused() {
        let after = |looked| Place::After("$e".to_owned(), "!r:h".to_owned(), looked);
        for place in [Place::Offset(12), after(0), after(2000)] {
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
        for bad in ["x", "n", "n-1", "g$e", ""] {
            assert_eq!(bad.parse::<Place>().unwrap_err().errcode(), "M_INVALID_PARAM", "{bad}");
        }
    }
}
