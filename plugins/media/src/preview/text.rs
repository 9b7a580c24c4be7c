//! Which characters bytes are.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::get::Got;

/// Bytes of a page that are looked at: what a preview needs stands at its beginning.
const MAX_TEXT: usize = 1 << 20;
/// Bytes within which a page says its charset. HTML standard, 4.2.5.5.
const PRESCAN: usize = 1024;

/// A page's text. What it says itself counts after the byte order mark and the header; one that says nothing is UTF-8, unless it cannot be.
pub(crate) fn decode(got: &Got) -> Cow<'_, str> {
    let cut = got.bytes.len() > MAX_TEXT;
    let bytes = got.bytes.get(..MAX_TEXT).unwrap_or(&got.bytes);
    let named = got.charset.as_deref().and_then(|name| Encoding::for_label(name.as_bytes()));
    match named.or_else(|| in_page(bytes)) {
        Some(encoding) => encoding.decode(bytes).0,
        None => {
            let (text, used, broken) = UTF_8.decode(bytes);
            // A cut may have gone through a character.
            if broken && !cut && used == UTF_8 { WINDOWS_1252.decode(bytes).0 } else { text }
        }
    }
}

/// `charset=` in the first bytes, as `<meta charset>`, `<meta content>` or an XML declaration (`encoding=`) have it.
fn in_page(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..PRESCAN).unwrap_or(bytes);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    ["charset=", "encoding="].iter().find_map(|key| {
        let (_, rest) = head.split_once(key)?;
        let rest = rest.trim_start_matches(['"', '\'', ' ']);
        let name = rest.split(['"', '\'', ' ', ';', '>', '/', '?']).next()?;
        Encoding::for_label(name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn got(bytes: &[u8], charset: Option<&str>) -> Got {
        Got {
            url: Url::parse("http://a/").unwrap(),
            essence: "text/html".to_owned(),
            charset: charset.map(str::to_owned),
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn charset_is_the_headers_the_pages_or_a_guess() {
        assert_eq!(decode(&got(b"\xe4", Some("ISO-8859-1"))), "ä");
        assert_eq!(
            decode(&got(b"<meta charset=\"koi8-r\">\xc1", None)),
            "<meta charset=\"koi8-r\">а"
        );
        let old = b"<meta content='text/html; charset=windows-1251'>\xe0";
        assert!(decode(&got(old, None)).ends_with('а'));
        assert_eq!(decode(&got("ä".as_bytes(), None)), "ä");
        assert_eq!(decode(&got(b"\xe4", None)), "ä");
        assert_eq!(decode(&got(b"\xef\xbb\xbf\xc3\xa4", Some("iso-8859-1"))), "ä");
    }
}
