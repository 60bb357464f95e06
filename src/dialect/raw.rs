//! Private chats carry raw text: in lines, or without any mark between two texts, where what is
//! read at once is taken for one text.

/// Takes the bytes of one private chat for texts. Holds at most `max` bytes.
pub struct RawTexts {
    /// Texts end with a line end; else with the read they came in.
    lines: bool,
    max: usize,
    buffer: Vec<u8>,
}

impl RawTexts {
    /// A reader of texts of at most `max` bytes; longer ones come in pieces.
    pub fn new(lines: bool, max: usize) -> RawTexts {
        RawTexts { lines, max, buffer: Vec::new() }
    }

    /// What is whole now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            for byte in piece {
                if self.buffer.len() >= self.max {
                    self.give(&mut texts, true);
                }
                self.buffer.push(*byte);
            }
            if piece.ends_with(b"\n") {
                self.give(&mut texts, false);
            }
        }
        if !self.lines {
            self.give(&mut texts, true);
        }
        texts
    }

    /// Nothing more came for a while, or will come: what is there is whole.
    pub fn idle(&mut self) -> Option<String> {
        let mut texts = Vec::new();
        self.give(&mut texts, false);
        texts.pop()
    }

    /// Whether something waits for its end.
    pub fn waits(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Gives out what there is; `more`: but for a character that is not whole yet.
    fn give(&mut self, texts: &mut Vec<String>, more: bool) {
        let keep = match std::str::from_utf8(&self.buffer) {
            Err(error) if more && error.error_len().is_none() => error.valid_up_to(),
            _ => self.buffer.len(),
        };
        let rest = self.buffer.split_off(keep);
        let text = std::mem::replace(&mut self.buffer, rest);
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            texts.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn without_marks_a_read_is_a_text_and_a_split_character_waits() {
        let mut raw = RawTexts::new(false, 100);
        assert_eq!(raw.push(b"Hi Anna"), ["Hi Anna"]);
        assert_eq!(
            raw.push("wie gehts, gr\u{fc}".as_bytes().split_last().unwrap().1),
            ["wie gehts, gr"]
        );
        assert_eq!(raw.push(b"\xbc\xc3\x9fe"), ["üße"]);
        assert_eq!(raw.push(b"\xff!"), ["\u{fffd}!"]);
        assert!(!raw.waits());
    }

    #[test]
    fn lines_wait_for_their_end_and_are_given_when_nothing_comes() {
        let mut raw = RawTexts::new(true, 100);
        assert_eq!(raw.push(b"gut, "), [""; 0]);
        assert_eq!(raw.push(b"danke\r\nund"), ["gut, danke"]);
        assert!(raw.waits());
        assert_eq!(raw.idle(), Some("und".into()));
        assert_eq!(raw.idle(), None);
    }

    #[test]
    fn one_byte_past_the_longest_text_comes_as_another() {
        let mut raw = RawTexts::new(true, 10);
        assert_eq!(raw.push("ääääää\n".as_bytes()), ["äääää", "ä"]);
        assert_eq!(raw.push(&[b'x'; 1000]).iter().map(String::len).max(), Some(10));
        assert!(raw.buffer.len() <= 10);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            lines in vec("[a-zäß€😀 ]{1,40}", 0..8), size in 1usize..20
        ) {
            let bytes: Vec<u8> = lines.iter().flat_map(|l| format!("{l}\n").into_bytes()).collect();
            let mut raw = RawTexts::new(true, 1000);
            let read: Vec<String> = bytes.chunks(size).flat_map(|c| raw.push(c)).collect();
            prop_assert_eq!(read, lines);
        }
    }
}
