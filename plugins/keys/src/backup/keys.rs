//! GET and DELETE /_matrix/client/v3/room_keys/keys, of one room, of one session
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeys>

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, query};

use super::{Backup, TRIES, asked, find, put, unknown};

/// Keys read at once: a page of the largest ones stays below the cap on bytes.
const PAGE: i64 = 500;

/// Which keys of a backup; empty: any.
struct Scope<'a> {
    room: &'a str,
    session: &'a str,
}

impl Scope<'_> {
    /// Further conditions of a SELECT or DELETE whose parameters $3 and $4 are room and session.
    fn sql(&self) -> &'static str {
        match (self.room, self.session) {
            ("", _) => "AND $3 = '' AND $4 = ''",
            (_, "") => "AND room_id = $3 AND $4 = ''",
            _ => "AND room_id = $3 AND session_id = $4",
        }
    }
}

/// # Errors
/// `M_MISSING_PARAM` without a version; `M_NOT_FOUND` for an unknown backup, or key where one was asked for.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    let version = asked(request)?;
    let scope = Scope { room: request.param("roomId"), session: request.param("sessionId") };
    if request.method() == "DELETE" {
        return delete(user, version, &scope);
    }
    let backup = find(user, version)?.ok_or_else(unknown)?;
    read(user, &backup, &scope)
}

type Row = (String, String, i64, i64, bool, String);

fn page(
    user: &str,
    version: i64,
    room: &str,
    after: &(String, String),
) -> std::result::Result<Vec<Row>, Error> {
    const COLUMNS: &str = "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data \
         FROM keys_backup_keys WHERE user_id = $1 AND version = $2";
    let rows = if room.is_empty() {
        query(
            &format!(
                "{COLUMNS} AND (room_id, session_id) > ($3, $4) ORDER BY room_id, session_id LIMIT $5"
            ),
            params![user, version, &after.0, &after.1, PAGE],
        )
    } else {
        query(
            &format!("{COLUMNS} AND room_id = $3 AND session_id > $4 ORDER BY session_id LIMIT $5"),
            params![user, version, room, &after.1, PAGE],
        )
    };
    Ok(rows?.all()?)
}

/// JSON is put together as text: what it is made of is JSON already, and there may be much of it.
fn read(user: &str, backup: &Backup, scope: &Scope<'_>) -> Result {
    if !scope.session.is_empty() {
        let row: Option<Row> = query(
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data \
             FROM keys_backup_keys \
             WHERE user_id = $1 AND version = $2 AND room_id = $3 AND session_id = $4",
            params![user, backup.version, scope.room, scope.session],
        )?
        .first()?;
        let row = row.ok_or_else(|| Error::not_found("key not found"))?;
        return Ok(Answer::raw_json(200, session(&row).into_bytes()));
    }
    let size = if scope.room.is_empty() { backup.bytes + backup.keys * 160 } else { 0 };
    let mut text = String::with_capacity(usize::try_from(size).unwrap_or_default());
    text.push_str(if scope.room.is_empty() { "{\"rooms\":{" } else { "{\"sessions\":{" });
    let mut last = (String::new(), String::new());
    let mut open = false;
    let mut first = true;
    loop {
        let rows = page(user, backup.version, scope.room, &last)?;
        let full = i64::try_from(rows.len()).is_ok_and(|count| count == PAGE);
        for row in rows {
            if scope.room.is_empty() && (!open || row.0 != last.0) {
                text.push_str(if open { "}}," } else { "" });
                text.push_str(&quoted(&row.0)?);
                text.push_str(":{\"sessions\":{");
                (open, first) = (true, true);
            }
            text.push_str(if first { "" } else { "," });
            first = false;
            text.push_str(&quoted(&row.1)?);
            text.push(':');
            text.push_str(&session(&row));
            last = (row.0, row.1);
        }
        if !full {
            break;
        }
    }
    text.push_str(if open { "}}}}" } else { "}}" });
    Ok(Answer::raw_json(200, text.into_bytes()))
}

fn quoted(text: &str) -> std::result::Result<String, Error> {
    serde_json::to_string(text).map_err(Error::internal)
}

fn session((_, _, first_message_index, forwarded_count, verified, data): &Row) -> String {
    format!(
        "{{\"first_message_index\":{first_message_index},\"forwarded_count\":{forwarded_count},\
         \"is_verified\":{verified},\"session_data\":{data}}}"
    )
}

fn delete(user: &str, version: i64, scope: &Scope<'_>) -> Result {
    for _ in 0..TRIES {
        let backup = find(user, version)?.ok_or_else(unknown)?;
        let sql = scope.sql();
        let of = || params![user, version, scope.room, scope.session];
        let gone: Option<(i64, Option<i64>)> = query(
            &format!(
                "SELECT COUNT(*), SUM(size) FROM keys_backup_keys WHERE user_id = $1 AND version = $2 {sql}"
            ),
            of(),
        )?
        .first()?;
        let (keys, bytes) = gone.unwrap_or_default();
        let batch = storage::Batch::new();
        let committed = put::guard(batch, user, &backup, -keys, -bytes.unwrap_or_default())
            .run(
                &format!("DELETE FROM keys_backup_keys WHERE user_id = $1 AND version = $2 {sql}"),
                of(),
            )
            .commit();
        match committed {
            Ok(_) => return put::told(backup.etag + 1, backup.keys - keys),
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}
