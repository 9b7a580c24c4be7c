//! SHA-256 as OCI writes it.

use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The digits of such a text, if it is one.
pub(crate) fn digits(digest: &str) -> Option<&str> {
    let digits = digest.strip_prefix("sha256:")?;
    let good = digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    good.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_have_digits() {
        assert_eq!(digits(&of(b"")).map(str::len), Some(64));
        for wrong in ["", "sha256:", "sha256:../../etc/passwd", "md5:00"] {
            assert_eq!(digits(wrong), None, "{wrong}");
        }
        assert_eq!(digits(&of(b"").to_uppercase()), None);
    }
}
