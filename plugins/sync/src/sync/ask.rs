//! What a client asks of /sync, and how it is kept while the request is parked.

use serde::{Deserialize, Serialize};
use tessera_sdk::bus::WatchId;
use tessera_sdk::clock;
use tessera_sdk::http::{Answer, Parked, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{IntoValue, Value};

use crate::budget::Budget;
use crate::filter::Filter;
use crate::token::SyncToken;

/// The longest wait: clients ask for 30 s as a rule; proxies cut what is silent for minutes.
pub(super) const MAX_TIMEOUT_MS: u64 = 120_000;
/// An inline filter is kept while the request is parked and between the parts of an answer, as a string within JSON. What is kept is
/// capped at 16 KiB, and of that ids may take 5.
const MAX_INLINE_FILTER: usize = 10 * 1024;
/// First byte of the parked state: another version of this plug-in may resume it.
const STATE_VERSION: u8 = 1;

/// A request, parsed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ask {
    #[serde(skip)]
    pub user: String,
    #[serde(skip)]
    pub device: Option<String>,
    /// Position of the `since` token.
    pub since: Option<i64>,
    /// The last message that the device was told, where that is less than the token says of everything else.
    #[serde(default)]
    pub to_device: Option<i64>,
    /// A filter id, or the filter itself if it starts with `{`.
    pub filter: Option<String>,
    pub full_state: bool,
    pub use_state_after: bool,
    /// It was asked for by the name of MSC4222, so it is answered by that name: matrix-js-sdk 43 reads no other.
    #[serde(default)]
    pub unstable_state_after: bool,
    /// When to answer in any case; milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// In how many rooms the user is, as far as it was looked up.
    pub rooms: usize,
    /// Set while a found answer waits for the push counts that belong to it.
    pub held_until_ms: Option<u64>,
    /// The part of a long answer that is to be told; none: all of it.
    #[serde(skip)]
    pub part: Option<Part>,
    /// How much may be read.
    #[serde(skip)]
    pub budget: Budget,
}

/// Rooms that stand together in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Section {
    /// The user is in them.
    Join,
    /// The user was in them.
    Leave,
}

/// A part of an answer: some rooms, in the order of their ids.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub section: Section,
    /// Behind this room.
    pub after: String,
    /// Up to this one; none: to the end.
    pub upto: Option<String>,
    /// As of when; none in the first part, which finds that out and tells all that is not of a room, too.
    pub horizon: Option<i64>,
    /// The last room is a large one, of which so many members are told first. Others before it are few if any: those that the user
    /// was found to be in after it was looked how large rooms are.
    pub slice: Option<usize>,
}

impl Part {
    /// The room of which only so many members are told.
    pub(super) fn large(&self) -> Option<(&str, usize)> {
        Some((self.upto.as_deref()?, self.slice?))
    }

    /// Whether a room belongs to it.
    pub(super) fn has(&self, room: &str, joined: bool) -> bool {
        joined == (self.section == Section::Join)
            && room > self.after.as_str()
            && self.upto.as_ref().is_none_or(|upto| room <= upto.as_str())
    }
}

impl Ask {
    pub(super) fn from_request(request: &Request) -> std::result::Result<Self, Error> {
        let filter = request.query("filter").filter(|f| !f.is_empty()).map(str::to_owned);
        let kept = serde_json::to_string(&filter).map_err(Error::internal)?;
        if kept.len() > MAX_INLINE_FILTER {
            return Err(Error::invalid_param("the filter is too long: store it and pass its id"));
        }
        let since = match request.query("since") {
            None | Some("") => None,
            Some(token) => Some(token.parse::<SyncToken>()?),
        };
        let timeout: u64 = request.query_as("timeout")?.unwrap_or(0);
        let stable = request.query_as("use_state_after")?;
        let unstable = request.query_as("org.matrix.msc4222.use_state_after")?.unwrap_or(false);
        Ok(Self {
            user: request.user()?.to_owned(),
            device: request.device().map(str::to_owned),
            since: since.map(|token| token.position),
            to_device: since.and_then(|token| token.to_device),
            filter,
            full_state: request.query_as("full_state")?.unwrap_or(false),
            use_state_after: stable.unwrap_or(unstable),
            unstable_state_after: stable.is_none() && unstable,
            deadline_ms: clock::now_ms().saturating_add(timeout.min(MAX_TIMEOUT_MS)),
            rooms: 0,
            held_until_ms: None,
            part: None,
            budget: Budget::usual(),
        })
    }

    /// What the user is to be told, whatever their device.
    pub(super) fn plain(user: &str, since: Option<i64>, deadline_ms: u64) -> Self {
        Self {
            user: user.to_owned(),
            device: None,
            since,
            to_device: None,
            filter: None,
            full_state: false,
            use_state_after: false,
            unstable_state_after: false,
            deadline_ms,
            rooms: 0,
            held_until_ms: None,
            part: None,
            budget: Budget::default(),
        }
    }

    pub(super) fn from_parked(parked: &Parked) -> std::result::Result<Self, Error> {
        let principal = parked.principal.as_ref().ok_or_else(Error::missing_token)?;
        let ask: Self = match parked.state.split_first() {
            Some((&STATE_VERSION, json)) => {
                serde_json::from_slice(json).map_err(Error::internal)?
            }
            _ => return Err(Error::internal("parked by an unknown version")),
        };
        Ok(Self {
            user: principal.user.clone(),
            device: principal.device.clone(),
            budget: Budget::usual(),
            ..ask
        })
    }

    pub(super) fn park(&self, watch: WatchId, timeout_ms: u64) -> Result {
        let mut state = vec![STATE_VERSION];
        serde_json::to_writer(&mut state, self).map_err(Error::internal)?;
        Ok(Answer::park(watch, u32::try_from(timeout_ms).unwrap_or(u32::MAX), state))
    }

    /// The position that the client has come to; 0 for an initial sync.
    pub(super) fn from(&self) -> i64 {
        self.since.unwrap_or(0)
    }

    /// The same for what is not of a room: later parts of an answer tell none of it.
    pub(super) fn personal_from(&self) -> i64 {
        if self.goes_on() { i64::MAX } else { self.from() }
    }

    /// The last message that the device was told.
    pub(super) fn told(&self) -> i64 {
        if self.goes_on() { i64::MAX } else { self.to_device.unwrap_or(self.from()) }
    }

    /// Whether this is a later part of an answer.
    pub(super) fn goes_on(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.horizon.is_some())
    }

    /// A condition, to be appended, for a column of room ids: none but those of the part.
    pub(super) fn within(&self, column: &str, params: &mut Vec<Value>) -> String {
        let mut condition = String::new();
        let Some(part) = &self.part else { return condition };
        if self.goes_on() {
            params.push(part.after.as_str().into_value());
            condition = format!(" AND {column} > ${}", params.len());
        }
        if let Some(upto) = &part.upto {
            params.push(upto.as_str().into_value());
            condition.push_str(&format!(" AND {column} <= ${}", params.len()));
        }
        condition
    }

    /// From where on changes are changes to the client: nowhere for an initial sync, which gets everything whole.
    pub(super) fn new_from(&self) -> i64 {
        self.since.unwrap_or(i64::MAX)
    }

    /// Whether all rooms are told of, changed or not.
    pub(super) fn wants_all(&self) -> bool {
        self.since.is_none() || self.full_state
    }

    /// Whether rooms that were left at any time are told of.
    pub(super) fn all_left(&self, filter: &Filter) -> bool {
        self.since.is_none() && filter.room.include_leave
    }

    /// Whether there is anything to wait for.
    pub(super) fn may_park(&self) -> bool {
        self.since.is_some() && !self.full_state && clock::now_ms() < self.deadline_ms
    }
}
