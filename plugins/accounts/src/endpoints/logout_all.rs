//! `POST /_matrix/client/v3/logout/all`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::storage::Batch;

use crate::session;

/// Ends every session of the user.
pub fn handle(request: &Request) -> Result {
    session::remove_all(Batch::new(), request.user()?, None)?.commit_blind()?;
    Answer::empty()
}
