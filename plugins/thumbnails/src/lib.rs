//! Pictures made smaller.
//!
//! The decoders run here and nowhere else, in instances that have no storage, no network and no keys: all that a picture made to
//! break one can reach is the memory of its own call. Before anything is decoded its header is held against the caps.

mod config;
mod file;
mod moving;
mod picture;
mod size;
mod still;

use tessera_sdk::bindings::thumbnails::exports::tessera::services::thumbnails::{
    Error, Guest, Picture, Wish,
};

/// Wishes of one call.
const MAX_WISHES: usize = 10;
/// Pixels of a thumbnail's side.
const MAX_SIDE: u32 = 1600;

/// The plug-in.
#[derive(Debug)]
pub struct Plugin;

impl Guest for Plugin {
    fn make(blob: String, wishes: Vec<Wish>) -> Result<Picture, Error> {
        if wishes.len() > MAX_WISHES {
            return Err(Error::TooLarge(format!("at most {MAX_WISHES} thumbnails at once")));
        }
        let outside = |side: u32| side == 0 || side > MAX_SIDE;
        if wishes.iter().any(|wish| outside(wish.width) || outside(wish.height)) {
            return Err(Error::TooLarge(format!("a thumbnail has 1 to {MAX_SIDE} pixels a side")));
        }
        if let Some(wish) = wishes.iter().find(|wish| !["crop", "scale"].contains(&&*wish.method)) {
            return Err(Error::Unsupported(format!("{} is neither crop nor scale", wish.method)));
        }
        let config = config::get().map_err(Error::Unavailable)?;
        let bytes = file::read(&blob, config.max_bytes)?;
        picture::make(&blob, &bytes, &wishes, &config)
    }
}

#[cfg(target_arch = "wasm32")]
tessera_sdk::export_thumbnails!(Plugin);
