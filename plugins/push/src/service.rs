//! `tessera:services/push`, for other plug-ins.

use tessera_sdk::bindings::push::exports::tessera::services::push::{Error, Guest};

use crate::{Plugin, rules};

impl Guest for Plugin {
    fn rules(user: String) -> Result<String, Error> {
        let unavailable = |error: tessera_sdk::matrix::Error| Error::Unavailable(error.to_string());
        let stored = rules::load(&user).map_err(unavailable)?;
        rules::content(&stored.rules).map_err(unavailable)
    }
}
