//! `/_synapse/admin/v1`: what administrators do to a user's account.
//!
//! Not in the Matrix specification; dashboards and test suites speak it.
//! https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::query;
use tessera_sdk::{params, services};

use super::deactivate;
use crate::admin::{self, Flag, change, cross_signing, notices, user};
use crate::uia::Object;
use crate::{password, session};

fn boolean(body: &Object, name: &str) -> std::result::Result<Option<bool>, Error> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(Error::bad_json(format!("{name} is a boolean"))),
    }
}

fn needed(body: &Object, name: &str) -> std::result::Result<bool, Error> {
    boolean(body, name)?.ok_or_else(|| Error::missing_param(format!("{name} is missing")))
}

/// `POST /v1/deactivate/{userId}`. `M_NOT_FOUND`, `M_BAD_JSON`, a module's refusal.
pub fn deactivate(request: &Request) -> Result {
    let target = admin::target(request)?;
    let body: Object = request.json()?;
    let erase = boolean(&body, "erase")?.unwrap_or(false);
    deactivate::leave(request, target, erase, None, true)
}

/// `POST /v1/reset_password/{userId}`. `M_NOT_FOUND`, `M_MISSING_PARAM`, `M_WEAK_PASSWORD`.
pub fn reset_password(request: &Request) -> Result {
    let target = admin::target(request)?;
    let body: Object = request.json()?;
    let new = match body.get("new_password") {
        None => return Err(Error::missing_param("new_password is missing")),
        Some(Value::String(new)) => new,
        Some(_) => return Err(Error::bad_json("new_password is a string")),
    };
    let keep = boolean(&body, "logout_devices")? == Some(false);
    password::check_new(new)?;
    change::set_password(target, new, keep)?;
    Answer::empty()
}

/// `PUT /v1/suspend/{userId}`. `M_NOT_FOUND`, `M_MISSING_PARAM`, `M_BAD_JSON`.
pub fn suspend(request: &Request) -> Result {
    let target = admin::target(request)?;
    let body: Object = request.json()?;
    let value = needed(&body, "suspend")?;
    admin::set(target, Flag::Suspended, value)?;
    let mut answer = Object::new();
    answer.insert(format!("user_{target}_suspended"), value.into());
    Answer::json(&answer)
}

/// `GET /v1/users/{userId}/admin`. `M_NOT_FOUND`.
pub fn is_admin(request: &Request) -> Result {
    let target = admin::target(request)?;
    let is = user::find(target)?.is_some_and(|(_, _, admin, ..)| admin);
    Answer::json(&json!({ "admin": is }))
}

/// `PUT /v1/users/{userId}/admin`. `M_NOT_FOUND`, `M_MISSING_PARAM`, `M_INVALID_PARAM` for who would demote themselves.
pub fn set_admin(request: &Request) -> Result {
    let target = admin::target(request)?;
    let body: Object = request.json()?;
    let value = needed(&body, "admin")?;
    if !value && request.user()? == target {
        return Err(Error::invalid_param("you may not demote yourself"));
    }
    admin::set(target, Flag::Admin, value)?;
    Answer::empty()
}

/// `POST` and `DELETE /v1/users/{userId}/shadow_ban`. `M_NOT_FOUND`.
pub fn shadow_ban(request: &Request) -> Result {
    let target = admin::target(request)?;
    admin::set(target, Flag::ShadowBanned, request.method() == "POST")?;
    Answer::empty()
}

/// `GET /v1/users/{userId}/override_ratelimit`: empty for who is like everybody. `M_NOT_FOUND`.
pub fn rate(request: &Request) -> Result {
    let target = admin::target(request)?;
    let sql = "SELECT rate_per_second, rate_burst FROM accounts_users WHERE user_id = $1";
    match query(sql, params![target])?.first::<(Option<u64>, Option<u64>)>()? {
        Some((Some(per_second), burst)) => Answer::json(
            &json!({ "messages_per_second": per_second, "burst_count": burst.unwrap_or(0) }),
        ),
        _ => Answer::empty(),
    }
}

/// `POST /v1/users/{userId}/override_ratelimit`: messages a second and at once; 0 a second: as many as they like.
/// `M_NOT_FOUND`, `M_INVALID_PARAM`.
pub fn set_rate(request: &Request) -> Result {
    let target = admin::target(request)?;
    let body: Object = request.json()?;
    let number = |name: &str| {
        let number = body.get(name).map_or(Some(0), Value::as_u64);
        number.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| {
            Error::invalid_param(format!("{name} is a whole number from 0 to {}", u32::MAX))
        })
    };
    let (per_second, burst) = (number("messages_per_second")?, number("burst_count")?);
    change::set_rate(target, Some((per_second, burst)))?;
    Answer::json(&json!({ "messages_per_second": per_second, "burst_count": burst }))
}

/// `DELETE /v1/users/{userId}/override_ratelimit`. `M_NOT_FOUND`.
pub fn reset_rate(request: &Request) -> Result {
    change::set_rate(admin::target(request)?, None)?;
    Answer::empty()
}

/// `POST /v1/users/{userId}/login`: a token to act for the user, who does not see it. `M_NOT_FOUND` (also for deactivated users),
/// `M_INVALID_PARAM` for oneself, `M_FORBIDDEN` for who acts for somebody already.
pub fn login(request: &Request) -> Result {
    let target = admin::target(request)?;
    let body: Object = request.json()?;
    let until = match body.get("valid_until_ms") {
        None | Some(Value::Null) => None,
        Some(until) => {
            let wrong = || Error::bad_json("valid_until_ms is a whole number from 0");
            Some(until.as_u64().ok_or_else(wrong)?)
        }
    };
    let asking = request.user()?;
    if asking == target {
        return Err(Error::invalid_param("this is you"));
    }
    // Such a token would outlive the one that it was made by.
    if session::acts(request.principal()?) {
        return Err(Error::forbidden("act for one user after the other, not for one as another"));
    }
    if notices::is_sender(target)? {
        return Err(Error::forbidden("nobody acts for the user who sends server notices"));
    }
    Answer::json(&json!({ "access_token": session::act_as(asking, target, until)? }))
}

/// `POST /v1/users/{userId}/_allow_cross_signing_replacement_without_uia`: once within ten minutes. `M_NOT_FOUND` where there are no keys to
/// replace.
pub fn allow_cross_signing(request: &Request) -> Result {
    let target = admin::target(request)?;
    let wanted = json!({ "device_keys": { target: [] } }).to_string();
    let keys = services::query_keys(&wanted, None).map_err(|error| {
        let reason = format!("{error:?}");
        tessera_sdk::log::warn("keys cannot be asked", &[("reason", &reason)]);
        Error::with_status(503, "M_UNKNOWN", "the server is busy; try again")
    })?;
    let keys: Value = serde_json::from_str(&keys).map_err(Error::internal)?;
    let masters = keys.get("master_keys").and_then(Value::as_object);
    if !masters.is_some_and(|masters| masters.contains_key(target)) {
        return Err(Error::not_found("this user has no master cross-signing key"));
    }
    Answer::json(&json!({ "updatable_without_uia_before_ms": cross_signing::permit(target)? }))
}
