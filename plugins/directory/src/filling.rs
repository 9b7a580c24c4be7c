//! The index of names gets the users who were there before the plug-in was: page by page, by a timer, once.
//!
//! How far it has come stands in a table, so it goes on where it stopped. What changes meanwhile is told by topics: a page is read
//! again after it was written, so that no entry is older than what a message has told already.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, log, params, timers};

use crate::consumer::{GROUP, INDEX, words};

/// The timer's name.
pub(crate) const TIMER: &str = "filling";
/// Users in one commit.
const PAGE: u32 = 200;
/// Rest between two pages.
const REST_MS: u64 = 100;
/// How often a page that changes under it is written in one go.
const ATTEMPTS: usize = 5;

/// A user and their display name.
type Entry = (String, Option<String>);

/// Has the filling begin or go on. Costs one look if there is nothing to be done.
///
/// # Errors
/// The host's reason.
pub(crate) fn soon() -> Result<(), String> {
    timers::set(TIMER, clock::now_ms(), "")
}

/// One page.
///
/// # Errors
/// Storage failed: the host fires again.
pub(crate) fn run() -> Result<(), Error> {
    let sql = "SELECT last FROM directory_filling WHERE id = 1 AND done = FALSE";
    let Some((last,)) = storage::query(sql, params![])?.first::<(String,)>()? else {
        return Ok(());
    };
    let mut entries = page(&last, None)?;
    let (end, done) = match entries.last() {
        Some((end, _)) => (end.clone(), false),
        None => (last.clone(), true),
    };
    let mut gone: Vec<String> = Vec::new();
    for _ in 0..ATTEMPTS {
        write(&entries, &gone)?;
        let now = page(&last, Some(&end))?;
        if now == entries {
            return advance(&last, &end, done);
        }
        let stay = |user: &String| now.iter().any(|(known, _)| known == user);
        gone = entries.into_iter().map(|(user, _)| user).filter(|user| !stay(user)).collect();
        entries = now;
    }
    Err(Error::internal("the users of a page change all the time"))
}

/// The users after one, up to another where it is given. Those who are not to be found have been left out.
fn page(last: &str, end: Option<&str>) -> Result<Vec<Entry>, Error> {
    let all = "SELECT u.user_id, p.displayname FROM accounts_v1_users u
         JOIN accounts_v1_profiles p ON p.user_id = u.user_id
         WHERE u.deactivated = FALSE AND u.guest = FALSE AND u.user_id > $1";
    let rows = match end {
        None => storage::query(&format!("{all} ORDER BY u.user_id LIMIT $2"), params![last, PAGE]),
        Some(end) => storage::query(
            &format!("{all} AND u.user_id <= $2 ORDER BY u.user_id"),
            params![last, end],
        ),
    };
    Ok(rows?.all()?)
}

fn write(entries: &[Entry], gone: &[String]) -> Result<(), Error> {
    if entries.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let batch = gone.iter().fold(Batch::new(), |batch, user| batch.text(INDEX, user, GROUP, None));
    let batch = entries.iter().fold(batch, |batch, (user, name)| {
        batch.text(INDEX, user, GROUP, Some(words(user, name.as_deref())))
    });
    batch.commit_blind()?;
    Ok(())
}

fn advance(last: &str, end: &str, done: bool) -> Result<(), Error> {
    let advanced = Batch::new()
        .run(
            "UPDATE directory_filling SET last = $2, done = $3 WHERE id = 1 AND last = $1",
            params![last, end, done],
        )
        .expect(1)
        .commit();
    match advanced {
        Ok(_) if done => {
            log::info("the user directory knows all users", &[]);
            Ok(())
        }
        Ok(_) => timers::set(TIMER, clock::now_ms() + REST_MS, "").map_err(Error::internal),
        // Another node has come as far, and has set the timer.
        Err(storage::Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
