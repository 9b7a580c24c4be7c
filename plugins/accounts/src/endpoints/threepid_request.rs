//! `POST /_matrix/client/v3/{register,account/3pid,account/password}/{email,msisdn}/requestToken`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordemailrequesttoken

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result, encode};
use tessera_sdk::matrix::Error;
use tessera_sdk::{digest, limits};

use crate::config::{self, Config, Registration};
use crate::mails::{self, Kind};
use crate::threepids;
use crate::validation::{self, Purpose};

/// Bytes of `next_link`.
const MAX_LINK: usize = 2048;

#[derive(Debug, Deserialize)]
struct Body {
    client_secret: Option<String>,
    email: Option<String>,
    send_attempt: Option<u64>,
    next_link: Option<String>,
}

/// For a new account.
pub fn register(request: &Request) -> Result {
    if config::get()?.registration != Registration::Open {
        return Err(Error::forbidden("registration is closed"));
    }
    email(request, Purpose::Register)
}

/// For an address of an account.
pub fn add(request: &Request) -> Result {
    if !config::get()?.threepid_changes {
        return Err(Error::forbidden("addresses are not changed here"));
    }
    email(request, Purpose::Add)
}

/// For a new password.
pub fn password(request: &Request) -> Result {
    if !config::get()?.password_changes {
        return Err(Error::forbidden("passwords are not changed here"));
    }
    email(request, Purpose::Password)
}

/// Phone numbers: `M_THREEPID_MEDIUM_NOT_SUPPORTED`.
pub fn msisdn(_: &Request) -> Result {
    Err(threepids::not_supported("this server does not send text messages"))
}

/// Sends a mail with a link. Whether the address belongs to somebody is not told where the operator wants it so: an owner is told by
/// mail, and who asks gets a session that proves nothing.
///
/// `M_MISSING_PARAM`, `M_INVALID_PARAM`, `M_THREEPID_IN_USE`, `M_THREEPID_NOT_FOUND`, `M_THREEPID_MEDIUM_NOT_SUPPORTED` without mail, a module's
/// refusal, 429 after too many mails.
fn email(request: &Request, purpose: Purpose) -> Result {
    let config = config::get()?;
    let body: Body = request.json()?;
    let missing = |name: &str| Error::missing_param(format!("{name} is missing"));
    let secret = body.client_secret.ok_or_else(|| missing("client_secret"))?;
    check_secret(&secret)?;
    let address = body.email.ok_or_else(|| missing("email"))?;
    let address = threepids::canonical_email(&address)?;
    let attempt = body.send_attempt.ok_or_else(|| missing("send_attempt"))?;
    let attempt = attempt.min(i64::MAX as u64);
    let next_link = body.next_link.unwrap_or_default();
    check_next_link(&config, &next_link)?;
    for key in [request.remote().to_owned(), digest::sha256(address.as_bytes())] {
        limits::take("threepid-requests", &key, 1).map_err(Error::limit_exceeded)?;
    }
    threepids::allowed(threepids::EMAIL, &address, purpose == Purpose::Register)?;
    let owned = threepids::owner(threepids::EMAIL, &address)?.is_some();
    let hidden = match (owned, purpose) {
        (true, Purpose::Password) | (false, Purpose::Register | Purpose::Add) => false,
        _ if config.hide_addresses => true,
        (false, Purpose::Password) => {
            let text = "no account has this address";
            return Err(Error::with_status(400, "M_THREEPID_NOT_FOUND", text));
        }
        (true, _) => return Err(threepids::in_use()),
    };
    let begun = validation::begin(purpose, &address, &secret, attempt, &next_link, hidden)?;
    if let Some(token) = &begun.token {
        let link = || link(&config, &begun.sid, &secret, token);
        match (hidden, purpose) {
            (false, Purpose::Register) => mails::send(&address, Kind::Register, &link())?,
            (false, Purpose::Password) => mails::send(&address, Kind::Password, &link())?,
            (false, Purpose::Add) => mails::send(&address, Kind::Add, &link())?,
            // Nobody has it. There is a mail all the same: how long it takes and what goes wrong with it tells nothing.
            (true, Purpose::Password) => mails::send(&address, Kind::Unknown, "")?,
            (true, _) => mails::send(&address, Kind::InUse, "")?,
        }
        // Only now: the same request may be tried again where the mail did not go.
        validation::sent(&begun.sid, attempt)?;
    }
    Answer::json(&json!({ "sid": begun.sid }))
}

fn link(config: &Config, sid: &str, secret: &str, token: &str) -> String {
    let base = config.base();
    let (sid, secret, token) = (encode(sid), encode(secret), encode(token));
    format!("{base}/_tessera/accounts/email?sid={sid}&client_secret={secret}&token={token}")
}

/// Spec: Identity Service API, client secrets.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub fn check_secret(secret: &str) -> std::result::Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".=_-".contains(&b);
    if secret.is_empty() || secret.len() > 255 || !secret.bytes().all(allowed) {
        return Err(Error::invalid_param("client_secret has 1 to 255 of 0-9 a-z A-Z . = _ -"));
    }
    Ok(())
}

/// Where a link may lead in the end: an http or https URL of this server's clients' host or of the operator's list.
fn check_next_link(config: &Config, link: &str) -> std::result::Result<(), Error> {
    if link.is_empty() {
        return Ok(());
    }
    let rest = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#', '\\']).next());
    let plain = link.bytes().all(|b| b.is_ascii_graphic()) && link.len() <= MAX_LINK;
    let Some(host) = host.filter(|host| !host.is_empty() && !host.contains('@') && plain) else {
        return Err(Error::invalid_param("next_link is an http or https URL"));
    };
    let host = host.to_ascii_lowercase();
    let base = config.base();
    let own = base.split_once("://").map_or("", |(_, rest)| rest);
    let own = own.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let listed = config.next_link_hosts.iter().any(|known| {
        let rest = host.strip_prefix(known.to_ascii_lowercase().as_str());
        known == "*" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    });
    if host == own || listed {
        return Ok(());
    }
    Err(Error::invalid_param("next_link leads elsewhere"))
}
