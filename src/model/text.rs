//! Peer text made harmless before a person's terminal or page sees it.

/// Whether a character could move a cursor, change a title, reorder or hide text: control
/// characters, bidirectional overrides and isolates, zero-width joins used to spoof, line and
/// paragraph separators, and private tags (Unicode TR36).
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with harmful characters shown instead of obeyed: a line end or tab becomes one
/// blank, anything else U+FFFD. Joiners inside emoji (U+200D) and direction marks are kept only
/// as far as they cannot reorder: U+200C, U+200D, U+200E and U+200F pass.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            '\u{200c}'..='\u{200f}' => c,
            c if is_harmful(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power_and_words_stay() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{7}\u{9b}1mc"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}1mc");
        assert_eq!(harmless("grüß\ndich 👩\u{200d}🔬"), "grüß dich 👩\u{200d}🔬");
        assert_eq!(harmless("evil\u{202e}gpj.exe"), "evil\u{fffd}gpj.exe");
    }
}
