//! What modules say of events: `tessera:hooks/room-policy`, `event-policy` and `event-rules`, in this order.
//!
//! They are asked after the auth rules and before the commit, without the room's lock: a module may read or change
//! the same room meanwhile. What was said is kept for the rest of the act, so that a lost race asks nobody twice.

use ruma::canonical_json::CanonicalJsonObject;
use ruma::state_res::Event as _;
use tessera_sdk::hooks::event_policy::Origin;
use tessera_sdk::hooks::event_rules::Context;
use tessera_sdk::hooks::{self, Objection, Refusal};
use tessera_sdk::log;
use tessera_sdk::matrix::Error;

use crate::asker::Asker;
use crate::compose::{Composer, Proposal};
use crate::core::{Draft, content};

/// The hook interfaces that are asked here.
pub const ROOM_POLICY: &str = "tessera:hooks/room-policy";
/// Rules of rooms as a whole.
pub const ROOM_RULES: &str = "tessera:hooks/room-rules";
const EVENT_POLICY: &str = "tessera:hooks/event-policy";
const EVENT_RULES: &str = "tessera:hooks/event-rules";

/// What becomes of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent as it is.
    Keep,
    /// It is sent with this content.
    Replace(CanonicalJsonObject),
    /// The client is told that it was sent.
    Pretend,
}

/// What is asked about one user's events.
#[derive(Debug)]
pub struct Policy<'a> {
    asker: &'a Asker,
    /// All that is sent comes to nothing.
    hides: bool,
    /// The events are a new room's first: what only concerns rooms that exist is not asked.
    founds: bool,
    room_policy: bool,
    event_policy: bool,
    event_rules: bool,
}

impl<'a> Policy<'a> {
    /// Finds out who answers; `None` if nothing is to be asked. `founds`: for the first events of a room.
    pub fn of(asker: &'a Asker, founds: bool) -> Option<Self> {
        let policy = Self {
            asker,
            hides: asker.is_shadow_banned() && !founds,
            founds,
            room_policy: hooks::answered(ROOM_POLICY),
            event_policy: hooks::answered(EVENT_POLICY),
            event_rules: hooks::answered(EVENT_RULES),
        };
        let asks = policy.hides || policy.room_policy || policy.event_policy || policy.event_rules;
        asks.then_some(policy)
    }

    /// Asks about one event of a chain.
    ///
    /// # Errors
    /// The first refusal, with its status and code; a fault of a module that gives no JSON object for a content.
    pub fn ask(&self, composer: &Composer, proposal: &Proposal<'_>) -> Result<Verdict, Error> {
        let event = &proposal.built.event;
        let room_id = composer.room_id().unwrap_or_default();
        let change = Change::of(proposal, self.asker.user());
        // They come and go as they like; what they do there is for their eyes only.
        if self.hides && !change.is_own() {
            return Ok(Verdict::Pretend);
        }
        if self.room_policy {
            self.room_policy(room_id, proposal, &change)?;
        }
        if !self.event_policy && !self.event_rules {
            return Ok(Verdict::Keep);
        }
        let json = proposal.built.unsigned_json()?;
        let who = self.asker.who();
        if self.event_policy {
            let origin = Origin {
                sender: event.sender().to_string(),
                room_id: room_id.to_owned(),
                local: true,
                admin: who.admin,
                request: who.request.clone(),
            };
            match hooks::check_event(&json, &origin) {
                Ok(()) => {}
                Err(Objection::Refuse(refusal)) => return Err(refusal.into()),
                Err(Objection::Pretend) => return Ok(Verdict::Pretend),
            }
        }
        if self.event_rules {
            let context = Context {
                room_id: room_id.to_owned(),
                room_version: composer.version().name().to_owned(),
                sender: event.sender().to_string(),
                local: true,
                admin: who.admin,
                auth_state: proposal
                    .built
                    .auth
                    .iter()
                    .map(|event| event.to_client(room_id))
                    .collect(),
                request: who.request.clone(),
            };
            return said(hooks::check_allowed(event.content().get(), &json, &context), proposal);
        }
        Ok(Verdict::Keep)
    }

    fn room_policy(
        &self,
        room_id: &str,
        proposal: &Proposal<'_>,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        let (who, event) = (self.asker.who(), &proposal.built.event);
        let Some(key) = event.state_key() else {
            return Ok(());
        };
        match change {
            Change::Join { invited } => hooks::may_join(who, room_id, *invited),
            Change::Invite(invitee) => hooks::may_invite(who, invitee, room_id),
            Change::Own => Ok(()),
            Change::Other if self.founds => Ok(()),
            Change::Other => {
                hooks::may_send_state(who, room_id, &event.kind(), key, event.content().get())
            }
        }
        .map_err(Error::from)
    }
}

/// A module's answer about a content.
fn said(
    answer: Result<Option<String>, Refusal>,
    proposal: &Proposal<'_>,
) -> Result<Verdict, Error> {
    let Some(changed) = answer? else {
        return Ok(Verdict::Keep);
    };
    let changed = content::parse(changed.as_bytes()).map_err(|error| {
        // To send what the module wanted changed would be worse than to send nothing.
        log::error("a module gave a content that is none", &[("reason", &error.to_string())]);
        Error::internal("a module gave a content that is none")
    })?;
    let before = proposal.built.event.content_as::<CanonicalJsonObject>();
    Ok(if before.as_ref() == Some(&changed) { Verdict::Keep } else { Verdict::Replace(changed) })
}

/// What an event does to a membership, as the questions differ.
#[derive(Debug, PartialEq, Eq)]
enum Change<'a> {
    /// The sender comes in.
    Join { invited: bool },
    /// The sender invites this user.
    Invite(&'a str),
    /// The sender's own knock or leave.
    Own,
    /// Everything else, state or not.
    Other,
}

impl<'a> Change<'a> {
    fn of(proposal: &Proposal<'a>, sender: &str) -> Self {
        let event = &proposal.built.event;
        let (Some(target), "m.room.member") = (event.state_key(), event.kind().as_str()) else {
            return Self::Other;
        };
        let before = proposal.replaces.and_then(|old| old.membership()).unwrap_or_default();
        match event.membership().unwrap_or_default().as_str() {
            "join" if before != "join" => Self::Join { invited: before == "invite" },
            "invite" => Self::Invite(target),
            "leave" | "knock" if target == sender => Self::Own,
            _ => Self::Other,
        }
    }

    fn is_own(&self) -> bool {
        matches!(self, Self::Join { .. } | Self::Own)
    }
}

/// What modules said of the drafts of an act.
#[derive(Debug, Default)]
pub struct Opinions(Vec<(Draft, Verdict)>);

impl Opinions {
    /// Asks about a chain of which the drafts are the last events.
    ///
    /// # Errors
    /// As [`Policy::ask`].
    pub fn hear(policy: &Policy<'_>, composer: &Composer, drafts: &[Draft]) -> Result<Self, Error> {
        let proposals = composer.proposals();
        let opinions = drafts
            .iter()
            .zip(proposals)
            .map(|(draft, proposal)| Ok((draft.clone(), policy.ask(composer, &proposal)?)));
        opinions.collect::<Result<_, _>>().map(Self)
    }

    /// Whether these are the drafts that were asked about.
    pub fn are_of(&self, drafts: &[Draft]) -> bool {
        self.0.len() == drafts.len()
            && self.0.iter().zip(drafts).all(|((said, _), now)| said == now)
    }

    /// Whether nothing is to come of the act.
    pub fn pretend(&self) -> bool {
        self.0.iter().any(|(_, verdict)| *verdict == Verdict::Pretend)
    }

    /// Whether a content is another than the sender's.
    pub fn replace(&self) -> bool {
        self.0.iter().any(|(_, verdict)| matches!(verdict, Verdict::Replace(_)))
    }

    /// Puts the contents that modules gave into the drafts.
    pub fn apply(&self, drafts: &mut [Draft]) {
        for (draft, (_, verdict)) in drafts.iter_mut().zip(&self.0) {
            if let Verdict::Replace(content) = verdict {
                draft.content.clone_from(content);
            }
        }
    }
}
