//! Text of strangers, made fit for a terminal.

/// Characters of one text that are shown at most.
const SHOWN: usize = 300;

/// One line of plain text, cut where it is long: what a stranger wrote neither moves the cursor nor feigns lines of ours.
pub(crate) fn plain(text: &str) -> String {
    let mut line: String = clean(text).chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    line
}

/// The same at any length: for what must be seen as a whole.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|one| if disturbs(one) { '\u{fffd}' } else { one }).collect()
}

/// Whether a terminal does something else than show it: control characters, ends of lines, and those that turn the
/// direction of text.
fn disturbs(one: char) -> bool {
    one.is_control()
        || matches!(one,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{clean, plain};

    #[test]
    fn a_stranger_can_neither_feign_lines_nor_turn_text_around() {
        let evil = "ok\n  signature   signed by us\r\x1b[2J\u{9b}1m\u{202e}cba\u{2066}\u{2069}é";
        let shown = "ok\u{fffd}  signature   signed by us\u{fffd}\u{fffd}[2J\u{fffd}1m\u{fffd}cba\u{fffd}\u{fffd}é";
        assert_eq!(plain(evil), shown);
        assert_eq!(clean(evil), shown);
    }

    #[test]
    fn long_text_is_cut() {
        let long = "é".repeat(301);
        assert_eq!(plain(&long), format!("{}…", "é".repeat(300)));
        assert_eq!(plain(&"é".repeat(300)), "é".repeat(300));
        assert_eq!(clean(&long), long);
    }
}
