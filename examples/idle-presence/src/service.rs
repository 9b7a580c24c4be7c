//! `tessera:services/presence`, for other plug-ins.

use tessera_sdk::{
    bindings::presence::exports::tessera::services::presence::{Error, Guest, Status},
    matrix, params, storage,
};

use crate::{Plugin, status};

/// Users of one question.
const MAX_USERS: usize = 1000;

fn told(error: &matrix::Error) -> Error {
    match error.http_status() {
        400..500 => Error::Refused((error.errcode().to_owned(), error.message().to_owned())),
        _ => Error::Unavailable(error.to_string()),
    }
}

fn read(users: Vec<String>) -> Result<Vec<Status>, matrix::Error> {
    if users.len() > MAX_USERS {
        return Err(matrix::Error::too_large(format!("at most {MAX_USERS} users at once")));
    }
    let rows: Vec<(String, String, Option<String>, u64)> = storage::query(
        "SELECT p.user_id, p.presence, p.status_msg, coalesce(s.active_ms, p.last_active_ms) \
         FROM presence_status p LEFT JOIN presence_seen s ON s.user_id = p.user_id WHERE p.user_id IN ($1)",
        params![users],
    )?
    .all()?;
    let status = |(user, presence, status_msg, last_active_ms)| Status {
        user,
        presence,
        status_msg,
        last_active_ms,
    };
    Ok(rows.into_iter().map(status).collect())
}

impl Guest for Plugin {
    fn get(users: Vec<String>) -> Result<Vec<Status>, Error> {
        read(users).map_err(|error| told(&error))
    }

    fn set(user: String, presence: String, status_msg: Option<String>) -> Result<(), Error> {
        status::set(&user, &presence, status_msg).map_err(|error| told(&error))
    }
}
