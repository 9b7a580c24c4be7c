//! What every change of a membership has in common.

use ruma::canonical_json::CanonicalJsonObject;
use serde::Deserialize;
use tessera_sdk::matrix::Error;

use super::blocking;
use super::guests::{self, GUEST_ACCESS};
use super::inherit::carry_over;
use super::notices;
use crate::act::{Act, Step};
use crate::api::body::{object, text};
use crate::asker::Asker;
use crate::core::Draft;
use crate::store::view::STRIPPED_TYPES;
use crate::store::{Needs, View};

/// The body of leave, kick, ban, unban and invite.
#[derive(Debug, Default, Deserialize)]
pub struct Change {
    /// Whom it concerns; absent for leave.
    pub user_id: Option<String>,
    /// Why, for the event's content.
    pub reason: Option<String>,
}

impl Change {
    /// Whom it concerns.
    ///
    /// # Errors
    /// `M_MISSING_PARAM`, `M_INVALID_PARAM`.
    pub fn user(&self) -> Result<&str, Error> {
        let user = self.user_id.as_deref();
        crate::ids::user(user.ok_or_else(|| Error::missing_param("user_id is missing"))?)
    }
}

/// A change of `target`'s membership by `sender`.
#[derive(Debug)]
pub struct Wish<'a> {
    /// The room.
    pub room_id: &'a str,
    /// Who acts.
    pub asker: &'a Asker,
    /// Whose membership.
    pub target: &'a str,
    /// The new one.
    pub membership: &'a str,
    /// For the content.
    pub reason: Option<&'a str>,
    /// Further members of the content.
    pub content: CanonicalJsonObject,
    /// The local user who lets a restricted join happen.
    pub authoriser: Option<&'a str>,
}

/// Carries the change out. `check` sees the membership before and may refuse or find that nothing is to be done.
///
/// # Errors
/// `M_FORBIDDEN` without such a room or by the auth rules, what `check` says.
pub fn change(
    wish: &Wish<'_>,
    check: impl Fn(&str, &mut View) -> Result<Verdict, Error>,
) -> Result<String, Error> {
    let shows_room = matches!(wish.membership, "invite" | "knock");
    let shows_profile = shows_room || wish.membership == "join";
    let mut needs = Needs::of_member(wish.asker.user(), wish.target);
    if shows_room {
        needs = needs.types(STRIPPED_TYPES);
    }
    if shows_profile {
        needs = needs.profile(wish.target);
    }
    if let Some(user) = wish.authoriser {
        needs = needs.member(user);
    }
    match wish.membership {
        "join" => needs = needs.types([GUEST_ACCESS]),
        "invite" => blocking::check(&[wish.target.to_owned()])?,
        _ => {}
    }
    let asker = Some(wish.asker);
    let mut comes = false;
    let event_id = Act { room_id: wish.room_id, needs, transaction: None, asker }.run(|view| {
        let before = view
            .state
            .get("m.room.member", wish.target)
            .and_then(|event| event.membership())
            .unwrap_or_default();
        if check(&before, view)? == Verdict::Nothing {
            return Ok(Step::Done(String::new()));
        }
        comes = wish.membership == "join" && before != "join";
        if wish.membership == "join" {
            guests::admit(wish.asker, view)?;
        }
        if wish.membership == "leave" && before == "invite" && wish.asker.user() == wish.target {
            notices::may_reject(wish.room_id, wish.target)?;
        }
        let profile = if shows_profile { view.profile(wish.target) } else { Default::default() };
        let mut content = wish.content.clone();
        content.extend(object([
            ("membership", text(Some(wish.membership))),
            ("displayname", text(profile.displayname.as_deref())),
            ("avatar_url", text(profile.avatar_url.as_deref())),
            ("reason", text(wish.reason)),
            ("join_authorised_via_users_server", text(wish.authoriser)),
        ]));
        Ok(Draft::state("m.room.member", wish.target, wish.asker.user(), content).into())
    })?;
    if comes && !event_id.is_empty() {
        carry_over(wish.room_id, wish.target);
    }
    Ok(event_id)
}

/// Whether there is anything to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send the event.
    Send,
    /// It is so already.
    Nothing,
}
