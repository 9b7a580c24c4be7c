//! What may be fetched.

use tessera_sdk::matrix::Error;
use url::Url;

use crate::config::Config;

/// Longest URL, in bytes.
const MAX_URL: usize = 4096;

/// Reads a URL. Its fragment says nothing to a server.
///
/// # Errors
/// `M_INVALID_PARAM` for what is no http or https URL, or holds a password.
pub(crate) fn parse(text: &str) -> Result<Url, Error> {
    let bad = |why: &str| Error::invalid_param(format!("url {why}"));
    if text.len() > MAX_URL {
        return Err(bad("is too long"));
    }
    let mut url = Url::parse(text).map_err(|_| bad("is malformed"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(bad("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("holds a user or a password"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// Holds a URL against the operator's list. Addresses are the host's matter: it looks at what a name leads to.
///
/// # Errors
/// `M_FORBIDDEN`
pub(crate) fn allowed(url: &Url, config: &Config) -> Result<(), Error> {
    let host = url.host_str().unwrap_or("").trim_end_matches('.');
    let listed = |pattern: &String| match pattern.contains("://") {
        true => url.as_str().starts_with(pattern.as_str()),
        false => match pattern.strip_prefix("*.") {
            Some(below) => host.strip_suffix(below).is_some_and(|rest| rest.ends_with('.')),
            None => host.eq_ignore_ascii_case(pattern),
        },
    };
    if config.url_preview_blocklist.iter().any(listed) {
        return Err(Error::forbidden("this page is not previewed"));
    }
    Ok(())
}
