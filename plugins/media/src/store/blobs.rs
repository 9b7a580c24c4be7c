//! Who speaks of a blob. Equal bytes have one id, so a blob goes when the last row that names it has gone, and a while later: somebody
//! may be uploading the same bytes at this moment.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{blobs, clock, log, params};

/// How long nobody must have spoken of a blob before it is deleted, in milliseconds: longer than any request takes from storing its
/// bytes to naming them.
const GRACE_MS: u64 = 3_600_000;
/// How long whoever began to delete a blob may take: longer than a call lives. Before that nobody else deletes it, because the one who
/// began might do so after the same bytes have been stored again.
const DOOMED_MS: u64 = 120_000;
/// How often a row is written that others write at the same moment.
const TRIES: usize = 5;

/// One more row names the blob. Fails with a conflict where it is being deleted: see [`finish`].
pub(crate) fn hold(batch: Batch, blob: &str) -> Batch {
    batch
        .run(
            "INSERT INTO media_blobs (blob, users, idle_ms, doomed) VALUES ($1, 1, 0, FALSE) \
             ON CONFLICT (blob) DO UPDATE SET users = media_blobs.users + 1, idle_ms = 0 \
             WHERE media_blobs.doomed = FALSE",
            params![blob],
        )
        .expect(1)
}

/// One row less names each of these.
pub(crate) fn release(batch: Batch, blobs: &[String]) -> Batch {
    let mut blobs = blobs.to_vec();
    blobs.sort_unstable();
    let now = clock::now_ms();
    batch.run_many(
        "UPDATE media_blobs SET users = users - 1, \
         idle_ms = CASE WHEN users = 1 THEN CAST($2 AS bigint) ELSE 0 END WHERE blob = $1",
        blobs.iter().map(|blob| params![blob, now]).collect(),
    )
}

/// Bytes that have just been stored, maybe once more.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) size: u64,
    /// Since when they wait to be named, where nobody knew of them before.
    fresh_ms: Option<u64>,
}

/// Says of bytes that were stored that somebody is about to name them: none of them goes for [`GRACE_MS`], and then it does unless
/// somebody has named it. This comes before anything else is done about them.
///
/// # Errors
/// 503: they are being deleted at this moment, or have been since they were stored; they have to be sent again.
pub(crate) fn stored(blob: &str) -> Result<Stored, Error> {
    for _ in 0..TRIES {
        let known = storage::query("SELECT blob FROM media_blobs WHERE blob = $1", params![blob])?;
        let now = clock::now_ms();
        let noted = Batch::new()
            // Lost in a crash, it leaves a blob that nobody knows of, as a crash before it would.
            .relaxed()
            .run(
                "INSERT INTO media_blobs (blob, users, idle_ms, doomed) VALUES ($1, 0, $2, FALSE) \
                 ON CONFLICT (blob) DO UPDATE SET idle_ms = \
                 CASE WHEN media_blobs.users = 0 THEN excluded.idle_ms ELSE 0 END \
                 WHERE media_blobs.doomed = FALSE",
                params![blob, now],
            )
            .expect(1)
            .commit();
        match noted {
            Ok(_) => {
                // From here on nobody begins to delete it; somebody may have been through before.
                return match blobs::stat(blob) {
                    Ok(info) => {
                        let fresh_ms = known.rows.is_empty().then_some(now);
                        Ok(Stored { size: info.size, fresh_ms })
                    }
                    Err(blobs::Error::NotFound) => Err(storage::Error::Busy.into()),
                    Err(error) => Err(Error::internal(format!("blob: {error:?}"))),
                };
            }
            Err(storage::Error::Conflict(_)) if finish(blob)? => break,
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::Busy.into())
}

/// Deletes at once what was stored for nothing and nobody else knew of. What others store or name meanwhile stays, and what could not be
/// deleted goes later.
pub(crate) fn discard(blob: &str, stored: &Stored) {
    let Some(since_ms) = stored.fresh_ms else { return };
    if let Err(error) = doom(blob, since_ms, false) {
        log::warn("a blob goes later", &[("reason", &error.to_string())]);
    }
}

/// Whether the blob is being deleted at this moment. A deletion that stopped in the middle is brought to its end then, so that storing
/// the same bytes anew works.
pub(crate) fn finish(blob: &str) -> Result<bool, Error> {
    let doomed: Option<(u64,)> = storage::query(
        "SELECT idle_ms FROM media_blobs WHERE blob = $1 AND doomed = TRUE",
        params![blob],
    )?
    .first()?;
    let Some((since_ms,)) = doomed else { return Ok(false) };
    if clock::now_ms().saturating_sub(since_ms) >= DOOMED_MS {
        doom(blob, since_ms, true)?;
    }
    Ok(true)
}

/// Deletes a blob that nobody names, if it is as it was seen. `again`: though somebody has begun to.
fn doom(blob: &str, seen_ms: u64, again: bool) -> Result<(), Error> {
    let doomed = Batch::new()
        .run(
            "UPDATE media_blobs SET doomed = TRUE, idle_ms = $3 \
             WHERE blob = $1 AND users = 0 AND idle_ms = $2 AND (doomed = FALSE OR doomed = $4)",
            params![blob, seen_ms, clock::now_ms(), again],
        )
        .expect(1)
        .commit();
    match doomed {
        Ok(_) => end(blob),
        // Somebody names it again, or deletes it.
        Err(storage::Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn end(blob: &str) -> Result<(), Error> {
    blobs::delete(blob).map_err(|error| Error::internal(format!("blob: {error:?}")))?;
    Batch::new()
        .run("DELETE FROM media_blobs WHERE blob = $1 AND doomed = TRUE", params![blob])
        .commit_blind()?;
    Ok(())
}

/// Deletes blobs that nobody has named for a while, up to `limit`; how many were looked at.
pub(crate) fn sweep(limit: u32) -> Result<usize, Error> {
    let before = clock::now_ms().saturating_sub(GRACE_MS);
    let found: Vec<(String, u64)> = storage::query(
        "SELECT blob, idle_ms FROM media_blobs WHERE users = 0 AND idle_ms < $1 \
         ORDER BY idle_ms LIMIT $2",
        params![before, limit],
    )?
    .all()?;
    for (blob, idle_ms) in &found {
        doom(blob, *idle_ms, true)?;
    }
    Ok(found.len())
}
