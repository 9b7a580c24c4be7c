//! Work that takes a while: history or a whole room goes, in slices, by a timer, one slice of a room at a time.
//!
//! A job is a row that says what is to be done and how far it has come. Each slice may be done twice: the row is written after it, guarded
//! by its revision, and a crash between the two repeats the slice. Whoever goes on with a job claims it first, so that nobody else does at
//! the same time; a claim that is not given back runs out. The timer is set before the row is there, and again after: none is lost.

use serde::{Deserialize, Serialize};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, digest, hooks, log, params, random, timers};

use super::{delete, history};

/// What the names of the timers begin with. A hash of the room's id follows; the id itself is the payload.
pub const TIMER: &str = "purge:";
/// What modules know the work as.
const JOB: &str = "rooms:purge";
/// The hook that is asked for the pace.
const PACE: &str = "tessera:hooks/background-pace";
/// Done jobs can be asked for so long.
const KEPT_MS: u64 = 7 * 24 * 3_600_000;
/// Jobs that wait, of all rooms. A job is a row; the cap keeps a script that runs wild from filling the table.
const MAX_WAITING: i64 = 10_000;
/// Slices of one go, where no module says otherwise; at most [`MOST`].
const SLICES: u32 = 20;
const MOST: u32 = 200;
/// A go ends after so long, however many slices it has done.
const GO_MS: u64 = 1_000;
/// Rest between two goes, where no module says otherwise.
const REST_MS: u64 = 100;
/// A claim runs out so long after the last slice: far more than one takes.
const CLAIM_MS: u64 = 30_000;
/// The timer of a job whose maker vanished before the row was written, in milliseconds after it.
const SAFETY_MS: u64 = 10_000;

/// Revision of a job that others go on with: no row has it.
const NOT_OURS: i64 = -1;

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Wish {
    /// History goes.
    History(history::Wish),
    /// A room is shut down, and goes if that is wanted.
    Room(delete::Wish),
}

impl Wish {
    fn kind(&self) -> &'static str {
        match self {
            Self::History(_) => "history",
            Self::Room(_) => "room",
        }
    }
}

/// How far a job has come.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Of history: the position to go on at.
    pub from: i64,
    /// Of a room that is deleted.
    pub room: delete::Progress,
    /// Not to go on before this time, in milliseconds since the Unix epoch.
    pub not_before_ms: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Names it.
    pub id: String,
    /// The room.
    pub room_id: String,
    /// scheduled, active, complete, failed.
    pub status: String,
    /// What is to be done.
    pub wish: Wish,
    /// How far it has come.
    pub progress: Progress,
    /// The room that users were moved to.
    pub new_room: Option<String>,
    /// Nothing is left to do.
    pub done: bool,
    revision: i64,
}

/// What became of a job that somebody went on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// There is more to do.
    On,
    /// That was all.
    Done,
    /// Somebody else goes on with it; the job is as they left it.
    Lost,
}

/// What a slice comes to.
#[derive(Debug)]
pub enum Slice {
    /// There is more to do.
    More,
    /// That was the last one. The message for `rooms.purged`, if anything has gone.
    Done(Option<Purged>),
}

/// What consumers of `rooms.purged` get (see docs/views.md).
#[derive(Debug, Serialize)]
pub struct Purged {
    /// The room.
    pub room_id: String,
    /// The whole room has gone.
    pub gone: bool,
    /// Otherwise events below this position have gone.
    pub before: i64,
}

const COLUMNS: &str = "SELECT purge_id, room_id, status, wish, progress, new_room_id, done, revision FROM rooms_purges";

type Row = (String, String, String, String, String, Option<String>, bool, i64);

fn read(rows: storage::Rows) -> Result<Vec<Job>, Error> {
    let rows = rows.all::<Row>()?.into_iter();
    rows.map(|(id, room_id, status, wish, progress, new_room, done, revision)| {
        let wish = serde_json::from_str(&wish).map_err(Error::internal)?;
        let progress = serde_json::from_str(&progress).map_err(Error::internal)?;
        Ok(Job { id, room_id, status, wish, progress, new_room, done, revision })
    })
    .collect()
}

/// One job, done or not.
///
/// # Errors
/// Storage failed.
pub fn find(id: &str) -> Result<Option<Job>, Error> {
    let rows = storage::query(&format!("{COLUMNS} WHERE purge_id = $1"), params![id])?;
    Ok(read(rows)?.pop())
}

/// Deletions of a room that are kept, the newest first, at most a hundred.
///
/// # Errors
/// Storage failed.
pub fn of_room(room_id: &str) -> Result<Vec<Job>, Error> {
    let sql = format!(
        "{COLUMNS} WHERE room_id = $1 AND kind = 'room' ORDER BY created_ms DESC, purge_id LIMIT 100"
    );
    read(storage::query(&sql, params![room_id])?)
}

fn next(room_id: &str) -> Result<Option<Job>, Error> {
    let sql = format!(
        "{COLUMNS} WHERE room_id = $1 AND done = FALSE ORDER BY created_ms, purge_id LIMIT 1"
    );
    Ok(read(storage::query(&sql, params![room_id])?)?.pop())
}

fn set_timer(room_id: &str, due_ms: u64) -> Result<(), Error> {
    let name = format!("{TIMER}{}", digest::sha256(room_id.as_bytes()));
    timers::set(&name, due_ms, room_id).map_err(|error| Error::internal(format!("timer: {error}")))
}

/// Keeps a job and has it begin, after so many milliseconds; its id.
///
/// # Errors
/// 400 `M_UNKNOWN` where the room is being deleted already; `M_LIMIT_EXCEEDED` where too many wait.
pub fn begin(room_id: &str, wish: &Wish, after_ms: u64) -> Result<String, Error> {
    let waiting = "SELECT COUNT(purge_id) AS n FROM rooms_purges WHERE done = FALSE";
    let waiting = storage::query(waiting, params![])?.first::<(i64,)>()?;
    if waiting.is_some_and(|(n,)| n >= MAX_WAITING) {
        return Err(Error::limit_exceeded(60_000));
    }
    let id = random::letters(16);
    let now_ms = clock::now_ms();
    set_timer(room_id, now_ms + SAFETY_MS.max(after_ms))?;
    let text = serde_json::to_string(wish).map_err(Error::internal)?;
    let progress = serde_json::to_string(&Progress::default()).map_err(Error::internal)?;
    let kept = Batch::new()
        .run(
            "INSERT INTO rooms_purges (purge_id, kind, room_id, status, done, wish, progress, revision, created_ms, changed_ms)
             VALUES ($1, $2, $3, 'scheduled', FALSE, $4, $5, 0, $6, $6)",
            params![&id, wish.kind(), room_id, text, progress, now_ms],
        )
        .run(
            "DELETE FROM rooms_purge_names WHERE purge_id IN
               (SELECT purge_id FROM rooms_purges WHERE done = TRUE AND changed_ms < $1)",
            params![now_ms.saturating_sub(KEPT_MS)],
        )
        .run(
            "DELETE FROM rooms_purges WHERE done = TRUE AND changed_ms < $1",
            params![now_ms.saturating_sub(KEPT_MS)],
        )
        .commit();
    match kept {
        Ok(_) => {}
        Err(storage::Error::Conflict(0)) => {
            // The timer was that job's.
            go_on(room_id)?;
            let text = format!("the room {room_id} is being deleted already");
            return Err(Error::new(ErrorCode::Unknown, text).status(400));
        }
        Err(error) => return Err(error.into()),
    }
    if after_ms == 0 {
        go_on(room_id)?;
    }
    Ok(id)
}

/// Has the timer of a room go on with what is to be done.
///
/// # Errors
/// Too many timers.
pub fn go_on(room_id: &str) -> Result<(), Error> {
    set_timer(room_id, clock::now_ms())
}

/// The timer of a room fires: some slices of its oldest job.
///
/// # Errors
/// What is to be tried again.
pub fn fire(room_id: &str) -> Result<(), Error> {
    let began_ms = clock::now_ms();
    let pace = if hooks::answered(PACE) { hooks::background_pace(JOB, 0, 0) } else { None };
    let most = pace.as_ref().map_or(SLICES, |pace| pace.items).clamp(1, MOST);
    let rest_ms = pace.map_or(REST_MS, |pace| u64::from(pace.rest_ms).max(1));
    let mut left = most;
    while left > 0 && clock::now_ms().saturating_sub(began_ms) <= GO_MS {
        let Some(mut job) = next(room_id)? else {
            return Ok(());
        };
        if job.progress.not_before_ms > clock::now_ms() {
            return set_timer(room_id, job.progress.not_before_ms);
        }
        if !claim(&mut job)? {
            // Somebody is at work, or was when they vanished.
            return set_timer(room_id, clock::now_ms() + CLAIM_MS);
        }
        let done = work(&mut job, left, began_ms + GO_MS);
        release(&job)?;
        left = left.saturating_sub(done?);
    }
    set_timer(room_id, clock::now_ms() + rest_ms)
}

/// Makes sure that nobody else goes on with a job for now; false where somebody does.
///
/// # Errors
/// Storage failed.
pub fn claim(job: &mut Job) -> Result<bool, Error> {
    let now_ms = clock::now_ms();
    let claimed = Batch::new()
        .run(
            "UPDATE rooms_purges SET claimed_until_ms = $3, revision = revision + 1
             WHERE purge_id = $1 AND revision = $2 AND done = FALSE AND claimed_until_ms <= $4",
            params![&job.id, job.revision, now_ms + CLAIM_MS, now_ms],
        )
        .expect(1)
        .commit();
    match claimed {
        Ok(_) => {
            job.revision += 1;
            Ok(true)
        }
        Err(storage::Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Lets others go on with a job, where it is still this call's.
///
/// # Errors
/// Storage failed: the claim runs out by itself.
pub fn release(job: &Job) -> Result<(), Error> {
    Batch::new()
        .run(
            "UPDATE rooms_purges SET claimed_until_ms = 0 WHERE purge_id = $1 AND revision = $2",
            params![&job.id, job.revision],
        )
        .commit_blind()?;
    Ok(())
}

/// Some slices of a job that was claimed, one at least: at most so many, and none begins after that time; how many there were.
///
/// # Errors
/// As [`advance`].
pub fn work(job: &mut Job, most: u32, until_ms: u64) -> Result<u32, Error> {
    for n in 1..=most {
        if advance(job)? != Went::On {
            return Ok(n);
        }
        let now_ms = clock::now_ms();
        if now_ms > until_ms || job.progress.not_before_ms > now_ms {
            return Ok(n);
        }
    }
    Ok(most)
}

/// One slice of a job.
///
/// # Errors
/// Faults of the server; what fails otherwise ends the job, which says so.
pub fn advance(job: &mut Job) -> Result<Went, Error> {
    job.status = "active".to_owned();
    let slice = match job.wish.clone() {
        Wish::History(wish) => history::slice(&job.room_id, &wish, &mut job.progress),
        Wish::Room(wish) => delete::slice(job, &wish),
    };
    let mut purged = None;
    match slice {
        Ok(Slice::More) => {}
        Ok(Slice::Done(message)) => {
            purged = message;
            job.done = true;
            job.status = "complete".to_owned();
        }
        Err(error) if error.http_status() < 500 => {
            let fields = [("room", job.room_id.as_str()), ("reason", error.message())];
            log::warn("history or a room stays", &fields);
            job.done = true;
            job.status = "failed".to_owned();
            job.progress.error = Some(error.message().to_owned());
        }
        Err(error) => return Err(error),
    }
    if !save(job, purged)? {
        return Ok(Went::Lost);
    }
    Ok(if job.done { Went::Done } else { Went::On })
}

/// False where somebody else has gone on with the job.
fn save(job: &mut Job, purged: Option<Purged>) -> Result<bool, Error> {
    let progress = serde_json::to_string(&job.progress).map_err(Error::internal)?;
    let now_ms = clock::now_ms();
    let mut batch = Batch::new()
        .run(
            "UPDATE rooms_purges SET status = $3, done = $4, progress = $5, revision = revision + 1, changed_ms = $6,
               claimed_until_ms = $7
             WHERE purge_id = $1 AND revision = $2",
            params![&job.id, job.revision, &job.status, job.done, progress, now_ms, now_ms + CLAIM_MS],
        )
        .expect(1);
    if let Some(purged) = purged {
        let payload = serde_json::to_string(&purged).map_err(Error::internal)?;
        batch = batch.emit("rooms.purged", &job.room_id, payload);
    }
    match batch.commit() {
        Ok(_) => {
            job.revision += 1;
            Ok(true)
        }
        // The claim ran out meanwhile. What the other says is the truth; the claim is theirs.
        Err(storage::Error::Conflict(0)) => {
            if let Some(newer) = find(&job.id)? {
                *job = Job { revision: NOT_OURS, ..newer };
            }
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
