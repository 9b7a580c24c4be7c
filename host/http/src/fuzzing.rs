//! What must hold of the edge's parsers for any bytes at all, for fuzzers. No part of the crate's interface.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::Method;
use tessera_manifest::{Http, PluginManifest, RoutePattern, Segment};

use crate::range::Wanted;
use crate::routes::Found;
use crate::{PluginRoutes, RouteTable, host, percent, range, redact};

/// A value that no log may have.
const SECRET: &str = "s3cr3t-value";
const PARAMETER: &str = "access_token";
/// Segments that a path may have: more match nothing.
const SEGMENTS: usize = 64;

/// Patterns that come into each other's way; routes `r0`, `r1` and so on.
const PATTERNS: [(&str, &str); 9] = [
    ("GET", "/"),
    ("GET", "/a"),
    ("GET", "/a/{one}"),
    ("PUT", "/a/{one}/{two}"),
    ("GET", "/a/b/{two}"),
    ("POST", "/a/{one}/c"),
    ("GET", "/{first}/x"),
    ("GET", "/files/{*path}"),
    ("DELETE", "/a/{one}/{*rest}"),
];

struct Routes {
    table: RouteTable,
    patterns: Vec<RoutePattern>,
}

static ROUTES: LazyLock<Option<Routes>> = LazyLock::new(|| {
    let mut text = String::from("name = \"edge\"\nversion = \"1.0.0\"\n");
    for (at, (method, path)) in PATTERNS.iter().enumerate() {
        text += &format!(
            "[[http.routes]]\nid = \"r{at}\"\nmethods = [\"{method}\"]\npaths = [\"{path}\"]\nauth = \"none\"\n"
        );
    }
    let manifest = PluginManifest::parse("plugin.toml", &text).ok()?;
    let plugins = [PluginRoutes { manifest: &manifest }];
    let table = RouteTable::build(&plugins, &Http::default(), &BTreeMap::new()).ok()?;
    let patterns = PATTERNS.iter().map(|(_, path)| path.parse().ok()).collect::<Option<_>>()?;
    Some(Routes { table, patterns })
});

/// Paths lead where their pattern says, ranges stay within the body, secrets stay out of logs, and names of hosts are
/// read as they are written. One line each: path, query, range, host.
///
/// Gives whether there was anything to check: a run that refuses all inputs has shown nothing.
///
/// # Panics
/// Where that does not hold.
pub fn edge(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let found = path(line());
    query(line());
    within(line());
    host_name(line());
    found
}

fn decoded(text: &str) -> Option<String> {
    let decoded = percent::decode(text).ok()?.into_owned();
    let encoded: String = decoded.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let again = percent::decode(&encoded).map(std::borrow::Cow::into_owned);
    assert_eq!(again.as_ref(), Ok(&decoded), "{text}");
    if !text.contains('%') {
        assert_eq!(decoded, text, "changed though nothing is encoded");
    }
    Some(decoded)
}

/// Whether any route has the path.
fn path(path: &str) -> bool {
    let routes = ROUTES.as_ref();
    assert!(routes.is_some(), "the table of routes cannot be built");
    let Some(Routes { table, patterns }) = routes else { return false };
    let segments: Option<Vec<String>> = path
        .strip_prefix('/')
        .map(|path| path.split('/').map(decoded).collect())
        .unwrap_or_default();
    let fits = |at: usize, method: Option<&str>| {
        let (wanted, pattern) = (PATTERNS.get(at).map(|(method, _)| *method), patterns.get(at));
        let (Some(segments), Some(pattern)) = (&segments, pattern) else { return false };
        segments.len() <= SEGMENTS
            && method.is_none_or(|it| Some(it) == wanted)
            && takes(pattern, segments)
    };
    let any = |method: Option<&str>| (0..PATTERNS.len()).any(|at| fits(at, method));
    for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
        let word = method.as_str();
        match table.find(&method, path) {
            Found::Route(target, params) => {
                let at = target.route.strip_prefix('r').and_then(|at| at.parse().ok());
                let at: usize = at.unwrap_or(usize::MAX);
                assert!(fits(at, Some(word)), "{word} {path} led to {}", target.route);
                let pattern = patterns.get(at).map(|pattern| filled(pattern, &params));
                let sent = segments.as_ref().map(|segments| segments.join("/"));
                assert_eq!(pattern, sent, "{word} {path} with {params:?}");
            }
            Found::NoMethod(allowed) => {
                assert!(!any(Some(word)) && any(None), "{word} {path}: only {allowed:?}");
            }
            Found::NoPath => assert!(!any(None), "{word} {path} led nowhere"),
            Found::Malformed | Found::NotUtf8 => {
                assert!(segments.is_none(), "{word} {path} can be decoded");
            }
        }
    }
    any(None)
}

/// Whether a pattern has a path, as slowly and plainly as can be.
fn takes(pattern: &RoutePattern, segments: &[String]) -> bool {
    let mut rest = segments.iter();
    for segment in pattern.segments() {
        match (segment, rest.next()) {
            (Segment::Rest(_), Some(_)) => return true,
            (Segment::Literal(text), Some(given)) if text == given => {}
            (Segment::One(_), Some(_)) => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}

/// The pattern with its placeholders' values.
fn filled(pattern: &RoutePattern, params: &[(String, String)]) -> String {
    let value = |name: &str| {
        params.iter().find(|(it, _)| it == name).map_or("(missing)", |(_, value)| value.as_str())
    };
    let segment = |segment: &Segment| match segment {
        Segment::Literal(text) => text.clone(),
        Segment::One(name) | Segment::Rest(name) => value(name).to_owned(),
    };
    pattern.segments().iter().map(segment).collect::<Vec<_>>().join("/")
}

/// A secret amid whatever else is sent reaches no log, however its name is spelled.
fn query(noise: &str) {
    let secret = [PARAMETER.to_owned()];
    let _ = decoded(noise);
    if noise.contains(SECRET) {
        return;
    }
    // The noise's bytes choose how each letter is spelled.
    let mut choices = noise.bytes().cycle();
    let spelled: String = PARAMETER
        .bytes()
        .map(|letter| match choices.next().unwrap_or(0) % 3 {
            0 => char::from(letter).to_string(),
            1 => format!("%{letter:02x}"),
            _ => format!("%{letter:02X}"),
        })
        .collect();
    for sent in [
        format!("{spelled}={SECRET}"),
        format!("{noise}&{spelled}={SECRET}"),
        format!("{spelled}={SECRET}&{noise}"),
        format!("{noise}&{spelled}={SECRET}={SECRET}&{noise}"),
    ] {
        let logged = redact::query(&sent, &secret);
        assert!(!logged.contains(SECRET), "{sent}\nlogged {logged}");
        assert_eq!(logged.split('&').count(), sent.split('&').count(), "{sent}\nlogged {logged}");
        let found = redact::secrets(&sent, &secret).filter(|pair| pair.contains(SECRET)).count();
        assert_eq!(found, 1, "{sent}");
    }
    // What hides nothing changes nothing.
    assert_eq!(redact::query(noise, &[]).contains("<redacted>"), hides(noise), "{noise}");
}

/// Whether there is something to hide where nothing is secret: names that cannot be decoded.
fn hides(noise: &str) -> bool {
    let unreadable =
        |pair: &str| pair.split_once('=').is_some_and(|(name, _)| percent::decode(name).is_err());
    noise.contains("<redacted>") || noise.split('&').any(unreadable)
}

fn within(header: &str) {
    for size in [0, 1, 10, 1 << 40, u64::MAX] {
        if let Wanted::Part { first, last } = range::wanted(Some(header), size) {
            assert!(first <= last && last < size, "{header} of {size}: {first} to {last}");
            let exact = range::wanted(Some(&format!("bytes={first}-{last}")), size);
            assert_eq!(exact, Wanted::Part { first, last }, "{header} of {size}");
        }
    }
}

fn host_name(text: &str) {
    let Ok(Some(name)) = host::parse(text) else { return };
    assert!(!name.is_empty() && name.len() <= 253, "{text}");
    assert_eq!(*name, *name.to_ascii_lowercase(), "{text}");
    assert!(!name.contains(['/', '@', '%', ' ', '\\', ',']), "{text}");
    let written = if name.contains(':') { format!("[{name}]") } else { name.to_string() };
    assert_eq!(host::parse(&written), Ok(Some(name)), "{text}");
}
