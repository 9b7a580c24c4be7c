//! Identifiers, as far as more than one plug-in looks into them.

/// The part of an id between its sigil and the first colon.
pub fn localpart(id: &str) -> &str {
    let rest = id.get(1..).unwrap_or("");
    rest.split_once(':').map_or(rest, |(local, _)| local)
}

/// The server name in an id; empty if it has none.
pub fn server_name(id: &str) -> &str {
    id.split_once(':').map_or("", |(_, server)| server)
}

/// Whether this may be a user id, historical ones included: `@`, any localpart, `:`, a server name, at most 255 bytes.
/// Spec: appendices, User identifiers.
pub fn is_user_id(id: &str) -> bool {
    id.len() <= 255
        && id.starts_with('@')
        && !server_name(id).is_empty()
        && !id.contains('\0')
        && server_name(id).bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_user_id() {
        assert_eq!(localpart("@a:hs1:8008"), "a");
        assert_eq!(server_name("@a:hs1:8008"), "hs1:8008");
        assert!(is_user_id("@a:hs1"));
        assert!(!is_user_id("a:hs1"));
        assert!(!is_user_id("@a"));
    }
}
