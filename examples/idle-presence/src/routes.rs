//! Who sees whose presence beside those who share a room, as modules say.

use std::collections::BTreeSet;

use tessera_sdk::{
    hooks::{self, presence_routes::State},
    params,
    storage::{Batch, Select, Value, select},
};

/// Routes that are kept for one user, in each direction.
const MAX_ROUTES: usize = 1000;

/// Whether anything is kept of what modules said of the user: one row if so.
pub(crate) fn kept(user: &str) -> Select {
    select(
        "SELECT user_id FROM presence_routes WHERE user_id = $1 AND wanted = FALSE \
         UNION ALL SELECT user_id FROM presence_routes WHERE viewer = $1 AND wanted = TRUE LIMIT 1",
        params![user],
    )
}

fn answered() -> bool {
    hooks::answered("tessera:hooks/presence-routes")
}

fn forget(batch: Batch, user: &str) -> Batch {
    batch.run(
        "DELETE FROM presence_routes WHERE user_id = $1 AND wanted = FALSE OR viewer = $1 AND wanted = TRUE",
        params![user],
    )
}

/// Adds to the batch that what is `kept` is forgotten if the module that said it is gone.
pub(crate) fn tidy(batch: Batch, user: &str, kept: bool) -> Batch {
    if kept && !answered() { forget(batch, user) } else { batch }
}

/// Adds to the batch of a change what modules say of it, in place of what they said before, and wakes those whom they name.
/// `kept`: something of before is there.
pub(crate) fn change(
    batch: Batch,
    user: &str,
    presence: &str,
    status: Option<&str>,
    kept: bool,
) -> Batch {
    if !answered() {
        return tidy(batch, user, kept);
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
    let mut batch = forget(batch, user);
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
