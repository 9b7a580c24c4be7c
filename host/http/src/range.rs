//! The `Range` header.

/// What a client asked of a body of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// No range, or one that is not understood: the whole.
    Whole,
    /// These bytes; `first <= last < size`.
    Part { first: u64, last: u64 },
    /// Nothing of it is there: 416.
    Nothing,
}

/// Reads one range of bytes (RFC 9110, 14.2). Several ranges are answered with the whole, which is allowed.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
    };
    let end = size.saturating_sub(1);
    match (number(first.trim()), number(last.trim())) {
        (None, Some(length)) if first.trim().is_empty() => {
            if length == 0 || size == 0 {
                return Wanted::Nothing;
            }
            Wanted::Part { first: size.saturating_sub(length), last: end }
        }
        (Some(first), None) if last.trim().is_empty() => {
            if first < size {
                Wanted::Part { first, last: end }
            } else {
                Wanted::Nothing
            }
        }
        (Some(first), Some(last)) if first <= last => {
            if first < size {
                Wanted::Part { first, last: last.min(end) }
            } else {
                Wanted::Nothing
            }
        }
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::{Wanted, wanted};

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, expected) in [
            ("bytes=0-3", part(0, 3)),
            ("bytes=8-", part(8, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=5-500", part(5, 9)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-12", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-3", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("items=0-3", Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), 10), expected, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }
}
