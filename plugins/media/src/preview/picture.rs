//! A page's picture, kept as media of this server.

use serde_json::{Map, Value, json};
use tessera_sdk::services::thumbnails::Wish;
use tessera_sdk::{blobs, log, services};

use super::get::Got;
use crate::place::Place;
use crate::policy;
use crate::store::blobs as held;
use crate::upload;

/// A picture whose bytes are kept.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) place: Place,
    pub(crate) blob: String,
    pub(crate) size: u64,
    pub(crate) content_type: String,
    pub(crate) checked: bool,
    /// Of what is kept, where it could be decoded.
    sides: Option<(u32, u32)>,
}

impl Picture {
    /// What a preview says of it.
    pub(crate) fn properties(&self) -> Map<String, Value> {
        let mut properties = Map::new();
        let mut say = |name: &str, value: Value| properties.insert(name.to_owned(), value);
        say("og:image", self.place.uri().into());
        say("og:image:type", self.content_type.as_str().into());
        say("matrix:image:size", json!(self.size));
        if let Some((width, height)) = self.sides {
            say("og:image:width", width.into());
            say("og:image:height", height.into());
        }
        properties
    }
}

/// What is shown of a page; and what is kept as it is where it cannot be made smaller, such as an icon.
const SIDES: (u32, u32) = (800, 600);
const MAX_AS_IT_IS: u64 = 256 << 10;

/// Keeps what was fetched, made smaller where it is large. None: it cannot be kept, or a module is against it.
pub(crate) fn store(got: &Got) -> Option<Picture> {
    match kept(got) {
        Ok(picture) => picture,
        Err(reason) => {
            log::warn("a preview's picture is not kept", &[("reason", &reason)]);
            None
        }
    }
}

fn kept(got: &Got) -> Result<Option<Picture>, String> {
    let whole = blobs::put(&got.bytes).map_err(|error| format!("{error:?}"))?;
    let stored = held::stored(&whole).map_err(|error| error.to_string())?;
    let (width, height) = SIDES;
    let wish = Wish { width, height, method: "scale".to_owned(), animated: false };
    let made = services::make_thumbnails(&whole, &[wish]);
    let made = made.ok().and_then(|picture| picture.thumbnails.into_iter().next());
    let (blob, size, content_type, sides, stored) = match made {
        // It is small enough already.
        Some(made) if made.blob == whole => {
            (whole, made.size, made.content_type, Some((made.width, made.height)), stored)
        }
        Some(made) => {
            let of_made = held::stored(&made.blob).map_err(|error| error.to_string());
            held::discard(&whole, &stored);
            let sides = Some((made.width, made.height));
            (made.blob, made.size, made.content_type, sides, of_made?)
        }
        None if stored.size <= MAX_AS_IT_IS => {
            (whole, stored.size, upload::content_type(Some(&got.essence)), None, stored)
        }
        None => {
            held::discard(&whole, &stored);
            return Ok(None);
        }
    };
    let Ok(checked) = policy::check(&blob, size, &content_type, None, true, None) else {
        held::discard(&blob, &stored);
        return Ok(None);
    };
    Ok(Some(Picture { place: Place::fresh(), blob, size, content_type, checked, sides }))
}
