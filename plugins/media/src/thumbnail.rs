//! GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}, and the open paths of old.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid>

use serde::{Deserialize, Serialize};
use tessera_sdk::http::{Parked, Request, Result};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::services::thumbnails::Wish;
use tessera_sdk::services::{self, ThumbnailsError};
use tessera_sdk::{cache, storage};

use crate::config::{self, Config};
use crate::serve::{self, Served};
use crate::store::blobs;
use crate::store::files::File;
use crate::store::thumbnails::{self, Kept};
use crate::wait::{Found, Wanted};
use crate::{disposition, policy, sizes};

/// How long one request waits for another that decodes the same picture, in milliseconds.
const LOCK_MS: u32 = 15_000;
/// How long a picture that broke the decoder, or found none, is left alone.
const BROKEN_MS: u32 = 600_000;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    width: u32,
    height: u32,
    method: String,
    animated: bool,
}

/// # Errors
/// `M_MISSING_PARAM`, `M_INVALID_PARAM`, `M_NOT_FOUND`, `M_NOT_YET_UPLOADED`; 400 `M_UNKNOWN` for what gets no thumbnails, `M_TOO_LARGE` for
/// what is too large to get any.
pub(crate) fn handle(request: &Request) -> Result {
    look(&Wanted::of(request, false, asked(request)?)?, false)
}

/// # Errors
/// As [`handle`]; `M_NOT_FOUND` for what was uploaded after the freeze.
pub(crate) fn handle_open(request: &Request) -> Result {
    look(&Wanted::of(request, true, asked(request)?)?, false)
}

/// Goes on with either.
pub(crate) fn resume(parked: &Parked) -> Result {
    look(&Wanted::parked(parked)?, parked.timed_out)
}

fn asked(request: &Request) -> std::result::Result<Asked, Error> {
    let side = |name: &str| {
        let side = request.query_as::<u32>(name)?;
        let side = side.ok_or_else(|| Error::missing_param(format!("{name} is missing")))?;
        if side == 0 {
            return Err(Error::invalid_param(format!("{name} is 0")));
        }
        Ok(side)
    };
    let (width, height) = (side("width")?, side("height")?);
    let method = request.query("method").unwrap_or("scale");
    if !["crop", "scale"].contains(&method) {
        return Err(Error::invalid_param("method is neither crop nor scale"));
    }
    let animated = request.query_as::<bool>("animated")?.unwrap_or(false);
    Ok(Asked { width, height, method: method.to_owned(), animated })
}

fn look(wanted: &Wanted<Asked>, last: bool) -> Result {
    let config = config::checked()?;
    let file = match wanted.find(&config, last)? {
        Found::File(file) => file,
        Found::Wait(answer) => return Ok(answer),
    };
    let Asked { width, height, method, animated } = &wanted.what;
    let wish = sizes::choose(*width, *height, method, *animated, &config.thumbnail_sizes);
    let kept = thumbnail(&file, &wish, &config)?;
    let ending = kept.content_type.split_once('/').map_or("", |(_, ending)| ending);
    Ok(serve::answer(&Served {
        blob: &kept.blob,
        content_type: &kept.content_type,
        disposition: disposition::header(&kept.content_type, Some(&format!("thumbnail.{ending}"))),
        open: wanted.open,
        none_match: wanted.none_match.as_deref(),
    }))
}

/// A thumbnail that is kept, or one that is made now.
fn thumbnail(file: &File, wish: &Wish, config: &Config) -> std::result::Result<Kept, Error> {
    let known = thumbnails::find(&file.place, wish)?;
    if let Some(kept) = known.kept {
        return Ok(kept);
    }
    if let Some(problem) = known.problem {
        return Err(hopeless(&problem));
    }
    let broken = format!("broken:{}", file.place.uri());
    if cache::get(&broken).is_some() {
        return Err(hopeless("broken"));
    }
    // Many clients ask for a new picture at once: one decodes it, the others find what it made.
    storage::lock(&[file.place.topic()], LOCK_MS);
    let known = thumbnails::find(&file.place, wish)?;
    if let Some(kept) = known.kept {
        return Ok(kept);
    }
    let most = config.max_thumbnails.max(1);
    if known.count >= most
        && let Some(near) = thumbnails::near(&file.place, wish)?
    {
        return Ok(near);
    }
    let blob = file.blob.as_deref().ok_or_else(|| Error::internal("a file without a blob"))?;
    // Each is shown to modules, if there are any: then none is made that nobody has asked for.
    let asked = policy::answered();
    let mut wishes = match known.count == 0 && !asked {
        true => sizes::together(wish, &config.thumbnail_sizes),
        false => vec![wish.clone()],
    };
    wishes.truncate(usize::try_from(most - known.count.min(most)).unwrap_or(usize::MAX).max(1));
    let picture = match services::make_thumbnails(blob, &wishes) {
        Ok(picture) => picture,
        Err(ThumbnailsError::Unsupported(_)) => {
            thumbnails::give_up(&file.place, "unsupported")?;
            return Err(hopeless("unsupported"));
        }
        Err(ThumbnailsError::TooLarge(_)) => {
            thumbnails::give_up(&file.place, "too-large")?;
            return Err(hopeless("too-large"));
        }
        Err(ThumbnailsError::Unknown(reason)) => {
            tessera_sdk::log::warn(
                "a picture broke the decoder",
                &[("media", &file.place.uri()), ("reason", &reason)],
            );
            cache::put(&broken, b"1", BROKEN_MS, &[]);
            return Err(hopeless("broken"));
        }
        Err(ThumbnailsError::Unavailable(reason)) => {
            tessera_sdk::log::warn("no thumbnail", &[("reason", &reason)]);
            return Err(Error::new(ErrorCode::Unknown, "thumbnails cannot be made now").status(503));
        }
    };
    let made = picture.thumbnails.first().ok_or_else(|| Error::internal("no thumbnail came"))?;
    // What is not kept goes, after a while in which this answer is sent.
    for made in picture.thumbnails.iter().filter(|made| made.blob != blob) {
        blobs::stored(&made.blob)?;
    }
    if asked && made.blob != blob {
        policy::check(&made.blob, made.size, &made.content_type, None, true, None)?;
    }
    let kept = Kept { blob: made.blob.clone(), content_type: made.content_type.clone() };
    let room = known.count.saturating_add(wishes.len() as u64) <= most;
    if room && thumbnails::keep(&file.place, file.uploaded_ms, &picture, &wishes)? {
        return Ok(kept);
    }
    Ok(kept)
}

fn hopeless(problem: &str) -> Error {
    match problem {
        "too-large" => Error::too_large("the picture is too large to get a thumbnail"),
        _ => Error::new(ErrorCode::Unknown, "this content gets no thumbnails").status(400),
    }
}
