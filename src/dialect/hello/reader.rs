//! Cuts a stream into JSON objects: they come without line ends, glued together, split anywhere
//! (PROTOCOLS section 2, "Jecna"). What is cut does not depend on how the bytes were split.

use super::codec::{self, Bad, Said};
use super::{MAX_DEPTH, MAX_OBJECT};

/// See the module.
#[derive(Default)]
pub struct Reader {
    /// The object that has begun.
    have: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    /// Within an object.
    Object { depth: usize, string: bool, escaped: bool },
    /// Within what is no JSON: until a line ends or an object begins.
    Rubbish,
    /// Past a bound: until a line ends.
    Skip,
}

impl Reader {
    /// Takes bytes; gives what they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<Said, Bad>> {
        let mut out = Vec::new();
        for byte in bytes {
            self.take(*byte, &mut out);
        }
        out
    }

    /// No more will come: what is left.
    pub fn end(&mut self) -> Option<Bad> {
        let begun = matches!(self.state, State::Object { .. });
        *self = Reader::default();
        begun.then_some(Bad::Json)
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.have.len()
    }

    fn take(&mut self, byte: u8, out: &mut Vec<Result<Said, Bad>>) {
        match &mut self.state {
            State::Skip if byte == b'\n' => self.state = State::Between,
            State::Skip => {}
            State::Rubbish if byte == b'\n' => self.state = State::Between,
            State::Between | State::Rubbish if byte == b'{' => {
                self.have.push(byte);
                self.state = State::Object { depth: 1, string: false, escaped: false };
            }
            State::Rubbish => {}
            State::Between if byte.is_ascii_whitespace() => {}
            State::Between => {
                out.push(Err(Bad::Json));
                self.state = State::Rubbish;
            }
            State::Object { depth, string, escaped } => {
                match byte {
                    _ if *escaped => *escaped = false,
                    b'\\' if *string => *escaped = true,
                    b'"' => *string = !*string,
                    b'{' | b'[' if !*string => *depth += 1,
                    b'}' | b']' if !*string => *depth -= 1,
                    _ => {}
                }
                let depth = *depth;
                if depth > MAX_DEPTH {
                    return self.give_up(Bad::TooDeep, out);
                }
                if self.have.len() == MAX_OBJECT {
                    return self.give_up(Bad::TooLong, out);
                }
                self.have.push(byte);
                if depth == 0 {
                    // its memory goes with it: most are small, one may have been large
                    out.push(codec::object(&std::mem::take(&mut self.have)));
                    self.state = State::Between;
                }
            }
        }
    }

    fn give_up(&mut self, bad: Bad, out: &mut Vec<Result<Said, Bad>>) {
        out.push(Err(bad));
        self.have = Vec::new();
        self.state = State::Skip;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<Result<Said, Bad>> {
        Reader::default().push(bytes)
    }

    fn hello(peer_id: &str) -> Result<Said, Bad> {
        Ok(Said::Hello { peer_id: peer_id.into() })
    }

    #[test]
    fn objects_are_cut_whether_glued_or_on_lines_of_any_kind() {
        let a = r#"{"command":"hello","peer_id":"a"}"#;
        let b = r#"{"command":"hello","peer_id":"b}\"{"}"#;
        for between in ["", "\n", "\r\n", " \r\n\r\n\t"] {
            let bytes = [a, between, b].concat();
            assert_eq!(read(bytes.as_bytes()), [hello("a"), hello("b}\"{")], "{between:?}");
        }
    }

    #[test]
    fn rubbish_is_said_once_and_ends_with_its_line_or_at_an_object() {
        let a = r#"{"command":"hello","peer_id":"a"}"#;
        for rubbish in ["neco\n", "neco", "neco neco}}\n", "[1, 2]\n", "\u{feff}"] {
            let bytes = [rubbish, a].concat();
            assert_eq!(read(bytes.as_bytes()), [Err(Bad::Json), hello("a")], "{rubbish:?}");
        }
    }

    #[test]
    fn one_byte_and_one_level_past_the_bound_are_refused_and_nothing_is_held() {
        let long = |n: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(n - 8));
        assert_eq!(read(long(MAX_OBJECT).as_bytes()), [Err(Bad::Command)]);
        assert_eq!(read(long(MAX_OBJECT + 1).as_bytes()), [Err(Bad::TooLong)]);
        let deep = |n: usize| format!("{{\"x\":{}{}}}", "[".repeat(n - 1), "]".repeat(n - 1));
        assert_eq!(read(deep(MAX_DEPTH).as_bytes()), [Err(Bad::Command)]);
        assert_eq!(read(deep(MAX_DEPTH + 1).as_bytes()), [Err(Bad::TooDeep)]);
        let mut reader = Reader::default();
        let mut most = 0;
        assert_eq!(reader.push(b"{\"x\":\""), []);
        for _ in 0..10 * 64 {
            reader.push(&[b'x'; 16 * 1024]);
            most = most.max(reader.have.capacity());
        }
        assert!(most <= 2 * MAX_OBJECT, "{most}");
        assert_eq!(reader.held(), 0);
        assert_eq!(reader.push(b"\n{\"command\":\"hello\",\"peer_id\":\"a\"}"), [hello("a")]);
    }

    #[test]
    fn what_is_cut_off_at_the_end_is_said() {
        let mut reader = Reader::default();
        reader.push(b"{\"command\":");
        assert_eq!(reader.end(), Some(Bad::Json));
        assert_eq!(reader.end(), None);
    }

    proptest! {
        #[test]
        fn any_split_means_the_same(
            parts in prop::collection::vec(prop_oneof![
                Just(r#"{"command":"hello","peer_id":"žluť"}"#.to_owned()),
                Just(r#"{"status":"ok","messages":{"1707243010934":{"peer_id":"a","message":"}{"}}}"#.to_owned()),
                Just("\r\n".to_owned()),
                "[ -~]{0,12}",
                "[{}\\[\\]\"\\\\\n]{0,8}",
            ], 0..12),
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let bytes = parts.concat().into_bytes();
            let whole = read(&bytes);
            let mut reader = Reader::default();
            let mut said = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut at = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                said.extend(reader.push(&bytes[at..cut]));
                at = cut;
            }
            prop_assert_eq!(said, whole);
        }
    }
}
