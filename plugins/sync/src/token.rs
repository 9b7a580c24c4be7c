//! Tokens of /sync and pagination: `s` and a position of the tenant's sequence.
//!
//! A token stands for the point just after its position: what is older is at or below it, what is newer above.

use std::fmt;
use std::str::FromStr;

use tessera_sdk::matrix::Error;

/// A point in the tenant's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub i64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.strip_prefix('s')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| Error::invalid_param("the token is not one of this server's"))
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn tokens_survive_the_round_trip_and_garbage_is_refused() {
        assert_eq!("s12".parse::<Token>().unwrap(), Token(12));
        assert_eq!(Token(12).to_string(), "s12");
        for bad in ["", "12", "s", "s-1", "s1x", "t1", "s99999999999999999999"] {
            assert_eq!(bad.parse::<Token>().unwrap_err().errcode(), "M_INVALID_PARAM", "{bad}");
        }
    }
}
