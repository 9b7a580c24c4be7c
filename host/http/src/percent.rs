//! Percent-decoding of path segments and query names.

use std::borrow::Cow;

/// Why a text cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// A `%` without two hex digits behind it.
    Malformed,
    /// The bytes are no UTF-8.
    NotUtf8,
}

/// Decodes `%XX`. A plus sign stands for itself.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, DecodeError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(DecodeError::Malformed);
        };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| DecodeError::Malformed)?);
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| DecodeError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::{DecodeError, decode};

    #[test]
    fn what_is_encoded_comes_back() {
        assert_eq!(decode("plain+!:").unwrap(), "plain+!:");
        assert_eq!(decode("%21a%3Ab%2Fc%c3%A4").unwrap(), "!a:b/cä");
    }

    #[test]
    fn half_an_escape_is_malformed() {
        for text in ["%", "%2", "%zz", "a%2", "%%41"] {
            assert_eq!(decode(text), Err(DecodeError::Malformed), "{text}");
        }
        assert_eq!(decode("%ff"), Err(DecodeError::NotUtf8));
    }
}
