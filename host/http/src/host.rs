//! The host that a request is for.

use http::header::HOST;
use http::{HeaderMap, Request, Version};

/// The longest name of DNS; IP addresses are shorter.
const LONGEST: usize = 253;

/// A request whose host cannot be told, or is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadHost;

/// For which host a request is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As [`crate::Sites`] want it. `None`: HTTP/1.0 without a host, or an empty one.
    pub(crate) host: Option<Box<str>>,
    /// A proxy says so; the connection is the proxy's.
    pub(crate) forwarded: bool,
}

/// Finds out for which host a request is.
pub(crate) fn of<B>(request: &Request<B>, trust_forwarded: bool) -> Result<Asked, BadHost> {
    let host = sent(request)?;
    if trust_forwarded {
        // The last is the one that the trusted proxy added.
        let all = request.headers().get_all("x-forwarded-host");
        if let Some(value) = all.iter().next_back() {
            let list = value.to_str().map_err(|_| BadHost)?;
            let host = parse(list.rsplit(',').next().unwrap_or("").trim())?;
            return Ok(Asked { host, forwarded: true });
        }
    }
    Ok(Asked { host, forwarded: false })
}

fn sent<B>(request: &Request<B>) -> Result<Option<Box<str>>, BadHost> {
    let header = header(request.headers())?;
    // HTTP/2's `:authority`, or a target in absolute form, which goes before the header (RFC 9112, 3.2.2).
    let Some(authority) = request.uri().authority() else {
        return match header {
            None if request.version() >= Version::HTTP_11 => Err(BadHost),
            None => Ok(None),
            Some(host) => Ok(host),
        };
    };
    let host = parse(authority.as_str())?;
    // One request for two hosts is a trick on somebody between (RFC 9113, 8.3.1).
    if request.version() >= Version::HTTP_2 && header.is_some_and(|header| header != host) {
        return Err(BadHost);
    }
    Ok(host)
}

/// The `host` header; `Some(None)` is an empty one.
#[expect(clippy::option_option, reason = "an empty header is not an absent one")]
fn header(headers: &HeaderMap) -> Result<Option<Option<Box<str>>>, BadHost> {
    let mut values = headers.get_all(HOST).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(BadHost);
    }
    parse(value.to_str().map_err(|_| BadHost)?.trim()).map(Some)
}

/// Takes off port and last dot, and makes it lower case.
pub(crate) fn parse(text: &str) -> Result<Option<Box<str>>, BadHost> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or(BadHost)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| BadHost)?;
            let port = match rest {
                "" => "",
                rest => rest.strip_prefix(':').ok_or(BadHost)?,
            };
            (address, port)
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            let host = host.strip_suffix('.').unwrap_or(host);
            let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let empty_label = host.starts_with('.') || host.ends_with('.') || host.contains("..");
            if !host.bytes().all(of_a_name) || empty_label {
                return Err(BadHost);
            }
            (host, port)
        }
    };
    let port_is_one = port.is_empty()
        || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    // Nothing but a dot or a port is no host; nothing at all is allowed.
    if host.len() > LONGEST || !port_is_one || host.is_empty() && !text.is_empty() {
        return Err(BadHost);
    }
    Ok((!host.is_empty()).then(|| host.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests {
    use super::{BadHost, parse};

    #[test]
    fn port_case_and_last_dot_make_no_difference() {
        for (text, host) in [
            ("example.org", "example.org"),
            ("Example.ORG:8448", "example.org"),
            ("example.org.", "example.org"),
            ("example.org.:80", "example.org"),
            ("example.org:", "example.org"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("[2001:db8::1]:8448", "2001:db8::1"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(parse(text).unwrap().as_deref(), Some(host), "{text}");
        }
        assert_eq!(parse(""), Ok(None));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.org", "a".repeat(250));
        for text in [
            "user@example.org",
            "exämple.org",
            "a b",
            "a/b",
            "a,b",
            "a:b",
            "a:80:80",
            "a:+80",
            "a:99999",
            "::1",
            "[::1",
            "[::1]x",
            "[example.org]",
            "a..b",
            // One last dot is the root's; a second one is an empty label.
            "a..",
            "a..:80",
            ".a",
            "..",
            ".",
            ":80",
            "a%2e",
            "a\\b",
            &long,
        ] {
            assert_eq!(parse(text), Err(BadHost), "{text}");
        }
    }
}
