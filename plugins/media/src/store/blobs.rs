//! Who speaks of a blob. Equal bytes have one id, so a blob goes when the last row that names it has gone, and a while later: somebody
//! may be uploading the same bytes at this moment.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{blobs, clock, params};

/// How long nobody must have spoken of a blob before it is deleted, in milliseconds: longer than any request takes from storing its
/// bytes to naming them.
const GRACE_MS: u64 = 3_600_000;

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

/// A blob that was stored for nothing: it goes unless somebody else names it.
pub(crate) fn idle(blob: &str) -> Result<(), Error> {
    Batch::new()
        .run(
            "INSERT INTO media_blobs (blob, users, idle_ms, doomed) VALUES ($1, 0, $2, FALSE) \
             ON CONFLICT (blob) DO NOTHING",
            params![blob, clock::now_ms()],
        )
        .commit_blind()?;
    Ok(())
}

/// Whether the blob is being deleted at this moment. Its deletion is brought to its end then, so that storing the same bytes anew works.
pub(crate) fn finish(blob: &str) -> Result<bool, Error> {
    let doomed = storage::query(
        "SELECT blob FROM media_blobs WHERE blob = $1 AND doomed = TRUE",
        params![blob],
    )?;
    if doomed.rows.is_empty() {
        return Ok(false);
    }
    end(blob)?;
    Ok(true)
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
        let doomed = Batch::new()
            .run(
                "UPDATE media_blobs SET doomed = TRUE \
                 WHERE blob = $1 AND users = 0 AND idle_ms = $2",
                params![blob, *idle_ms],
            )
            .expect(1)
            .commit();
        match doomed {
            Ok(_) => end(blob)?,
            // Somebody names it again.
            Err(storage::Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found.len())
}
