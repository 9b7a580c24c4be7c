//! Who asks for something, as modules are told.

use tessera_sdk::hooks::{RequestInfo, Requester};
use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;

/// The mark of a principal by which `accounts` tells of a shadow ban.
const SHADOW_BANNED: &str = "shadow-banned";

/// The mark of a principal by which `accounts` tells of a guest.
const GUEST: &str = "guest";

/// The mark of a principal by which `accounts` tells of a suspended user.
const SUSPENDED: &str = "suspended";

/// A user who acts, by a request of a client or through another plug-in.
#[derive(Debug, Clone)]
pub struct Asker {
    who: Requester,
    shadow_banned: bool,
    guest: bool,
    suspended: bool,
}

impl Asker {
    /// Who sent a request.
    ///
    /// # Errors
    /// `M_MISSING_TOKEN` without a principal.
    pub fn of(request: &Request) -> Result<Self, Error> {
        let marks = &request.principal()?.marks;
        let marked = |wanted: &str| marks.iter().any(|mark| mark == wanted);
        let (shadow_banned, guest) = (marked(SHADOW_BANNED), marked(GUEST));
        let suspended = marked(SUSPENDED);
        Ok(Self { who: request.requester()?, shadow_banned, guest, suspended })
    }

    /// The user for whom another plug-in acts. What modules are told of the request is empty.
    pub fn on_behalf_of(user: &str) -> Self {
        let request =
            RequestInfo { id: String::new(), remote: String::new(), user_agent: String::new() };
        let who =
            Requester { user: user.to_owned(), device: None, service: None, admin: false, request };
        Self { who, shadow_banned: false, guest: false, suspended: false }
    }

    /// The same with an administrator's power.
    #[must_use]
    pub fn as_admin(mut self) -> Self {
        self.who.admin = true;
        self
    }

    /// Full user id.
    pub fn user(&self) -> &str {
        &self.who.user
    }

    /// As hooks take it.
    pub fn who(&self) -> &Requester {
        &self.who
    }

    /// Whether they have no account of their own. Spec: client-server API, Guest access.
    pub fn is_guest(&self) -> bool {
        self.guest
    }

    /// Whether they may read, leave and take back what they said, and no more. Most of that is refused by path before it
    /// comes here. Spec: client-server API, Account suspension.
    pub fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Whether what they do is to be shown to nobody else.
    pub fn is_shadow_banned(&self) -> bool {
        self.shadow_banned
    }
}
