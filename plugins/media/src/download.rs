//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId} and …/{fileName}, and the open paths of old.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid>

use tessera_sdk::http::{Parked, Request, Result};
use tessera_sdk::matrix::Error;

use crate::serve::{self, Served};
use crate::wait::{Found, Wanted};
use crate::{config, disposition};

/// The name that the path gives.
type Name = Option<String>;

/// # Errors
/// `M_NOT_FOUND`, `M_NOT_YET_UPLOADED`.
pub(crate) fn handle(request: &Request) -> Result {
    look(&wanted(request, false)?, false)
}

/// # Errors
/// As [`handle`]; `M_NOT_FOUND` for what was uploaded after the freeze.
pub(crate) fn handle_open(request: &Request) -> Result {
    look(&wanted(request, true)?, false)
}

/// Goes on with either.
pub(crate) fn resume(parked: &Parked) -> Result {
    look(&Wanted::parked(parked)?, parked.timed_out)
}

fn wanted(request: &Request, open: bool) -> std::result::Result<Wanted<Name>, Error> {
    let name = Some(request.param("fileName")).filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.len() > 1024) {
        return Err(Error::invalid_param("the file name is too long"));
    }
    Wanted::of(request, open, name.map(str::to_owned))
}

fn look(wanted: &Wanted<Name>, last: bool) -> Result {
    let file = match wanted.find(&config::checked()?, last)? {
        Found::File(file) => file,
        Found::Wait(answer) => return Ok(answer),
    };
    let blob = file.blob.as_deref().ok_or_else(|| Error::internal("a file without a blob"))?;
    let name = wanted.what.as_deref().or(file.filename.as_deref());
    Ok(serve::answer(&Served {
        blob,
        content_type: &file.content_type,
        disposition: disposition::header(&file.content_type, name),
        open: wanted.open,
        none_match: wanted.none_match.as_deref(),
    }))
}
