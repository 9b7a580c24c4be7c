//! Users who take no invites. Spec: client-server API, Invite permission.

use serde_json::{Map, Value};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::{params, storage};

use crate::ids;

/// Refuses invites to users of this server who take none.
///
/// # Errors
/// 403 `M_INVITE_BLOCKED`; storage.
pub(crate) fn check(invited: &[String]) -> Result<(), Error> {
    let local: Vec<String> = invited.iter().filter(|user| ids::is_local(user)).cloned().collect();
    if local.is_empty() {
        return Ok(());
    }
    let rows = storage::query(
        "SELECT user_id, content FROM accounts_v1_account_data
         WHERE user_id IN ($1) AND room_id = '' AND type = 'm.invite_permission_config'",
        params![local],
    )?;
    for (user, content) in rows.all::<(String, String)>()? {
        let content: Map<String, Value> = serde_json::from_str(&content).unwrap_or_default();
        if content.get("default_action").and_then(Value::as_str) == Some("block") {
            let text = format!("{user} takes no invites");
            return Err(Error::new(ErrorCode::InviteBlocked, text));
        }
    }
    Ok(())
}
