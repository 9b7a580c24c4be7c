//! Thumbnails that are kept, and what is known of pictures.

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::services::thumbnails::{Picture, Wish};
use tessera_sdk::storage::{self, Batch, select};

use super::blobs;
use crate::place::Place;

/// A thumbnail that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) blob: String,
    pub(crate) content_type: String,
}

/// What is known of a file as a picture.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The thumbnail that is wished.
    pub(crate) kept: Option<Kept>,
    /// Why there is none and will be none.
    pub(crate) problem: Option<String>,
    /// How many are kept.
    pub(crate) count: u64,
}

/// Looks a thumbnail up.
pub(crate) fn find(place: &Place, wish: &Wish) -> Result<Known, Error> {
    let key = || params![&place.origin, &place.id];
    let mut answers = storage::snapshot(&[
        select(
            "SELECT blob, content_type FROM media_thumbnails WHERE origin = $1 AND media_id = $2 \
             AND width = $3 AND height = $4 AND method = $5 AND animated = $6",
            params![&place.origin, &place.id, wish.width, wish.height, &wish.method, wish.animated],
        ),
        select("SELECT problem FROM media_pictures WHERE origin = $1 AND media_id = $2", key()),
        select(
            "SELECT count(*) AS n FROM media_thumbnails WHERE origin = $1 AND media_id = $2",
            key(),
        ),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let kept: Option<(String, String)> = next()?.first()?;
    let problem: Option<(Option<String>,)> = next()?.first()?;
    let count: Option<(u64,)> = next()?.first()?;
    Ok(Known {
        kept: kept.map(|(blob, content_type)| Kept { blob, content_type }),
        problem: problem.and_then(|(problem,)| problem),
        count: count.map_or(0, |(n,)| n),
    })
}

/// Of what is kept, the one that comes nearest to a wish: of its method if there is one, then the smallest that is large enough, then the
/// largest.
pub(crate) fn near(place: &Place, wish: &Wish) -> Result<Option<Kept>, Error> {
    let kept: Option<(String, String)> = storage::query(
        "SELECT blob, content_type FROM media_thumbnails WHERE origin = $1 AND media_id = $2 \
         ORDER BY CASE WHEN method = $3 THEN 0 ELSE 1 END, CASE WHEN animated = $4 THEN 0 ELSE 1 END, \
         CASE WHEN width >= $5 AND height >= $6 THEN width * height ELSE 100000000 - width * height END \
         LIMIT 1",
        params![&place.origin, &place.id, &wish.method, wish.animated, wish.width, wish.height],
    )?
    .first()?;
    Ok(kept.map(|(blob, content_type)| Kept { blob, content_type }))
}

/// Keeps what was made. False: the file is gone, or another was quicker; nothing was kept.
pub(crate) fn keep(
    place: &Place,
    uploaded_ms: u64,
    picture: &Picture,
    wishes: &[Wish],
) -> Result<bool, Error> {
    // The file's row is the guard: who deletes it takes the thumbnails with it.
    let mut batch = Batch::new()
        .run(
            "UPDATE media_files SET checked = checked \
             WHERE origin = $1 AND media_id = $2 AND uploaded_ms = $3",
            params![&place.origin, &place.id, uploaded_ms],
        )
        .expect(1);
    for (wish, made) in wishes.iter().zip(&picture.thumbnails) {
        batch = batch.run(
            "INSERT INTO media_thumbnails (origin, media_id, width, height, method, animated, \
             blob, size, content_type) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            params![
                &place.origin,
                &place.id,
                wish.width,
                wish.height,
                &wish.method,
                wish.animated,
                &made.blob,
                made.size,
                &made.content_type
            ],
        );
    }
    batch = batch.run(
        "INSERT INTO media_pictures (origin, media_id, width, height, content_type, problem) \
         VALUES ($1, $2, $3, $4, $5, NULL) ON CONFLICT (origin, media_id) DO NOTHING",
        params![&place.origin, &place.id, picture.width, picture.height, &picture.content_type],
    );
    let mut held: Vec<&str> = picture.thumbnails.iter().map(|made| made.blob.as_str()).collect();
    held.sort_unstable();
    for blob in held {
        batch = blobs::hold(batch, blob);
    }
    match batch.commit() {
        Ok(_) => Ok(true),
        Err(storage::Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Remembers why a file gets no thumbnails.
pub(crate) fn give_up(place: &Place, problem: &str) -> Result<(), Error> {
    Batch::new()
        .run(
            "INSERT INTO media_pictures (origin, media_id, width, height, content_type, problem) \
             SELECT f.origin, f.media_id, 0, 0, f.content_type, $3 FROM media_files f \
             WHERE f.origin = $1 AND f.media_id = $2 ON CONFLICT (origin, media_id) DO NOTHING",
            params![&place.origin, &place.id, problem],
        )
        .commit_blind()?;
    Ok(())
}
