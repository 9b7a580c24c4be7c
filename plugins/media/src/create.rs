//! POST /_matrix/media/v1/create
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create>

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, select};
use tessera_sdk::{clock, params};

use crate::place::Place;
use crate::store::files::{self, File};
use crate::{config, limits};

/// How often it is tried where the user makes others at the same moment.
const TRIES: usize = 5;
/// What a client is told to wait where all its ids wait to be filled, in milliseconds.
const RETRY_MS: u64 = 60_000;

/// # Errors
/// `M_LIMIT_EXCEEDED` where too many ids wait to be filled; `M_GUEST_ACCESS_FORBIDDEN`.
pub(crate) fn handle(request: &Request) -> Result {
    let user = request.user()?;
    limits::may_upload_at_all(&request.principal()?.marks)?;
    let config = config::checked()?;
    for _ in 0..TRIES {
        let now = clock::now_ms();
        let mut answers = storage::snapshot(&[
            select(
                "SELECT count(*) AS n FROM media_files WHERE user_id = $1 AND expires_ms > $2",
                params![user, now],
            ),
            select("SELECT version FROM media_usage WHERE user_id = $1", params![user]),
        ])?
        .answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let pending: Option<(u64,)> = next()?.first()?;
        let version: Option<(u64,)> = next()?.first()?;
        if pending.map_or(0, |(n,)| n) >= config.max_pending {
            return Err(Error::limit_exceeded(RETRY_MS));
        }
        let expires_ms = now.saturating_add(config.pending_hours.saturating_mul(3_600_000));
        let file = pending_file(user, now, expires_ms);
        let batch = limits::first(files::insert(Batch::new(), &file), user)
            .run(
                "UPDATE media_usage SET version = version + 1 WHERE user_id = $1 AND version = $2",
                params![user, version.map_or(0, |(version,)| version)],
            )
            .expect(1);
        match batch.commit() {
            Ok(_) => {
                let uri = file.place.uri();
                return Answer::json(
                    &json!({ "content_uri": uri, "unused_expires_at": expires_ms }),
                );
            }
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}

fn pending_file(user: &str, now: u64, expires_ms: u64) -> File {
    File {
        place: Place::fresh(),
        user: Some(user.to_owned()),
        created_ms: now,
        expires_ms,
        uploaded_ms: 0,
        blob: None,
        size: 0,
        content_type: "application/octet-stream".to_owned(),
        filename: None,
        checked: false,
        preview: false,
        quarantined_by: None,
        protected: false,
        seen_ms: now,
    }
}
