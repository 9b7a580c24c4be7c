//! POST /_matrix/media/v3/upload
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>

use serde_json::json;
use tessera_sdk::http::{Answer, Body, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{blobs, clock};

use crate::config::{self, Config};
use crate::place::Place;
use crate::store::blobs as held;
use crate::store::files::{self, File};
use crate::{limits, policy};

/// Longest filename, in bytes.
const MAX_NAME: usize = 1024;
/// Longest content type, in bytes.
const MAX_TYPE: usize = 255;
/// How often it is tried where others write at the same moment.
const TRIES: usize = 5;

/// # Errors
/// `M_TOO_LARGE`, `M_FORBIDDEN` for a quota, `M_INVALID_PARAM` for a filename that cannot be one, what a module chose.
pub(crate) fn handle(request: &Request) -> Result {
    let config = config::checked()?;
    let incoming = Incoming::of(request, &config)?;
    for _ in 0..TRIES {
        let file = incoming.file(Place::fresh());
        let batch = files::insert(Batch::new(), &file);
        if incoming.commit(batch, &config)? {
            return Answer::json(&json!({ "content_uri": file.place.uri() }));
        }
    }
    incoming.drop_with(storage::Error::Busy.into())
}

/// Bytes that a user sends, allowed by all limits and modules.
pub(crate) struct Incoming {
    pub(crate) user: String,
    pub(crate) blob: String,
    pub(crate) size: u64,
    pub(crate) content_type: String,
    pub(crate) filename: Option<String>,
    pub(crate) checked: bool,
    stored: held::Stored,
}

impl Incoming {
    /// Looks at what was sent. What is refused here is forgotten.
    pub(crate) fn of(request: &Request, config: &Config) -> std::result::Result<Self, Error> {
        let principal = request.principal()?;
        let blob = match &request.wire().body {
            Body::Blob(blob) => blob.clone(),
            // A request without a body uploads nothing, which is a file, too.
            Body::None => blobs::put(&[]).map_err(store)?,
            Body::Bytes(bytes) => blobs::put(bytes).map_err(store)?,
        };
        let stored = held::stored(&blob)?;
        let mut incoming = Self {
            user: principal.user.clone(),
            blob,
            size: stored.size,
            content_type: content_type(request.header("content-type")),
            filename: None,
            checked: false,
            stored,
        };
        match incoming.look(request, config) {
            Ok(()) => Ok(incoming),
            Err(error) => incoming.drop_with(error),
        }
    }

    fn look(&mut self, request: &Request, config: &Config) -> std::result::Result<(), Error> {
        limits::may_upload_at_all(&request.principal()?.marks)?;
        self.filename = filename(request.query("filename"))?;
        limits::allowed(&self.user, self.size, config)?;
        if limits::is_full(&self.user, self.size, config)? {
            return Err(full());
        }
        self.checked = policy::check(
            &self.blob,
            self.size,
            &self.content_type,
            self.filename.as_deref(),
            false,
            Some(&request.requester()?),
        )?;
        Ok(())
    }

    /// The file that this becomes.
    pub(crate) fn file(&self, place: Place) -> File {
        let now = clock::now_ms();
        File {
            place,
            user: Some(self.user.clone()),
            created_ms: now,
            expires_ms: 0,
            uploaded_ms: now,
            blob: Some(self.blob.clone()),
            size: self.size,
            content_type: self.content_type.clone(),
            filename: self.filename.clone(),
            checked: self.checked,
            preview: false,
            quarantined_by: None,
            protected: false,
            seen_ms: now,
        }
    }

    /// Counts the file and makes it true. False: others wrote at the same moment, look again.
    pub(crate) fn commit(&self, batch: Batch, config: &Config) -> std::result::Result<bool, Error> {
        match limits::count(batch, &self.user, self.size, config).commit() {
            Ok(_) => Ok(true),
            Err(storage::Error::Conflict(_)) => {
                // The bytes are gone with the blob: they have to be sent again.
                if held::finish(&self.blob)? {
                    return Err(storage::Error::Busy.into());
                }
                if limits::is_full(&self.user, self.size, config)? {
                    return self.drop_with(full());
                }
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes are of no use: they go, and this is the answer.
    pub(crate) fn drop_with<T>(&self, error: Error) -> std::result::Result<T, Error> {
        held::discard(&self.blob, &self.stored);
        Err(error)
    }
}

fn full() -> Error {
    Error::forbidden("you keep as much as you may")
}

pub(crate) fn store(error: blobs::Error) -> Error {
    match error {
        blobs::Error::TooLarge => Error::too_large("there is no room for this"),
        other => Error::internal(format!("blob: {other:?}")),
    }
}

/// What is no header's value is no content type.
pub(crate) fn content_type(header: Option<&str>) -> String {
    let header = header.map(str::trim).filter(|text| {
        (1..=MAX_TYPE).contains(&text.len())
            && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    });
    header.unwrap_or("application/octet-stream").to_owned()
}

fn filename(name: Option<&str>) -> std::result::Result<Option<String>, Error> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    if name.len() > MAX_NAME || name.contains(char::is_control) {
        return Err(Error::invalid_param("filename is too long or holds control characters"));
    }
    Ok(Some(name.to_owned()))
}
