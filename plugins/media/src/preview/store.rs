//! Previews that are kept.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, params};

use super::picture::Picture;
use crate::place::Place;
use crate::store::blobs;
use crate::store::files::{self, File};

/// How long a preview outlives its time: clients still show its picture, in milliseconds.
const AFTER_MS: u64 = 14 * 86_400_000;

/// A preview that is good, now or at the time that the client names.
pub(crate) fn find(hash: &str, ts: Option<u64>) -> Result<Option<String>, Error> {
    let now = clock::now_ms();
    let at = ts.unwrap_or(now).min(now);
    // Good at that moment; or else now.
    let found: Option<(String,)> = storage::query(
        "SELECT content FROM media_previews WHERE url_hash = $1 \
         AND ((fetched_ms <= $2 AND expires_ms > $2) OR expires_ms > $3) \
         ORDER BY CASE WHEN fetched_ms <= $2 AND expires_ms > $2 THEN 0 ELSE 1 END, \
         fetched_ms DESC LIMIT 1",
        params![hash, at, now],
    )?
    .first()?;
    Ok(found.map(|(content,)| content))
}

/// Keeps a preview, and its picture as a file.
pub(crate) fn keep(
    hash: &str,
    expires_ms: u64,
    content: &str,
    picture: Option<&Picture>,
) -> Result<(), Error> {
    let now = clock::now_ms();
    let mut batch = Batch::new();
    if let Some(picture) = picture {
        let file = File {
            place: picture.place.clone(),
            user: None,
            created_ms: now,
            expires_ms: 0,
            uploaded_ms: now,
            blob: Some(picture.blob.clone()),
            size: picture.size,
            content_type: picture.content_type.clone(),
            filename: None,
            checked: picture.checked,
            preview: true,
            quarantined_by: None,
            protected: false,
            seen_ms: now,
        };
        batch = files::insert(batch, &file);
    }
    let kept = batch
        .run(
            "INSERT INTO media_previews (url_hash, fetched_ms, expires_ms, content, media_id) \
             VALUES ($1, $2, $3, $4, $5)",
            params![
                hash,
                now,
                expires_ms,
                content,
                picture.map(|picture| picture.place.id.clone())
            ],
        )
        .commit();
    match kept {
        Ok(_) => Ok(()),
        Err(storage::Error::Conflict(_)) => {
            if let Some(picture) = picture {
                blobs::finish(&picture.blob)?;
            }
            Err(storage::Error::Busy.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes previews that ran out long ago, up to `limit`, with their pictures; how many there were.
pub(crate) fn sweep(limit: u32) -> Result<usize, Error> {
    let before = clock::now_ms().saturating_sub(AFTER_MS);
    let found: Vec<(String, u64, Option<String>)> = storage::query(
        "SELECT url_hash, fetched_ms, media_id FROM media_previews WHERE expires_ms < $1 \
         ORDER BY expires_ms LIMIT $2",
        params![before, limit],
    )?
    .all()?;
    for (hash, fetched_ms, picture) in &found {
        if let Some(id) = picture {
            files::delete(&Place { origin: tessera_sdk::crypto::tenant_name(), id: id.clone() })?;
        }
        Batch::new()
            .run(
                "DELETE FROM media_previews WHERE url_hash = $1 AND fetched_ms = $2",
                params![hash, *fetched_ms],
            )
            .commit_blind()?;
    }
    Ok(found.len())
}
