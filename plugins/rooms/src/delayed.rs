//! Events that are sent later (MSC4140): kept in a table, each with a timer that survives restarts.
//!
//! A timer is set before its row is written, and once more if it was due by then, and looks at the row when it fires: none is lost,
//! and one too many does nothing.
//! Whoever sends, cancels or restarts raises the row's revision; -1 stands for "is being sent", and what is sent carries the delay's
//! id as its transaction, so a repetition after a crash sends nothing twice.

use ruma::canonical_json::CanonicalJsonObject;
use serde::Deserialize;
use serde_json::value::RawValue;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch, Failure, race, select};
use tessera_sdk::{clock, log, params, random, timers};

use crate::api::send::{message, state};
use crate::asker::Asker;
use crate::core::content;
use crate::redaction::suspended;
use crate::settings::Settings;
use crate::transactions::Transaction;

/// What the names of the timers begin with.
pub const TIMER: &str = "delayed:";
/// How often the events of a user who leaves many at once are counted again.
const ATTEMPTS: usize = 20;
/// The revision of what is being sent.
const SENDING: i64 = -1;
/// Delayed events of a user that are listed at once.
pub const MAX_LISTED: u32 = 1_000;

/// An event that waits.
#[derive(Debug)]
pub struct Delayed {
    /// Names it.
    pub delay_id: String,
    /// Who sends it.
    pub user_id: String,
    /// Where.
    pub room_id: String,
    /// Event type.
    pub kind: String,
    /// Of state events.
    pub state_key: Option<String>,
    /// JSON object.
    pub content: Box<RawValue>,
    /// Milliseconds.
    pub delay_ms: i64,
    /// Since when the delay runs, in milliseconds since the Unix epoch.
    pub started_ms: i64,
    revision: i64,
}

/// What is to be delayed.
#[derive(Debug)]
pub struct Wish<'a> {
    /// Where.
    pub room_id: &'a str,
    /// Event type.
    pub kind: &'a str,
    /// Of state events.
    pub state_key: Option<&'a str>,
    /// The content.
    pub content: &'a CanonicalJsonObject,
    /// Milliseconds.
    pub delay_ms: u64,
    /// The request, where it may be repeated.
    pub transaction: Option<&'a Transaction>,
}

const COLUMNS: &str =
    "SELECT delay_id, user_id, room_id, type, state_key, content, delay_ms, started_ms, revision
     FROM rooms_delayed";

type Row = (String, String, String, String, Option<String>, String, i64, i64, i64);

fn read(rows: storage::Rows) -> Result<Vec<Delayed>, Error> {
    let rows = rows.all::<Row>()?.into_iter();
    rows.map(
        |(delay_id, user_id, room_id, kind, state_key, content, delay_ms, started_ms, revision)| {
            let content = RawValue::from_string(content).map_err(Error::internal)?;
            Ok(Delayed {
                delay_id,
                user_id,
                room_id,
                kind,
                state_key,
                content,
                delay_ms,
                started_ms,
                revision,
            })
        },
    )
    .collect()
}

fn not_found() -> Error {
    Error::not_found("there is no such delayed event")
}

fn refused(errcode: &str, text: &str) -> Error {
    Error::new(ErrorCode::Unknown, text).status(400).and("org.matrix.msc4140.errcode", errcode)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Keeps an event to be sent; the id of the delay.
///
/// # Errors
/// 403 `M_GUEST_ACCESS_FORBIDDEN`; 400 `M_UNKNOWN` with a code of MSC4140 for a delay that is too long and for too many delayed events.
pub fn schedule(asker: &Asker, device: &str, wish: &Wish<'_>) -> Result<String, Error> {
    let user = asker.user();
    if asker.is_guest() {
        let text = "guests leave nothing to be sent later";
        return Err(Error::new(ErrorCode::GuestAccessForbidden, text));
    }
    let settings = Settings::get();
    let longest = u64::from(settings.max_delay_hours) * 3_600_000;
    if wish.delay_ms > longest {
        let text = "the delay is longer than this server allows";
        return Err(
            refused("M_MAX_DELAY_EXCEEDED", text).and("org.matrix.msc4140.max_delay", longest)
        );
    }
    if let Some(transaction) = wish.transaction {
        let select = transaction.select();
        if let Some(delay_id) = Transaction::read(storage::query(&select.sql, select.params)?)? {
            return Ok(delay_id);
        }
    }
    let delay_id = random::letters(32);
    let now_ms = clock::now_ms();
    let due_ms = now_ms.saturating_add(wish.delay_ms);
    if asker.is_shadow_banned() {
        // It would be shown to nobody, and when it is sent nobody would know that.
        return Ok(delay_id);
    }
    set_timer(&delay_id, due_ms)?;
    race(ATTEMPTS, || keep(&delay_id, user, device, wish, now_ms))
}

/// How many events of a user wait, counted under the user's guard.
fn count(user: &str) -> Result<Option<i64>, Error> {
    let mut answers = storage::snapshot(&[
        select("SELECT COUNT(delay_id) AS n FROM rooms_delayed WHERE user_id = $1", params![user]),
        select("SELECT revision FROM rooms_delayed_users WHERE user_id = $1", params![user]),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let count = next()?.first::<(i64,)>()?.map_or(0, |(n,)| n);
    if count >= i64::from(Settings::get().max_delayed_events) {
        let text = "the user has too many delayed events";
        return Err(refused("M_MAX_DELAYED_EVENTS_EXCEEDED", text));
    }
    Ok(next()?.first::<(i64,)>()?.map(|(revision,)| revision))
}

fn keep(
    delay_id: &str,
    user: &str,
    device: &str,
    wish: &Wish<'_>,
    now_ms: u64,
) -> Result<String, Failure> {
    let due_ms = now_ms.saturating_add(wish.delay_ms);
    // Of two who keep the last one that fits, one counts again.
    let guarded = match count(user)? {
        Some(revision) => Batch::new()
            .run(
                "UPDATE rooms_delayed_users SET revision = revision + 1 WHERE user_id = $1 AND revision = $2",
                params![user, revision],
            )
            .expect(1),
        None => Batch::new().run(
            "INSERT INTO rooms_delayed_users (user_id, revision) VALUES ($1, 1)",
            params![user],
        ),
    };
    let content = serde_json::to_string(wish.content).map_err(Error::internal)?;
    let mut batch = guarded.run(
        "INSERT INTO rooms_delayed (delay_id, user_id, device_id, room_id, type, state_key, content, delay_ms,
           started_ms, revision, txn)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10)",
        params![
            delay_id,
            user,
            device,
            wish.room_id,
            wish.kind,
            wish.state_key,
            content,
            wish.delay_ms,
            now_ms,
            delay_id,
        ],
    );
    if let Some(transaction) = wish.transaction {
        batch = transaction.remember(batch, delay_id, now_ms, 1);
    }
    match batch.commit() {
        Ok(_) => {
            // A short delay may be over before the row is there: that timer found nothing, and is gone.
            if clock::now_ms() >= due_ms {
                set_timer(delay_id, due_ms)?;
            }
            Ok(delay_id.to_owned())
        }
        Err(storage::Error::Conflict(statement)) => {
            if let Some(transaction) = wish.transaction {
                // The same request was faster: its answer is the answer.
                let select = transaction.select();
                let first = Transaction::read(storage::query(&select.sql, select.params)?)?;
                if let Some(first) = first {
                    return Ok(first);
                }
            }
            Err(Failure::of(storage::Error::Conflict(statement)))
        }
        Err(error) => Err(error.into()),
    }
}

fn set_timer(delay_id: &str, due_ms: u64) -> Result<(), Error> {
    let set = timers::set(&format!("{TIMER}{delay_id}"), due_ms, "");
    set.map_err(|error| Error::internal(format!("timer: {error}")))
}

/// What of a user waits, the longest waiting first.
///
/// # Errors
/// Storage failed.
pub fn of(user: &str) -> Result<Vec<Delayed>, Error> {
    read(storage::query(
        &format!(
            "{COLUMNS} WHERE user_id = $1 AND revision >= 0 ORDER BY started_ms, delay_id LIMIT $2"
        ),
        params![user, MAX_LISTED],
    )?)
}

fn one(delay_id: &str) -> Result<Option<Delayed>, Error> {
    let found = storage::query(&format!("{COLUMNS} WHERE delay_id = $1"), params![delay_id])?;
    Ok(read(found)?.pop())
}

/// Lets the delay begin again.
///
/// # Errors
/// `M_NOT_FOUND`.
pub fn restart(delay_id: &str) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    let restarted = Batch::new()
        .run(
            "UPDATE rooms_delayed SET started_ms = $2, revision = revision + 1
             WHERE delay_id = $1 AND revision >= 0",
            params![delay_id, now_ms],
        )
        .expect(1)
        .commit();
    found(restarted)?;
    // The old timer would look at the row and wait for the rest; the new one saves that.
    match one(delay_id)? {
        Some(delayed) => {
            set_timer(delay_id, now_ms.saturating_add(delayed.delay_ms.unsigned_abs()))
        }
        None => Ok(()),
    }
}

/// Takes the event back.
///
/// # Errors
/// `M_NOT_FOUND`.
pub fn cancel(delay_id: &str) -> Result<(), Error> {
    let gone = Batch::new()
        .run("DELETE FROM rooms_delayed WHERE delay_id = $1 AND revision >= 0", params![delay_id])
        .expect(1)
        .commit();
    found(gone)?;
    forget_timer(delay_id);
    Ok(())
}

fn forget_timer(delay_id: &str) {
    if let Err(error) = timers::cancel(&format!("{TIMER}{delay_id}")) {
        // It will find no row.
        log::debug("a timer stays", &[("reason", &error)]);
    }
}

fn found(result: Result<storage::Committed, storage::Error>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(storage::Error::Conflict(_)) => Err(not_found()),
        Err(error) => Err(error.into()),
    }
}

/// Sends the event now.
///
/// # Errors
/// `M_NOT_FOUND`; what sending it says: then it is gone, unless that was the server's fault.
pub fn send(delay_id: &str) -> Result<(), Error> {
    let delayed = one(delay_id)?.ok_or_else(not_found)?;
    // What was claimed and failed by the server's fault is sent by whoever asks again.
    if delayed.revision != SENDING {
        claim(&delayed)?;
    }
    deliver(&delayed)?;
    forget_timer(delay_id);
    Ok(())
}

/// The timer of a delay fires.
///
/// # Errors
/// What is to be tried again.
pub fn fire(delay_id: &str) -> Result<(), Error> {
    let Some(delayed) = one(delay_id)? else {
        return Ok(());
    };
    if delayed.revision != SENDING {
        let due = delayed.started_ms.saturating_add(delayed.delay_ms);
        if due > signed(clock::now_ms()) {
            return set_timer(delay_id, due.unsigned_abs());
        }
        match claim(&delayed) {
            Ok(()) => {}
            // Cancelled, restarted or sent meanwhile; a restart has set its own timer.
            Err(error) if error.http_status() == 404 => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    match deliver(&delayed) {
        Err(error) if error.http_status() < 500 => {
            let fields = [("room", delayed.room_id.as_str()), ("reason", error.message())];
            log::info("a delayed event is not sent", &fields);
            Ok(())
        }
        other => other,
    }
}

fn claim(delayed: &Delayed) -> Result<(), Error> {
    let claimed = Batch::new()
        .run(
            "UPDATE rooms_delayed SET revision = $3 WHERE delay_id = $1 AND revision = $2",
            params![&delayed.delay_id, delayed.revision, SENDING],
        )
        .expect(1)
        .commit();
    found(claimed)
}

/// Sends and forgets what is claimed. A refusal is final, a fault is not.
fn deliver(delayed: &Delayed) -> Result<(), Error> {
    let sent = match standing(&delayed.user_id)? {
        Standing::Free => dispatch(delayed),
        // What they send is shown to nobody.
        Standing::ShadowBanned => Ok(()),
        Standing::Held => Err(Error::forbidden("the user may not send anything any more")),
    };
    match sent {
        Err(error) if error.http_status() >= 500 => Err(error),
        sent => {
            Batch::new()
                .run("DELETE FROM rooms_delayed WHERE delay_id = $1", params![&delayed.delay_id])
                .commit_blind()?;
            sent
        }
    }
}

/// How a user stands when what they left is to be sent.
enum Standing {
    Free,
    ShadowBanned,
    /// Deactivated, locked or suspended.
    Held,
}

fn standing(user: &str) -> Result<Standing, Error> {
    let rows = storage::query(
        "SELECT deactivated, locked, suspended FROM accounts_v1_restricted WHERE user_id = $1",
        params![user],
    )?;
    Ok(match rows.first::<(bool, bool, bool)>()? {
        None => Standing::Free,
        Some((false, false, false)) => Standing::ShadowBanned,
        Some(_) => Standing::Held,
    })
}

fn dispatch(delayed: &Delayed) -> Result<(), Error> {
    let asker = Asker::on_behalf_of(&delayed.user_id);
    let content = content::parse(delayed.content.get().as_bytes())?;
    // Of no device: clients do not take the delay's id for a transaction of theirs.
    let transaction = Transaction::named(&delayed.user_id, "", "delayed", &delayed.delay_id);
    let (room_id, kind) = (delayed.room_id.as_str(), delayed.kind.as_str());
    let sent = match &delayed.state_key {
        Some(key) => state::send_once(room_id, &asker, kind, key, content, Some(transaction)),
        None => message::any(room_id, &asker, kind, content, Some(transaction)),
    };
    sent.map(|_| ())
}

/// The delay that a request asks for.
///
/// # Errors
/// `M_INVALID_PARAM`; `M_USER_SUSPENDED`: when it is sent, nobody could say whose events a suspended user may redact.
pub fn wanted(request: &tessera_sdk::http::Request) -> Result<Option<u64>, Error> {
    match request.query_as::<u64>("org.matrix.msc4140.delay")? {
        Some(_) if Asker::of(request)?.is_suspended() => {
            Err(suspended("a suspended user leaves nothing to be sent later"))
        }
        Some(0) => Err(Error::invalid_param("a delay is greater than 0")),
        delay => Ok(delay),
    }
}

/// What a client may do with a delayed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Take it back.
    Cancel,
    /// Begin to wait anew.
    Restart,
    /// Send it now.
    Send,
}
