//! Which servers may take part in a room. Spec: client-server API, Server Access Control Lists.

use serde_json::Value;

/// The content of `m.room.server_acl`, as far as it makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAcl {
    allow: Vec<String>,
    deny: Vec<String>,
    allow_ip_literals: bool,
}

impl ServerAcl {
    /// Reads a content; what is of another type than it should be counts as absent.
    pub fn of(content: &Value) -> Self {
        let list = |key: &str| -> Vec<String> {
            let list = content.get(key).and_then(Value::as_array);
            let texts = list.into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_ascii_lowercase).collect()
        };
        let literals = content.get("allow_ip_literals").and_then(Value::as_bool);
        Self {
            allow: list("allow"),
            deny: list("deny"),
            allow_ip_literals: literals.unwrap_or(true),
        }
    }

    /// Whether a server (its name, with or without port) may take part.
    pub fn allows(&self, server: &str) -> bool {
        let (host, literal) = host(server);
        if literal && !self.allow_ip_literals {
            return false;
        }
        let host = host.to_ascii_lowercase();
        let any = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, &host));
        !any(&self.deny) && any(&self.allow)
    }
}

/// The host of a server name, and whether it is an IP address.
fn host(server: &str) -> (&str, bool) {
    if server.starts_with('[') {
        return (server.split_inclusive(']').next().unwrap_or(server), true);
    }
    let host = match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => server,
    };
    (host, host.parse::<std::net::Ipv4Addr>().is_ok())
}

/// `*` stands for any characters, `?` for one. Spec: appendices, Glob-style matching. Linear in memory, at worst
/// the product of both lengths in time, which 255 bytes of server name bound.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on if what followed the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, t));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn globs_of_the_specification() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("*.evil.com", "a.evil.com", true),
            ("*.evil.com", "evil.com", false),
            ("evil.???", "evil.com", true),
            ("evil.???", "evil.comm", false),
            ("a*b*c", "aXXbYYbc", true),
            ("a*b*c", "aXXbYY", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn denied_first_then_allowed_else_denied() {
        let acl = ServerAcl::of(
            &json!({"allow": ["*"], "deny": ["*.Evil.com", "evil.com"], "allow_ip_literals": false}),
        );
        for (server, allowed) in [
            ("good.com", true),
            ("good.com:8448", true),
            ("evil.com", false),
            ("EVIL.com:1", false),
            ("a.evil.com", false),
            ("1.2.3.4", false),
            ("1.2.3.4:80", false),
            ("[::1]", false),
            ("[::1]:8448", false),
        ] {
            assert_eq!(acl.allows(server), allowed, "{server}");
        }
        assert!(ServerAcl::of(&json!({"allow": ["*"]})).allows("[::1]:1"));
        assert!(!ServerAcl::of(&json!({})).allows("good.com"), "nobody is allowed by default");
        assert!(
            ServerAcl::of(&json!({"allow": ["*", 1], "deny": "x", "allow_ip_literals": "no"}))
                .allows("1.2.3.4")
        );
    }
}
