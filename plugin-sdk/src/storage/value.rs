//! Rust values as parameters.

use std::borrow::Cow;

use super::Value;

/// NUL is refused by both engines, yet a state key may hold it: it travels as U+001A `0`, and U+001A itself as U+001A `1`.
const ESCAPE: char = '\u{1a}';

/// What can be bound to `$n`.
pub trait IntoValue {
    /// The parameter.
    fn into_value(self) -> Value;
}

/// The commit's first position plus `offset`; for parameters of a commit.
pub fn position(offset: u32) -> Value {
    Value::Position(offset)
}

pub(super) fn escape(text: &str) -> Option<String> {
    text.contains(['\0', ESCAPE]).then(|| {
        let mut escaped = String::with_capacity(text.len() + 2);
        for c in text.chars() {
            match c {
                '\0' => escaped.extend([ESCAPE, '0']),
                ESCAPE => escaped.extend([ESCAPE, '1']),
                c => escaped.push(c),
            }
        }
        escaped
    })
}

/// A text of which only the words count: U+0000, which both engines refuse, parts them.
pub(super) fn words(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', " ")) } else { Cow::Borrowed(text) }
}

pub(super) fn unescape(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ESCAPE => match chars.next() {
                Some('0') => plain.push('\0'),
                _ => plain.push(ESCAPE),
            },
            c => plain.push(c),
        }
    }
    plain
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl IntoValue for bool {
    fn into_value(self) -> Value {
        Value::Boolean(self)
    }
}

impl IntoValue for f64 {
    fn into_value(self) -> Value {
        Value::Double(self)
    }
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl IntoValue for $t {
            fn into_value(self) -> Value {
                Value::Integer(i64::from(self))
            }
        }
    )*};
}
integers!(i64, i32, u32, u16, u8);

impl IntoValue for u64 {
    /// Values past `i64::MAX` become `i64::MAX`: no position, time or count comes near.
    fn into_value(self) -> Value {
        Value::Integer(i64::try_from(self).unwrap_or(i64::MAX))
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::Text(escape(self).unwrap_or_else(|| self.to_owned()))
    }
}

impl IntoValue for String {
    fn into_value(self) -> Value {
        Value::Text(escape(&self).unwrap_or(self))
    }
}

impl IntoValue for &String {
    fn into_value(self) -> Value {
        self.as_str().into_value()
    }
}

impl IntoValue for Vec<u8> {
    fn into_value(self) -> Value {
        Value::Blob(self)
    }
}

impl IntoValue for Vec<String> {
    fn into_value(self) -> Value {
        Value::TextList(self.into_iter().map(|text| escape(&text).unwrap_or(text)).collect())
    }
}

impl IntoValue for &[String] {
    fn into_value(self) -> Value {
        self.to_vec().into_value()
    }
}

impl IntoValue for Vec<i64> {
    fn into_value(self) -> Value {
        Value::IntegerList(self)
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Value {
        self.map_or(Value::Null, IntoValue::into_value)
    }
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn nul_and_escape_survive_the_round_trip() {
        for text in ["", "plain", "a\0b", "\u{1a}", "\u{1a}0\0\u{1a}1"] {
            let escaped = escape(text).unwrap_or_else(|| text.to_owned());
            assert!(!escaped.contains('\0'));
            assert_eq!(unescape(escaped), text);
        }
    }
}
