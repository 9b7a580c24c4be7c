//! Who asks for something, as modules are told.

use tessera_sdk::hooks::{RequestInfo, Requester};
use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;

/// The mark of a principal by which `accounts` tells of a shadow ban.
const SHADOW_BANNED: &str = "shadow-banned";

/// The mark of a principal by which `accounts` tells of a guest.
const GUEST: &str = "guest";

/// A user who acts, by a request of a client or through another plug-in.
#[derive(Debug, Clone)]
pub struct Asker {
    who: Requester,
    shadow_banned: bool,
    guest: bool,
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
        Ok(Self { who: request.requester()?, shadow_banned, guest })
    }

    /// The user for whom another plug-in acts. What modules are told of the request is empty.
    pub fn on_behalf_of(user: &str) -> Self {
        let request =
            RequestInfo { id: String::new(), remote: String::new(), user_agent: String::new() };
        let who =
            Requester { user: user.to_owned(), device: None, service: None, admin: false, request };
        Self { who, shadow_banned: false, guest: false }
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

    /// Whether what they do is to be shown to nobody else.
    pub fn is_shadow_banned(&self) -> bool {
        self.shadow_banned
    }
}
