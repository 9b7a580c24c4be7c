//! Randomness fit for secrets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::backend;

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut buffer = [0; N];
    backend::with(|host| host.random(&mut buffer));
    buffer
}

/// 32 random bytes in URL-safe base64 (43 characters): a token nobody guesses.
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// `length` random capital letters, as in device ids.
pub fn letters(length: usize) -> String {
    // 26 does not divide 256; values from 234 up are drawn again so that all letters are as likely.
    let mut text = String::with_capacity(length);
    while text.len() < length {
        for byte in bytes::<32>() {
            if byte < 234 && text.len() < length {
                text.push(char::from(b'A' + byte % 26));
            }
        }
    }
    text
}
