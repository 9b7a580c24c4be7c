//! A user's name and picture, in the member events of their rooms.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};
use serde::Deserialize;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;
use tessera_sdk::{crypto, log};

use crate::act::{Act, Step};
use crate::core::Draft;
use crate::store::Needs;

/// Rooms that are looked up at a time.
const PAGE: u32 = 100;

/// Brings every room that a user is in up to their profile. Rooms that have it already are left alone, so a
/// repetition costs one query.
///
/// # Errors
/// Storage failed, or a room was too busy; what was done stays done.
pub fn apply(user: &str, displayname: Option<&str>, avatar_url: Option<&str>) -> Result<(), Error> {
    let mut last = String::new();
    loop {
        let rooms = storage::query(
            "SELECT room_id FROM rooms_memberships
             WHERE user_id = $1 AND membership = 'join' AND room_id > $2
               AND (display_name IS DISTINCT FROM $3 OR avatar_url IS DISTINCT FROM $4)
             ORDER BY room_id LIMIT $5",
            params![user, &last, displayname, avatar_url, PAGE],
        )?
        .all::<(String,)>()?;
        let Some((end,)) = rooms.last().cloned() else {
            return Ok(());
        };
        for (room_id,) in &rooms {
            match in_room(room_id, user, displayname, avatar_url) {
                Ok(()) => {}
                // Its rules may stand against it; other rooms are not to suffer.
                Err(error) if error.http_status() < 500 => {
                    log::info(
                        "a profile is not taken",
                        &[("room", room_id), ("reason", error.message())],
                    );
                }
                Err(error) => return Err(error),
            }
        }
        last = end;
    }
}

fn in_room(
    room_id: &str,
    user: &str,
    displayname: Option<&str>,
    avatar_url: Option<&str>,
) -> Result<(), Error> {
    Act { room_id, needs: Needs::of_member(user, user), transaction: None, asker: None }
        .run(|view| {
            let Some(event) = view.state.get("m.room.member", user) else {
                return Ok(Step::Done(String::new()));
            };
            let mut content: CanonicalJsonObject = event.content_as().unwrap_or_default();
            if content.get("membership").and_then(CanonicalJsonValue::as_str) != Some("join") {
                return Ok(Step::Done(String::new()));
            }
            let before = content.clone();
            for (key, value) in [("displayname", displayname), ("avatar_url", avatar_url)] {
                match value {
                    Some(value) => content.insert(key.to_owned(), value.into()),
                    None => content.remove(key),
                };
            }
            // These spoke of how the user came in.
            content.remove("reason");
            content.remove("join_authorised_via_users_server");
            content.remove("third_party_invite");
            if content == before {
                return Ok(Step::Done(String::new()));
            }
            Ok(Draft::state("m.room.member", user, user, content).into())
        })
        .map(|_| ())
}

/// What `accounts.profiles` carries.
#[derive(Debug, Deserialize)]
pub struct Changed {
    user_id: String,
    displayname: Option<String>,
    avatar_url: Option<String>,
}

/// What the direct call did not reach.
///
/// # Errors
/// As [`apply`].
pub fn changed(message: Changed) -> Result<(), Error> {
    let (mut name, mut avatar) = (message.displayname, message.avatar_url);
    // The profile may have changed since: the newest counts.
    let newest = storage::query(
        "SELECT displayname, avatar_url FROM accounts_v1_profiles WHERE user_id = $1",
        params![&message.user_id],
    )?
    .first()?;
    if let Some(newest) = newest {
        (name, avatar) = newest;
    }
    if tessera_sdk::matrix::server_name(&message.user_id) != crypto::tenant_name() {
        return Ok(());
    }
    apply(&message.user_id, name.as_deref(), avatar.as_deref())
}
