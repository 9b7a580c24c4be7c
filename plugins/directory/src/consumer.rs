//! The index of users' names, kept by what `accounts` tells: `accounts.profiles` and `accounts.users`.

use serde::Deserialize;
use tessera_sdk::consumer::{self, Guest, Message};
use tessera_sdk::matrix::{Error, localpart, server_name};
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

use crate::Plugin;

/// The full-text index of names. Keys are full user ids.
pub(crate) const INDEX: &str = "users";
/// All are in one group.
pub(crate) const GROUP: &str = "local";

#[derive(Deserialize)]
struct Changed {
    user_id: String,
}

impl Guest for Plugin {
    fn handle(messages: Vec<Message>) -> Result<u32, String> {
        consumer::each(&messages, one)
    }
}

/// How often an entry that changes under it is written for one message.
const ATTEMPTS: usize = 5;

/// Writes the entry as it is to be by now: messages may come late, and twice, and two of one user side by side.
fn one(message: &Message) -> Result<(), Error> {
    let changed: Changed = consumer::payload(message)?;
    let user = changed.user_id;
    let mut text = entry(&user)?;
    for _ in 0..ATTEMPTS {
        Batch::new().text(INDEX, &user, GROUP, text.clone()).done(message.id).commit_blind()?;
        let now = entry(&user)?;
        if now == text {
            return Ok(());
        }
        text = now;
    }
    Err(Error::internal("the name of a user changes all the time"))
}

/// What stands in the index of a user; none if they are not to be found.
fn entry(user: &str) -> Result<Option<String>, Error> {
    let rows = storage::query(
        "SELECT p.displayname FROM accounts_v1_users u
         JOIN accounts_v1_profiles p ON p.user_id = u.user_id
         WHERE u.user_id = $1 AND u.deactivated = FALSE AND u.guest = FALSE",
        params![user],
    )?;
    Ok(rows.first::<(Option<String>,)>()?.map(|(name,)| words(user, name.as_deref())))
}

/// What a user is found by. Spec: client-server API, User Directory: user id and display name.
pub(crate) fn words(user: &str, name: Option<&str>) -> String {
    format!("{} {} {}", name.unwrap_or_default(), localpart(user), server_name(user))
}
