//! Thumbnails that do not move.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader};
use tessera_sdk::bindings::thumbnails::exports::tessera::services::thumbnails::Error;

use crate::picture::{Encoded, Header, failed, limits};
use crate::size::Plan;

/// Decodes a picture (its first frame, if it moves) and makes what is planned.
pub(crate) fn make(
    bytes: &[u8],
    header: &Header,
    plans: &[Plan],
    quality: u8,
) -> Result<Vec<Encoded>, Error> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), header.format);
    reader.limits(limits());
    let picture = reader.decode().map_err(failed)?;
    plans
        .iter()
        .map(|plan| {
            let mut small = scaled(&picture, plan);
            small.apply_orientation(header.orientation);
            encode(&small, header.format, quality)
        })
        .collect()
}

/// The planned stretch of a picture at its planned size. Most of the way by averaging, which takes a fraction of a filter's time
/// and memory; the last half by a filter, which keeps edges sharp.
pub(crate) fn scaled(picture: &DynamicImage, plan: &Plan) -> DynamicImage {
    let (part, out) = (plan.part, plan.out);
    let stretch;
    let picture = if part.width == picture.width() && part.height == picture.height() {
        picture
    } else {
        stretch = picture.crop_imm(plan.left, plan.top, part.width, part.height);
        &stretch
    };
    if part == out {
        return picture.clone();
    }
    let twice = |side: u32| side.saturating_mul(2);
    if part.width >= twice(out.width) && part.height >= twice(out.height) {
        let near = picture.thumbnail_exact(twice(out.width), twice(out.height));
        return near.resize_exact(out.width, out.height, FilterType::CatmullRom);
    }
    picture.resize_exact(out.width, out.height, FilterType::CatmullRom)
}

/// PNG where something shows through, JPEG elsewhere. What was a JPEG has nothing to show through.
fn encode(picture: &DynamicImage, from: ImageFormat, quality: u8) -> Result<Encoded, Error> {
    let mut bytes = Vec::new();
    let through = from != ImageFormat::Jpeg && {
        let alpha = picture.color().has_alpha();
        alpha && picture.to_rgba8().pixels().any(|pixel| pixel.0[3] != u8::MAX)
    };
    if through {
        let encoder =
            PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, PngFilter::Adaptive);
        picture.to_rgba8().write_with_encoder(encoder).map_err(failed)?;
        return Ok(Encoded { bytes, content_type: "image/png" });
    }
    picture
        .to_rgb8()
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality))
        .map_err(failed)?;
    Ok(Encoded { bytes, content_type: "image/jpeg" })
}
