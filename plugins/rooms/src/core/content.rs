//! Contents from clients: canonical JSON within bounds.

use ruma::canonical_json::CanonicalJsonObject;

/// Longest event in bytes, signatures included. Spec: client-server API, Size limits.
pub const MAX_EVENT: usize = 65_536;
/// Longest type, state key, sender and room id in bytes. Spec: as above.
pub const MAX_KEY: usize = 255;

/// Why a body is no content.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// It cannot be read as JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// It is JSON, but no object, or holds what canonical JSON does not have.
    #[error("{0}")]
    BadJson(String),
}

/// Reads an object in canonical JSON: no floats, integers within 2^53 - 1 either way, at most 128 deep.
/// Spec: appendices, Canonical JSON.
///
/// # Errors
/// See [`ContentError`].
pub fn parse(bytes: &[u8]) -> Result<CanonicalJsonObject, ContentError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // serde_json counts nesting as syntax.
        if error.is_data()
            || text.starts_with("recursion limit")
            || text.starts_with("number out of range")
        {
            ContentError::BadJson(text)
        } else {
            ContentError::NotJson(text)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_canonical_json_are_bad_json() {
        for number in ["1.5", "1.0", "1e3", "-0", "9007199254740992", "-9007199254740992", "1e400"]
        {
            let body = format!(r#"{{"a":[{{"b":{number}}}]}}"#);
            assert!(matches!(parse(body.as_bytes()), Err(ContentError::BadJson(_))), "{number}");
        }
        assert!(parse(br#"{"a":9007199254740991,"b":-9007199254740991}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_bad_json() {
        for body in ["[]", "1", "\"a\"", "null", "true"] {
            assert!(matches!(parse(body.as_bytes()), Err(ContentError::BadJson(_))), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_json() {
        for body in [&b"{"[..], b"", b"{\"a\":\"\xff\"}", b"{} x", b"{'a':1}"] {
            assert!(matches!(parse(body), Err(ContentError::NotJson(_))), "{body:?}");
        }
    }

    #[test]
    fn deep_nesting_is_bad_json() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert!(matches!(parse(deep.as_bytes()), Err(ContentError::BadJson(_))));
        let fair = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert!(parse(fair.as_bytes()).is_ok());
    }
}
