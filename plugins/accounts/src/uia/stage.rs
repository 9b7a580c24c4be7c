//! The stages: what a client has to give, and what it proves.
//!
//! Spec: client-server API, Authentication types.

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::hooks;
use tessera_sdk::hooks::login::{Attempt, Verdict};
use tessera_sdk::matrix::Error;

use super::Asking;
use crate::password;

/// What has to be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing.
    Dummy,
    /// The password of the user who asks.
    Password,
    /// A token that an administrator made.
    RegistrationToken,
}

/// The `auth` member of a request body.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Auth {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) session: Option<String>,
    identifier: Option<password::Identifier>,
    user: Option<String>,
    password: Option<String>,
}

impl Stage {
    /// As in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dummy => "m.login.dummy",
            Self::Password => "m.login.password",
            Self::RegistrationToken => "m.login.registration_token",
        }
    }

    /// What a client needs to know for it, if anything.
    pub(super) fn params(self) -> Option<Value> {
        None
    }

    /// What the stage proves, as kept in the session.
    ///
    /// # Errors
    /// What the client is told beside the stages, where it may try again; 429 and 5xx otherwise.
    pub(super) fn attempt(self, asking: &Asking<'_>, auth: &Auth) -> Result<Value, Error> {
        match self {
            Self::Dummy => Ok(json!(true)),
            Self::Password => password(asking, auth),
            Self::RegistrationToken => Err(Error::forbidden("no such token")),
        }
    }
}

/// The user whose password it is: the one who asks, where that is known.
fn password(asking: &Asking<'_>, auth: &Auth) -> Result<Value, Error> {
    let named = password::named(auth.identifier.as_ref(), auth.user.as_deref());
    let wrong = || Error::forbidden("wrong user or password");
    // Without a name it is the one who asks; another's password proves nothing.
    let user = match (asking.user, named) {
        (Some(me), None) if auth.identifier.is_none() && auth.user.is_none() => me.to_owned(),
        (Some(me), Some(named)) if me == named => named,
        (None, Some(named)) => named,
        _ => return Err(wrong()),
    };
    if proves(asking, &user, auth)? { Ok(json!({ "user_id": user })) } else { Err(wrong()) }
}

/// Whether the password is the user's. Modules that know about passwords are asked first, as at login.
fn proves(asking: &Asking<'_>, user: &str, auth: &Auth) -> Result<bool, Error> {
    password::count_try(user)?;
    if hooks::answered("tessera:hooks/login") {
        let fields = asking.body.get("auth").cloned().unwrap_or_default();
        let attempt = Attempt {
            kind: Stage::Password.name().to_owned(),
            user: Some(user.to_owned()),
            threepid: None,
            fields: fields.to_string(),
            request: asking.request.clone(),
        };
        match hooks::check_auth(&attempt) {
            Some(Verdict::Accept(accepted)) => return Ok(accepted.user == user),
            Some(Verdict::Reject) => return Ok(false),
            None => {}
        }
    }
    let given = auth.password.as_deref().unwrap_or_default();
    Ok(password::verify(user, given)?.is_some_and(|found| !found.deactivated))
}
