//! `POST /_matrix/client/v3/register?kind=guest`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#guest-access

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::random;
use tessera_sdk::storage::Batch;

use super::login::LoggedIn;
use crate::config::Config;
use crate::registration::{self, NewAccount};
use crate::session::{self, Wish};
use crate::{ids, modules};

#[derive(Debug, Deserialize)]
struct Body {
    initial_device_display_name: Option<String>,
}

/// Makes a guest, with a device and a token of the server's choice; no stages. All else that the request says is passed over.
///
/// `M_GUEST_ACCESS_FORBIDDEN` where there are none.
pub fn handle(request: &Request, config: &Config) -> Result {
    if !config.guests {
        return Err(Error::new(ErrorCode::GuestAccessForbidden, "there are no guests here"));
    }
    let body: Body = request.json()?;
    registration::room_for_one()?;
    let requests = [request.info()];
    let shadow_banned = modules::check_registration(None, None, "guest", &requests)?;
    let user = ids::local_user(&random::letters(16).to_ascii_lowercase());
    let account =
        NewAccount { user: user.clone(), guest: true, shadow_banned, ..NewAccount::default() };
    let wish = Wish {
        user: user.clone(),
        device_id: None,
        display_name: body.initial_device_display_name,
        refresh: false,
        remote: request.remote().to_owned(),
        kind: "guest".to_owned(),
    };
    let batch = registration::create(Batch::new(), &account);
    let (batch, issued) = session::log_in(batch, &wish)?;
    registration::commit(batch, |_| None)?;
    Answer::json(&LoggedIn::new(user, Some(issued)))
}
