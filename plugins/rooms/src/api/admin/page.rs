//! Pages of lists: `from`, `limit`, `dir`.

use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;

/// Entries of a page where nothing is said.
const PAGE: i64 = 100;
/// Most entries of a page.
const MOST: i64 = 1_000;

/// Where a page begins and how many entries it may have: at most a thousand.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub(super) fn of(request: &Request) -> Result<(i64, i64), Error> {
    let number = |name: &str, default: i64| -> Result<i64, Error> {
        let number = request.query_as::<i64>(name)?.unwrap_or(default);
        if number < 0 {
            return Err(Error::invalid_param(format!("{name} is negative")));
        }
        Ok(number)
    };
    let from = number("from", 0)?;
    Ok((from.min(i64::MAX - MOST), number("limit", PAGE)?.min(MOST)))
}

/// Whether `dir` is `f`; `default` where nothing is said.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub(super) fn forwards(request: &Request, default: bool) -> Result<bool, Error> {
    match request.query("dir") {
        None => Ok(default),
        Some("f") => Ok(true),
        Some("b") => Ok(false),
        Some(other) => Err(Error::invalid_param(format!("dir {other:?} is neither f nor b"))),
    }
}

/// A parameter that is `true` or `false`.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub(super) fn truth(request: &Request, name: &str) -> Result<Option<bool>, Error> {
    request.query_as::<bool>(name)
}
