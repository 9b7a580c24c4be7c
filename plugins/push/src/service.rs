//! `tessera:services/push`, for other plug-ins.

use tessera_sdk::bindings::push::exports::tessera::services::push::{Error, Guest};
use tessera_sdk::matrix;

use crate::endpoints::rule;
use crate::{Plugin, rules};

/// What is the client's doing is refused, the rest is nobody's.
fn refused(error: matrix::Error) -> Error {
    match error.http_status() {
        404 => Error::NotFound,
        400..500 => Error::Refused((error.errcode().to_owned(), error.message().to_owned())),
        _ => Error::Unavailable(error.to_string()),
    }
}

impl Guest for Plugin {
    fn rules(user: String) -> Result<String, Error> {
        let unavailable = |error: matrix::Error| Error::Unavailable(error.to_string());
        let stored = rules::load(&user).map_err(unavailable)?;
        rules::content(&stored.rules).map_err(unavailable)
    }

    fn set_actions(
        user: String,
        kind: String,
        rule_id: String,
        actions: String,
    ) -> Result<(), Error> {
        let kind = rule::kind_named(&kind).map_err(refused)?;
        let actions = serde_json::from_str(&actions)
            .map_err(|error| refused(matrix::Error::bad_json(error.to_string())))?;
        let actions = rule::actions(Some(actions)).map_err(refused)?;
        rules::change(&user, |set| {
            let id = &*rules::inner_id(&kind, &rule_id);
            set.set_actions(kind.clone(), id, actions.clone()).map_err(|_| rule::unknown())
        })
        .map_err(refused)
    }
}
