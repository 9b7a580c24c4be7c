//! The optimistic loop: read, decide, commit; read again if somebody was faster.

use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, Value};
use tessera_sdk::{clock, log};

use crate::access::not_there;
use crate::compose::Composer;
use crate::core::Draft;
use crate::redaction::Target;
use crate::store::write::write;
use crate::store::{Needs, NewEvent, View};
use crate::transactions::Transaction;

/// How often a lost race for the room is run again. With the lock held a second try is rare; without it each
/// round has one winner, so this is also how many rivals can be outlasted.
const ATTEMPTS: usize = 20;
/// How long to wait for the room's lock; correctness does not rest on it.
const LOCK_MS: u32 = 2_000;

/// One act of one user in one room.
#[derive(Debug)]
pub struct Act<'a> {
    /// The room.
    pub room_id: &'a str,
    /// What the plan looks at.
    pub needs: Needs,
    /// The request, where it may be repeated.
    pub transaction: Option<Transaction>,
    /// Ask the event policies: it comes from a client.
    pub from_client: bool,
}

/// What a plan makes of a room as it stands.
#[derive(Debug)]
pub enum Step {
    /// Nothing is to be done; the event that says so already, or an empty text.
    Done(String),
    /// These events are to be sent.
    Send(Sending),
}

/// Events to be sent, and what goes with them.
#[derive(Debug, Default)]
pub struct Sending {
    /// In order.
    pub drafts: Vec<Draft>,
    /// What the last of them redacts.
    pub redacts: Option<Target>,
    /// Further statements of the same commit.
    pub statements: Vec<(&'static str, Vec<Value>)>,
}

impl From<Draft> for Sending {
    fn from(draft: Draft) -> Self {
        Self { drafts: vec![draft], ..Self::default() }
    }
}

impl From<Draft> for Step {
    fn from(draft: Draft) -> Self {
        Self::Send(draft.into())
    }
}

impl Act<'_> {
    /// Runs `plan` on the room until what it wants is stored; gives the id of the last event.
    ///
    /// # Errors
    /// `M_FORBIDDEN` if there is no such room, what the plan says, what the auth rules and policies refuse (`M_FORBIDDEN` or
    /// the policy's), `M_TOO_LARGE`, `M_BAD_JSON`; 503 if others were always faster or storage is busy.
    pub fn run(
        self,
        mut plan: impl FnMut(&mut View) -> Result<Step, Error>,
    ) -> Result<String, Error> {
        let mut needs = self.needs.clone();
        if let Some(transaction) = &self.transaction {
            needs = needs.last(transaction.select());
        }
        storage::lock(&[format!("room:{}", self.room_id)], LOCK_MS);
        let mut asked = !self.from_client;
        for _ in 0..ATTEMPTS {
            let mut view = View::load(self.room_id, &needs)?.ok_or_else(not_there)?;
            if self.transaction.is_some()
                && let Some(event_id) = Transaction::read(view.take_last())?
            {
                return Ok(event_id);
            }
            let sending = match plan(&mut view)? {
                Step::Done(event_id) => return Ok(event_id),
                Step::Send(sending) => sending,
            };
            let now_ms = clock::now_ms();
            let room = &view.room;
            let mut composer = Composer::new(
                room.version.clone(),
                Some(room.room_id.clone()),
                room.extremities.clone(),
                view.state,
                now_ms,
            );
            for draft in &sending.drafts {
                composer.push(draft)?;
            }
            if !asked {
                if !composer.ask_policies()? {
                    return Ok(composer.event_ids().pop().unwrap_or_default());
                }
                asked = true;
            }
            let events = composer.sign()?;
            let Some(last) = events.last().map(|new| new.event.id().to_owned()) else {
                return Err(Error::internal("nothing to send"));
            };
            let mut batch = add(write(room, None, &events)?, sending, &events);
            if let Some(transaction) = &self.transaction {
                batch = transaction.remember(batch, &last, now_ms, room.revision);
            }
            match batch.commit() {
                Ok(_) => return Ok(last),
                Err(storage::Error::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        log::warn("a room is too busy", &[("room", self.room_id)]);
        Err(Error::new(ErrorCode::Unknown, "the room is busy; try again").status(503))
    }
}

fn add(mut batch: Batch, sending: Sending, events: &[NewEvent]) -> Batch {
    if let (Some(target), Some(last)) = (sending.redacts, events.last()) {
        batch = target.write(batch, last.event.id());
    }
    for (sql, values) in sending.statements {
        batch = batch.run(sql, values);
    }
    batch
}
