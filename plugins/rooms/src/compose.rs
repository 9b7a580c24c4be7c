//! From drafts to signed events, each on top of the one before.

use std::sync::Arc;

use ruma::state_res::Event as _;
use tessera_sdk::matrix::Error;
use tessera_sdk::{crypto, random};

use crate::core::build::{self, BuildError};
use crate::core::{
    Built, Draft, Extremity, Place, Relation, Signer, State, StoredEvent, Version, decide_local,
};
use crate::store::new_event::{NewEvent, search_text, stripped_state};

/// A chain of events that grows draft by draft.
#[derive(Debug)]
pub struct Composer {
    version: Version,
    room_id: Option<String>,
    extremities: Vec<Extremity>,
    state: State,
    now_ms: u64,
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    built: Built,
    replaces: Option<Arc<StoredEvent>>,
    stripped: Option<String>,
    relation: Option<Relation>,
}

/// An event of the chain, as modules are asked about it.
#[derive(Debug, Clone, Copy)]
pub struct Proposal<'a> {
    /// The event.
    pub built: &'a Built,
    /// The state event that it would replace.
    pub replaces: Option<&'a StoredEvent>,
}

/// Why a draft does not become an event.
#[derive(Debug)]
pub enum ComposeError {
    /// It cannot be made.
    Build(BuildError),
    /// The auth rules refuse it.
    Refused(String),
}

impl From<ComposeError> for Error {
    fn from(error: ComposeError) -> Self {
        match error {
            ComposeError::Build(error) => error.into(),
            ComposeError::Refused(reason) => Self::forbidden(reason),
        }
    }
}

impl Composer {
    /// Goes on from a room's state. `room_id` is none for a room whose id will be its create event's hash.
    pub fn new(
        version: Version,
        room_id: Option<String>,
        extremities: Vec<Extremity>,
        state: State,
        now_ms: u64,
    ) -> Self {
        Self { version, room_id, extremities, state, now_ms, pending: Vec::new() }
    }

    /// The room's id, once it is known.
    pub fn room_id(&self) -> Option<&str> {
        self.room_id.as_deref()
    }

    /// The room's version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Id of the last event.
    pub fn last_id(&self) -> Option<&str> {
        self.pending.last().map(|pending| pending.built.event.id())
    }

    /// The events so far.
    pub fn proposals(&self) -> impl Iterator<Item = Proposal<'_>> {
        self.pending.iter().map(|pending| Proposal {
            built: &pending.built,
            replaces: pending.replaces.as_deref(),
        })
    }

    /// Makes the next event and asks the auth rules.
    ///
    /// # Errors
    /// See [`ComposeError`]; the chain is as before.
    pub fn push(&mut self, draft: &Draft) -> Result<(), ComposeError> {
        let chosen_id = self
            .version
            .chooses_event_ids()
            .then(|| format!("${}:{}", random::letters(24), crypto::tenant_name()));
        let place = Place {
            version: &self.version,
            room_id: self.room_id.as_deref(),
            extremities: &self.extremities,
            state: &self.state,
            now_ms: self.now_ms,
            chosen_id: chosen_id.as_deref(),
        };
        let built = build::build(&place, draft).map_err(ComposeError::Build)?;
        if let Some(reason) = decide_local(&self.version, &built.event, &self.state).refusal() {
            return Err(ComposeError::Refused(reason.to_owned()));
        }

        if self.room_id.is_none() {
            self.room_id = Some(tessera_sdk::matrix::room_id_of_create(built.event.id()));
        }
        let event = &built.event;
        let shows_room = draft.kind == "m.room.member"
            && matches!(event.membership().as_deref(), Some("invite" | "knock"));
        let stripped = shows_room.then(|| stripped_state(&self.state, event));
        let relation = if draft.state_key.is_none() { Relation::of(&draft.content) } else { None };
        let replaces = self.state.insert(Arc::clone(event));
        let named: Vec<_> = event.prev_events().collect();
        self.extremities.retain(|Extremity(id, ..)| !named.iter().any(|name| name.as_str() == id));
        self.extremities.push(built.extremity());
        self.pending.push(Pending { built, replaces, stripped, relation });
        Ok(())
    }

    /// Signs the chain, in one call to the host.
    ///
    /// # Errors
    /// An event is too large with its signature.
    pub fn sign(self) -> Result<Vec<NewEvent>, Error> {
        let messages: Vec<_> = self.pending.iter().map(|p| p.built.to_sign.clone()).collect();
        let signatures = crypto::sign(&messages);
        if signatures.len() != messages.len() {
            return Err(Error::internal("a signature is missing"));
        }
        let signer = Signer { server: crypto::tenant_name(), key_id: crypto::key().id };
        self.pending
            .into_iter()
            .zip(signatures)
            .map(|(pending, signature)| {
                let event = Arc::clone(&pending.built.event);
                let extremity = pending.built.extremity();
                let json = pending.built.signed(&signer, &signature)?;
                Ok(NewEvent {
                    text: search_text(&event),
                    event,
                    json,
                    extremity,
                    replaces: pending.replaces,
                    stripped: pending.stripped,
                    relation: pending.relation,
                })
            })
            .collect()
    }
}
