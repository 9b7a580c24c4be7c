//! The stages: what a client has to give, and what it proves.
//!
//! Spec: client-server API, Authentication types.

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::hooks::login::{Attempt, Verdict};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::{hooks, limits, log};

use super::{Asking, Given};
use crate::config::Config;
use crate::validation::{self, Purpose};
use crate::{captcha, config, password, registration_token};

/// What has to be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing.
    Dummy,
    /// The password of the user who asks.
    Password,
    /// A captcha.
    Recaptcha,
    /// The operator's terms.
    Terms,
    /// A token that an administrator made.
    RegistrationToken,
    /// An e-mail address for a new account.
    Email,
    /// An e-mail address that an account has.
    OwnEmail,
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
    /// Of the captcha.
    response: Option<String>,
    /// Of registration.
    token: Option<String>,
    #[serde(alias = "threepidCreds")]
    threepid_creds: Option<Creds>,
}

/// A proof that a mail reaches somebody.
#[derive(Debug, Clone, Default, Deserialize)]
struct Creds {
    sid: Option<String>,
    client_secret: Option<String>,
}

impl Auth {
    /// What was given on a page.
    pub(super) fn of(given: Given) -> Self {
        Self { response: given.response, token: given.token, ..Self::default() }
    }
}

/// Why a stage was not passed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The client may try again: told beside the stages.
    Again(Error),
    /// The request is over.
    Over(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Over(error)
    }
}

impl Stage {
    /// As in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dummy => "m.login.dummy",
            Self::Password => "m.login.password",
            Self::Recaptcha => "m.login.recaptcha",
            Self::Terms => "m.login.terms",
            Self::RegistrationToken => "m.login.registration_token",
            Self::Email | Self::OwnEmail => "m.login.email.identity",
        }
    }

    /// What a client needs to know for it, if anything.
    pub(super) fn params(self, config: &Config) -> Option<Value> {
        match self {
            Self::Recaptcha => {
                config.recaptcha.as_ref().map(|it| json!({ "public_key": it.public_key }))
            }
            Self::Terms => Some(json!({ "policies": config.terms })),
            _ => None,
        }
    }

    /// What the stage proves, as kept in the session.
    pub(super) fn attempt(
        self,
        asking: &Asking<'_>,
        auth: &Auth,
        session: &str,
    ) -> Result<Value, Failed> {
        match self {
            Self::Dummy | Self::Terms => Ok(json!(true)),
            Self::Password => password(asking, auth),
            Self::Recaptcha => recaptcha(asking, auth),
            Self::RegistrationToken => token(asking, auth, session),
            Self::Email => email(Purpose::Register, auth),
            Self::OwnEmail => email(Purpose::Password, auth),
        }
    }
}

/// The user whose password it is: the one who asks, where that is known.
fn password(asking: &Asking<'_>, auth: &Auth) -> Result<Value, Failed> {
    let wrong = || Error::forbidden("wrong user or password");
    let unnamed = auth.identifier.is_none() && auth.user.is_none();
    let user = match (asking.user, password::named(auth.identifier.as_ref(), auth.user.as_deref())?)
    {
        (Some(me), None) if unnamed => me.to_owned(),
        (None, None) if unnamed => return Err(Failed::Again(wrong())),
        // Nobody of here: it takes as long as with anybody, counts alike and is told alike.
        (None, None) => {
            count(auth, "")?;
            password::verify("", auth.password.as_deref().unwrap_or_default())?;
            return Err(Failed::Again(wrong()));
        }
        (Some(me), Some(named)) if me == named => named,
        (None, Some(named)) => named,
        // Another's password proves nothing, whatever it is.
        _ => return Err(Failed::Over(wrong())),
    };
    match proves(asking, &user, auth)? {
        Some(revision) => Ok(json!({ "user_id": user, "revision": revision })),
        None => Err(Failed::Again(wrong())),
    }
}

/// Counts a try: by address where one is given, so that it is the same whether or not it is somebody's.
fn count(auth: &Auth, user: &str) -> Result<(), Error> {
    match auth.identifier.as_ref().and_then(password::Identifier::threepid) {
        Some(threepid) => password::count_try_by(&threepid),
        None => password::count_try(user),
    }
}

/// The account's revision, if the password is the user's. Modules that know about passwords are asked first, as at login.
fn proves(asking: &Asking<'_>, user: &str, auth: &Auth) -> Result<Option<i64>, Error> {
    count(auth, user)?;
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
            Some(Verdict::Accept(accepted)) if accepted.user == user => {
                return password::revision(user);
            }
            Some(Verdict::Accept(_) | Verdict::Reject) => return Ok(None),
            None => {}
        }
    }
    let given = auth.password.as_deref().unwrap_or_default();
    let verified = password::verify(user, given)?.filter(|found| !found.deactivated);
    Ok(verified.map(|found| found.revision))
}

fn recaptcha(asking: &Asking<'_>, auth: &Auth) -> Result<Value, Failed> {
    let Some(known) = config::get()?.recaptcha else {
        let error = Error::new(ErrorCode::Unrecognized, "there are no captchas here");
        return Err(Failed::Again(error));
    };
    let captcha = |text| Error::with_status(401, text, "the captcha was not solved");
    let Some(response) = auth.response.as_deref().filter(|it| !it.is_empty()) else {
        return Err(Failed::Again(captcha("M_CAPTCHA_NEEDED")));
    };
    match captcha::solved(&known, response, &asking.request.remote)? {
        true => Ok(json!(true)),
        false => Err(Failed::Again(captcha("M_CAPTCHA_INVALID"))),
    }
}

fn token(asking: &Asking<'_>, auth: &Auth, session: &str) -> Result<Value, Failed> {
    let wrong = || Failed::Again(Error::new(ErrorCode::Unauthorized, "this token is not good"));
    let token = auth
        .token
        .as_deref()
        .ok_or_else(|| Failed::Again(Error::missing_param("token is missing")))?;
    limits::take("failed-logins", &format!("registration:{}", asking.request.remote), 1)
        .map_err(Error::limit_exceeded)?;
    if token.is_empty() || !registration_token::is_good(token, &super::key(session))? {
        return Err(wrong());
    }
    Ok(json!(token))
}

fn email(purpose: Purpose, auth: &Auth) -> Result<Value, Failed> {
    let creds = auth.threepid_creds.clone().unwrap_or_default();
    let (Some(sid), Some(secret)) = (creds.sid, creds.client_secret) else {
        return Err(Failed::Again(Error::missing_param("threepid_creds is missing")));
    };
    match validation::proved(purpose, &sid, &secret)? {
        Some(proved) => {
            log::debug("an address was proved", &[]);
            Ok(json!({
                "medium": "email", "address": proved.address, "validated_at": proved.validated_ms, "sid": proved.sid,
            }))
        }
        None => Err(Failed::Again(validation::failed(401))),
    }
}
