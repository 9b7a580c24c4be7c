//! What waits for one pusher.

use serde_json::{Map, Value};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, FromRow, RowError, select};
use tessera_sdk::{clock, params};

use crate::pushers::Key;

/// Notifications of one turn; the others follow in the next.
const AT_ONCE: i64 = 50;
/// What waited longer is not worth a push any more.
const TOO_OLD_MS: u64 = 24 * 60 * 60 * 1000;

/// Where it goes.
pub(super) enum Turn {
    /// Its device is gone, its address is no longer the user's, or it cannot be understood.
    Void,
    Mail,
    /// The gateway's URL.
    Gateway(String),
}

/// A notification.
#[derive(Debug)]
pub(super) struct Notification {
    pub position: i64,
    pub event_id: String,
    pub room_id: String,
    /// JSON array.
    pub actions: String,
    pub created_ms: u64,
    pub read: bool,
    /// The event in federation format; absent if it cannot be read.
    pub event: Option<Value>,
}

/// All of it.
pub(super) struct Waiting {
    pub turn: Turn,
    pub enabled: bool,
    /// Members of the pusher as its client set them: `data`.
    pub data: Map<String, Value>,
    pub created_ms: u64,
    pub news: i64,
    pub tries: i64,
    pub badge: i64,
    pub mailed_ms: u64,
    pub quiet_ms: u64,
    pub token: String,
    /// Unread messages in all rooms.
    pub unread: i64,
    /// Oldest first.
    pub notifications: Vec<Notification>,
    /// There are more than these.
    pub more: bool,
}

/// `content, device_id, owners, kind, enabled, created_ms, news, tries, badge, mailed_ms, quiet_ms, token`
type Row = (String, String, i64, String, bool, u64, i64, i64, i64, u64, u64, String);

impl FromRow for Notification {
    fn from_row(row: Vec<storage::Value>) -> Result<Self, RowError> {
        let (position, event_id, room_id, actions, created_ms, read_position, json, redacted_by) =
            <(_, _, _, _, _, i64, Option<String>, Option<String>)>::from_row(row)?;
        let event = json.and_then(|json| serde_json::from_str(&json).ok());
        let too_old = clock::now_ms().saturating_sub(created_ms) > TOO_OLD_MS;
        let read = read_position >= position || redacted_by.is_some() || too_old;
        Ok(Self { position, event_id, room_id, actions, created_ms, read, event })
    }
}

/// Reads a pusher and what waits for it; none: there is no such pusher any more.
///
/// # Errors
/// Storage.
pub(super) fn read(key: &Key) -> Result<Option<Waiting>, Error> {
    let mut queue = key.params();
    queue.extend(params![AT_ONCE]);
    let mut answers = storage::snapshot(&[
        select(
            "SELECT p.content, p.device_id, CASE WHEN p.kind = 'email' THEN (SELECT COUNT(*) FROM accounts_v1_threepids t \
             WHERE t.user_id = p.user_id AND t.medium = 'email' AND t.address = p.pushkey) \
             ELSE (SELECT COUNT(*) FROM accounts_v1_devices d WHERE d.user_id = p.user_id \
             AND d.device_id = p.device_id) END AS owners, p.kind, p.enabled, p.created_ms, p.news, p.tries, p.badge, p.mailed_ms, \
             p.quiet_ms, p.token FROM push_pushers p WHERE p.user_id = $1 AND p.app_id = $2 AND p.pushkey = $3",
            key.params(),
        ),
        select(
            "SELECT q.position, q.event_id, q.room_id, q.actions, q.created_ms, COALESCE(k.read_position, 0) AS read_position, \
             v.json, v.redacted_by FROM push_queue q LEFT JOIN push_events e ON e.position = q.position \
             LEFT JOIN push_marks k ON k.room_id = q.room_id AND k.user_id = q.user_id AND k.thread_id = e.thread_id \
             LEFT JOIN rooms_v1_events v ON v.event_id = q.event_id \
             WHERE q.user_id = $1 AND q.app_id = $2 AND q.pushkey = $3 ORDER BY q.position LIMIT $4",
            queue,
        ),
        select(
            "SELECT CAST(COALESCE(SUM(c.notification_count), 0) AS bigint) AS n FROM push_v1_counts c \
             JOIN rooms_v1_memberships m ON m.room_id = c.room_id AND m.user_id = c.user_id \
             WHERE c.user_id = $1 AND c.notification_count > 0 AND m.membership = 'join'",
            params![&key.user_id],
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let pusher: Option<Row> = next()?.first()?;
    let notifications: Vec<Notification> = next()?.all()?;
    let unread: Option<(i64,)> = next()?.first()?;
    let Some(row) = pusher else { return Ok(None) };
    let (
        content,
        device,
        owners,
        kind,
        enabled,
        created_ms,
        news,
        tries,
        badge,
        mailed_ms,
        quiet_ms,
        token,
    ) = row;
    let content: Value = serde_json::from_str(&content).unwrap_or_default();
    let data = content.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    let turn = match (kind.as_str(), data.get("url").and_then(Value::as_str)) {
        ("email", _) if owners == 0 => Turn::Void,
        ("email", _) => Turn::Mail,
        _ if !device.is_empty() && owners == 0 => Turn::Void,
        ("http", Some(url)) => Turn::Gateway(url.to_owned()),
        _ => Turn::Void,
    };
    let more = i64::try_from(notifications.len()).unwrap_or(i64::MAX) >= AT_ONCE;
    let unread = unread.map_or(0, |(unread,)| unread);
    Ok(Some(Waiting {
        turn,
        enabled,
        data,
        created_ms,
        news,
        tries,
        badge,
        mailed_ms,
        quiet_ms,
        token,
        unread,
        notifications,
        more,
    }))
}

/// These notifications up to this position do not wait any more; `badge` was told.
///
/// # Errors
/// Storage.
pub(super) fn told(key: &Key, position: i64, badge: Option<i64>) -> Result<(), Error> {
    let mut row = key.params();
    row.extend(params![position]);
    let mut batch = Batch::new().run(
        "DELETE FROM push_queue WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND position <= $4",
        row,
    );
    if let Some(badge) = badge {
        let mut row = key.params();
        row.extend(params![badge]);
        batch = batch.run(
            "UPDATE push_pushers SET badge = $4, tries = 0 WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
            row,
        );
    }
    batch.commit_blind()?;
    Ok(())
}

/// Nothing waits any more.
///
/// # Errors
/// Storage.
pub(super) fn drop_all(key: &Key) -> Result<(), Error> {
    told(key, i64::MAX, None)
}

/// Takes a pusher away that is ours until `taken`. One that was set again in the meantime has another turn, and stays.
///
/// # Errors
/// Storage.
pub(super) fn forget(key: &Key, taken: u64) -> Result<(), Error> {
    let mut row = key.params();
    row.extend(params![taken]);
    Batch::new()
        .run(
            "DELETE FROM push_pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND next_ms = $4",
            row,
        )
        .run(
            "DELETE FROM push_queue WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND NOT EXISTS (SELECT 1 \
             FROM push_pushers p WHERE p.user_id = $1 AND p.app_id = $2 AND p.pushkey = $3)",
            key.params(),
        )
        .commit_blind()?;
    Ok(())
}
