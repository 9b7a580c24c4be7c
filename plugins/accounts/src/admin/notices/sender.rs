//! The user who sends server notices.

use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, query};

use crate::config::ServerNotices;
use crate::endpoints::profile_field_set;
use crate::registration::{self, NewAccount};

/// Sees to it that the user is there, as configured.
///
/// # Errors
/// 409 `M_USER_IN_USE` where it is somebody's account, storage.
pub(super) fn ready(user: &str, config: &ServerNotices) -> Result<(), Error> {
    let (shown, avatar) = match find(user)? {
        Some(profile) => profile,
        None => {
            let made = make(user, config);
            match find(user)? {
                Some(profile) => profile,
                None => return made,
            }
        }
    };
    for (name, is, wanted) in
        [("displayname", shown, &config.display_name), ("avatar_url", avatar, &config.avatar_url)]
    {
        if is != *wanted {
            let value = wanted.as_deref().map(Into::into);
            profile_field_set::store(user, name, value, false)?;
        }
    }
    Ok(())
}

type Shown = (Option<String>, Option<String>);

/// Display name and avatar.
fn find(user: &str) -> Result<Option<Shown>, Error> {
    let sql = "SELECT notices, deactivated, displayname, avatar_url FROM accounts_users WHERE user_id = $1";
    match query(sql, params![user])?.first::<(bool, bool, Option<String>, Option<String>)>()? {
        None => Ok(None),
        Some((true, false, shown, avatar)) => Ok(Some((shown, avatar))),
        Some(_) => {
            let text = format!(
                "{user} is somebody's account: `server-notices.localpart` must be a name that nobody has"
            );
            Err(Error::new(ErrorCode::UserInUse, text).status(409))
        }
    }
}

/// Nobody logs in as this user: there is no password.
fn make(user: &str, config: &ServerNotices) -> Result<(), Error> {
    let account = NewAccount {
        user: user.to_owned(),
        displayname: config.display_name.clone(),
        by_admin: true,
        ..NewAccount::default()
    };
    let batch = registration::create(Batch::new(), &account).run(
        "UPDATE accounts_users SET notices = TRUE, avatar_url = $2 WHERE user_id = $1",
        params![user, config.avatar_url.as_deref()],
    );
    registration::commit(batch, |_| None).map(drop)
}
