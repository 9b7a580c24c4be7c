//! `tessera:services/presence`, for other plug-ins.

use tessera_sdk::bindings::presence::exports::tessera::services::presence::{Error, Guest, Status};
use tessera_sdk::storage::query;
use tessera_sdk::{matrix, params};

use crate::{Plugin, status};

/// Users asked for at once.
const MAX_USERS: usize = 1000;

fn unavailable(error: impl std::fmt::Debug) -> Error {
    Error::Unavailable(format!("{error:?}"))
}

fn refused(error: matrix::Error) -> Error {
    match error.http_status() {
        400..500 => Error::Refused((error.errcode().to_owned(), error.message().to_owned())),
        _ => unavailable(error),
    }
}

impl Guest for Plugin {
    fn get(users: Vec<String>) -> Result<Vec<Status>, Error> {
        if users.len() > MAX_USERS {
            let text = format!("at most {MAX_USERS} users at once");
            return Err(refused(matrix::Error::too_large(text)));
        }
        let rows = query(
            "SELECT p.user_id, p.presence, p.status_msg, COALESCE(s.active_ms, p.last_active_ms) AS active_ms \
             FROM presence_status p LEFT JOIN presence_seen s ON s.user_id = p.user_id WHERE p.user_id IN ($1)",
            params![users],
        );
        let rows: Vec<(String, String, Option<String>, u64)> =
            rows.map_err(unavailable)?.all().map_err(unavailable)?;
        let status = |(user, presence, status_msg, last_active_ms)| Status {
            user,
            presence,
            status_msg,
            last_active_ms,
        };
        Ok(rows.into_iter().map(status).collect())
    }

    fn set(user: String, presence: String, status_msg: Option<String>) -> Result<(), Error> {
        status::set(&user, &presence, status_msg).map_err(refused)
    }
}
