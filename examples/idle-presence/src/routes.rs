//! Who sees whose presence beside those who share a room, as modules say.

use std::collections::BTreeSet;

use tessera_sdk::{
    hooks::{self, presence_routes::State},
    params,
    storage::{Batch, Value},
};

/// Routes that are kept for one user, in each direction.
const MAX_ROUTES: usize = 1000;

/// Adds to the batch of a change what modules say of it, in place of what they said before, and wakes those whom they name.
pub(crate) fn change(batch: Batch, user: &str, presence: &str, status: Option<&str>) -> Batch {
    if !hooks::answered("tessera:hooks/presence-routes") {
        return batch;
    }
    let state = State {
        user: user.to_owned(),
        presence: presence.to_owned(),
        status_msg: status.map(ToOwned::to_owned),
    };
    let routes = hooks::presence_routes(&[state]);
    let viewers: BTreeSet<String> =
        routes.into_iter().filter(|route| route.user == user).flat_map(|route| route.to).collect();
    let wanted: BTreeSet<String> = hooks::presence_interests(user).into_iter().collect();
    let shown = viewers.iter().take(MAX_ROUTES).map(|viewer| params![user, viewer, false]);
    let rows: Vec<Vec<Value>> = shown
        .chain(wanted.iter().take(MAX_ROUTES).map(|whose| params![whose, user, true]))
        .collect();
    let mut batch = batch.run(
        "DELETE FROM presence_routes WHERE user_id = $1 AND wanted = FALSE OR viewer = $1 AND wanted = TRUE",
        params![user],
    );
    if !rows.is_empty() {
        batch = batch.run_many(
            "INSERT INTO presence_routes (user_id, viewer, wanted) VALUES ($1, $2, $3) \
             ON CONFLICT (user_id, viewer, wanted) DO NOTHING",
            rows,
        );
    }
    viewers
        .iter()
        .take(MAX_ROUTES)
        .fold(batch, |batch, viewer| batch.wake(format!("user:{viewer}")))
}
