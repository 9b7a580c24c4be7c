//! Tokens of /sync and pagination: `s` and a position of the tenant's sequence.
//!
//! A token stands for the point just after its position: what is older is at or below it, what is newer above. A token of /sync
//! after which messages to the device are left over says in a second number how far those were told: `s12_7`.

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
        // Tokens of /sync and of sliding sync say more behind the position; pages take them, too.
        let position = text.split_once('_').map_or(text, |(position, _)| position);
        position.parse::<SyncToken>().map(|token| Self(token.position))
    }
}

/// How far one device was told of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncToken {
    /// All but messages to the device.
    pub position: i64,
    /// The last message told to the device, where more of them lie at or below `position`.
    pub to_device: Option<i64>,
}

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.position)?;
        match self.to_device {
            Some(told) => write!(f, "_{told}"),
            None => Ok(()),
        }
    }
}

impl FromStr for SyncToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |digits: &str| -> Option<i64> {
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
        };
        let parse = || {
            let digits = text.strip_prefix('s')?;
            Some(match digits.split_once('_') {
                Some((position, told)) => {
                    Self { position: number(position)?, to_device: Some(number(told)?) }
                }
                None => Self { position: number(digits)?, to_device: None },
            })
        };
        parse().ok_or_else(|| Error::invalid_param("the token is not one of this server's"))
    }
}

#[cfg(test)]
mod tests {
    use super::{SyncToken, Token};

    #[test]
    fn tokens_survive_the_round_trip_and_garbage_is_refused() {
        assert_eq!("s12".parse::<Token>().unwrap(), Token(12));
        assert_eq!(Token(12).to_string(), "s12");
        for bad in ["", "12", "s", "s-1", "s1x", "t1", "s_1", "s99999999999999999999"] {
            assert_eq!(bad.parse::<Token>().unwrap_err().errcode(), "M_INVALID_PARAM", "{bad}");
        }
    }

    #[test]
    fn tokens_of_a_device_with_messages_left_serve_for_pages_too() {
        let token = SyncToken { position: 12, to_device: Some(7) };
        assert_eq!(token.to_string(), "s12_7");
        assert_eq!("s12_7".parse::<SyncToken>().unwrap(), token);
        for longer in ["s12_7", "s12_7_x"] {
            assert_eq!(longer.parse::<Token>().unwrap(), Token(12));
        }
        for bad in ["s12_", "s12_7_x", "s12_x"] {
            assert!(bad.parse::<SyncToken>().is_err(), "{bad}");
        }
    }
}
