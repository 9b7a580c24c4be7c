//! Pictures made to break a decoder.

use image::ImageFormat;
use serde_json::json;
use tessera_plugin_thumbnails::Plugin;
use tessera_sdk::bindings::thumbnails::exports::tessera::services::thumbnails::{Error, Guest};

use crate::world::*;

/// The CRC of a PNG's chunk.
fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    (!crc).to_be_bytes()
}

/// A PNG that says it is this large, whatever it holds.
fn claims(width: u32, height: u32) -> Vec<u8> {
    let mut png = encoded(halves(8, 8), ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum);
    png
}

#[test]
fn bomb_is_refused_by_what_its_header_says() {
    let _host = host();
    for (width, height) in [(100_000, 100_000), (40_001, 1_000), (0x7fff_ffff, 0x7fff_ffff)] {
        let error = make(&claims(width, height), &[wish(32, 32, "crop", false)]).unwrap_err();
        assert!(matches!(error, Error::TooLarge(_)), "{width}x{height}: {error:?}");
    }
    let error = make(&claims(0, 10), &[wish(32, 32, "crop", false)]).unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
}

#[test]
fn caps_are_the_operators() {
    let bytes = encoded(halves(100, 100), ImageFormat::Png);
    for config in [json!({ "max-pixels": 9_999 }), json!({ "max-bytes": 50 })] {
        let _host = host_with(&config);
        let error = make(&bytes, &[wish(32, 32, "crop", false)]).unwrap_err();
        assert!(matches!(error, Error::TooLarge(_)), "{config}: {error:?}");
    }
}

#[test]
fn torn_and_twisted_files_are_no_pictures_and_break_nothing() {
    let _host = host();
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
        let whole = encoded(halves(64, 64), format);
        let wishes = [wish(32, 32, "crop", false), wish(16, 16, "scale", true)];
        for end in 0..whole.len() {
            match make(&whole[..end], &wishes) {
                Ok(_) | Err(Error::Unsupported(_) | Error::TooLarge(_)) => {}
                Err(error) => panic!("{format:?} cut at {end}: {error:?}"),
            }
        }
        for at in 0..whole.len() {
            for flip in [0xff, 0x80, 0x01] {
                let mut twisted = whole.clone();
                twisted[at] ^= flip;
                match make(&twisted, &wishes) {
                    Ok(_) | Err(Error::Unsupported(_) | Error::TooLarge(_)) => {}
                    Err(error) => panic!("{format:?} changed at {at}: {error:?}"),
                }
            }
        }
    }
}

#[test]
fn what_is_no_picture_is_unsupported() {
    let _host = host();
    for bytes in
        [&b""[..], b"hello", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", b"\x89PNG\r\n\x1a\n"]
    {
        let error = make(bytes, &[wish(32, 32, "crop", false)]).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    }
}

#[test]
fn wishes_are_held_against_the_contract() {
    let _host = host();
    let bytes = encoded(halves(8, 8), ImageFormat::Png);
    for wish in [wish(0, 32, "crop", false), wish(32, 1601, "scale", false)] {
        assert!(matches!(make(&bytes, &[wish]), Err(Error::TooLarge(_))));
    }
    assert!(matches!(make(&bytes, &[wish(32, 32, "stretch", false)]), Err(Error::Unsupported(_))));
    let many = vec![wish(32, 32, "crop", false); 11];
    assert!(matches!(make(&bytes, &many), Err(Error::TooLarge(_))));
    assert!(matches!(Plugin::make("none".to_owned(), vec![]), Err(Error::Unavailable(_))));
}
