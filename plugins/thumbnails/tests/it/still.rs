//! Pictures that do not move.

use image::{GenericImageView, ImageFormat};

use crate::world::*;

#[test]
fn every_kind_of_picture_gets_smaller() {
    let _host = host();
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
        let bytes = encoded(halves(200, 100), format);
        let picture = make(&bytes, &[wish(32, 32, "crop", false), wish(64, 64, "scale", false)]);
        let picture = picture.unwrap_or_else(|error| panic!("{format:?}: {error:?}"));
        assert_eq!((picture.width, picture.height), (200, 100));
        assert_eq!(picture.content_type, format.to_mime_type());
        let sizes: Vec<_> = picture.thumbnails.iter().map(|t| (t.width, t.height)).collect();
        assert_eq!(sizes, [(32, 32), (64, 32)], "{format:?}");
        for thumbnail in &picture.thumbnails {
            let small = decoded(thumbnail);
            let (left, right) = (small.get_pixel(2, 10), small.get_pixel(small.width() - 3, 10));
            assert!(left.0[0] > 200 && left.0[2] < 60, "{format:?} {left:?}");
            assert!(right.0[2] > 200 && right.0[0] < 60, "{format:?} {right:?}");
            assert_eq!(thumbnail.content_type, "image/jpeg", "{format:?}: nothing shows through");
        }
    }
}

#[test]
fn what_shows_through_stays_so() {
    let _host = host();
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let thumbnail = one(&encoded(with_hole(120, 120), format), wish(30, 30, "scale", false));
        assert_eq!(thumbnail.content_type, "image/png");
        let small = decoded(&thumbnail);
        assert_eq!((small.get_pixel(15, 15).0[3], small.get_pixel(1, 1).0[3]), (0, 255));
    }
}

#[test]
fn small_picture_stays_the_file_that_it_is() {
    let _host = host();
    let bytes = encoded(halves(20, 10), ImageFormat::Png);
    let thumbnail = one(&bytes, wish(320, 240, "scale", true));
    assert_eq!((thumbnail.width, thumbnail.height), (20, 10));
    assert_eq!(bytes_of(&thumbnail), bytes);
    assert!(!thumbnail.animated);
}

#[test]
fn picture_is_not_made_larger_to_be_cropped() {
    let _host = host();
    let thumbnail = one(&encoded(halves(60, 20), ImageFormat::Png), wish(96, 96, "crop", false));
    assert_eq!((thumbnail.width, thumbnail.height), (20, 20));
}

/// A JPEG whose camera was held sideways: EXIF orientation 6, to be turned clockwise.
fn sideways(jpeg: &[u8]) -> Vec<u8> {
    let exif: &[u8] = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat()
}

#[test]
fn picture_taken_sideways_is_turned_upright() {
    let _host = host();
    let bytes = sideways(&encoded(halves(200, 100), ImageFormat::Jpeg));
    let picture = make(&bytes, &[wish(64, 64, "scale", false), wish(1000, 1000, "scale", false)]);
    let picture = picture.unwrap();
    assert_eq!((picture.width, picture.height), (100, 200));
    let small = decoded(&picture.thumbnails[0]);
    assert_eq!((small.width(), small.height()), (32, 64));
    // What was left is up now.
    assert!(small.get_pixel(16, 5).0[0] > 200 && small.get_pixel(16, 58).0[2] > 200);
    // Not the file itself, though it is small enough: whoever shows it may not know how it was held.
    assert_eq!(decoded(&picture.thumbnails[1]).dimensions(), (100, 200));
}

#[test]
fn long_and_narrow_pictures_are_cut_and_scaled() {
    let _host = host();
    for (width, height) in [(4000, 2), (2, 4000), (1, 3000), (3000, 1), (900, 300)] {
        let bytes = encoded(halves(width, height), ImageFormat::Png);
        let wishes = [
            wish(100, 100, "crop", false),
            wish(100, 50, "crop", false),
            wish(640, 480, "scale", false),
        ];
        for thumbnail in make(&bytes, &wishes).unwrap().thumbnails {
            decoded(&thumbnail);
        }
    }
    let small =
        decoded(&one(&encoded(halves(900, 300), ImageFormat::Png), wish(100, 100, "crop", false)));
    // The middle: red meets blue.
    assert!(small.get_pixel(10, 50).0[0] > 200 && small.get_pixel(90, 50).0[2] > 200);
}
