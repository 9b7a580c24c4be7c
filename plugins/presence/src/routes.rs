//! Who sees whose presence beside those who share a room, as modules say.

use tessera_sdk::hooks::presence_routes::State;
use tessera_sdk::storage::{Batch, Select, select};
use tessera_sdk::{hooks, params};

/// Routes that modules may give for one user, in each direction.
const MAX_ROUTES: usize = 1000;

/// What modules said when a user's presence changed.
#[derive(Debug)]
pub(crate) struct Routes {
    user: String,
    /// Who sees it.
    viewers: Vec<String>,
    /// Whose presence the user sees.
    interests: Vec<String>,
}

/// Whether routes of the user are stored: one row if so.
pub(crate) fn stored(user: &str) -> Select {
    select(
        "SELECT user_id FROM presence_routes WHERE user_id = $1 AND wanted = FALSE \
         UNION ALL SELECT user_id FROM presence_routes WHERE viewer = $1 AND wanted = TRUE LIMIT 1",
        params![user],
    )
}

fn answered() -> bool {
    hooks::answered("tessera:hooks/presence-routes")
}

/// No routes in place of those whose module is gone. None: somebody answers, or nothing is `stored`.
pub(crate) fn abandoned(user: &str, stored: bool) -> Option<Routes> {
    (stored && !answered()).then(|| Routes {
        user: user.to_owned(),
        viewers: Vec::new(),
        interests: Vec::new(),
    })
}

/// Asks the modules. None: nobody answers, and nothing is `stored` of who once did.
pub(crate) fn ask(
    user: &str,
    presence: &str,
    status_msg: Option<&str>,
    stored: bool,
) -> Option<Routes> {
    if !answered() {
        return abandoned(user, stored);
    }
    let state = State {
        user: user.to_owned(),
        presence: presence.to_owned(),
        status_msg: status_msg.map(str::to_owned),
    };
    let routes = hooks::presence_routes(&[state]);
    let to = routes.into_iter().filter(|route| route.user == user).flat_map(|route| route.to);
    Some(Routes {
        user: user.to_owned(),
        viewers: few(to, user),
        interests: few(hooks::presence_interests(user), user),
    })
}

/// Users once each, without the one whom they are about, up to the cap.
fn few(users: impl IntoIterator<Item = String>, but: &str) -> Vec<String> {
    let mut users: Vec<String> =
        users.into_iter().filter(|user| user != but && user.len() <= 255).collect();
    users.sort_unstable();
    users.dedup();
    users.truncate(MAX_ROUTES);
    users
}

impl Routes {
    /// Adds them to the batch of the change, in place of those before, and wakes the viewers.
    pub(crate) fn write(self, batch: Batch) -> Batch {
        const ADD: &str = "INSERT INTO presence_routes (user_id, viewer, wanted) VALUES ($1, $2, $3) \
                           ON CONFLICT (user_id, viewer, wanted) DO NOTHING";
        let Self { user, viewers, interests } = self;
        let mut batch = batch
            .run(
                "DELETE FROM presence_routes WHERE user_id = $1 AND wanted = FALSE",
                params![&user],
            )
            .run("DELETE FROM presence_routes WHERE viewer = $1 AND wanted = TRUE", params![&user]);
        if !viewers.is_empty() {
            let rows = viewers.iter().map(|viewer| params![&user, viewer, false]).collect();
            batch = batch.run_many(ADD, rows);
        }
        if !interests.is_empty() {
            let rows = interests.iter().map(|whose| params![whose, &user, true]).collect();
            batch = batch.run_many(ADD, rows);
        }
        viewers.iter().fold(batch, |batch, viewer| batch.wake(format!("user:{viewer}")))
    }
}
