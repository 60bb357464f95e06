//! A file as text on the line itself: `uuencode -m`'s frame (POSIX, RFC 4648's base64 within), and
//! after it the line that `cksum` (POSIX) prints of the file: its checksum and its length.
//!
//! ```text
//! begin-base64 644 cat.png
//! iVBORw0KGgoAAAANSUhEUgAA…
//! ====
//! 3915528286 48213
//! ```
//!
//! Chosen because a person makes it with `base64` and `cksum` and sends it with any terminal
//! program that can send a text file; XMODEM and its children want a program of their own at the
//! other end, and a line that passes all 256 bytes. Pure.

/// Longest line that is taken.
pub const MAX_LINE: usize = 4_096;
/// Longest name that is kept, in bytes.
pub const MAX_NAME: usize = 100;
/// Bytes of a file that make one line of what we send: 76 characters, as `base64` has them.
pub const LINE: usize = 57;

/// POSIX `cksum`: a CRC of the bytes and of their number, and that number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cksum {
    crc: u32,
    /// Bytes so far.
    pub size: u64,
}

impl Cksum {
    /// More bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        bytes.iter().for_each(|byte| self.crc = step(self.crc, *byte));
    }

    /// The checksum of all so far.
    pub fn sum(self) -> u32 {
        let mut crc = self.crc;
        let mut size = self.size;
        while size > 0 {
            crc = step(crc, (size & 0xff) as u8);
            size >>= 8;
        }
        !crc
    }
}

/// The polynomial of ISO 8802-3, most significant bit first.
fn step(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
        if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
    })
}

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The name that came with it, without folders; `image` where none did.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first line.
    Head,
    Body,
    /// After `====`.
    Tail,
    /// It failed: all is swallowed until the end of what is being sent.
    Spent,
    Over,
}

/// Takes a file from the line, byte by byte.
#[derive(Debug)]
pub struct Receive {
    state: State,
    limit: u64,
    line: Vec<u8>,
    lines: u64,
    /// Up to three characters' bits that wait for the fourth, and their number.
    bits: u32,
    held: u32,
    padded: bool,
    name: String,
    cksum: Cksum,
    bytes: Vec<u8>,
    tail: Vec<u64>,
}

impl Receive {
    /// Of at most `limit` bytes.
    pub fn new(limit: u64) -> Receive {
        Receive {
            state: State::Head,
            limit,
            line: Vec::new(),
            lines: 0,
            bits: 0,
            held: 0,
            padded: false,
            name: "image".into(),
            cksum: Cksum::default(),
            bytes: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// One byte; at the end what was received, or why not. After a failure go on feeding until
    /// [`Receive::is_over`]: what is still being sent is no line for anybody.
    pub fn feed(&mut self, byte: u8) -> Option<Result<Received, String>> {
        if byte != b'\n' && byte != b'\r' {
            if self.line.len() < MAX_LINE {
                self.line.push(byte);
                return None;
            }
            if self.state == State::Spent {
                self.line.clear();
                return None;
            }
            return Some(Err(self.fail(format!("line {} has no end", self.lines + 1))));
        }
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        self.lines += 1;
        match self.state {
            State::Head if line.starts_with(b"begin-base64 ") => {
                self.name = name_in(line);
                self.state = State::Body;
                None
            }
            State::Head | State::Body if line == b"====" => {
                if self.held != 0 {
                    return Some(Err(self.fail("its base64 ends too early".into())));
                }
                self.state = State::Tail;
                None
            }
            State::Head | State::Body => {
                self.state = State::Body;
                self.body(line).err().map(|why| Err(self.fail(why)))
            }
            State::Tail => self.tail(line),
            State::Spent => {
                // the checksum's line is the last that is sent
                if line == b"====" {
                    self.tail.clear();
                    self.tail.push(0);
                } else if !self.tail.is_empty() {
                    self.state = State::Over;
                }
                None
            }
            State::Over => None,
        }
    }

    /// It is not wanted any more: the rest of it is swallowed.
    pub fn give_up(&mut self) {
        if self.state != State::Over {
            self.fail(String::new());
        }
    }

    /// What was decoded since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.cksum.size
    }

    /// What it is called, as far as is known.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it failed, and what is still being sent is swallowed.
    pub fn is_spent(&self) -> bool {
        self.state == State::Spent
    }

    /// Whether nothing more belongs to it.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn fail(&mut self, why: String) -> String {
        self.state = State::Spent;
        self.line.clear();
        self.bytes.clear();
        self.tail.clear();
        why
    }

    fn body(&mut self, line: &[u8]) -> Result<(), String> {
        let wrong = |n: u64| Err(format!("line {n} is no base64: was it sent as text?"));
        let before = self.bytes.len();
        for byte in line {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.held >= 2 || self.padded => {
                    self.pad();
                    continue;
                }
                b' ' | b'\t' => continue,
                _ => return wrong(self.lines),
            };
            if self.padded {
                return wrong(self.lines);
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.held += 1;
            if self.held == 4 {
                self.bytes.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                (self.bits, self.held) = (0, 0);
            }
        }
        self.cksum.add(&self.bytes[before..]);
        if self.cksum.size > self.limit {
            return Err(format!("it has more than {} bytes (max-image)", self.limit));
        }
        Ok(())
    }

    /// The first `=`: two or three characters stand for one or two bytes.
    fn pad(&mut self) {
        if self.held > 0 {
            let bits = self.bits << (6 * (4 - self.held));
            let bytes = self.held as usize - 1;
            self.bytes.extend_from_slice(&bits.to_be_bytes()[1..=bytes]);
            (self.bits, self.held) = (0, 0);
        }
        self.padded = true;
    }

    /// `cksum`'s line; its two numbers may stand on two lines, a name after them is not looked at.
    fn tail(&mut self, line: &[u8]) -> Option<Result<Received, String>> {
        let text = String::from_utf8_lossy(line);
        for word in text.split_whitespace().take(2) {
            match word.parse() {
                Ok(number) if self.tail.len() < 2 => self.tail.push(number),
                Ok(_) => {}
                Err(_) if self.tail.len() == 2 => {}
                Err(_) => {
                    self.state = State::Over;
                    let why = "after ==== comes what cksum prints: two numbers";
                    return Some(Err(why.into()));
                }
            }
        }
        let [sum, size] = self.tail[..] else { return None };
        self.state = State::Over;
        let (came, is) = (self.cksum.size, self.cksum.sum());
        Some(if size != came {
            Err(format!("{came} of {size} bytes came: send it again"))
        } else if sum != u64::from(is) {
            Err(format!("checksum {is}, not {sum}: send it again"))
        } else if size == 0 {
            Err("it is empty".into())
        } else {
            Ok(Received { name: self.name.clone(), size })
        })
    }
}

/// The name of a `begin-base64` line, without folders and control characters.
fn name_in(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let name = text.splitn(3, ' ').nth(2).unwrap_or_default();
    let name = crate::model::text::harmless(name.rsplit(['/', '\\']).next().unwrap_or_default());
    let mut name = name.trim().to_owned();
    while name.len() > MAX_NAME {
        name.pop();
    }
    if name.is_empty() { "image".into() } else { name }
}

/// Puts a file on the line.
#[derive(Debug, Default)]
pub struct Transmit {
    cksum: Cksum,
}

impl Transmit {
    /// The first line.
    pub fn head(&self, name: &str) -> Vec<u8> {
        format!("begin-base64 644 {}\r\n", crate::model::text::harmless(name)).into_bytes()
    }

    /// Some lines. All pieces but the last have a multiple of [`LINE`] bytes.
    pub fn piece(&mut self, bytes: &[u8]) -> Vec<u8> {
        use base64::prelude::{BASE64_STANDARD, Engine};
        self.cksum.add(bytes);
        let lines = bytes.chunks(LINE).map(|line| BASE64_STANDARD.encode(line) + "\r\n");
        lines.collect::<String>().into_bytes()
    }

    /// The end, and what `cksum` says of it.
    pub fn end(self) -> Vec<u8> {
        format!("====\r\n{} {}\r\n", self.cksum.sum(), self.cksum.size).into_bytes()
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.cksum.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 20;

    /// Everything fed; what came of it and the file.
    fn receive(text: &[u8], limit: u64) -> (Receive, Option<Result<Received, String>>, Vec<u8>) {
        let mut receive = Receive::new(limit);
        let mut outcome = None;
        let mut file = Vec::new();
        for byte in text {
            if let Some(done) = receive.feed(*byte) {
                assert!(outcome.is_none(), "once");
                outcome = Some(done);
            }
            file.extend(receive.take());
        }
        (receive, outcome, file)
    }

    fn sent(file: &[u8]) -> Vec<u8> {
        let mut transmit = Transmit::default();
        let mut text = transmit.head("cat.png");
        for piece in file.chunks(LINE * 3) {
            text.extend(transmit.piece(piece));
        }
        text.extend(transmit.end());
        text
    }

    fn why(text: &[u8], limit: u64) -> String {
        receive(text, limit).1.expect("an end").expect_err("a failure")
    }

    #[test]
    fn cksum_is_what_the_program_prints() {
        // printf '' | cksum; printf 123456789 | cksum; printf 'klatsch\n' | cksum
        for (text, sum) in [("", 4_294_967_295), ("123456789", 930_766_865)] {
            let mut cksum = Cksum::default();
            cksum.add(text.as_bytes());
            assert_eq!((cksum.sum(), cksum.size), (sum, text.len() as u64), "{text}");
        }
    }

    #[test]
    fn what_base64_and_cksum_make_is_a_file() {
        let file: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let text = String::from_utf8(sent(&file)).unwrap();
        assert!(text.lines().skip(1).take(17).all(|line| line.len() == 76));
        for text in [
            text.clone(),
            text.replace("\r\n", "\n"),
            text.replace("\r\n", "\r"),
            text.replace("begin-base64 644 cat.png\r\n", ""),
            text.replace(" 1000\r\n", " 1000 cat.png\r\n"),
            text.replace(" 1000\r\n", "\r\n1000\r\n"),
            text.replace("644 cat.png", "644 ../../etc/cat.png"),
        ] {
            let (receive, outcome, came) = receive(text.as_bytes(), LIMIT);
            let Some(Ok(received)) = outcome else { panic!("{outcome:?}: {text}") };
            assert_eq!(came, file);
            assert!(matches!(&*received.name, "cat.png" | "image"), "{}", received.name);
            assert!(receive.is_over());
        }
        for length in 1..8 {
            let (_, outcome, came) = receive(&sent(&file[..length]), LIMIT);
            assert!(matches!(outcome, Some(Ok(_))), "{length}");
            assert_eq!(came, file[..length]);
        }
    }

    #[test]
    fn one_byte_past_the_limit_or_wrong_is_said() {
        let file = [7; 1_000];
        let text = sent(&file);
        assert!(matches!(receive(&text, 1_000).1, Some(Ok(_))));
        assert_eq!(why(&text, 999), "it has more than 999 bytes (max-image)");
        let mut bent = text.clone();
        bent[60] ^= 1;
        let bent = why(&bent, LIMIT);
        assert!(bent.contains("checksum") || bent.contains("no base64"), "{bent}");
        let short: Vec<u8> = text[..30].iter().chain(&text[108..]).copied().collect();
        assert!(why(&short, LIMIT).contains("bytes came"), "a line was lost");
        assert!(why(b"\x89PNG\r\n\x1a\n", LIMIT).contains("line 1 is no base64"));
        assert!(why(b"AAA\n====\n", LIMIT).contains("ends too early"));
        assert!(why(b"AAAA\n====\nhello\n", LIMIT).contains("two numbers"));
        assert!(why(b"====\n4294967295 0\n", LIMIT).contains("empty"));
        assert!(why(b"AA==\nAAAA\n", LIMIT).contains("line 2 is no base64"));
        let long = "A".repeat(MAX_LINE);
        assert!(receive(long.as_bytes(), LIMIT).1.is_none());
        assert_eq!(why(format!("{long}A").as_bytes(), LIMIT), "line 1 has no end");
    }

    #[test]
    fn after_a_failure_the_rest_of_it_is_swallowed() {
        let text = sent(&[7; 5_000]);
        let (receive, outcome, came) = receive(&text, 999);
        assert!(matches!(outcome, Some(Err(_))));
        assert!(receive.is_over() && came.len() <= 1_000);
    }

    #[test]
    fn one_letter_past_the_longest_name_is_cut() {
        let name = "x".repeat(MAX_NAME + 1);
        assert_eq!(name_in(format!("begin-base64 644 {name}").as_bytes()).len(), MAX_NAME);
        assert_eq!(name_in(b"begin-base64 644 a b\x1b.png"), "a b\u{fffd}.png");
        assert_eq!(name_in(b"begin-base64 644"), "image");
    }

    proptest::proptest! {
        #[test]
        fn any_file_goes_there_and_back(file in proptest::collection::vec(0u8.., 1..500)) {
            let (_, outcome, came) = receive(&sent(&file), LIMIT);
            proptest::prop_assert!(matches!(outcome, Some(Ok(_))));
            proptest::prop_assert_eq!(came, file);
        }

        #[test]
        fn any_bytes_are_taken_without_panic(text in proptest::collection::vec(0u8.., 0..500)) {
            receive(&text, 100);
        }
    }
}
