//! From a file to its thumbnails.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ImageDecoder, ImageError, ImageFormat, Limits};
use tessera_sdk::bindings::thumbnails::exports::tessera::services::thumbnails::{
    Error, Picture, Thumbnail, Wish,
};

use crate::config::Config;
use crate::file;
use crate::moving;
use crate::size::{Plan, Size, plan};
use crate::still;

/// What decoding may take of an instance's memory: what the manifest allows less the file and what is made of it.
const MEMORY: u64 = 400 << 20;

/// What is known of a file before it is decoded.
pub(crate) struct Header {
    pub(crate) format: ImageFormat,
    /// As stored.
    pub(crate) size: Size,
    pub(crate) orientation: Orientation,
    /// It has frames.
    pub(crate) moving: bool,
}

impl Header {
    /// Whether width and height are exchanged when it is shown.
    fn turned(&self) -> bool {
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        matches!(self.orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
    }

    /// As shown.
    fn shown(&self) -> Size {
        if self.turned() { self.size.turned() } else { self.size }
    }

    /// What is to be done with the picture as it is stored.
    fn plan(&self, wish: &Wish) -> Plan {
        let size = Size::new(wish.width, wish.height);
        plan(self.size, if self.turned() { size.turned() } else { size }, wish.method == "crop")
    }
}

/// Makes the thumbnails of a file, one for each wish.
pub(crate) fn make(
    blob: &str,
    bytes: &[u8],
    wishes: &[Wish],
    config: &Config,
) -> Result<Picture, Error> {
    let header = header(bytes, config)?;
    let kind = header.format.to_mime_type();
    let plans: Vec<(Plan, bool)> =
        wishes.iter().map(|wish| (header.plan(wish), wish.animated && header.moving)).collect();
    // What is small enough already stays what it is.
    let untouched = |plan: &Plan, moves: bool| {
        header.orientation == Orientation::NoTransforms
            && plan.is_whole(header.size)
            && moves == header.moving
    };
    let made = |wants_moving: bool| -> Vec<Plan> {
        let wanted =
            plans.iter().filter(|(plan, moves)| *moves == wants_moving && !untouched(plan, *moves));
        wanted.map(|(plan, _)| *plan).collect()
    };
    let (stills, movings) = (made(false), made(true));
    // Where nothing is wished, or nothing but what is there, the header is all that is looked at.
    let mut stills = match stills.is_empty() {
        true => Vec::new(),
        false => still::make(bytes, &header, &stills, config.quality)?,
    }
    .into_iter();
    let mut movings = match movings.is_empty() {
        true => Vec::new(),
        false => moving::make(bytes, &header, &movings, config)?,
    }
    .into_iter();
    let mut thumbnails = Vec::with_capacity(plans.len());
    for (plan, moves) in &plans {
        let shown = if header.turned() { plan.out.turned() } else { plan.out };
        thumbnails.push(if untouched(plan, *moves) {
            Thumbnail {
                blob: blob.to_owned(),
                size: bytes.len() as u64,
                content_type: kind.to_owned(),
                width: shown.width,
                height: shown.height,
                animated: *moves,
            }
        } else {
            let next = if *moves { movings.next() } else { stills.next() };
            let made =
                next.ok_or_else(|| Error::Unavailable("a thumbnail is missing".to_owned()))?;
            Thumbnail {
                blob: file::put(&made.bytes)?,
                size: made.bytes.len() as u64,
                content_type: made.content_type.to_owned(),
                width: shown.width,
                height: shown.height,
                animated: *moves,
            }
        });
    }
    let Size { width, height } = header.shown();
    Ok(Picture { width, height, content_type: kind.to_owned(), thumbnails })
}

/// A thumbnail, encoded.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: &'static str,
}

/// Reads the header and holds it against the caps.
fn header(bytes: &[u8], config: &Config) -> Result<Header, Error> {
    let format = image::guess_format(bytes).map_err(|_| no_picture("of no kind that is known"))?;
    // Bytes of memory that decoding takes for each pixel, the canvas of the decoder among them; found by reading the decoders.
    let (decoder, per_pixel, moving): (Box<dyn ImageDecoder + '_>, u64, bool) = match format {
        ImageFormat::Jpeg => {
            let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(failed)?;
            // A progressive one keeps its coefficients, 16 bits each, until the last scan.
            let per_pixel = if progressive(bytes) { 10 } else { 4 };
            (Box::new(decoder), per_pixel, false)
        }
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits()).map_err(failed)?;
            let moving = decoder.is_apng().map_err(failed)?;
            let still = u64::from(decoder.color_type().bytes_per_pixel());
            // Half as much again for a stretch that is cut out.
            let still = still * 3 / 2;
            (Box::new(decoder), if moving { still.max(6) * 2 } else { still }, moving)
        }
        ImageFormat::Gif => {
            let decoder = GifDecoder::new(Cursor::new(bytes)).map_err(failed)?;
            (Box::new(decoder), 12, true)
        }
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?;
            let moving = decoder.has_animation();
            (Box::new(decoder), if moving { 16 } else { 10 }, moving)
        }
        _ => return Err(no_picture("of no kind that is known")),
    };
    let mut decoder = decoder;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width).saturating_mul(u64::from(height));
    if pixels == 0 {
        return Err(no_picture("without pixels"));
    }
    if pixels > config.max_pixels {
        let max = config.max_pixels;
        return Err(Error::TooLarge(format!("{width} by {height}; at most {max} pixels")));
    }
    if pixels.saturating_mul(per_pixel) > MEMORY {
        return Err(Error::TooLarge(format!("{width} by {height} in a costly format")));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok(Header { format, size: Size::new(width, height), orientation, moving })
}

/// Whether a JPEG's frame header is one of a progressive one (SOF2, or a rarer kind that keeps as much).
fn progressive(bytes: &[u8]) -> bool {
    let mut at = 2;
    // Segments: 0xFF, a marker, a length that counts itself.
    while let Some([0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            0xc0 | 0xc1 => return false,
            0xc2..=0xcf if ![0xc4, 0xc8, 0xcc].contains(marker) => return true,
            // Filling.
            0xff => at += 1,
            0x01 | 0xd0..=0xd8 => at += 2,
            // The scan, without a frame header before it: the decoder will say what it thinks of that.
            0xda => return true,
            _ => at += 2 + usize::from(u16::from_be_bytes([*high, *low])).max(2),
        }
    }
    true
}

/// For decoders that keep to them.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MEMORY);
    limits
}

pub(crate) fn no_picture(what: &str) -> Error {
    Error::Unsupported(format!("a picture {what}"))
}

/// What a decoder says.
pub(crate) fn failed(error: ImageError) -> Error {
    match error {
        ImageError::Limits(error) => Error::TooLarge(error.to_string()),
        error => Error::Unsupported(error.to_string()),
    }
}
