//! `tessera:services/keys`, for other plug-ins.

use serde::de::DeserializeOwned;
use tessera_sdk::bindings::keys::exports::tessera::services::keys::{Error, Guest};
use tessera_sdk::matrix;

use crate::{Plugin, claim, query, to_device};

fn refused(error: matrix::Error) -> Error {
    match error.http_status() {
        400..500 => Error::Refused((error.errcode().to_owned(), error.message().to_owned())),
        _ => Error::Unavailable(error.to_string()),
    }
}

fn parse<T: DeserializeOwned>(request: &str) -> Result<T, Error> {
    serde_json::from_str(request)
        .map_err(|error| refused(matrix::Error::bad_json(error.to_string())))
}

fn json<T: serde::Serialize>(answer: &T) -> Result<String, Error> {
    serde_json::to_string(answer).map_err(|error| Error::Unavailable(error.to_string()))
}

impl Guest for Plugin {
    fn acknowledge(user: String, device: String, position: u64) -> Result<(), Error> {
        to_device::acknowledge(&user, &device, position).map_err(refused)
    }

    fn send_to_device(
        sender: String,
        kind: String,
        id: String,
        messages: String,
    ) -> Result<(), Error> {
        to_device::send_for_service(&sender, &kind, &id, &messages).map_err(refused)
    }

    fn query(request: String, viewer: Option<String>) -> Result<String, Error> {
        let body = parse(&request)?;
        json(&query::answer(&body, viewer.as_deref()).map_err(refused)?)
    }

    fn claim(request: String) -> Result<String, Error> {
        json(&claim::answer(parse(&request)?).map_err(refused)?)
    }
}
