//! PUT /_matrix/media/v3/upload/{serverName}/{mediaId}
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid>

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, params};

use crate::config;
use crate::place::Place;
use crate::store::blobs;
use crate::store::files::{self, File};
use crate::upload::Incoming;

/// How often it is tried where others write at the same moment.
const TRIES: usize = 5;

/// # Errors
/// `M_NOT_FOUND` for an id that nobody made or that has run out, `M_FORBIDDEN` for another's, `M_CANNOT_OVERWRITE_MEDIA`; those of an upload.
pub(crate) fn handle(request: &Request) -> Result {
    let config = config::checked()?;
    let incoming = Incoming::of(request, &config)?;
    let place = match Place::of(request) {
        Ok(place) => place,
        Err(error) => return incoming.drop_with(error),
    };
    for _ in 0..TRIES {
        if let Err(error) = fillable(files::find(&place)?, &incoming.user) {
            return incoming.drop_with(error);
        }
        let batch = Batch::new()
            .run(
                "UPDATE media_files SET blob = $4, size = $5, content_type = $6, filename = $7, \
                 checked = $8, uploaded_ms = $9, seen_ms = $9, expires_ms = 0 \
                 WHERE origin = $1 AND media_id = $2 AND user_id = $3 AND uploaded_ms = 0 \
                 AND expires_ms > $9",
                params![
                    &place.origin,
                    &place.id,
                    &incoming.user,
                    &incoming.blob,
                    incoming.size,
                    &incoming.content_type,
                    incoming.filename.clone(),
                    incoming.checked,
                    clock::now_ms(),
                ],
            )
            .expect(1);
        let batch = blobs::hold(batch, &incoming.blob).wake(place.topic());
        if incoming.commit(batch, &config)? {
            return Answer::empty();
        }
    }
    incoming.drop_with(storage::Error::Busy.into())
}

/// Whether a user may fill this.
fn fillable(file: Option<File>, user: &str) -> std::result::Result<(), Error> {
    let file = file.ok_or_else(|| Error::not_found("this media id was not made here"))?;
    if file.user.as_deref() != Some(user) {
        return Err(Error::forbidden("this media id is another user's"));
    }
    if file.uploaded_ms > 0 {
        return Err(Error::with_status(409, "M_CANNOT_OVERWRITE_MEDIA", "it has been uploaded"));
    }
    if file.expires_ms <= clock::now_ms() {
        return Err(Error::not_found("this media id has run out"));
    }
    Ok(())
}
