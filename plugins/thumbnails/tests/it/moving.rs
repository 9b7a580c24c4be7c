//! Pictures that move.

use std::io::Cursor;

use image::codecs::gif::{GifDecoder, GifEncoder};
use image::{AnimationDecoder, Delay, Frame, Rgba, RgbaImage};
use serde_json::json;

use crate::world::*;

/// A film of single colours.
fn film(frames: u8, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for n in 0..frames {
        let picture = RgbaImage::from_pixel(width, height, Rgba([n * 20, 0, 200, 255]));
        let delay = Delay::from_numer_denom_ms(120, 1);
        encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).unwrap();
    }
    drop(encoder);
    bytes
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    GifDecoder::new(Cursor::new(bytes)).unwrap().into_frames().collect_frames().unwrap()
}

#[test]
fn film_moves_where_that_is_wished_and_stands_still_where_not() {
    let _host = host();
    let bytes = film(5, 80, 40);
    let wishes =
        [wish(20, 20, "scale", true), wish(20, 20, "scale", false), wish(10, 10, "crop", true)];
    let picture = make(&bytes, &wishes).unwrap();
    let animated: Vec<bool> = picture.thumbnails.iter().map(|t| t.animated).collect();
    assert_eq!(animated, [true, false, true]);
    let small = frames(&bytes_of(&picture.thumbnails[0]));
    assert_eq!((small.len(), small[0].buffer().dimensions()), (5, (20, 10)));
    assert_eq!(small[0].delay().numer_denom_ms().0 / small[0].delay().numer_denom_ms().1, 120);
    assert!(small[4].buffer().get_pixel(5, 5).0[0] > small[0].buffer().get_pixel(5, 5).0[0] + 40);
    assert_eq!(picture.thumbnails[1].content_type, "image/jpeg");
    assert_eq!(frames(&bytes_of(&picture.thumbnails[2]))[0].buffer().dimensions(), (10, 10));
}

#[test]
fn small_film_stays_the_file_that_it_is() {
    let _host = host();
    let bytes = film(3, 16, 16);
    let moving = one(&bytes, wish(32, 32, "scale", true));
    assert!(moving.animated && bytes_of(&moving) == bytes);
    let still = one(&bytes, wish(32, 32, "scale", false));
    assert!(!still.animated && still.content_type == "image/jpeg", "{still:?}");
}

#[test]
fn long_film_is_cut() {
    let _host = host_with(&json!({ "max-frames": 4 }));
    let small = one(&film(9, 80, 40), wish(20, 20, "scale", true));
    assert_eq!(frames(&bytes_of(&small)).len(), 4);
    let _host = host_with(&json!({ "max-moving-pixels": 80 * 40 * 3 }));
    let small = one(&film(9, 80, 40), wish(20, 20, "scale", true));
    assert_eq!(frames(&bytes_of(&small)).len(), 3);
}

#[test]
fn torn_film_is_shown_as_far_as_it_goes() {
    let _host = host();
    let bytes = film(5, 80, 40);
    let small = one(&bytes[..bytes.len() * 3 / 4], wish(20, 20, "scale", true));
    let count = frames(&bytes_of(&small)).len();
    assert!((1..5).contains(&count), "{count} frames");
}
