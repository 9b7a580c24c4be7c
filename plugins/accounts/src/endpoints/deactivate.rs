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
use crate::{identity, registration, session, threepids, topics};

/// How often an account is opened again that met another in the count of users.
const TRIES: usize = 5;

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
    leave(request, user, body.erase, body.id_server.as_deref(), false)
}

/// Ends an account where modules allow it, and has identity servers forget it; the answer of the endpoints.
///
/// # Errors
/// A module's refusal, `M_INVALID_PARAM` for an identity server, storage.
pub fn leave(
    request: &Request,
    user: &str,
    erase: bool,
    id_server: Option<&str>,
    by_admin: bool,
) -> Result {
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
        hooks::can_deactivate(user, &requester, by_admin)?;
    }
    let bound = identity::bound(user, id_server)?;
    end(user, erase, by_admin)?;
    // Afterwards: how long they take, and whether they are there at all, keeps nobody's account alive.
    let unbound = identity::forget_each(user, &bound)?;
    Answer::json(&json!({ "id_server_unbind_result": identity::result(unbound) }))
}

/// Ends an account; one that is ended already stays so, and may still be erased.
///
/// # Errors
/// Storage.
pub fn end(user: &str, erase: bool, by_admin: bool) -> std::result::Result<(), Error> {
    let mut batch = Batch::new()
        .run(
            "UPDATE accounts_users SET deactivated = TRUE, password_hash = NULL, displayname = NULL, \
             avatar_url = NULL, admin = FALSE, erased = $2, revision = revision + 1 WHERE user_id = $1 \
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
        Ok(_) => Ok(()),
        // The other one did the same.
        Err(storage::Error::Conflict(0)) if erase => {
            let sql =
                "UPDATE accounts_users SET erased = TRUE WHERE user_id = $1 AND deactivated = TRUE";
            Batch::new().run(sql, params![user]).commit_blind()?;
            Ok(())
        }
        Err(storage::Error::Conflict(0)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens an account again that was ended: a name without password, devices or rooms. One that is open stays so.
///
/// # Errors
/// `M_RESOURCE_LIMIT_EXCEEDED` if there may be no more users, storage.
pub fn reopen(user: &str) -> std::result::Result<(), Error> {
    let message = json!({ "user_id": user, "change": "reactivated", "by_admin": true });
    let batch = Batch::new()
        .run(
            "UPDATE accounts_users SET deactivated = FALSE, erased = FALSE, revision = revision + 1 \
             WHERE user_id = $1 AND deactivated = TRUE",
            params![user],
        )
        .expect(1);
    let batch = registration::count(batch).emit(topics::USERS, user, message.to_string());
    for _ in 0..TRIES {
        match batch.clone().commit() {
            Ok(_) | Err(storage::Error::Conflict(0)) => return Ok(()),
            Err(storage::Error::Conflict(_)) => registration::room_for_one()?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}
