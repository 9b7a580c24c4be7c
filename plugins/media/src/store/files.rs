//! Files: what mxc URIs name.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, FromRow, RowError, Value};
use tessera_sdk::{clock, params};

use super::blobs;
use crate::place::Place;

/// How exactly it is known when a file was last looked at.
const SEEN_EVERY_MS: u64 = 86_400_000;
/// How often a deletion is tried where thumbnails come in between.
const TRIES: usize = 5;

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) place: Place,
    /// Who uploaded it.
    pub(crate) user: Option<String>,
    pub(crate) created_ms: u64,
    /// Until when it may be filled; 0: it is.
    pub(crate) expires_ms: u64,
    pub(crate) uploaded_ms: u64,
    pub(crate) blob: Option<String>,
    pub(crate) size: u64,
    pub(crate) content_type: String,
    pub(crate) filename: Option<String>,
    pub(crate) checked: bool,
    pub(crate) preview: bool,
    pub(crate) quarantined_by: Option<String>,
    pub(crate) protected: bool,
    pub(crate) seen_ms: u64,
}

/// The columns of [`File`], in the order of its [`FromRow`].
pub(crate) const COLUMNS: &str = "origin, media_id, user_id, created_ms, expires_ms, uploaded_ms, \
    blob, size, content_type, filename, quarantined_by, seen_ms, \
    CASE WHEN checked THEN 1 ELSE 0 END + CASE WHEN preview THEN 2 ELSE 0 END \
    + CASE WHEN protected THEN 4 ELSE 0 END AS flags";

impl FromRow for File {
    fn from_row(mut row: Vec<Value>) -> Result<Self, RowError> {
        let rest = row.split_off(row.len().min(8));
        let (origin, id, user, created_ms, expires_ms, uploaded_ms, blob, size) =
            FromRow::from_row(row)?;
        let (content_type, filename, quarantined_by, seen_ms, flags): (_, _, _, _, u64) =
            FromRow::from_row(rest)?;
        Ok(Self {
            place: Place { origin, id },
            user,
            created_ms,
            expires_ms,
            uploaded_ms,
            blob,
            size,
            content_type,
            filename,
            checked: flags & 1 != 0,
            preview: flags & 2 != 0,
            quarantined_by,
            protected: flags & 4 != 0,
            seen_ms,
        })
    }
}

/// The file at a place, filled or not.
pub(crate) fn find(place: &Place) -> Result<Option<File>, Error> {
    let found = storage::query(
        &format!("SELECT {COLUMNS} FROM media_files WHERE origin = $1 AND media_id = $2"),
        params![&place.origin, &place.id],
    )?;
    Ok(found.first()?)
}

/// A new file, and its hold on its blob.
pub(crate) fn insert(batch: Batch, file: &File) -> Batch {
    let batch = batch.run(
        "INSERT INTO media_files (origin, media_id, user_id, created_ms, expires_ms, uploaded_ms, blob, \
         size, content_type, filename, checked, preview, quarantined_by, protected, seen_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, NULL, FALSE, $13)",
        params![
            &file.place.origin,
            &file.place.id,
            file.user.clone(),
            file.created_ms,
            file.expires_ms,
            file.uploaded_ms,
            file.blob.clone(),
            file.size,
            &file.content_type,
            file.filename.clone(),
            file.checked,
            file.preview,
            file.seen_ms,
        ],
    );
    match &file.blob {
        Some(blob) => blobs::hold(batch, blob),
        None => batch,
    }
}

/// Notes that somebody looks at a file.
pub(crate) fn seen(file: &File) -> Result<(), Error> {
    let now = clock::now_ms();
    if now.saturating_sub(file.seen_ms) < SEEN_EVERY_MS {
        return Ok(());
    }
    Batch::new()
        .relaxed()
        .run(
            "UPDATE media_files SET seen_ms = $3 WHERE origin = $1 AND media_id = $2",
            params![&file.place.origin, &file.place.id, now],
        )
        .commit_blind()?;
    Ok(())
}

/// Notes what modules said: nothing against it, or that it is to be there for nobody.
pub(crate) fn judged(place: &Place, refused: bool) -> Result<(), Error> {
    let by = refused.then_some("module");
    Batch::new()
        .run(
            "UPDATE media_files SET checked = TRUE, quarantined_by = coalesce(quarantined_by, $3) \
             WHERE origin = $1 AND media_id = $2",
            params![&place.origin, &place.id, by],
        )
        .commit_blind()?;
    Ok(())
}

/// Forgets which events name a file of this server.
pub(crate) fn unmention(batch: Batch, id: &str) -> Batch {
    batch
        .run("DELETE FROM media_mentions WHERE media_id = $1", params![id])
        .run("DELETE FROM media_places WHERE media_id = $1", params![id])
}

/// Deletes a file with its thumbnails; whether there was one.
pub(crate) fn delete(place: &Place) -> Result<bool, Error> {
    delete_if(place, None)
}

/// As [`delete`], unless an event above this position or a profile names the file at the moment of the commit.
pub(crate) fn delete_unnamed(place: &Place, after: i64) -> Result<bool, Error> {
    delete_if(place, Some(after))
}

/// Of the URI `$1` and the position `$2`.
const NAMED: &str = "EXISTS (SELECT 1 FROM rooms_v1_events e WHERE e.position > $2 \
    AND e.rejected = FALSE AND replace(e.json, $1, '') <> e.json) \
    OR EXISTS (SELECT 1 FROM accounts_v1_profiles p WHERE p.avatar_url = $1 AND length(p.avatar_url) <= 600)";

fn named(place: &Place, after: i64) -> Result<bool, Error> {
    let sql = format!(
        "SELECT media_id FROM media_files WHERE origin = $3 AND media_id = $4 AND ({NAMED})"
    );
    let found = storage::query(&sql, params![place.uri(), after, &place.origin, &place.id])?;
    Ok(!found.rows.is_empty())
}

fn delete_if(place: &Place, unnamed_after: Option<i64>) -> Result<bool, Error> {
    for _ in 0..TRIES {
        let Some(file) = find(place)? else { return Ok(false) };
        let key = || params![&place.origin, &place.id];
        let thumbnails: Vec<(String,)> = storage::query(
            "SELECT blob FROM media_thumbnails WHERE origin = $1 AND media_id = $2",
            key(),
        )?
        .all()?;
        let count = thumbnails.len() as u64;
        let blobs: Vec<String> =
            thumbnails.into_iter().map(|(blob,)| blob).chain(file.blob.clone()).collect();
        let batch = match unnamed_after {
            None => Batch::new().run(
                "DELETE FROM media_files WHERE origin = $1 AND media_id = $2 AND uploaded_ms = $3",
                params![&place.origin, &place.id, file.uploaded_ms],
            ),
            Some(after) => Batch::new().run(
                &format!(
                    "DELETE FROM media_files WHERE origin = $3 AND media_id = $4 \
                     AND uploaded_ms = $5 AND NOT ({NAMED})"
                ),
                params![place.uri(), after, &place.origin, &place.id, file.uploaded_ms],
            ),
        };
        let mut batch = batch
            .expect(1)
            .run("DELETE FROM media_thumbnails WHERE origin = $1 AND media_id = $2", key())
            .expect(count)
            .run("DELETE FROM media_pictures WHERE origin = $1 AND media_id = $2", key());
        batch = blobs::release(batch, &blobs);
        if place.is_local() {
            batch = unmention(batch, &place.id);
        }
        // Those of previews count for nobody.
        let user = if file.preview { Some("") } else { file.user.as_deref() };
        if let (Some(user), Some(_)) = (user, &file.blob) {
            batch = batch.run(
                "UPDATE media_usage SET bytes = bytes - $2, files = files - 1 WHERE user_id = $1",
                params![user, file.size],
            );
        }
        match batch.wake(place.topic()).commit() {
            Ok(_) => return Ok(true),
            // It was filled, or got a thumbnail, or somebody names it now.
            Err(storage::Error::Conflict(_)) => match unnamed_after {
                Some(after) if named(place, after)? => return Ok(false),
                _ => {}
            },
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}
