//! What modules say of files: `tessera:hooks/media-policy`.

use tessera_sdk::hooks::media_policy::File as Shown;
use tessera_sdk::hooks::{self, Refusal, RequestInfo, Requester};
use tessera_sdk::matrix::{Error, ErrorCode};

use crate::store::files::{self, File};

const HOOK: &str = "tessera:hooks/media-policy";

/// Whether anybody is asked.
pub(crate) fn answered() -> bool {
    hooks::answered(HOOK)
}

/// Asks about a file that is being uploaded or made. True: somebody was asked and had nothing against it.
///
/// # Errors
/// What a module chose; 503 where none could be asked.
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
    asked(&file, who)??;
    Ok(true)
}

/// The verdict of modules.
///
/// # Errors
/// 503: one that must answer did not. That says nothing about the file, so it is asked about again the next time.
fn asked(file: &Shown, who: Option<&Requester>) -> Result<Result<(), Refusal>, Error> {
    /// What the host says in every text where the descriptor has no `[hooks.refusals]` for this hook.
    const PLAIN: &str = "a policy module did not answer";
    match hooks::check_media(file, who) {
        // Modules refuse with 400 to 499; the host's own refusal has a status that no module has.
        Err(refusal) if !(400..500).contains(&refusal.status) || refusal.errcode == PLAIN => {
            tessera_sdk::log::warn("nobody could say whether a file may be seen", &[]);
            let text = "this file cannot be looked at now; try again";
            Err(Error::new(ErrorCode::Unknown, text).status(503))
        }
        verdict => Ok(verdict),
    }
}

/// Asks about a file before it is served, if nobody has been asked yet: it came before the module did, or from another server.
///
/// # Errors
/// `M_NOT_FOUND`: a module wants nobody to see it. From then on nobody does. 503 where none could be asked.
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
    let refused = asked(&shown, who.as_ref())?.is_err();
    files::judged(&file.place, refused)?;
    if refused {
        return Err(Error::not_found("there is no such media"));
    }
    Ok(())
}
