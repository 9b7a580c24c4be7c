//! `/_matrix/client/v3/account/3pid`: addresses of the user's own account.
//!
//! https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};

use super::threepid_request::check_secret;
use crate::validation::{self, Purpose};
use crate::{config, identity, threepids, uia};

#[derive(Debug, Default, Deserialize)]
struct Creds {
    sid: Option<String>,
    client_secret: Option<String>,
    id_server: Option<String>,
    id_access_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct OldBody {
    #[serde(alias = "threePidCreds")]
    three_pid_creds: Option<Creds>,
}

#[derive(Debug, Deserialize)]
struct Named {
    medium: Option<String>,
    address: Option<String>,
    id_server: Option<String>,
}

impl Creds {
    fn session(&self) -> std::result::Result<(&str, &str), Error> {
        let sid = self.sid.as_deref().ok_or_else(|| missing("sid"))?;
        let secret = self.client_secret.as_deref().ok_or_else(|| missing("client_secret"))?;
        check_secret(secret)?;
        Ok((sid, secret))
    }
}

fn missing(name: &str) -> Error {
    Error::missing_param(format!("{name} is missing"))
}

fn may_change() -> std::result::Result<(), Error> {
    if config::get()?.threepid_changes {
        return Ok(());
    }
    Err(Error::forbidden("addresses are not changed here"))
}

/// `GET /account/3pid`
pub fn list(request: &Request) -> Result {
    let entries = threepids::list(request.user()?)?;
    let told: Vec<_> = entries
        .iter()
        .map(|(medium, address, validated, added)| {
            json!({ "medium": medium, "address": address, "validated_at": validated, "added_at": added })
        })
        .collect();
    Answer::json(&json!({ "threepids": told }))
}

/// `POST /account/3pid`: as [`add`], without the password stage. Old clients ask for it.
///
/// `M_THREEPID_AUTH_FAILED` without proof (403 by the specification), `M_THREEPID_IN_USE`.
pub fn add_old(request: &Request) -> Result {
    may_change()?;
    let body: OldBody = request.json()?;
    let creds = body.three_pid_creds.ok_or_else(|| missing("three_pid_creds"))?;
    let (sid, secret) = creds.session()?;
    store(request.user()?, sid, secret, 403)
}

/// `POST /account/3pid/add`: an address that a session of this server proved, after the password stage.
///
/// `M_THREEPID_AUTH_FAILED` without proof, `M_THREEPID_IN_USE`, `M_FORBIDDEN` where addresses are not changed.
pub fn add(request: &Request) -> Result {
    may_change()?;
    let creds: Creds = request.json()?;
    let (sid, secret) = creds.session()?;
    if let Some(ask) = uia::password(request)? {
        return Ok(ask);
    }
    store(request.user()?, sid, secret, 400)
}

fn store(user: &str, sid: &str, secret: &str, status: u16) -> Result {
    let proved = validation::proved(Purpose::Add, sid, secret)?;
    let proved = proved.ok_or_else(|| validation::failed(status))?;
    threepids::allowed(threepids::EMAIL, &proved.address, false)?;
    match threepids::owner(threepids::EMAIL, &proved.address)? {
        Some(owner) if owner == user => {
            validation::spend(Batch::new(), sid).commit()?;
            return Answer::empty();
        }
        Some(_) => return Err(threepids::in_use()),
        None => {}
    }
    if threepids::list(user)?.len() as i64 >= threepids::MAX_ADDRESSES {
        return Err(Error::forbidden("too many addresses: delete some"));
    }
    let batch = validation::spend(Batch::new(), sid);
    let batch = threepids::add(batch, user, threepids::EMAIL, &proved.address, proved.validated_ms);
    match batch.commit() {
        Ok(_) => Answer::empty(),
        Err(storage::Error::Conflict(0)) => Err(validation::failed(status)),
        Err(storage::Error::Conflict(_)) => Err(threepids::in_use()),
        Err(error) => Err(error.into()),
    }
}

/// `POST /account/3pid/bind`: an identity server learns whose address it is.
///
/// What the identity server says; 502 where it cannot be asked.
pub fn bind(request: &Request) -> Result {
    let creds: Creds = request.json()?;
    let (sid, secret) = creds.session()?;
    let server = creds.id_server.as_deref().ok_or_else(|| missing("id_server"))?;
    let token = creds.id_access_token.as_deref().ok_or_else(|| missing("id_access_token"))?;
    identity::bind(request.user()?, server, token, sid, secret)?;
    Answer::empty()
}

fn named(request: &Request) -> std::result::Result<(String, String, Option<String>), Error> {
    let body: Named = request.json()?;
    let medium = body.medium.ok_or_else(|| missing("medium"))?;
    let address = body.address.ok_or_else(|| missing("address"))?;
    if !matches!(medium.as_str(), "email" | "msisdn") {
        return Err(Error::invalid_param("medium is \"email\" or \"msisdn\""));
    }
    let address = threepids::canonical(&medium, &address);
    Ok((medium, address, body.id_server))
}

/// `POST /account/3pid/unbind`: an identity server forgets it.
pub fn unbind(request: &Request) -> Result {
    let (medium, address, server) = named(request)?;
    let all = identity::unbind(request.user()?, &medium, &address, server.as_deref())?;
    Answer::json(&json!({ "id_server_unbind_result": identity::result(all) }))
}

/// `POST /account/3pid/delete`: the account has it no more; identity servers forget it, too.
pub fn delete(request: &Request) -> Result {
    may_change()?;
    let user = request.user()?;
    let (medium, address, server) = named(request)?;
    let all = identity::unbind(user, &medium, &address, server.as_deref())?;
    if threepids::owner(&medium, &address)?.as_deref() == Some(user) {
        threepids::remove(Batch::new(), user, &medium, &address).commit_blind()?;
    }
    Answer::json(&json!({ "id_server_unbind_result": identity::result(all) }))
}
