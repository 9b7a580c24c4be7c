//! Files that may not be there yet.

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Answer, Parked, Request};
use tessera_sdk::matrix::Error;
use tessera_sdk::{bus, clock};

use crate::config::Config;
use crate::place::Place;
use crate::store::files::{self, File};
use crate::{policy, remote};

/// Where the client names no time, in milliseconds. Spec: `timeout_ms`.
const DEFAULT_MS: u64 = 20_000;
/// The longest that a request waits.
const MAX_MS: u64 = 60_000;
/// Of [`Wanted`], when it is parked.
const VERSION: u32 = 1;

/// What a request wants; it outlives the instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted<T> {
    version: u32,
    origin: String,
    id: String,
    /// Asked for without authentication.
    pub(crate) open: bool,
    /// Until when it waits.
    until_ms: u64,
    pub(crate) none_match: Option<String>,
    /// What exactly.
    pub(crate) what: T,
}

/// A file, or the wish to wait for it.
pub(crate) enum Found {
    File(File),
    Wait(Answer),
}

impl<T: Serialize + for<'a> Deserialize<'a>> Wanted<T> {
    /// What a request wants.
    ///
    /// # Errors
    /// `M_NOT_FOUND` for what cannot be, `M_INVALID_PARAM` for a malformed `timeout_ms`.
    pub(crate) fn of(request: &Request, open: bool, what: T) -> Result<Self, Error> {
        let place = Place::of(request)?;
        let timeout = request.query_as::<u64>("timeout_ms")?.unwrap_or(DEFAULT_MS).min(MAX_MS);
        Ok(Self {
            version: VERSION,
            origin: place.origin,
            id: place.id,
            open,
            until_ms: clock::now_ms().saturating_add(timeout),
            none_match: request.header("if-none-match").map(str::to_owned),
            what,
        })
    }

    /// What a parked request wanted.
    ///
    /// # Errors
    /// Another version parked it: the client is told to come again.
    pub(crate) fn parked(parked: &Parked) -> Result<Self, Error> {
        let wanted: Option<Self> = serde_json::from_slice(&parked.state).ok();
        wanted.filter(|wanted| wanted.version == VERSION).ok_or_else(not_yet)
    }

    /// Looks for the file. `last`: the time is over.
    ///
    /// # Errors
    /// `M_NOT_FOUND`; `M_NOT_YET_UPLOADED` when the time is over.
    pub(crate) fn find(&self, config: &Config, last: bool) -> Result<Found, Error> {
        let place = Place { origin: self.origin.clone(), id: self.id.clone() };
        let file = match files::find(&place)? {
            None if !place.is_local() => remote::fetch(&place)?,
            None => return Err(none()),
            // Whatever fills it will not be found here, so nobody waits, nor learns that the id was made.
            Some(file)
                if file.uploaded_ms == 0
                    && self.open
                    && config.freeze_unauthenticated.holds(clock::now_ms()) =>
            {
                return Err(none());
            }
            Some(file) if file.uploaded_ms == 0 => {
                // The watch comes before the look that counts.
                let watch = bus::watch(&[place.topic()]);
                let file = files::find(&place)?.ok_or_else(none)?;
                if file.uploaded_ms == 0 {
                    return self.wait(watch, &file, last).map(Found::Wait);
                }
                file
            }
            Some(file) => file,
        };
        if file.quarantined_by.is_some()
            || (self.open && config.freeze_unauthenticated.holds(file.uploaded_ms))
        {
            return Err(none());
        }
        policy::first(&file)?;
        files::seen(&file)?;
        Ok(Found::File(file))
    }

    fn wait(&self, watch: bus::WatchId, file: &File, last: bool) -> Result<Answer, Error> {
        let now = clock::now_ms();
        if file.expires_ms <= now {
            return Err(none());
        }
        let left = self.until_ms.saturating_sub(now);
        if last || left == 0 {
            return Err(not_yet());
        }
        let state = serde_json::to_vec(self).map_err(Error::internal)?;
        Ok(Answer::park(watch, u32::try_from(left).unwrap_or(u32::MAX), state))
    }
}

/// The one answer for what is not there, is hidden, or may not be seen here.
pub(crate) fn none() -> Error {
    Error::not_found("there is no such media")
}

fn not_yet() -> Error {
    Error::with_status(504, "M_NOT_YET_UPLOADED", "it has not been uploaded yet")
}
