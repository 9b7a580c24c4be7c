//! Pictures, and what comes of them.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use tessera_plugin_thumbnails::Plugin;
use tessera_sdk::bindings::thumbnails::exports::tessera::services::thumbnails::{
    Error, Guest, Picture, Thumbnail, Wish,
};
use tessera_sdk::blobs;
use tessera_test_host::TestHost;

pub(crate) fn host() -> TestHost {
    host_with(&serde_json::json!({}))
}

pub(crate) fn host_with(config: &serde_json::Value) -> TestHost {
    TestHost::builder().plugin_in(".").config("thumbnails", config).start()
}

pub(crate) fn wish(width: u32, height: u32, method: &str, animated: bool) -> Wish {
    Wish { width, height, method: method.to_owned(), animated }
}

/// Makes thumbnails of these bytes.
pub(crate) fn make(bytes: &[u8], wishes: &[Wish]) -> Result<Picture, Error> {
    let blob = blobs::put(bytes).unwrap();
    Plugin::make(blob, wishes.to_vec())
}

/// The one thumbnail of these bytes.
pub(crate) fn one(bytes: &[u8], wish: Wish) -> Thumbnail {
    make(bytes, &[wish]).unwrap().thumbnails.remove(0)
}

pub(crate) fn bytes_of(thumbnail: &Thumbnail) -> Vec<u8> {
    let bytes = blobs::read(&thumbnail.blob, 0, u32::MAX).unwrap();
    assert_eq!(bytes.len() as u64, thumbnail.size);
    bytes
}

/// Decodes a thumbnail and checks that it is what it says.
pub(crate) fn decoded(thumbnail: &Thumbnail) -> DynamicImage {
    let bytes = bytes_of(thumbnail);
    let format = image::guess_format(&bytes).unwrap();
    assert_eq!(format.to_mime_type(), thumbnail.content_type);
    let picture = image::load_from_memory(&bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (thumbnail.width, thumbnail.height));
    picture
}

/// Left half red, right half blue.
pub(crate) fn halves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        if x < width / 2 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) }
    })
}

/// The same with a hole in the middle.
pub(crate) fn with_hole(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let hole =
            (width / 4..width * 3 / 4).contains(&x) && (height / 4..height * 3 / 4).contains(&y);
        Rgba([255, 0, 0, if hole { 0 } else { 255 }])
    })
}

pub(crate) fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}
