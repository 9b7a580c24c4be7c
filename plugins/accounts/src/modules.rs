//! What modules are asked of accounts. Where nobody answers, a question costs next to nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tessera_sdk::bindings::http::tessera::plugin::identity::RateOverride;
use tessera_sdk::hooks::account_policy::{Login, Registration, RegistrationObjection};
use tessera_sdk::hooks::{self, RequestInfo, Threepid};
use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;
use tessera_sdk::{cache, log};

use crate::endpoints::profile_field_set::MAX_SHOWN;
use crate::session::Wish;

/// How long an answer about a user's standing is good for.
pub const FRESH_MS: u32 = 5_000;
/// Rates of one user; of more the first count.
const MAX_RATES: usize = 64;

/// Asks whether somebody whose credentials proved right may log in.
///
/// # Errors
/// A module's refusal.
pub fn check_login(wish: &Wish, request: &Request) -> Result<(), Error> {
    if !hooks::answered("tessera:hooks/account-policy") {
        return Ok(());
    }
    let login = Login {
        user: wish.user.clone(),
        device: wish.device_id.clone(),
        device_name: wish.display_name.clone(),
        kind: wish.kind.clone(),
        provider: None,
    };
    Ok(hooks::check_login(&login, &request.info())?)
}

/// Asks whether an account may be made; true: it is to be shadow-banned. `requests`: all that took part, this one last.
///
/// # Errors
/// A module's refusal.
pub fn check_registration(
    username: Option<String>,
    threepid: Option<Threepid>,
    provider: &str,
    requests: &[RequestInfo],
) -> Result<bool, Error> {
    if !hooks::answered("tessera:hooks/account-policy") {
        return Ok(false);
    }
    let registration = Registration { username, threepid, provider: provider.to_owned() };
    match hooks::check_registration(&registration, requests) {
        Ok(()) => Ok(false),
        Err(RegistrationObjection::Refuse(refusal)) => Err(refusal.into()),
        Err(RegistrationObjection::ShadowBan) => Ok(true),
    }
}

/// Names that modules choose for a new user: localpart and display name. `stages`: by stage, what it proved; `body`: the request's.
pub fn names(stages: &Map<String, Value>, body: &[u8]) -> (Option<String>, Option<String>) {
    if !hooks::answered("tessera:hooks/registration-names") {
        return (None, None);
    }
    // What was proved is an object for each stage; what proves nothing more is an empty one.
    let proof = |value: &Value| match value {
        Value::Object(proof) => Value::Object(proof.clone()),
        _ => Value::Object(Map::new()),
    };
    let stages =
        Value::Object(stages.iter().map(|(name, value)| (name.clone(), proof(value))).collect());
    let mut body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    for secret in ["password", "auth", "guest_access_token"] {
        body.remove(secret);
    }
    let (stages, body) = (stages.to_string(), Value::Object(body).to_string());
    (hooks::new_username(&stages, &body), shown(hooks::new_displayname(&stages, &body)))
}

/// A display name that a module chose, if it may be one.
pub fn shown(name: Option<String>) -> Option<String> {
    let (given, name) = (name.is_some(), name.filter(|n| !n.is_empty() && n.len() <= MAX_SHOWN));
    if given && name.is_none() {
        log::warn("a module chose a display name that cannot be", &[]);
    }
    name
}

/// What modules say of a user whose request is authenticated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The account has run out.
    pub expired: bool,
    rates: Vec<(String, f64, u32)>,
}

impl Standing {
    /// The user's own rates.
    pub fn rates(&self) -> Vec<RateOverride> {
        let rate = |(class, per_second, burst): &(String, f64, u32)| RateOverride {
            class: class.clone(),
            per_second: *per_second,
            burst: *burst,
        };
        self.rates.iter().map(rate).collect()
    }
}

/// A user's standing, not older than [`FRESH_MS`]. None: no module is asked.
pub fn standing(user: &str) -> Option<Standing> {
    let validity = hooks::answered("tessera:hooks/account-validity");
    let limits = hooks::answered("tessera:hooks/rate-limits");
    if !validity && !limits {
        return None;
    }
    let key = format!("standing:{user}");
    if let Some(kept) = cache::get(&key).and_then(|kept| serde_json::from_slice(&kept).ok()) {
        return Some(kept);
    }
    let mut standing = Standing::default();
    if validity {
        standing.expired = hooks::is_expired(user).unwrap_or(false);
    }
    if limits {
        let rates = hooks::rate_overrides(user).into_iter().take(MAX_RATES);
        let sound = rates.filter(|rate| rate.per_second.is_finite() && rate.per_second >= 0.0);
        standing.rates = sound.map(|rate| (rate.class, rate.per_second, rate.burst)).collect();
    }
    if let Ok(kept) = serde_json::to_vec(&standing) {
        cache::put(&key, &kept, FRESH_MS, &[]);
    }
    Some(standing)
}
