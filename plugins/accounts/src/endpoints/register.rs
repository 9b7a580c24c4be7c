//! `POST /_matrix/client/v3/register`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register

use serde::Deserialize;
use serde_json::Value;
use tessera_sdk::hooks::Threepid;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode, localpart};
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, crypto, digest, params, random};

use super::login::LoggedIn;
use super::register_guest;
use crate::config::{self, Config, Email, Registration};
use crate::registration::{self, NewAccount};
use crate::session::{self, Wish};
use crate::uia::{self, Asking, Checked, Flow, Made, Object, Passed, Stage};
use crate::{ids, modules, password, registration_token, threepids, topics, validation};

#[derive(Debug, Deserialize)]
struct Body {
    username: Option<String>,
    password: Option<String>,
    /// Ours: what is kept of a password between requests.
    password_hash: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
    #[serde(default)]
    refresh_token: bool,
    /// Of the guest who becomes a user.
    guest_access_token: Option<String>,
    /// Ours: the id of that guest, which is kept between requests in place of the token.
    guest_user_id: Option<String>,
}

/// What is kept for later requests of a session. The password is kept as its hash.
const KEPT: [&str; 5] =
    ["username", "device_id", "initial_device_display_name", "inhibit_login", "refresh_token"];
/// The member that the password's hash is kept under; clients cannot give it.
const HASH: &str = "password_hash";
/// The member that a guest's id is kept under; clients cannot give it, either.
const GUEST: &str = "guest_user_id";

/// Registers a user after the stages that the operator wants. Asked again with a session that made a user, it logs that user in again.
///
/// `M_FORBIDDEN` if registration is closed, `M_GUEST_ACCESS_FORBIDDEN` for guests where there are none, `M_INVALID_USERNAME`,
/// `M_USER_IN_USE`, `M_WEAK_PASSWORD`, `M_MISSING_PARAM` without a password, `M_THREEPID_IN_USE`, `M_RESOURCE_LIMIT_EXCEEDED` if the
/// tenant may have no more users.
pub fn handle(request: &Request) -> Result {
    let config = config::get()?;
    match request.query("kind") {
        None | Some("user") => {}
        Some("guest") => return register_guest::handle(request, &config),
        Some(_) => return Err(Error::invalid_param("kind is \"user\" or \"guest\"")),
    }
    let mut asked: Object = request.json()?;
    asked.remove(HASH);
    asked.remove(GUEST);
    if asked.get("type").and_then(Value::as_str) == Some("m.login.application_service") {
        return Err(Error::forbidden("no application service registers users here"));
    }
    if config.registration != Registration::Open {
        return Err(Error::forbidden("registration is closed"));
    }
    let body = read(&asked)?;
    let guest = body.guest_access_token.as_deref().map(guest_of).transpose()?;
    if guest.is_none() {
        registration::room_for_one()?;
    }
    // Said before the stages, so that a person can choose another name.
    let first = !asked.contains_key("auth");
    if let Some(username) = &body.username {
        let user = ids::check_chosen_localpart(username)?;
        match &guest {
            Some(guest) if *guest == user => {}
            Some(_) => return Err(Error::forbidden("this is not the name of that guest")),
            None => taken(&asked, username)?,
        }
    } else if guest.is_some() && first {
        return Err(Error::missing_param("a guest says who they are: username is missing"));
    }
    if let Some(password) = &body.password {
        password::check_new(password)?;
    }
    let mut asking = Asking::of(request, &asked);
    asking.keep = Some(keep(&asked, &body, guest.as_deref()));
    let passed = match uia::check(&asking, &flows(&config))? {
        Checked::Passed(passed) => passed,
        Checked::Ask(question) => return Answer::json_with_status(401, &question),
    };
    // What the first request said holds where this one is silent.
    let mut merged = passed.kept.clone();
    for (name, value) in &asked {
        if name == "password" {
            merged.remove(HASH);
        }
        merged.insert(name.clone(), value.clone());
    }
    make(request, &read(&merged)?, &passed)
}

fn read(object: &Object) -> std::result::Result<Body, Error> {
    serde_json::from_value(Value::Object(object.clone()))
        .map_err(|error| Error::bad_json(error.to_string()))
}

/// Names that are taken are told, unless a session of this request took it.
fn taken(asked: &Object, username: &str) -> std::result::Result<(), Error> {
    match registration::free(&ids::small(username)) {
        Err(error) if error.errcode() == ErrorCode::UserInUse.as_str() => {
            let session = asked.get("auth").and_then(|auth| auth.get("session"));
            let Some(session) = session.and_then(Value::as_str) else { return Err(error) };
            let sql = "SELECT made FROM accounts_uia WHERE session = $1 AND made = $2";
            let user = ids::local_user(&ids::small(username));
            match query(sql, params![uia::key(session), user])?.first::<(String,)>()? {
                Some(_) => Ok(()),
                None => Err(error),
            }
        }
        other => other.map(drop),
    }
}

fn keep(asked: &Object, body: &Body, guest: Option<&str>) -> Object {
    let mut kept = Object::new();
    if asked.get("auth").is_some_and(|auth| auth.get("session").is_some()) {
        // The session has been opened: nothing more is kept.
        return kept;
    }
    for name in KEPT {
        if let Some(value) = asked.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(guest) = guest {
        kept.insert(GUEST.to_owned(), guest.into());
    }
    // Hashing costs: only where it will be needed, which is in a request without proof.
    if let (Some(password), false) = (&body.password, asked.contains_key("auth")) {
        kept.insert(HASH.to_owned(), crypto::hash_password(password).into());
    }
    kept
}

/// What somebody must pass. Flows that are part of another end with the dummy stage, so that it is clear which one is followed.
pub fn flows(config: &Config) -> Vec<Flow> {
    let mut base = Flow::new();
    if config.registration_token {
        base.push(Stage::RegistrationToken);
    }
    // A captcha that is configured but not required by anything else stands before what sends mail or makes accounts.
    if config.recaptcha.as_ref().is_some_and(|it| it.required) {
        base.push(Stage::Recaptcha);
    }
    if !config.terms.is_empty() {
        base.push(Stage::Terms);
    }
    let with = |stage: Stage| base.iter().copied().chain([stage]).collect::<Flow>();
    match config.email {
        Email::Required => vec![with(Stage::Email)],
        Email::Optional => vec![with(Stage::Dummy), with(Stage::Email)],
        Email::Off if base.is_empty() => vec![with(Stage::Dummy)],
        Email::Off => vec![base],
    }
}

/// The guest whose access token this is.
fn guest_of(token: &str) -> std::result::Result<String, Error> {
    let sql = "SELECT u.user_id FROM accounts_tokens AS t JOIN accounts_users AS u ON u.user_id = t.user_id \
               WHERE t.hash = $1 AND u.guest = TRUE AND u.deactivated = FALSE";
    let found: Option<(String,)> =
        query(sql, params![digest::sha256(token.as_bytes())])?.first()?;
    found.map(|(user,)| user).ok_or_else(|| Error::forbidden("this is not a guest's access token"))
}

fn make(request: &Request, body: &Body, passed: &Passed) -> Result {
    let wish = |user: &str, device: String| Wish {
        user: user.to_owned(),
        device_id: Some(device),
        display_name: body.initial_device_display_name.clone(),
        refresh: body.refresh_token,
        remote: request.remote().to_owned(),
        kind: "register".to_owned(),
    };
    if let Some(made) = &passed.made {
        return again(made, &wish(&made.user, made.device.clone()), body);
    }
    let device = body.device_id.clone().unwrap_or_else(|| random::letters(10));
    let hash = match (&body.password, &body.password_hash) {
        (Some(password), _) => {
            password::check_new(password)?;
            crypto::hash_password(password)
        }
        (None, Some(hash)) => hash.clone(),
        (None, None) => return Err(Error::missing_param("password is missing")),
    };
    let address = passed.proved(Stage::Email).and_then(proved_address);
    if let Some((address, ..)) = &address {
        threepids::allowed(threepids::EMAIL, address, true)?;
    }
    let guest = body.guest_access_token.as_deref().map(guest_of).transpose()?;
    let guest = guest.or_else(|| body.guest_user_id.clone());
    let grown = guest.is_some();
    let (batch, user) = match guest {
        Some(user) => {
            let address = address.as_ref().map(|it| it.0.clone());
            (grown_up(&user, &hash, passed, address)?, user)
        }
        None => newcomer(request, body, passed, hash, address.as_ref().map(|it| it.0.clone()))?,
    };
    let mut next = 2;
    let mut at = |present: bool| {
        let index = present.then_some(next);
        next += u32::from(present);
        index
    };
    // The order of these is that of the statements below.
    let session_at = at(passed.has_session());
    let token = passed.proved(Stage::RegistrationToken).and_then(Value::as_str);
    let token_at = at(token.is_some());
    let (proof_at, address_at) = (at(address.is_some()), at(address.is_some()));
    let mut batch = passed.spend(batch, &user, &device);
    if let Some(token) = token {
        batch = registration_token::spend(batch, token);
    }
    if let Some((address, validated_ms, sid)) = &address {
        batch = validation::spend(batch, sid);
        batch = threepids::add(batch, &user, threepids::EMAIL, address, *validated_ms);
    }
    if grown {
        // Whoever has the guest's token has nothing of the user's; a device that goes on keeps its keys.
        let keep = (!body.inhibit_login).then_some(device.as_str());
        batch = session::remove_all(batch, &user, keep)?;
    }
    let issued = if body.inhibit_login {
        None
    } else {
        let (with, issued) = session::log_in(batch, &wish(&user, device))?;
        batch = with;
        Some(issued)
    };
    let committed = registration::commit(batch, |index| {
        let index = Some(index);
        if index == session_at {
            Some(storage::Error::Busy.into())
        } else if index == token_at {
            Some(Error::new(ErrorCode::Unauthorized, "this registration token is used up"))
        } else if index == proof_at {
            Some(validation::failed(400))
        } else if index == address_at {
            Some(threepids::in_use())
        } else {
            None
        }
    })?;
    if grown {
        session::ended(committed, &[])?;
    }
    Answer::json(&LoggedIn::new(user, issued))
}

/// How long the answer to a registration can be had again.
const AGAIN_MS: u64 = 10 * 60 * 1000;

/// The answer that the first request of this session got, with new tokens for the same device: for whom that one got lost. A session is no
/// password, so this asks for the one that was chosen, and only soon after, while the account is as it was made.
fn again(made: &Made, wish: &Wish, body: &Body) -> Result {
    let over = || Error::forbidden("this session has registered somebody: log in");
    let revision = super::login::revision(&wish.user)?;
    if revision != Some(made.revision) || clock::now_ms() > made.at_ms.saturating_add(AGAIN_MS) {
        return Err(over());
    }
    if body.device_id.as_ref().is_some_and(|device| *device != made.device) {
        return Err(over());
    }
    password::count_try(&wish.user)?;
    let given = body.password.as_deref().unwrap_or_default();
    if password::verify(&wish.user, given)?.is_none() {
        return Err(over());
    }
    if body.inhibit_login {
        return Answer::json(&LoggedIn::new(wish.user.clone(), None));
    }
    let guard = Batch::new()
        .run(
            "UPDATE accounts_users SET revision = revision WHERE user_id = $1 AND revision = $2",
            params![&wish.user, made.revision],
        )
        .expect(1);
    let (batch, issued) = session::log_in(guard, wish)?;
    session::ended(batch.commit()?, &[])?;
    Answer::json(&LoggedIn::new(wish.user.clone(), Some(issued)))
}

/// Address, when it was proved, and the session that proved it.
fn proved_address(value: &Value) -> Option<(String, u64, String)> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Some((text("address")?, value.get("validated_at")?.as_u64()?, text("sid")?))
}

/// A batch that makes a guest a user: two statements, as for a new one.
fn grown_up(
    user: &str,
    hash: &str,
    passed: &Passed,
    address: Option<String>,
) -> std::result::Result<Batch, Error> {
    let threepid = address.map(|address| Threepid { medium: threepids::EMAIL.to_owned(), address });
    let name = localpart(user).to_owned();
    // Modules were asked about a nameless guest until now.
    let hidden = modules::check_registration(Some(name), threepid, "password", &passed.requests)?;
    Ok(Batch::new()
        .run(
            "UPDATE accounts_users SET password_hash = $2, guest = FALSE, \
             shadow_banned = CASE WHEN $3 = 1 THEN TRUE ELSE shadow_banned END, \
             revision = revision + 1 WHERE user_id = $1 AND guest = TRUE AND deactivated = FALSE",
            params![user, hash, i64::from(hidden)],
        )
        .expect(1)
        // A guest is counted already.
        .run("UPDATE accounts_counts SET users = users WHERE id = 1", params![])
        .wake(topics::sessions(user)))
}

fn newcomer(
    request: &Request,
    body: &Body,
    passed: &Passed,
    hash: String,
    address: Option<String>,
) -> std::result::Result<(Batch, String), Error> {
    let (username, displayname) = modules::names(&passed.proved, request.body());
    let username = username.or_else(|| body.username.clone());
    let threepid = address.map(|address| Threepid { medium: threepids::EMAIL.to_owned(), address });
    let name = username.as_deref().map(ids::small);
    let shadow_banned =
        modules::check_registration(name.clone(), threepid, "password", &passed.requests)?;
    let name = name.unwrap_or_else(|| random::letters(12).to_ascii_lowercase());
    let user = ids::check_new_localpart(&name)?;
    let account = NewAccount {
        user: user.clone(),
        password_hash: Some(hash),
        displayname,
        shadow_banned,
        ..NewAccount::default()
    };
    Ok((registration::create(Batch::new(), &account), user))
}
