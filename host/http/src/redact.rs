//! Queries without their secrets, for logs.

use std::borrow::Cow;

use crate::percent;

/// What stands for a secret.
const HIDDEN: &str = "<redacted>";

/// The query with the values of `secret` parameters hidden. A name that cannot be decoded hides its value, too.
pub(crate) fn query<'q>(query: &'q str, secret: &[String]) -> Cow<'q, str> {
    if query.is_empty() || !query.split('&').any(|pair| is_secret(pair, secret)) {
        return Cow::Borrowed(query);
    }
    let pairs: Vec<Cow<'_, str>> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(pair, secret) => Cow::Owned(format!("{name}={HIDDEN}")),
            _ => Cow::Borrowed(pair),
        })
        .collect();
    Cow::Owned(pairs.join("&"))
}

/// The parameters of a query whose values are secret, as sent.
pub(crate) fn secrets<'q>(query: &'q str, secret: &'q [String]) -> impl Iterator<Item = &'q str> {
    query.split('&').filter(|pair| !pair.is_empty() && is_secret(pair, secret))
}

fn is_secret(pair: &str, secret: &[String]) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    match percent::decode(name) {
        Ok(name) => secret.iter().any(|word| *word == name),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::{query, secrets};

    #[test]
    fn secrets_are_hidden_however_they_are_spelled() {
        let secret = ["access_token".to_owned()];
        for (sent, logged) in [
            ("", ""),
            ("a=1&b", "a=1&b"),
            ("a=1&access_token=abc&b=2", "a=1&access_token=<redacted>&b=2"),
            ("%61ccess_token=abc", "%61ccess_token=<redacted>"),
            ("%ff=abc&a=b", "%ff=<redacted>&a=b"),
            ("access_token=a=b", "access_token=<redacted>"),
        ] {
            assert_eq!(query(sent, &secret), logged);
        }
        let found: Vec<_> = secrets("a=1&access_token=x&access_token=y", &secret).collect();
        assert_eq!(found, ["access_token=x", "access_token=y"]);
    }
}
