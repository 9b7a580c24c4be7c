//! `POST /_matrix/client/v3/account/password`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword

use serde::Deserialize;
use serde_json::Value;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::{params, storage};

use crate::authenticator::may_act;
use crate::uia::{self, Asking, Checked, Object, Passed, Stage};
use crate::{config, password, session, threepids, validation};

#[derive(Debug, Deserialize)]
struct Body {
    new_password: Option<String>,
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

/// Changes the password: with an access token after the password stage, without one after the e-mail stage, for whom the address belongs to.
/// The user's other devices are logged out unless told otherwise.
///
/// `M_FORBIDDEN` where passwords are not changed here, `M_MISSING_PARAM`, `M_WEAK_PASSWORD`, `M_INVALID_PARAM`.
pub fn handle(request: &Request) -> Result {
    if !config::get()?.password_changes {
        return Err(Error::forbidden("passwords are not changed here"));
    }
    let body: Body = request.json()?;
    let asked: Object = request.json()?;
    let asking = Asking::of(request, &asked);
    let stage = if asking.user.is_some() { Stage::Password } else { Stage::OwnEmail };
    let passed = match uia::check(&asking, &[vec![stage]])? {
        Checked::Passed(passed) => passed,
        Checked::Ask(question) => return Answer::json_with_status(401, &question),
    };
    let new = body.new_password;
    let new = new.ok_or_else(|| Error::missing_param("new_password is missing"))?;
    password::check_new(&new)?;
    let (user, proof) = match asking.user {
        Some(user) => (user.to_owned(), None),
        None => {
            let owner = owner(&passed)?;
            may_act(&owner.0)?;
            owner
        }
    };
    let mut batch = password::replace(&user, &new);
    if let Some(sid) = &proof {
        batch = validation::spend(batch, sid);
    }
    let seen = passed.proved(Stage::Password).and_then(|it| it.get("revision")?.as_i64());
    // By the index of its statement in the batch.
    let guard = seen.map(|_| 1 + u32::from(proof.is_some()));
    if let Some(seen) = seen {
        // The password that was given is still the one: of two who change it at once only one does.
        let sql =
            "UPDATE accounts_users SET revision = revision WHERE user_id = $1 AND revision = $2";
        batch = batch.run(sql, params![&user, seen.saturating_add(1)]).expect(1);
    }
    if body.logout_devices {
        batch = session::remove_all(batch, &user, request.device())?;
    }
    for _ in 0..TRIES {
        match batch.clone().commit() {
            Ok(committed) => {
                session::ended(committed, &[])?;
                return Answer::empty();
            }
            // The account has ended, or what proved it is spent.
            Err(storage::Error::Conflict(0 | 1)) if proof.is_some() => {
                return Err(validation::failed(400));
            }
            Err(storage::Error::Conflict(at)) if at == 0 || Some(at) == guard => {
                return Err(Error::forbidden("this is not the password any more"));
            }
            // It met another who writes what it writes.
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}

/// How often a change is tried that meets another.
const TRIES: usize = 3;

/// Whose address was proved, and by which session.
fn owner(passed: &Passed) -> std::result::Result<(String, Option<String>), Error> {
    let proved = passed.proved(Stage::OwnEmail);
    let text = |name: &str| proved.and_then(|it| it.get(name)).and_then(Value::as_str);
    let (Some(address), Some(sid)) = (text("address"), text("sid")) else {
        return Err(validation::failed(400));
    };
    let user =
        threepids::owner(threepids::EMAIL, address)?.ok_or_else(|| validation::failed(400))?;
    Ok((user, Some(sid.to_owned())))
}
