//! A stored event taken apart without reading it: of state that is told in number most goes to the client as it is.

use std::fmt::Write;

/// The members of a stored event that clients get, each as JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    kind: &'a str,
    sender: &'a str,
    state_key: &'a str,
    content: &'a str,
    origin_server_ts: &'a str,
}

/// Where the string ends whose opening quote stands just before `at`: the place of the closing one. Eight bytes at a time: most
/// strings of an event are ids, hashes and signatures.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    loop {
        let rest = bytes.get(at..)?;
        if let Some(word) = rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            // The lowest hit of each is exact.
            let hits = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
            if hits == 0 {
                at += 8;
                continue;
            }
            at += usize::try_from(hits.trailing_zeros() / 8).ok()?;
        } else {
            at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        }
        match bytes.get(at)? {
            b'"' => return Some(at),
            _ => at += 2,
        }
    }
}

/// Just past the value that begins at `at`.
fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => Some(string_end(bytes, at + 1)? + 1),
        b'{' | b'[' => {
            let (mut depth, mut at) = (1_usize, at + 1);
            while depth > 0 {
                match bytes.get(at)? {
                    b'"' => at = string_end(bytes, at + 1)?,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
            Some(at)
        }
        _ => {
            let rest = bytes.get(at..)?;
            let length = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']'))?;
            Some(at + rest.get(..length)?.trim_ascii_end().len())
        }
    }
}

fn skip_space(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    Some(at + rest.len() - rest.trim_ascii_start().len())
}

impl<'a> Parts<'a> {
    /// Takes a stored state event apart. None where it is better read in full: names with escapes, a redaction.
    pub(crate) fn of(json: &'a str) -> Option<Self> {
        let bytes = json.as_bytes();
        let mut parts = [""; 5];
        let mut at = skip_space(bytes, 0)?;
        if bytes.get(at)? != &b'{' {
            return None;
        }
        at += 1;
        loop {
            at = skip_space(bytes, at)?;
            if bytes.get(at)? != &b'"' {
                break;
            }
            let end = string_end(bytes, at + 1)?;
            let name = json.get(at + 1..end)?;
            if name.contains('\\') {
                return None;
            }
            at = skip_space(bytes, end + 1)?;
            if bytes.get(at)? != &b':' {
                return None;
            }
            let begin = skip_space(bytes, at + 1)?;
            let end = value_end(bytes, begin)?;
            let place = match name {
                "type" => 0,
                "sender" => 1,
                "state_key" => 2,
                "content" => 3,
                "origin_server_ts" => 4,
                _ => usize::MAX,
            };
            if let Some(part) = parts.get_mut(place) {
                *part = json.get(begin..end)?;
            }
            at = skip_space(bytes, end)?;
            if bytes.get(at)? != &b',' {
                break;
            }
            at += 1;
        }
        let [kind, sender, state_key, content, origin_server_ts] = parts;
        let whole = parts.iter().all(|part| !part.is_empty());
        let parts = Self { kind, sender, state_key, content, origin_server_ts };
        (whole && kind != "\"m.room.redaction\"").then_some(parts)
    }

    /// The sender, where it needs no decoding.
    pub(crate) fn sender(&self) -> Option<&'a str> {
        let name = self.sender.strip_prefix('"')?.strip_suffix('"')?;
        (!name.contains('\\')).then_some(name)
    }

    /// Writes the event as /sync tells state. None, and nothing written, where the event is better written another way.
    pub(crate) fn write(&self, out: &mut String, event_id: &str, now_ms: i64) -> Option<()> {
        let made: i64 = self.origin_server_ts.parse().ok()?;
        if event_id.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
            return None;
        }
        let Self { kind, sender, state_key, content, origin_server_ts } = self;
        let age = now_ms.saturating_sub(made).max(0);
        let texts = [
            "{\"type\":",
            kind,
            ",\"sender\":",
            sender,
            ",\"state_key\":",
            state_key,
            ",\"content\":",
            content,
            ",\"event_id\":\"",
            event_id,
            "\",\"origin_server_ts\":",
            origin_server_ts,
        ];
        texts.into_iter().for_each(|text| out.push_str(text));
        write!(out, ",\"unsigned\":{{\"age\":{age}}}}}").ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;
    use crate::event::{EventRow, Extra, Writer};
    use tessera_sdk::matrix::ClientFormat;

    fn slow(json: &str, event_id: &str) -> String {
        let writer = Writer {
            now_ms: 50,
            format: ClientFormat::WithoutRoomId,
            fields: None,
            federation: false,
        };
        let row = EventRow {
            event_id: event_id.to_owned(),
            json: json.to_owned(),
            ..EventRow::default()
        };
        writer.write(&row, Extra::default()).unwrap().get().to_owned()
    }

    #[test]
    fn state_taken_apart_reads_as_state_read_in_full() {
        for json in [
            r#"{"auth_events":["$a","$b"],"content":{"a":[1,{"b":"]}\""}],"displayname":"\\"},"depth":5,"hashes":{"sha256":"x"},"origin_server_ts":7,"sender":"@a:h","state_key":"@a:h","type":"m.room.member"}"#,
            " { \"type\" : \"t\" , \"sender\":\"@\\u00e4:h\", \"content\" : { \"x\" : \"\u{e9}\\\\\\\"\" } ,\"state_key\":\"\", \"origin_server_ts\" : 3 } ",
            r#"{"origin_server_ts":99,"state_key":"k","content":{},"type":"a.long.type.of.more.than.eight","sender":"@somebody:example.org"}"#,
        ] {
            let mut text = String::new();
            Parts::of(json).unwrap().write(&mut text, "$id", 50).unwrap();
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&text), value(&slow(json, "$id")), "{json}");
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_who_reads_in_full() {
        for json in [
            "",
            "[]",
            "{",
            r#"{"type":"t","sender":"s","content":{},"origin_server_ts":3}"#,
            r#"{"type":"m.room.redaction","sender":"s","state_key":"","content":{},"origin_server_ts":3}"#,
            r#"{"\u0074ype":"t","sender":"s","state_key":"","content":{},"origin_server_ts":3}"#,
            r#"{"type":"t","sender":"s","state_key":"","content":{"a":"b"#,
        ] {
            assert_eq!(Parts::of(json), None, "{json}");
        }
        let odd = r#"{"type":"t","sender":"s","state_key":"","content":{},"origin_server_ts":3.5}"#;
        let mut text = String::new();
        assert_eq!(Parts::of(odd).unwrap().write(&mut text, "$id", 50), None);
        let plain = r#"{"type":"t","sender":"s","state_key":"","content":{},"origin_server_ts":3}"#;
        assert_eq!(Parts::of(plain).unwrap().write(&mut text, "$\"", 50), None);
        assert_eq!(text, "");
    }
}
