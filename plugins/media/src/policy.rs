//! What modules say of files: `tessera:hooks/media-policy`.

use tessera_sdk::hooks::media_policy::File as Shown;
use tessera_sdk::hooks::{self, RequestInfo, Requester};
use tessera_sdk::matrix::Error;

use crate::store::files::{self, File};

const HOOK: &str = "tessera:hooks/media-policy";

/// Whether anybody is asked.
pub(crate) fn answered() -> bool {
    hooks::answered(HOOK)
}

/// Asks about a file that is being uploaded or made. True: somebody was asked and had nothing against it.
///
/// # Errors
/// What a module chose.
pub(crate) fn check(
    blob: &str,
    size: u64,
    content_type: &str,
    filename: Option<&str>,
    derived: bool,
    who: Option<&Requester>,
) -> Result<bool, Error> {
    if !answered() {
        return Ok(false);
    }
    let file = Shown {
        blob: blob.to_owned(),
        size,
        content_type: content_type.to_owned(),
        filename: filename.map(str::to_owned),
        origin: None,
        derived,
    };
    hooks::check_media(&file, who)?;
    Ok(true)
}

/// Asks about a file before it is served, if nobody has been asked yet: it came before the module did, or from another server.
///
/// # Errors
/// `M_NOT_FOUND`: a module wants nobody to see it. From then on nobody does.
pub(crate) fn first(file: &File) -> Result<(), Error> {
    let Some(blob) = file.blob.as_deref().filter(|_| !file.checked && answered()) else {
        return Ok(());
    };
    let local = file.place.is_local();
    let who = file.user.as_ref().filter(|_| local).map(|user| Requester {
        user: user.clone(),
        device: None,
        service: None,
        admin: false,
        request: RequestInfo {
            id: String::new(),
            remote: String::new(),
            user_agent: String::new(),
        },
    });
    let shown = Shown {
        blob: blob.to_owned(),
        size: file.size,
        content_type: file.content_type.clone(),
        filename: file.filename.clone(),
        origin: (!local).then(|| file.place.origin.clone()),
        derived: file.preview,
    };
    let refused = hooks::check_media(&shown, who.as_ref()).is_err();
    files::judged(&file.place, refused)?;
    if refused {
        return Err(Error::not_found("there is no such media"));
    }
    Ok(())
}
