//! `POST /_matrix/client/v3/logout`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout

use tessera_sdk::http::{Answer, Request, Result};

use crate::session;

/// Ends this session: its tokens are void at once and its device is gone.
pub fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let devices: Vec<String> = request.device().map(str::to_owned).into_iter().collect();
    session::remove_devices(user, &devices)?;
    Answer::empty()
}
