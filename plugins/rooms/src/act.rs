//! The optimistic loop: read, decide, commit; read again if somebody was faster.

use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, Value};
use tessera_sdk::{clock, log};

use crate::access::not_there;
use crate::asker::Asker;
use crate::compose::Composer;
use crate::core::Draft;
use crate::core::build::MAX_PREV_EVENTS;
use crate::policy::{Opinions, Policy};
use crate::receive::{self, Outcome};
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
    /// Whose doing it is, for modules to judge; none for what the server does by itself.
    pub asker: Option<&'a Asker>,
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
        let policy = self.asker.and_then(|asker| Policy::of(asker, false));
        let mut heard: Option<Opinions> = None;
        let mut locked = false;
        let mut merges = true;
        for _ in 0..ATTEMPTS {
            if !locked {
                storage::lock(&[format!("room:{}", self.room_id)], LOCK_MS);
                locked = true;
            }
            let mut view = View::load(self.room_id, &needs)?.ok_or_else(not_there)?;
            if self.transaction.is_some()
                && let Some(event_id) = Transaction::read(view.take_last())?
            {
                return Ok(event_id);
            }
            if let (true, Some(asker)) =
                (merges && view.room.extremities.len() > MAX_PREV_EVENTS, self.asker)
                // For others it would be work that their rejected event undoes.
                && view.state.membership(asker.user()) == "join"
            {
                storage::unlock();
                locked = false;
                // Where that does not help, the event follows as many as it may.
                merges = receive::merge(&view.room, asker.user())? == Outcome::Accepted;
                continue;
            }
            let mut sending = match plan(&mut view)? {
                Step::Done(event_id) => return Ok(event_id),
                Step::Send(sending) => sending,
            };
            if view.room.blocked && sending.drafts.iter().any(Draft::lets_in) {
                return Err(Error::forbidden("the room is shut down on this server"));
            }
            let said = heard.take().filter(|opinions| opinions.are_of(&sending.drafts));
            if let Some(opinions) = &said {
                opinions.apply(&mut sending.drafts);
            }
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
            heard = said;
            if let (Some(policy), None) = (&policy, &heard) {
                // A module may take its time, and may act in this very room.
                storage::unlock();
                locked = false;
                let opinions = Opinions::hear(policy, &composer, &sending.drafts)?;
                if opinions.pretend() {
                    return self.pretend(&composer, now_ms);
                }
                let again = opinions.replace();
                heard = Some(opinions);
                if again {
                    // Built and authorised anew, on what the room is by now.
                    continue;
                }
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

    /// The answer to an act of which nothing is to come. A repetition gets the same.
    fn pretend(&self, composer: &Composer, now_ms: u64) -> Result<String, Error> {
        let event_id = composer.last_id().unwrap_or_default().to_owned();
        let Some(transaction) = &self.transaction else {
            return Ok(event_id);
        };
        match transaction.remember(Batch::new(), &event_id, now_ms, 1).commit() {
            Ok(_) | Err(storage::Error::Conflict(_)) => Ok(event_id),
            Err(error) => Err(error.into()),
        }
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
