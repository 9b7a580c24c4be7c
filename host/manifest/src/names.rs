//! Names: of plug-ins, tenants, topics, views, and of everything that needs no grammar of its own.

use std::net::{IpAddr, Ipv6Addr};

use crate::text::text_type;

text_type! {
    /// A plug-in's name. Tables, topics and metrics carry it as prefix.
    PluginName,
    expected "a plug-in name: lower-case letters, digits and `-`, beginning with a letter, at most 32 characters",
    pattern "^[a-z][a-z0-9-]{0,31}$",
    check check_plugin
}

impl PluginName {
    /// The prefix of its tables and views, without the underscore that follows: the name without
    /// its dashes, `keywordpolicy`, so that no prefix with its underscore begins another.
    #[must_use]
    pub fn table_prefix(&self) -> String {
        self.as_str().replace('-', "")
    }
}

text_type! {
    /// The server name of a tenant: a DNS name, IPv4 address or bracketed IPv6 address, with or without a port.
    TenantName,
    expected "a server name such as `example.org`, `hs1:8448`, `10.0.0.1` or `[::1]:8448`",
    pattern "^[A-Za-z0-9.:\\[\\]-]{1,230}$",
    check check_tenant
}

text_type! {
    /// A durable topic: the name of the plug-in that emits it, a dot and a word.
    TopicName,
    expected "a topic such as `rooms.events`: the emitting plug-in's name, a dot and a name",
    pattern "^[a-z][a-z0-9-]*\\.[a-z][a-z0-9._-]*$",
    check check_topic
}

impl TopicName {
    /// The plug-in whose topic it is.
    #[must_use]
    pub fn plugin(&self) -> &str {
        self.as_str().split('.').next().unwrap_or_default()
    }
}

text_type! {
    /// An exposed view: the plug-in's table prefix, `_v`, a version, `_` and a name.
    ViewName,
    expected "a view such as `rooms_v1_events`: plug-in, `_v` and version, `_` and a name",
    pattern "^[a-z][a-z0-9]*_v[0-9]+_[a-z][a-z0-9_]*$",
    check check_view
}

impl ViewName {
    /// Whether the view belongs to the plug-in.
    #[must_use]
    pub fn is_of(&self, plugin: &PluginName) -> bool {
        view_prefix(self.as_str()) == Some(plugin.table_prefix().as_str())
    }
}

text_type! {
    /// A name without a grammar of its own: route, authenticator, rate class, index, node.
    Name,
    expected "a name: lower-case letters, digits, `-`, `_` and `.`, at most 64 characters",
    pattern "^[a-z0-9][a-z0-9._-]{0,63}$",
    check check_name
}

text_type! {
    /// A SHA-256 digest in lower-case hex.
    Sha256,
    expected "a SHA-256 digest: 64 lower-case hex digits",
    pattern "^[0-9a-f]{64}$",
    check check_sha256
}

text_type! {
    /// A public ed25519 key: `ed25519:` and 32 bytes in base64.
    PublicKey,
    expected "a public key: \"ed25519:\" and 43 characters of base64, as `tessera plugin sign --generate` prints it",
    pattern "^ed25519:[A-Za-z0-9+/]{43}=?$",
    check check_key
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase()
}

fn check_plugin(text: &str) -> Result<(), String> {
    let word = |byte: u8| lower(byte) || byte.is_ascii_digit() || byte == b'-';
    match text.bytes().next() {
        Some(first) if lower(first) && text.len() <= 32 && text.bytes().all(word) => Ok(()),
        _ => Err("is no plug-in name".into()),
    }
}

fn check_name(text: &str) -> Result<(), String> {
    let start = |byte: u8| lower(byte) || byte.is_ascii_digit();
    let word = |byte: u8| start(byte) || matches!(byte, b'-' | b'_' | b'.');
    match text.bytes().next() {
        Some(first) if start(first) && text.len() <= 64 && text.bytes().all(word) => Ok(()),
        _ => Err("is no name".into()),
    }
}

fn check_topic(text: &str) -> Result<(), String> {
    let (plugin, topic) = text.split_once('.').ok_or("has no dot")?;
    check_plugin(plugin)?;
    check_name(topic)
}

/// The plug-in's prefix in `<prefix>_v<N>_<name>`.
fn view_prefix(text: &str) -> Option<&str> {
    let (prefix, rest) = text.split_once('_')?;
    let (version, name) = rest.strip_prefix('v')?.split_once('_')?;
    let version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    (version && name.bytes().next().is_some_and(lower)).then_some(prefix)
}

fn check_view(text: &str) -> Result<(), String> {
    let word = |byte: u8| lower(byte) || byte.is_ascii_digit() || byte == b'_';
    let fits = text.bytes().next().is_some_and(lower) && text.len() <= 63 && text.bytes().all(word);
    if fits && view_prefix(text).is_some() { Ok(()) } else { Err("is no view name".into()) }
}

fn check_sha256(text: &str) -> Result<(), String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 64 && text.bytes().all(hex) { Ok(()) } else { Err("is no digest".into()) }
}

fn check_key(text: &str) -> Result<(), String> {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let text = text.strip_prefix("ed25519:").ok_or("does not begin with `ed25519:`")?;
    let bare = text.strip_suffix('=').unwrap_or(text);
    if bare.len() == 43 && bare.bytes().all(base64) { Ok(()) } else { Err("is no key".into()) }
}

fn check_tenant(text: &str) -> Result<(), String> {
    if text.len() > 230 {
        return Err("is longer than 230 bytes".into());
    }
    let (host, port) = split_port(text)?;
    if let Some(port) = port {
        port.parse::<u16>().map_err(|_| format!("has the port `{port}`, which is none"))?;
    }
    check_host(host)
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(crate) fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or("has no closing bracket")?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("has text after the bracket".into()),
        };
    }
    Ok(match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    })
}

/// A DNS name, an IPv4 address or a bracketed IPv6 address.
pub(crate) fn check_host(host: &str) -> Result<(), String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("holds no IPv6 address in its brackets".into()),
        };
    }
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if host.split('.').all(label) { Ok(()) } else { Err("is no host name".into()) }
}
