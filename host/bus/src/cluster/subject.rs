//! Names that may stand in a subject.

use super::config::ClusterError;
use crate::topic::Seed;

/// Fixed keys: all nodes and versions must agree on them.
const LOW: Seed = Seed::of(*b"tessera.subject0");
const HIGH: Seed = Seed::of(*b"tessera.subject1");

/// Whether a name may stand in a subject, `.` aside.
fn plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')
}

/// A token for arbitrary text: different texts have different tokens.
pub(crate) fn token(text: &str) -> String {
    format!("{:016x}{:016x}", HIGH.hash(&[text]), LOW.hash(&[text]))
}

/// A token that people can read: the text as it is where it may stand in a subject, else what may and a hash.
pub(crate) fn readable(text: &str) -> String {
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        return text.to_owned();
    }
    let letters = text.chars().map(|letter| if plain(letter) { letter } else { '_' });
    format!("{}-{:016x}", letters.take(40).collect::<String>(), LOW.hash(&[text]))
}

/// The partition of a key: order holds within it.
pub(crate) fn partition(tenant: &str, topic: &str, key: &str, partitions: u16) -> u16 {
    let hash = LOW.hash(&[tenant, topic, key]) % u64::from(partitions.max(1));
    u16::try_from(hash).unwrap_or(0)
}

/// The subject of a service.
///
/// # Errors
/// A name that cannot stand in a subject.
pub(crate) fn service(prefix: &str, service: &str) -> Result<String, ClusterError> {
    let well = !service.is_empty()
        && service.len() <= 200
        && service.split('.').all(|part| !part.is_empty() && part.chars().all(plain));
    if !well {
        return Err(ClusterError::Setting(format!(
            "`{service}` cannot name a service: letters, digits, `-`, `_`, and `.` between them"
        )));
    }
    Ok(format!("{prefix}.call.{service}"))
}

/// # Errors
/// A prefix or a node's name that cannot stand in a subject.
pub(crate) fn check(what: &str, name: &str, dots: bool) -> Result<(), ClusterError> {
    let fits = |letter| plain(letter) || (dots && letter == '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(ClusterError::Setting(format!(
            "`{name}` cannot be the bus's {what}: up to 64 letters, digits, `-` and `_`"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{partition, readable, service, token};

    #[test]
    fn any_text_has_a_token() {
        for text in ["", "example.org", "a b", "a.b>*", "ä", &"x".repeat(300)] {
            for token in [token(text), readable(text)] {
                assert!(!token.is_empty() && token.len() < 70, "{token}");
                assert!(!token.contains(['.', ' ', '*', '>']), "{token}");
            }
        }
        assert_ne!(readable("a.b"), readable("a_b"));
        assert_eq!(readable("push"), "push");
    }

    #[test]
    fn keys_spread_over_all_partitions() {
        let mut seen = std::collections::BTreeSet::new();
        for key in 0..200 {
            seen.insert(partition("t", "events", &key.to_string(), 8));
        }
        assert_eq!(seen, (0..8).collect());
    }

    #[test]
    fn a_name_with_a_wildcard_is_no_service() {
        assert_eq!(service("p", "plugin.rooms").unwrap(), "p.call.plugin.rooms");
        for bad in ["", "a..b", "a.*", ">", "a b"] {
            assert!(service("p", bad).is_err(), "{bad}");
        }
    }
}
