//! Custom sections of a wasm component.
//!
//! A custom section is a zero byte, the length of the rest as LEB128, the name as LEB128 length and
//! UTF-8, then the content. Such sections may stand anywhere at the top level of a component, so
//! appending them at its end is valid.

/// The section with the text of `plugin.toml`.
pub const MANIFEST: &str = "tessera:manifest";
/// The section with a JSON array of `{name, sql}`, ordered by file name.
pub const MIGRATIONS: &str = "tessera:migrations";

/// `component` with a custom section after its end.
pub fn append(mut component: Vec<u8>, name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(name.len() + content.len() + 5);
    leb128(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(content);
    component.push(0);
    leb128(&mut component, body.len());
    component.append(&mut body);
    component
}

/// Whether `bytes` begin as a component does (and a core module does not).
pub fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x0d\0\x01\0")
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn short_section_is_written_as_the_format_says() {
        let bytes = append(EMPTY.to_vec(), "ab", b"xyz");
        assert_eq!(bytes, [EMPTY, b"\0\x06\x02abxyz"].concat());
    }

    #[test]
    fn lengths_above_127_take_two_bytes() {
        let bytes = append(EMPTY.to_vec(), "ab", &[7; 300]);
        assert_eq!(bytes[8..14], [0, 0xaf, 0x02, 2, b'a', b'b']); // 303 = 0b10_0101111
        assert_eq!(bytes.len(), 8 + 3 + 303);
    }

    #[test]
    fn sections_follow_one_another() {
        let bytes = append(append(EMPTY.to_vec(), "a", b""), "b", b"");
        assert_eq!(bytes, [EMPTY, b"\0\x02\x01a\0\x02\x01b"].concat());
    }

    #[test]
    fn core_module_is_no_component() {
        assert!(is_component(EMPTY));
        assert!(!is_component(b"\0asm\x01\0\0\0"));
    }
}
