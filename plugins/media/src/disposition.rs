//! `Content-Disposition`.
//!
//! Spec: client-server API, Serving inline content.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What browsers can be shown without risk.
const INLINE: &[&str] = &[
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// `attr-char` of RFC 5987.
const ENCODE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header for a file of this type and name.
pub(crate) fn header(content_type: &str, filename: Option<&str>) -> String {
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let kind = if INLINE.contains(&essence.as_str()) { "inline" } else { "attachment" };
    let Some(name) = filename.filter(|name| !name.is_empty()) else { return kind.to_owned() };
    if name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("{kind}; filename=\"{name}\"");
    }
    format!("{kind}; filename*=utf-8''{}", utf8_percent_encode(name, ENCODE))
}

#[cfg(test)]
mod tests {
    use super::header;

    #[test]
    fn only_what_is_harmless_is_inline() {
        assert_eq!(header("image/png", None), "inline");
        assert_eq!(header("Text/Plain; charset=utf-8", None), "inline");
        for kind in ["text/html", "image/svg+xml", "application/pdf", "", "application/javascript"]
        {
            assert_eq!(header(kind, None), "attachment", "{kind}");
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_header() {
        assert_eq!(header("image/png", Some("a b.png")), "inline; filename=\"a b.png\"");
        assert_eq!(
            header("image/png", Some("a\"; x=\"b\\")),
            "inline; filename=\"a\\\"; x=\\\"b\\\\\""
        );
        assert_eq!(
            header("text/html", Some("\u{1f41f}\r\n.html")),
            "attachment; filename*=utf-8''%F0%9F%90%9F%0D%0A.html"
        );
    }
}
