//! `POST /_matrix/client/v3/account/deactivate`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::hooks::{self, Requester};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

use crate::authenticator::may_act;
use crate::uia::{self, Asking, Checked, Object, Stage};
use crate::{identity, session, threepids, topics};

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    erase: bool,
    id_server: Option<String>,
}

/// Ends an account for good, after the password stage, which says who it is where there is no access token: password, sessions, addresses,
/// profile and account data are gone, the name stays taken. `rooms` and others learn of it by the topic `accounts.users`.
/// `erase`: those who join their rooms later are not shown their events (view `accounts_v1_erased`).
pub fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    let asked: Object = request.json()?;
    let asking = Asking::of(request, &asked);
    let passed = match uia::check(&asking, &[vec![Stage::Password]])? {
        Checked::Passed(passed) => passed,
        Checked::Ask(question) => return Answer::json_with_status(401, &question),
    };
    let proved = passed.proved(Stage::Password).and_then(|it| it.get("user_id"));
    let user = asking.user.or_else(|| proved.and_then(Value::as_str));
    let user = user.ok_or_else(|| Error::forbidden("who is this?"))?;
    if asking.user.is_none() {
        may_act(user)?;
    }
    if hooks::answered("tessera:hooks/account-rules") {
        let requester = match request.requester() {
            Ok(requester) => requester,
            Err(_) => Requester {
                user: user.to_owned(),
                device: None,
                service: None,
                admin: false,
                request: request.info(),
            },
        };
        hooks::can_deactivate(user, &requester, false)?;
    }
    // Before the account is gone: identity servers ask who it is about.
    let unbound = identity::unbind_all(user, body.id_server.as_deref())?;
    end(user, body.erase, false)?;
    Answer::json(&json!({ "id_server_unbind_result": identity::result(unbound) }))
}

/// Ends an account; one that is ended already stays so.
///
/// # Errors
/// Storage.
pub fn end(user: &str, erase: bool, by_admin: bool) -> std::result::Result<(), Error> {
    let mut batch = Batch::new()
        .run(
            "UPDATE accounts_users SET deactivated = TRUE, password_hash = NULL, displayname = NULL, \
             avatar_url = NULL, erased = $2, revision = revision + 1 WHERE user_id = $1 \
             AND deactivated = FALSE",
            params![user, erase],
        )
        .expect(1)
        .run("UPDATE accounts_counts SET users = users - 1 WHERE id = 1", params![]);
    for (medium, address, ..) in threepids::list(user)? {
        batch = threepids::remove(batch, user, &medium, &address);
    }
    // Whatever was added since that look goes, too.
    let owned = [
        "accounts_threepids",
        "accounts_bindings",
        "accounts_profile_fields",
        "accounts_account_data",
        "accounts_filters",
        "accounts_openid",
    ];
    for table in owned {
        batch = batch.run(&format!("DELETE FROM {table} WHERE user_id = $1"), params![user]);
    }
    let mut message = json!({ "user_id": user, "change": "deactivated", "by_admin": by_admin });
    if let (true, Some(message)) = (erase, message.as_object_mut()) {
        message.insert("erase".to_owned(), true.into());
    }
    let batch = session::remove_all(batch, user, None)?
        .emit(topics::USERS, user, message.to_string())
        .wake(topics::user(user));
    match batch.commit() {
        // The other one did the same.
        Ok(_) | Err(storage::Error::Conflict(0)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
