//! What guests and suspended users may not do, by method and path.
//!
//! Spec: client-server API, Guest access, Account suspension, Account locking.

/// The parts of a path behind `/_matrix/client/VERSION` (or `/_matrix/media/VERSION`, then with `media` first). None: another API.
fn parts(path: &str) -> Option<Vec<String>> {
    // Encoded words mean the same to the edge, those at the front, too.
    let mut parts: Vec<String> = path.strip_prefix('/')?.split('/').map(decoded).collect();
    let media = match words(&parts).as_slice() {
        ["_matrix", "client", _, ..] => false,
        ["_matrix", "media", _, ..] => true,
        _ => return None,
    };
    parts.drain(..2);
    let unstable = parts.first().is_some_and(|part| part == "unstable");
    parts.remove(0);
    // `unstable/org.example.msc1/sync`: the second is a namespace, too.
    if unstable && parts.first().is_some_and(|part| part.contains('.')) {
        parts.remove(0);
    }
    if media {
        parts.insert(0, "media".to_owned());
    }
    Some(parts)
}

fn decoded(part: &str) -> String {
    let hex = |at: usize| {
        let digits = part.get(at + 1..at + 3)?;
        u8::from_str_radix(digits, 16).ok()
    };
    let (mut bytes, mut at) = (Vec::with_capacity(part.len()), 0);
    while let Some(byte) = part.as_bytes().get(at) {
        match (byte, hex(at)) {
            (b'%', Some(meant)) => {
                bytes.push(meant);
                at += 3;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn words(parts: &[String]) -> Vec<&str> {
    parts.iter().map(String::as_str).collect()
}

/// Whether a guest may do this.
pub fn guest_may(method: &str, path: &str, query: &[(String, String)]) -> bool {
    let Some(parts) = parts(path) else { return false };
    match (method, words(&parts).as_slice()) {
        ("GET" | "POST", ["sync"])
        | ("POST", ["org.matrix.simplified_msc3575" | "sync", ..])
        | (
            "GET",
            ["rooms", _, "state" | "messages" | "members" | "joined_members" | "initialSync", ..],
        )
        | ("GET", ["rooms", _, "context" | "event" | "relations" | "threads", ..])
        | ("GET", ["media", "download" | "thumbnail" | "config", ..])
        | ("POST", ["rooms", _, "join" | "leave"] | ["join", _])
        | ("PUT", ["rooms", _, "send" | "state", ..] | ["sendToDevice", ..])
        | ("GET", ["profile", ..])
        | ("PUT" | "DELETE", ["profile", _, "displayname"])
        | ("GET", ["devices"] | ["devices", _])
        | ("PUT", ["devices", _])
        | ("GET", ["account", "whoami"] | ["capabilities"] | ["versions"])
        | ("POST", ["keys", "upload", ..] | ["keys", "query" | "claim"])
        | ("POST", ["logout"] | ["logout", "all"] | ["user", _, "filter"])
        | ("GET", ["user", _, "filter", _]) => true,
        // Only to look into one room.
        ("GET", ["events"]) => query.iter().any(|(name, _)| name == "room_id"),
        _ => false,
    }
}

/// Whether a suspended user may do this.
pub fn suspended_may(method: &str, path: &str) -> bool {
    let Some(parts) = parts(path) else { return true };
    let denied = match (method, words(&parts).as_slice()) {
        ("PUT", ["rooms", _, "send", kind, ..]) => !matches!(*kind, "m.room.redaction"),
        ("POST", ["rooms", _, "send", ..])
        | (
            "POST",
            ["rooms", _, "join" | "knock" | "invite" | "kick" | "ban" | "unban" | "upgrade"],
        )
        | ("POST", ["join" | "knock", _] | ["createRoom"])
        | ("PUT" | "POST", ["rooms", _, "state", ..])
        | ("PUT", ["rooms", _, "typing", _])
        | ("PUT" | "DELETE", ["profile", ..] | ["directory", ..])
        // A text that others see.
        | ("PUT", ["presence", _, "status"])
        | ("POST", ["account", "3pid", "delete" | "unbind"]) => true,
        _ => false,
    };
    !denied
}

/// Whether this ends sessions: all that locked and expired users may do.
pub fn is_logout(path: &str) -> bool {
    let parts = parts(path).unwrap_or_default();
    matches!(words(&parts).as_slice(), ["logout"] | ["logout", "all"])
}

/// Whether it is answered without a token, too.
pub fn token_is_optional(method: &str, path: &str) -> bool {
    let parts = parts(path).unwrap_or_default();
    matches!(
        (method, words(&parts).as_slice()),
        (
            "GET",
            ["versions"]
                | ["profile", ..]
                | ["publicRooms"]
                | ["room_summary", _]
                | ["summary", _]
                | ["rooms", _, "summary"]
        ) | ("POST", ["account", "password" | "deactivate"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_rooms_and_summaries_are_shown_without_a_token() {
        let optional = |path| token_is_optional("GET", path);
        assert!(optional("/_matrix/client/v3/publicRooms"));
        assert!(optional("/_matrix/client/v1/room_summary/!a:b"));
        assert!(optional("/_matrix/client/unstable/im.nheko.summary/summary/%23a%3Ab"));
        assert!(optional("/_matrix/client/unstable/im.nheko.summary/rooms/!a:b/summary"));
        assert!(!optional("/_matrix/client/v1/rooms/!a:b/hierarchy"));
        assert!(!token_is_optional("POST", "/_matrix/client/v3/publicRooms"));
    }

    #[test]
    fn guests_may_look_into_rooms_and_write_there_but_not_make_any() {
        let may = |method, path| guest_may(method, path, &[]);
        assert!(may("GET", "/_matrix/client/v3/sync"));
        assert!(may("GET", "/_matrix/client/r0/rooms/!a:b/state/m.room.name/"));
        assert!(may("PUT", "/_matrix/client/v3/rooms/!a:b/send/m.room.message/1"));
        assert!(may("PUT", "/_matrix/client/v3/profile/@a:b/displayname"));
        assert!(may("GET", "/_matrix/client/v1/media/download/b/c"));
        assert!(!may("PUT", "/_matrix/client/v3/profile/@a:b/avatar_url"));
        assert!(!may("POST", "/_matrix/client/v3/createRoom"));
        assert!(!may("POST", "/_matrix/media/v3/upload"));
        assert!(!may("PUT", "/_matrix/client/v3/rooms/!a:b/typing/@a:b"));
        assert!(!may("GET", "/_synapse/admin/v1/users"));
        let room = [("room_id".to_owned(), "!a:b".to_owned())];
        assert!(!may("GET", "/_matrix/client/v3/events"));
        assert!(guest_may("GET", "/_matrix/client/v3/events", &room));
    }

    #[test]
    fn suspended_users_read_leave_and_redact_but_do_not_write() {
        assert!(suspended_may("GET", "/_matrix/client/v3/sync"));
        assert!(suspended_may("POST", "/_matrix/client/v3/rooms/!a:b/leave"));
        assert!(suspended_may("PUT", "/_matrix/client/v3/rooms/!a:b/redact/$e/1"));
        assert!(suspended_may("PUT", "/_matrix/client/v3/rooms/!a:b/send/m.room.redaction/1"));
        assert!(suspended_may("POST", "/_matrix/client/v3/logout"));
        assert!(!suspended_may("PUT", "/_matrix/client/v3/rooms/!a:b/send/m.room.message/1"));
        assert!(!suspended_may("POST", "/_matrix/client/v3/join/!a:b"));
        assert!(!suspended_may("POST", "/_matrix/client/v3/jo%69n/!a:b"));
        assert!(!suspended_may("POST", "/%5Fmatrix/client/v3/join/!a:b"));
        assert!(!suspended_may("POST", "/_matrix/cli%65nt/v3/join/!a:b"));
        assert!(!suspended_may("POST", "/_matrix/client/%763/createRoom"));
        assert!(!suspended_may("PUT", "/_matrix/client/unstable/uk.tcpip.msc4133/profile/@a:b/x"));
    }

    #[test]
    fn only_a_logout_is_one() {
        assert!(is_logout("/_matrix/client/v3/logout"));
        assert!(is_logout("/_matrix/client/r0/logout/all"));
        assert!(!is_logout("/_matrix/client/v3/rooms/logout"));
        assert!(!is_logout("/_matrix/client/v3/login"));
    }
}
