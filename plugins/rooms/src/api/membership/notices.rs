//! Rooms of server notices, which users cannot refuse. Spec: client-server API, Server Notices.

use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::{params, storage};

/// Refuses to reject the invite to the user's room of server notices. Who has joined it may leave.
///
/// # Errors
/// 403 `M_CANNOT_LEAVE_SERVER_NOTICE_ROOM`; storage.
pub(crate) fn may_reject(room_id: &str, user: &str) -> Result<(), Error> {
    let rows = storage::query(
        "SELECT room_id FROM accounts_v1_server_notices WHERE user_id = $1",
        params![user],
    )?;
    match rows.first::<(String,)>()? {
        Some((room,)) if room == room_id => {
            let text = "notices of the server cannot be refused";
            Err(Error::new(ErrorCode::CannotLeaveServerNoticeRoom, text))
        }
        _ => Ok(()),
    }
}
