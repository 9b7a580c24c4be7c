//! Whom a user does not want to hear of. Spec: <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Select};

use crate::event::EventRow;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    ignored_users: BTreeMap<String, IgnoredAny>,
}

/// Reads the list: the answer, if there is any, is for [`users`].
pub(crate) fn select(user: &str) -> Select {
    storage::select(
        "SELECT content FROM accounts_v1_account_data \
         WHERE user_id = $1 AND room_id = '' AND type = 'm.ignored_user_list'",
        params![user],
    )
}

/// The users named in `m.ignored_user_list`; none where it is malformed, as nobody checked it.
pub(crate) fn users(content: &str) -> BTreeSet<String> {
    let list: Option<List> = serde_json::from_str(content).ok();
    list.map(|list| list.ignored_users.into_keys().collect()).unwrap_or_default()
}

/// Reads whether the user takes invites: the answer, if there is any, is for [`blocks`].
pub(crate) fn select_blocking(user: &str) -> Select {
    storage::select(
        "SELECT content FROM accounts_v1_account_data \
         WHERE user_id = $1 AND room_id = '' AND type = 'm.invite_permission_config'",
        params![user],
    )
}

/// Whether `m.invite_permission_config` refuses all invites. Spec: client-server API, Invite permission.
pub(crate) fn blocks(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Config {
        default_action: String,
    }
    serde_json::from_str::<Config>(content).is_ok_and(|config| config.default_action == "block")
}

/// Whether an event is kept back: state is not.
pub(crate) fn hides(ignored: &BTreeSet<String>, event: &EventRow) -> bool {
    event.state_key.is_none() && ignored.contains(&event.sender)
}

#[cfg(test)]
mod tests {
    use super::users;

    #[test]
    fn malformed_lists_ignore_nobody() {
        assert_eq!(
            users(r#"{"ignored_users":{"@a:h":{}}}"#).into_iter().collect::<Vec<_>>(),
            ["@a:h"]
        );
        for bad in ["", "5", r#"{"ignored_users":[]}"#, "{}"] {
            assert!(users(bad).is_empty(), "{bad}");
        }
    }
}
