//! Users whom administrators make and change.

use serde_json::Value;
use tessera_sdk::http::Request;
use tessera_sdk::matrix::{Error, localpart};
use tessera_sdk::storage::{Batch, Failure, race};
use tessera_sdk::{clock, crypto, log, params};

use super::user::{self, Row};
use super::{Flag, notices, set};
use crate::endpoints::{deactivate, profile_field_set};
use crate::registration::{self, NewAccount};
use crate::uia::Object;
use crate::{identity, modules, password, session, threepids, topics};

/// How often addresses are written that somebody else wrote at the same moment.
const TRIES: usize = 3;
/// Types of users.
const TYPES: [&str; 2] = ["bot", "support"];

/// What the body of `PUT /v2/users/{userId}` asks for. `None`: not said.
#[derive(Debug, Default)]
pub struct Wish {
    password: Option<String>,
    keep_devices: bool,
    displayname: Option<Option<String>>,
    avatar_url: Option<Option<String>>,
    threepids: Option<Vec<(String, String)>>,
    admin: Option<bool>,
    deactivated: Option<bool>,
    locked: Option<bool>,
    user_type: Option<Option<String>>,
}

impl Wish {
    /// Reads and checks the body.
    ///
    /// # Errors
    /// `M_BAD_JSON` for a value of the wrong type, `M_MISSING_PARAM`, `M_INVALID_PARAM`, `M_WEAK_PASSWORD`.
    pub fn read(body: &Object) -> Result<Self, Error> {
        let password = text(body, "password")?.flatten();
        if let Some(password) = &password {
            password::check_new(password)?;
        }
        let wish = Self {
            password,
            keep_devices: flag(body, "logout_devices")? == Some(false),
            displayname: shown(body, "displayname")?,
            avatar_url: shown(body, "avatar_url")?,
            threepids: addresses(body)?,
            admin: flag(body, "admin")?,
            deactivated: flag(body, "deactivated")?,
            locked: flag(body, "locked")?,
            user_type: text(body, "user_type")?,
        };
        if let Some(Some(kind)) = &wish.user_type
            && !TYPES.contains(&kind.as_str())
        {
            return Err(Error::invalid_param("user_type is null, bot or support"));
        }
        if wish.deactivated == Some(true) && wish.locked == Some(true) {
            return Err(Error::invalid_param("who is deactivated cannot be locked"));
        }
        match body.get("external_ids") {
            None | Some(Value::Null) => {}
            Some(Value::Array(ids)) if ids.is_empty() => {}
            Some(_) => return Err(Error::invalid_param("external_ids: there are none here")),
        }
        Ok(wish)
    }

    /// Makes the user.
    ///
    /// # Errors
    /// `M_INVALID_USERNAME`, `M_USER_IN_USE`, `M_RESOURCE_LIMIT_EXCEEDED`, a module's refusal.
    pub fn make(&self, user: &str, request: &Request) -> Result<(), Error> {
        let name = localpart(user);
        registration::free(name)?;
        let requests = [request.info()];
        let shadow_banned =
            modules::check_registration(Some(name.to_owned()), None, "admin", &requests)?;
        let account = NewAccount {
            user: user.to_owned(),
            password_hash: self.password.as_deref().map(crypto::hash_password),
            displayname: self.displayname.clone().flatten(),
            admin: self.admin.unwrap_or(false),
            shadow_banned,
            by_admin: true,
            guest: false,
        };
        let batch = registration::create(Batch::new(), &account).run(
            "UPDATE accounts_users SET avatar_url = $2, user_type = $3 WHERE user_id = $1",
            params![user, self.avatar_url.clone().flatten(), self.user_type.clone().flatten()],
        );
        registration::commit(batch, |_| None)?;
        if let Some(wanted) = &self.threepids {
            // Somebody new has none that could be bound.
            replace_addresses(user, wanted)?;
        }
        if self.locked == Some(true) {
            set(user, Flag::Locked, true)?;
        }
        if self.deactivated == Some(true) {
            deactivate::end(user, false, true)?;
        }
        Ok(())
    }

    /// Changes a user who is there.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` for who would not be an administrator any more by their own doing, and for a password, a name or addresses of a
    /// deactivated user; a module's refusal.
    pub fn change(&self, user: &str, now: &Row, request: &Request) -> Result<(), Error> {
        let (_, _, is_admin, _, was_deactivated, ..) = now;
        if self.admin == Some(false) && *is_admin && request.user()? == user {
            return Err(Error::invalid_param("you may not demote yourself"));
        }
        if self.password.is_some() {
            has_password(user)?;
        }
        let reopened = *was_deactivated && self.deactivated == Some(false);
        if reopened {
            deactivate::reopen(user)?;
        }
        let mut gone = Vec::new();
        if *was_deactivated && !reopened {
            let some = |it: &Option<Option<String>>| it.as_ref().is_some_and(Option::is_some);
            let addresses = self.threepids.as_ref().is_some_and(|it| !it.is_empty());
            if self.password.is_some()
                || some(&self.displayname)
                || some(&self.avatar_url)
                || addresses
            {
                return Err(Error::invalid_param("this account is deactivated"));
            }
        } else {
            gone = self.describe(user, now)?;
        }
        for (flag, value) in [(Flag::Admin, self.admin), (Flag::Locked, self.locked)] {
            if let Some(value) = value {
                set(user, flag, value)?;
            }
        }
        if let Some(kind) = &self.user_type {
            let sql = "UPDATE accounts_users SET user_type = $2 WHERE user_id = $1";
            Batch::new().run(sql, params![user, kind.as_deref()]).commit_blind()?;
        }
        if self.deactivated == Some(true) && !was_deactivated {
            // This asks for all that is bound.
            deactivate::leave(request, user, false, None, true)?;
        } else if !gone.is_empty() {
            forget(user, &gone);
        }
        Ok(())
    }

    /// Name, avatar, addresses and password of a user who is not deactivated; the addresses that are not theirs any more.
    fn describe(&self, user: &str, now: &Row) -> Result<Vec<Address>, Error> {
        let (_, _, _, _, _, hidden, ..) = now;
        for (name, value) in [("displayname", &self.displayname), ("avatar_url", &self.avatar_url)]
        {
            if let Some(value) = value {
                profile_field_set::store(user, name, value.clone().map(Value::from), *hidden)?;
            }
        }
        let gone = match &self.threepids {
            Some(wanted) => replace_addresses(user, wanted)?,
            None => Vec::new(),
        };
        if let Some(password) = &self.password {
            set_password(user, password, self.keep_devices)?;
        }
        Ok(gone)
    }
}

/// Nobody logs in as the user who speaks for the server.
fn has_password(user: &str) -> Result<(), Error> {
    match notices::is_sender(user)? {
        true => Err(Error::forbidden("the user who sends server notices has no password")),
        false => Ok(()),
    }
}

/// Gives a user a new password; their devices are logged out unless they are to be kept.
///
/// # Errors
/// `M_NOT_FOUND` for who is not there or deactivated, `M_FORBIDDEN` for who sends server notices, storage.
pub fn set_password(user: &str, password: &str, keep_devices: bool) -> Result<(), Error> {
    has_password(user)?;
    let mut batch = password::replace(user, password);
    if !keep_devices {
        batch = session::remove_all(batch, user, None)?;
    }
    match batch.commit() {
        Ok(_) => Ok(()),
        Err(tessera_sdk::storage::Error::Conflict(0)) => Err(Error::not_found("no such user")),
        Err(error) => Err(error.into()),
    }
}

/// Medium and address.
type Address = (String, String);

/// Makes these the addresses of a user, and tells those that they had. They are taken from whoever has them.
fn replace_addresses(user: &str, wanted: &[Address]) -> Result<Vec<Address>, Error> {
    let is = |entry: &threepids::Entry, (medium, address): &Address| {
        &entry.0 == medium && &entry.1 == address
    };
    race(TRIES, || {
        let now = threepids::list(user)?;
        let mut gone = Vec::new();
        let mut batch = Batch::new();
        for (medium, address, ..) in now.iter().filter(|it| !wanted.iter().any(|that| is(it, that)))
        {
            batch = threepids::remove(batch, user, medium, address);
            gone.push((medium.clone(), address.clone()));
        }
        for (medium, address) in wanted.iter().filter(|that| !now.iter().any(|it| is(it, that))) {
            if let Some(other) = threepids::owner(medium, address)?.filter(|other| other != user) {
                batch = threepids::remove(batch, &other, medium, address);
            }
            batch = threepids::add(batch, user, medium, address, clock::now_ms());
        }
        if batch.is_empty() {
            return Ok(gone);
        }
        batch.commit().map(|_| gone).map_err(Failure::of)
    })
}

/// Identity servers are asked to forget these, all within one time: that one cannot be reached, or is slow, keeps nobody.
fn forget(user: &str, gone: &[Address]) {
    let forgotten = identity::bound(user, None).and_then(|mut bound| {
        let is_gone = |(medium, address): &Address, it: &identity::Binding| {
            *medium == it.0 && *address == it.1
        };
        bound.retain(|it| gone.iter().any(|address| is_gone(address, it)));
        identity::forget_each(user, &bound)
    });
    if let Err(error) = forgotten {
        log::warn("addresses stay bound", &[("reason", &error.to_string())]);
    }
}

fn wrong(name: &str, what: &str) -> Error {
    Error::bad_json(format!("{name} is {what}"))
}

fn flag(body: &Object, name: &str) -> Result<Option<bool>, Error> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(wrong(name, "a boolean")),
    }
}

/// `Some(None)`: null.
fn text(body: &Object, name: &str) -> Result<Option<Option<String>>, Error> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(value)) => Ok(Some(Some(value.clone()))),
        Some(_) => Err(wrong(name, "a string")),
    }
}

/// Display name or avatar; an empty one is none.
fn shown(body: &Object, name: &str) -> Result<Option<Option<String>>, Error> {
    let value = text(body, name)?.map(|value| value.filter(|value| !value.is_empty()));
    let most = profile_field_set::MAX_SHOWN;
    if value.iter().flatten().any(|value| value.len() > most) {
        return Err(Error::invalid_param(format!("{name} has at most {most} bytes")));
    }
    Ok(value)
}

fn addresses(body: &Object) -> Result<Option<Vec<(String, String)>>, Error> {
    let given = match body.get("threepids") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(given)) => given,
        Some(_) => return Err(wrong("threepids", "an array")),
    };
    if given.len() as i64 > threepids::MAX_ADDRESSES {
        return Err(Error::invalid_param("too many threepids"));
    }
    let mut all = Vec::new();
    for one in given {
        let member = |name: &str| match one.get(name) {
            Some(Value::String(value)) => Ok(value.as_str()),
            Some(_) => Err(wrong(name, "a string")),
            None => Err(Error::missing_param(format!("threepids: {name} is missing"))),
        };
        let (medium, address) = (member("medium")?, member("address")?);
        let address = match medium {
            "email" => threepids::canonical_email(address)?,
            "msisdn" => threepids::canonical(medium, address),
            _ => return Err(Error::invalid_param("medium is email or msisdn")),
        };
        if address.is_empty() || address.len() > MAX_ADDRESS {
            return Err(Error::invalid_param("this is no address"));
        }
        let one = (medium.to_owned(), address);
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(Some(all))
}

/// Bytes of an address.
const MAX_ADDRESS: usize = 500;

/// The user as they are now.
///
/// # Errors
/// `M_NOT_FOUND`, storage.
pub fn now(user: &str) -> Result<Value, Error> {
    user::told(user::find(user)?.ok_or_else(|| Error::not_found("no such user"))?)
}

/// Sets how many messages a user may send in a second, and at once; none: as everybody.
///
/// # Errors
/// Storage.
pub fn set_rate(user: &str, rate: Option<(u32, u32)>) -> Result<(), Error> {
    let (per_second, burst) = (rate.map(|rate| rate.0), rate.map(|rate| rate.1));
    let sql = "UPDATE accounts_users SET rate_per_second = $2, rate_burst = $3 WHERE user_id = $1";
    Batch::new()
        .run(sql, params![user, per_second, burst])
        .wake(topics::sessions(user))
        .commit_blind()?;
    Ok(())
}
