//! A page's picture, kept as media of this server.

use serde_json::{Map, Value, json};
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
    /// Where it could be decoded.
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

/// Keeps what was fetched. None: it cannot be kept, or a module is against it.
pub(crate) fn store(got: &Got) -> Option<Picture> {
    let blob = match blobs::put(&got.bytes) {
        Ok(blob) => blob,
        Err(error) => {
            log::warn("a preview's picture is not kept", &[("reason", &format!("{error:?}"))]);
            return None;
        }
    };
    let stored = match held::stored(&blob) {
        Ok(stored) => stored,
        Err(error) => {
            log::warn("a preview's picture is not kept", &[("reason", &error.to_string())]);
            return None;
        }
    };
    let size = stored.size;
    // Looked at without being decoded. What it says itself goes before what its server said.
    let looked = services::make_thumbnails(&blob, &[]).ok();
    let content_type = match &looked {
        Some(picture) => picture.content_type.clone(),
        None => upload::content_type(Some(&got.essence)),
    };
    let checked = match policy::check(&blob, size, &content_type, None, true, None) {
        Ok(checked) => checked,
        Err(_) => {
            held::discard(&blob, &stored);
            return None;
        }
    };
    let sides = looked.map(|picture| (picture.width, picture.height));
    Some(Picture { place: Place::fresh(), blob, size, content_type, checked, sides })
}
