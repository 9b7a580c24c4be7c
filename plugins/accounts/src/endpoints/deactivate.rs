//! `POST /_matrix/client/v3/account/deactivate`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate

use serde_json::json;
use tessera_sdk::hooks;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

use crate::{session, topics, uia};

/// Ends an account for good, after the password stage: password, sessions, profile and account data are
/// gone, the name stays taken. `rooms` and others learn of it by the topic `accounts.users`.
pub fn handle(request: &Request) -> Result {
    let user = request.user()?;
    if let Some(ask) = uia::password(request)? {
        return Ok(ask);
    }
    if hooks::answered("tessera:hooks/account-rules") {
        hooks::can_deactivate(user, &request.requester()?, false)?;
    }
    let mut batch = Batch::new()
        .run(
            "UPDATE accounts_users SET deactivated = TRUE, password_hash = NULL, displayname = NULL,              avatar_url = NULL, revision = revision + 1 WHERE user_id = $1              AND deactivated = FALSE",
            params![user],
        )
        .expect(1)
        .run("UPDATE accounts_counts SET users = users - 1 WHERE id = 1", params![]);
    let owned =
        ["accounts_profile_fields", "accounts_account_data", "accounts_filters", "accounts_openid"];
    for table in owned {
        batch = batch.run(&format!("DELETE FROM {table} WHERE user_id = $1"), params![user]);
    }
    let message =
        json!({ "user_id": user, "change": "deactivated", "by_admin": false }).to_string();
    let batch = session::remove_all(batch, user, None)?
        .emit(topics::USERS, user, message)
        .wake(topics::user(user));
    match batch.commit() {
        // The other one did the same.
        Ok(_) | Err(storage::Error::Conflict(0)) => {}
        Err(error) => return Err(error.into()),
    }
    // There are no third-party ids to unbind.
    Answer::json(&json!({ "id_server_unbind_result": "success" }))
}
