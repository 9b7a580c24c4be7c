//! The token of a connection: `s`, a position of the tenant's sequence, `_`, the version of what was sent, `_` and a mark of the
//! connection. Up to the first `_` it is a token like those of /sync, so it serves for pagination.

use tessera_sdk::digest;
use tessera_sdk::matrix::{Error, ErrorCode};

/// Characters of the mark.
const MARK: usize = 10;

/// One connection of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub user: String,
    /// Empty for who has no device.
    pub device: String,
    /// `conn_id`; empty where the client names none.
    pub conn: String,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pos {
    /// All that lies at or below it has been told, of what was told live.
    pub position: i64,
    /// The version of what was sent; 0 for nothing at all.
    pub serial: i64,
}

/// 400: the client has to start anew.
pub(super) fn unknown_pos() -> Error {
    Error::new(ErrorCode::UnknownPos, "this pos is not known any more: start without one")
}

impl Key {
    /// Tells whether a token is one of this connection: it is no secret, but nobody else's token either.
    fn mark(&self) -> String {
        let whole = format!("{}\n{}\n{}", self.user, self.device, self.conn);
        digest::sha256(whole.as_bytes()).chars().take(MARK).collect()
    }

    /// Reads a token.
    ///
    /// # Errors
    /// `M_UNKNOWN_POS` for what is none, or one of another connection.
    pub(super) fn parse(&self, text: &str) -> Result<Pos, Error> {
        let mut parts = text.strip_prefix('s').unwrap_or("").splitn(3, '_');
        let mut number = || {
            parts
                .next()
                .filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|part| part.parse::<i64>().ok())
        };
        let (Some(position), Some(serial)) = (number(), number()) else {
            return Err(unknown_pos());
        };
        if parts.next() == Some(&self.mark()) {
            Ok(Pos { position, serial })
        } else {
            Err(unknown_pos())
        }
    }

    /// Writes a token.
    pub(super) fn text(&self, pos: Pos) -> String {
        format!("s{}_{}_{}", pos.position, pos.serial, self.mark())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str, conn: &str) -> Key {
        Key { user: user.to_owned(), device: "D".to_owned(), conn: conn.to_owned() }
    }

    #[test]
    fn a_pos_is_good_for_its_own_connection_only() {
        let pos = Pos { position: 12, serial: 34 };
        let text = key("@a:h", "c").text(pos);
        assert!(text.starts_with("s12_34_"));
        assert_eq!(key("@a:h", "c").parse(&text).unwrap(), pos);
        for other in [key("@b:h", "c"), key("@a:h", "")] {
            assert_eq!(other.parse(&text).unwrap_err().errcode(), "M_UNKNOWN_POS");
        }
        for bad in
            ["", "s", "s12", "s12_34", "s12_34_", "s-1_2_x", "12_34_x", "s1_99999999999999999999_x"]
        {
            assert_eq!(key("@a:h", "c").parse(bad).unwrap_err().http_status(), 400, "{bad}");
        }
    }
}
