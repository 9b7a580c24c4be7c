//! `POST /_matrix/client/v3/logout`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout

use tessera_sdk::http::{Answer, Request, Result};

use crate::session;

/// Ends this session: its tokens are void at once and its device is gone.
pub fn handle(request: &Request) -> Result {
    let principal = request.principal()?;
    match &principal.device {
        Some(device) => session::remove_devices(&principal.user, std::slice::from_ref(device))?,
        None => {
            let mut marks = principal.marks.iter();
            if let Some(hash) = marks.find_map(|mark| mark.strip_prefix(session::TOKEN_MARK)) {
                session::end_acting(hash)?;
            }
        }
    }
    Answer::empty()
}
