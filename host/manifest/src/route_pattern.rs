//! Patterns of request paths.

use std::fmt;

use crate::text::{Text, text_traits};

/// One stretch between slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Matches this text after percent-decoding.
    Literal(String),
    /// `{name}`: matches one segment, which may be empty.
    One(String),
    /// `{*name}`: matches the rest of the path, slashes included. Comes last.
    Rest(String),
}

/// A path with placeholders: `/rooms/{id}/send/{*rest}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoutePattern {
    text: String,
    segments: Vec<Segment>,
}

impl RoutePattern {
    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Segments after the leading slash. A trailing slash makes an empty literal at the end.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The same with placeholder names left out: two patterns with one shape match the same paths.
    #[must_use]
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            shape.push('/');
            shape.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::One(_) => "{}",
                Segment::Rest(_) => "{*}",
            });
        }
        shape
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn segment(text: &str) -> Result<Segment, String> {
    let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        if text.contains(['{', '}']) {
            return Err(format!("has a brace inside the segment `{text}`"));
        }
        if text.contains(['?', '#', '%']) || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(format!("has a character in `{text}` that no path segment has"));
        }
        return Ok(Segment::Literal(text.to_owned()));
    };
    let (name, rest) = match inner.strip_prefix('*') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || !name.bytes().all(word) {
        return Err(format!("has the placeholder `{text}`, which names nothing"));
    }
    Ok(if rest { Segment::Rest(name.to_owned()) } else { Segment::One(name.to_owned()) })
}

impl Text for RoutePattern {
    const EXPECTED: &'static str = "a path such as \"/things/{id}/parts/{*rest}\": `{name}` is one segment, `{*name}` at the end the rest";

    fn from_text(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix('/').ok_or("does not begin with `/`")?;
        let segments = path.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        let mut names = std::collections::BTreeSet::new();
        for (at, segment) in segments.iter().enumerate() {
            let (Segment::One(name) | Segment::Rest(name)) = segment else { continue };
            if !names.insert(name.as_str()) {
                return Err(format!("uses the placeholder `{name}` twice"));
            }
            if matches!(segment, Segment::Rest(_)) && at + 1 != segments.len() {
                return Err(format!("has `{{*{name}}}` before its end"));
            }
        }
        Ok(Self { text: text.to_owned(), segments })
    }
}

text_traits!(RoutePattern, pattern "^/");

#[cfg(test)]
mod tests {
    use super::{RoutePattern, Segment};

    #[test]
    fn a_pattern_splits_into_segments() {
        let pattern: RoutePattern = "/v1/{room}/send/{*rest}".parse().unwrap();
        assert_eq!(
            pattern.segments(),
            [
                Segment::Literal("v1".into()),
                Segment::One("room".into()),
                Segment::Literal("send".into()),
                Segment::Rest("rest".into()),
            ]
        );
        assert_eq!(pattern.shape(), "/v1/{}/send/{*}");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a", "/{a}/{a}", "/{*a}/b", "/x{a}", "/{}", "/a?b", "/%41", "/a b"] {
            assert!(text.parse::<RoutePattern>().is_err(), "{text}");
        }
    }
}
