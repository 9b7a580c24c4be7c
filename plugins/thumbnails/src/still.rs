//! Thumbnails that do not move.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader};
use tessera_sdk::bindings::thumbnails::exports::tessera::services::thumbnails::Error;

use crate::picture::{Encoded, Header, failed, limits};
use crate::size::{Plan, Size, base};

/// Decodes a picture (its first frame, if it moves) and makes what is planned.
pub(crate) fn make(
    bytes: &[u8],
    header: &Header,
    plans: &[Plan],
    quality: u8,
) -> Result<Vec<Encoded>, Error> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), header.format);
    reader.limits(limits());
    let mut picture = reader.decode().map_err(failed)?;
    let mut plans = plans.to_vec();
    // A large picture is gone through once, not once for each size.
    let whole = Size::new(picture.width(), picture.height());
    if let Some(base) = base(whole, &plans) {
        picture = picture.thumbnail_exact(base.width, base.height);
        plans.iter_mut().for_each(|plan| *plan = plan.within(whole, base));
    }
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
    let near = |part: u32, out: u32| part.min(out.saturating_mul(2));
    let (width, height) = (near(part.width, out.width), near(part.height, out.height));
    let is_whole = part.width == picture.width() && part.height == picture.height();
    let close = if is_whole && (width, height) == (part.width, part.height) {
        None
    } else if is_whole {
        Some(picture.thumbnail_exact(width, height))
    } else {
        Some(stretch(picture, plan, width, height))
    };
    let close = close.as_ref().unwrap_or(picture);
    if (width, height) == (out.width, out.height) {
        return close.clone();
    }
    close.resize_exact(out.width, out.height, FilterType::CatmullRom)
}

/// The planned stretch, averaged down to this size. Cut out before or after, whichever needs less memory.
fn stretch(picture: &DynamicImage, plan: &Plan, width: u32, height: u32) -> DynamicImage {
    let part = plan.part;
    let share = |side: u32, to: u32, from: u32| {
        u32::try_from(u64::from(side) * u64::from(to) / u64::from(from.max(1))).unwrap_or(u32::MAX)
    };
    let all = (
        share(picture.width(), width, part.width).max(width),
        share(picture.height(), height, part.height).max(height),
    );
    let area = |width: u32, height: u32| u64::from(width) * u64::from(height);
    if area(all.0, all.1) < area(part.width, part.height) {
        let left = share(plan.left, width, part.width).min(all.0 - width);
        let top = share(plan.top, height, part.height).min(all.1 - height);
        return picture.thumbnail_exact(all.0, all.1).crop_imm(left, top, width, height);
    }
    let cut = picture.crop_imm(plan.left, plan.top, part.width, part.height);
    if (width, height) == (part.width, part.height) {
        cut
    } else {
        cut.thumbnail_exact(width, height)
    }
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
