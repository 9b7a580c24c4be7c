//! Thumbnails that move: GIF, which every client shows and the encoder at hand can write.

use std::io::Cursor;

use image::codecs::gif::{GifDecoder, GifEncoder, Repeat};
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, DynamicImage, Frame, Frames, ImageFormat};
use tessera_sdk::bindings::thumbnails::exports::tessera::services::thumbnails::Error;

use crate::config::Config;
use crate::picture::{Encoded, Header, failed, limits, no_picture};
use crate::size::Plan;
use crate::still;

/// How much the encoder hurries when it chooses colours, 1 to 30.
const SPEED: i32 = 15;
/// Bytes of all thumbnails of a moving picture.
const MAX_OUT: usize = 32 << 20;

/// Decodes a picture frame by frame and makes what is planned. What comes after the caps is left out: a long film becomes a short one.
pub(crate) fn make(
    bytes: &[u8],
    header: &Header,
    plans: &[Plan],
    config: &Config,
) -> Result<Vec<Encoded>, Error> {
    let mut outputs = vec![Vec::new(); plans.len()];
    let mut encoders: Vec<_> = outputs
        .iter_mut()
        .map(|output| {
            let mut encoder = GifEncoder::new_with_speed(output, SPEED);
            encoder.set_repeat(Repeat::Infinite).map_err(failed).map(|()| encoder)
        })
        .collect::<Result<_, _>>()?;
    let each = u64::from(header.size.width).saturating_mul(u64::from(header.size.height)).max(1);
    let few = usize::try_from(config.max_moving_pixels / each).unwrap_or(usize::MAX).max(1);
    let mut written = 0;
    let mut room = MAX_OUT;
    for frame in frames(bytes, header.format)?.take(few.min(config.max_frames)) {
        let frame = match frame {
            Ok(frame) => frame,
            // A torn end: what came before it can be shown.
            Err(_) if written > 0 => break,
            Err(error) => return Err(failed(error)),
        };
        let delay = frame.delay();
        let picture = DynamicImage::ImageRgba8(frame.into_buffer());
        for (plan, encoder) in plans.iter().zip(&mut encoders) {
            let small = still::scaled(&picture, plan).into_rgba8();
            // An upper bound: no frame of 256 colours takes more than a byte and a bit for each pixel, and its palette.
            room = room.saturating_sub(small.pixels().len() / 4 * 5 + 1024);
            let frame = Frame::from_parts(small, 0, 0, delay);
            encoder.encode_frame(frame).map_err(failed)?;
        }
        written += 1;
        if room == 0 {
            break;
        }
    }
    drop(encoders);
    if written == 0 {
        return Err(no_picture("without frames"));
    }
    Ok(outputs.into_iter().map(|bytes| Encoded { bytes, content_type: "image/gif" }).collect())
}

fn frames(bytes: &[u8], format: ImageFormat) -> Result<Frames<'_>, Error> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => GifDecoder::new(bytes).map_err(failed)?.into_frames(),
        ImageFormat::WebP => WebPDecoder::new(bytes).map_err(failed)?.into_frames(),
        ImageFormat::Png => PngDecoder::with_limits(bytes, limits())
            .map_err(failed)?
            .apng()
            .map_err(failed)?
            .into_frames(),
        _ => return Err(no_picture("that does not move")),
    })
}
