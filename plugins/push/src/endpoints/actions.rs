//! GET and PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions>

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};

use super::rule;
use crate::rules;

#[derive(Deserialize)]
struct Body {
    actions: Option<Vec<Value>>,
}

/// Tells or sets what a rule does.
///
/// # Errors
/// `M_INVALID_PARAM` for an unknown kind or a malformed action; `M_NOT_FOUND` for an unknown rule; `M_MISSING_PARAM`
/// without `actions`.
pub(crate) fn handle(request: &Request) -> Result {
    let (user, kind) = (request.user()?, rule::kind(request)?);
    let id = &*rules::inner_id(&kind, request.param("ruleId"));
    if request.method() == "GET" {
        let stored = rules::load(user)?;
        let found = stored.rules.get(kind, id).ok_or_else(rule::unknown)?;
        return Answer::json(&json!({ "actions": found.actions() }));
    }
    let body: Body = request.json()?;
    let actions = rule::actions(body.actions)?;
    rules::change(user, |rules| {
        rules.set_actions(kind.clone(), id, actions.clone()).map_err(|_| rule::unknown())
    })?;
    Answer::empty()
}
