//! `tessera:services/accounts`, for other plug-ins.

use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::{
    Error, Guest, Profile,
};
use tessera_sdk::matrix;
use tessera_sdk::params;
use tessera_sdk::storage::{self, query};

use crate::account_data::{self, Failure};
use crate::{Plugin, endpoints};

fn unavailable(error: impl std::fmt::Debug) -> Error {
    Error::Unavailable(format!("{error:?}"))
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Storage(storage::Error::Timeout) => Self::Unknown("storage: time-out".into()),
            other => unavailable(other),
        }
    }
}

fn not_found(error: &matrix::Error) -> Error {
    if error.http_status() == 404 { Error::NotFound } else { unavailable(error) }
}

impl Guest for Plugin {
    fn profiles(users: Vec<String>) -> Result<Vec<Profile>, Error> {
        let rows = query(
            "SELECT user_id, displayname, avatar_url FROM accounts_users \
             WHERE user_id IN ($1) AND deactivated = FALSE",
            params![users],
        )
        .map_err(unavailable)?;
        let rows: Vec<(String, Option<String>, Option<String>)> =
            rows.all().map_err(unavailable)?;
        let profile = |(user, displayname, avatar_url)| Profile { user, displayname, avatar_url };
        Ok(rows.into_iter().map(profile).collect())
    }

    fn filter(user: String, id: String) -> Result<String, Error> {
        endpoints::filter::get(&user, &id).map_err(|error| not_found(&error))
    }

    fn account_data(
        user: String,
        room: Option<String>,
        kind: String,
    ) -> Result<Option<String>, Error> {
        let entry = account_data::get(&user, room.as_deref().unwrap_or_default(), &kind);
        Ok(entry.map_err(unavailable)?.map(|(content, _)| content))
    }

    fn put_account_data(
        user: String,
        room: Option<String>,
        kind: String,
        content: String,
    ) -> Result<(), Error> {
        account_data::check(content.as_bytes()).map_err(unavailable)?;
        let room = room.unwrap_or_default();
        account_data::put(&user, &room, &kind, &content).map_err(Error::from)
    }
}
