//! Which identity servers the operator lets users work with.

/// How to speak to an identity server (`https` or `http`), if a configuration's list allows it.
///
/// Entries of the list: `host` or `host:port`; the same with `http://` before it for one without TLS; `*` for any, with TLS. An empty list
/// allows none. None, too, for a name that cannot be one: letters, digits and `.-:[]`, at most 255 bytes; see [`is_identity_server`].
pub fn identity_server_scheme(allowed: &[String], name: &str) -> Option<&'static str> {
    if !is_identity_server(name) {
        return None;
    }
    let plain = |known: &String| known.strip_prefix("http://") == Some(name);
    if allowed.iter().any(plain) {
        return Some("http");
    }
    allowed.iter().any(|known| known == "*" || known == name).then_some("https")
}

/// Whether this can be the name of an identity server, as `id_server` has it: a host, perhaps with a port.
pub fn is_identity_server(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    (1..=255).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::{identity_server_scheme, is_identity_server};

    #[test]
    fn servers_are_those_of_the_list() {
        let list = |entries: &[&str]| entries.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let some = list(&["id.example.org", "http://127.0.0.1:8090"]);
        assert_eq!(identity_server_scheme(&some, "id.example.org"), Some("https"));
        assert_eq!(identity_server_scheme(&some, "127.0.0.1:8090"), Some("http"));
        assert_eq!(identity_server_scheme(&some, "other.example.org"), None);
        assert_eq!(identity_server_scheme(&[], "id.example.org"), None);
        let any = list(&["*", "http://localhost"]);
        assert_eq!(identity_server_scheme(&any, "other.example.org"), Some("https"));
        assert_eq!(identity_server_scheme(&any, "localhost"), Some("http"));
        assert_eq!(identity_server_scheme(&any, "other.example.org/path"), None);
    }

    #[test]
    fn names_are_hosts() {
        assert!(is_identity_server("[::1]:80") && is_identity_server("a.b:1"));
        assert!(!is_identity_server("") && !is_identity_server("a/b"));
        assert!(!is_identity_server("*") && !is_identity_server(&"a".repeat(256)));
    }
}
