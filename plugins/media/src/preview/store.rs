//! Previews that are kept.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, params};

use super::picture::Picture;
use crate::config::Config;
use crate::limits;
use crate::place::Place;
use crate::store::blobs;
use crate::store::files::{self, File};

/// How long a preview outlives its time: clients still show its picture, in milliseconds.
const AFTER_MS: u64 = 14 * 86_400_000;

/// Whose bytes those of previews are in `media_usage`.
const NOBODY: &str = "";
/// Previews that go at once where room is needed, and how often that is done for one that comes: each is a commit.
const FEW: u32 = 4;
const ROUNDS: usize = 25;

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
    config: &Config,
) -> Result<(), Error> {
    let now = clock::now_ms();
    let size = content.len() as u64;
    let taken = size.saturating_add(picture.map_or(0, |picture| picture.size));
    make_room(taken, config.url_preview_total_bytes)?;
    let mut batch = limits::first(Batch::new(), NOBODY).run(
        "UPDATE media_usage SET bytes = bytes + $2, files = files + $3 WHERE user_id = $1",
        params![NOBODY, taken, u64::from(picture.is_some())],
    );
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
            "INSERT INTO media_previews (url_hash, fetched_ms, expires_ms, content, media_id, size) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            params![
                hash,
                now,
                expires_ms,
                content,
                picture.map(|picture| picture.place.id.clone()),
                size,
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
    let found: Vec<Row> = storage::query(
        "SELECT url_hash, fetched_ms, media_id, size FROM media_previews WHERE expires_ms < $1 \
         ORDER BY expires_ms LIMIT $2",
        params![before, limit],
    )?
    .all()?;
    for row in &found {
        delete(row)?;
    }
    Ok(found.len())
}

/// Key, picture and bytes of text.
type Row = (String, u64, Option<String>, u64);

fn delete((hash, fetched_ms, picture, size): &Row) -> Result<(), Error> {
    if let Some(id) = picture {
        files::delete(&Place { origin: tessera_sdk::crypto::tenant_name(), id: id.clone() })?;
    }
    let deleted = Batch::new()
        .run(
            "DELETE FROM media_previews WHERE url_hash = $1 AND fetched_ms = $2",
            params![hash, *fetched_ms],
        )
        .expect(1)
        .run("UPDATE media_usage SET bytes = bytes - $2 WHERE user_id = $1", params![NOBODY, *size])
        .commit();
    match deleted {
        // Somebody else was quicker.
        Ok(_) | Err(storage::Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the oldest previews until there is room for so many bytes more, a few at a time.
fn make_room(bytes: u64, cap: u64) -> Result<(), Error> {
    for _ in 0..ROUNDS {
        let used: Option<(u64,)> =
            storage::query("SELECT bytes FROM media_usage WHERE user_id = $1", params![NOBODY])?
                .first()?;
        if used.map_or(0, |(used,)| used).saturating_add(bytes) <= cap {
            return Ok(());
        }
        let oldest: Vec<Row> = storage::query(
            "SELECT url_hash, fetched_ms, media_id, size FROM media_previews \
             ORDER BY fetched_ms LIMIT $1",
            params![FEW],
        )?
        .all()?;
        if oldest.is_empty() {
            return Ok(());
        }
        for row in &oldest {
            delete(row)?;
        }
    }
    Ok(())
}
