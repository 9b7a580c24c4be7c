//! GET and PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled>

use serde::Deserialize;
use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use super::rule;
use crate::rules;

#[derive(Deserialize)]
struct Body {
    enabled: Option<bool>,
}

/// Tells or sets whether a rule is in force.
///
/// # Errors
/// `M_INVALID_PARAM` for an unknown kind; `M_NOT_FOUND` for an unknown rule; `M_MISSING_PARAM` without `enabled`.
pub(crate) fn handle(request: &Request) -> Result {
    let (user, kind) = (request.user()?, rule::kind(request)?);
    let id = &*rules::inner_id(&kind, request.param("ruleId"));
    if request.method() == "GET" {
        let stored = rules::load(user)?;
        let found = stored.rules.get(kind, id).ok_or_else(rule::unknown)?;
        return Answer::json(&json!({ "enabled": found.enabled() }));
    }
    let body: Body = request.json()?;
    let enabled = body.enabled.ok_or_else(|| Error::missing_param("enabled is missing"))?;
    rules::change(user, |rules| {
        rules.set_enabled(kind.clone(), id, enabled).map_err(|_| rule::unknown())
    })?;
    Answer::empty()
}
