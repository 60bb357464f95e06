//! Bytes of a terminal to keys: UTF-8 split anywhere, and the escape sequences of xterm, vt100,
//! rxvt, the Linux console, screen, tmux and PuTTY (terminfo of those; PuTTY manual section 4.4).
//!
//! No sequence can hold the decoder up: each is at most [`MAX_SEQUENCE`] bytes, any control byte
//! ends it, and string sequences (OSC, DCS) are not entered at all, since we ask for none.

/// Longest escape sequence that is read as one, after `ESC [`.
pub const MAX_SEQUENCE: usize = 32;

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    Char(char),
    Enter,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    WordLeft,
    WordRight,
    KillToEnd,
    KillToStart,
    KillWordLeft,
    KillWordRight,
    Yank,
    Transpose,
    Clear,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D: the end on an empty line, Delete elsewhere.
    EndOrDelete,
    /// Ctrl-Z.
    Suspend,
    /// The terminal says in which column its cursor is (`ESC [ row ; column R`, DSR 6).
    Column(u16),
}

/// The decoder. Feed it every byte in turn.
#[derive(Debug, Default)]
pub struct Keys {
    state: State,
    /// The bytes of a character that is not whole yet.
    utf8: Vec<u8>,
    /// The last byte was CR: an LF after it is the same Enter.
    cr: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    /// After `ESC [`: parameters so far.
    Csi(Vec<u8>),
    /// After `ESC O`; a modifier digit may come first.
    Ss3,
    /// After `ESC [ [`: the Linux console's F1 to F5.
    Linux,
}

impl Keys {
    /// Takes one byte; hands out the keys that it completes.
    pub fn feed(&mut self, byte: u8, mut key: impl FnMut(Key)) {
        let cr = std::mem::replace(&mut self.cr, byte == b'\r');
        if byte == b'\n' && cr {
            return;
        }
        if byte < 0x20 || byte == 0x7f {
            let alt = matches!(std::mem::take(&mut self.state), State::Escape);
            self.broken(&mut key);
            match (byte, alt) {
                (0x1b, _) => self.state = State::Escape,
                (0x08 | 0x7f, true) => key(Key::KillWordLeft),
                _ => {
                    if let Some(k) = control(byte) {
                        key(k);
                    }
                }
            }
            return;
        }
        self.state = match std::mem::take(&mut self.state) {
            State::Ground => {
                self.text(byte, &mut key);
                State::Ground
            }
            State::Escape if byte >= 0x80 => {
                self.text(byte, &mut key);
                State::Ground
            }
            State::Escape => match byte {
                b'[' => State::Csi(Vec::new()),
                b'O' => State::Ss3,
                b'b' | b'B' => sent(&mut key, Key::WordLeft),
                b'f' | b'F' => sent(&mut key, Key::WordRight),
                b'd' | b'D' => sent(&mut key, Key::KillWordRight),
                _ => State::Ground,
            },
            State::Csi(parameters) if byte == b'[' && parameters.is_empty() => State::Linux,
            State::Csi(mut parameters) => match byte {
                0x20..=0x3f if parameters.len() < MAX_SEQUENCE => {
                    parameters.push(byte);
                    State::Csi(parameters)
                }
                0x40..=0x7e => {
                    if let Some(k) = csi(&parameters, byte) {
                        key(k);
                    }
                    State::Ground
                }
                _ => State::Ground,
            },
            State::Ss3 if byte.is_ascii_digit() || byte == b';' => State::Ss3,
            State::Ss3 => {
                if let Some(k) = ss3(byte) {
                    key(k);
                }
                State::Ground
            }
            State::Linux => State::Ground,
        };
    }

    fn text(&mut self, byte: u8, key: &mut impl FnMut(Key)) {
        // A byte that cannot continue what is begun starts anew.
        if !(0x80..0xc0).contains(&byte) {
            self.broken(key);
        }
        self.utf8.push(byte);
        match std::str::from_utf8(&self.utf8) {
            Ok(text) => {
                text.chars().for_each(|c| key(Key::Char(c)));
                self.utf8.clear();
            }
            Err(e) if e.error_len().is_some() => self.broken(key),
            Err(_) => {}
        }
    }

    /// Bytes that are no character are shown as one replacement.
    fn broken(&mut self, key: &mut impl FnMut(Key)) {
        if !self.utf8.is_empty() {
            self.utf8.clear();
            key(Key::Char(char::REPLACEMENT_CHARACTER));
        }
    }
}

fn sent(key: &mut impl FnMut(Key), which: Key) -> State {
    key(which);
    State::Ground
}

fn control(byte: u8) -> Option<Key> {
    Some(match byte {
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Interrupt,
        0x04 => Key::EndOrDelete,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x08 | 0x7f => Key::Backspace,
        b'\t' => Key::Tab,
        b'\r' | b'\n' => Key::Enter,
        0x0b => Key::KillToEnd,
        0x0c => Key::Clear,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x14 => Key::Transpose,
        0x15 => Key::KillToStart,
        0x17 => Key::KillWordLeft,
        0x19 => Key::Yank,
        0x1a => Key::Suspend,
        _ => return None,
    })
}

fn csi(parameters: &[u8], end: u8) -> Option<Key> {
    // `1;5C`, `5C` (rxvt, old xterm): a modifier makes a word's step of it.
    let modified = !matches!(parameters, b"" | b"1" | b"0");
    Some(match (end, parameters) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) if modified => Key::WordRight,
        (b'D', _) if modified => Key::WordLeft,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) => Key::Home,
        (b'F', _) => Key::End,
        (b'~', [b'1' | b'7'] | [b'1' | b'7', b';', ..]) => Key::Home,
        (b'~', [b'4' | b'8'] | [b'4' | b'8', b';', ..]) => Key::End,
        (b'~', [b'3'] | [b'3', b';', ..]) => Key::Delete,
        (b'R', report) => {
            let column = std::str::from_utf8(report).ok()?.split_once(';')?.1;
            Key::Column(column.parse().ok()?)
        }
        _ => return None,
    })
}

fn ss3(end: u8) -> Option<Key> {
    Some(match end {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' | b'w' => Key::End,
        b'M' => Key::Enter,
        b'c' => Key::WordRight,
        b'd' => Key::WordLeft,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        let mut seen = Vec::new();
        bytes.iter().for_each(|b| keys.feed(*b, |k| seen.push(k)));
        seen
    }

    #[test]
    fn terminals_and_their_sequences() {
        for (bytes, key) in [
            (&b"\x1b[A"[..], Key::Up),
            (b"\x1bOA", Key::Up),
            (b"\x1b[D", Key::Left),
            (b"\x1bOC", Key::Right),
            (b"\x1b[H", Key::Home),
            (b"\x1bOH", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1b[7~", Key::Home),
            (b"\x1b[F", Key::End),
            (b"\x1b[4~", Key::End),
            (b"\x1b[8~", Key::End),
            (b"\x1bOw", Key::End),
            (b"\x1b[3~", Key::Delete),
            (b"\x1b[3;5~", Key::Delete),
            (b"\x1b[1;5C", Key::WordRight),
            (b"\x1b[1;3D", Key::WordLeft),
            (b"\x1bOc", Key::WordRight),
            (b"\x1bb", Key::WordLeft),
            (b"\x1b\x7f", Key::KillWordLeft),
            (b"\x1bOM", Key::Enter),
            (b"\x08", Key::Backspace),
            (b"\x7f", Key::Backspace),
            (b"\xc3\xa4", Key::Char('ä')),
            (b"\x1b[24;132R", Key::Column(132)),
        ] {
            assert_eq!(keys(bytes), [key], "{bytes:?}");
        }
    }

    #[test]
    fn unknown_sequences_and_answers_of_terminals_are_swallowed_whole() {
        for bytes in
            [&b"\x1b[?1;2c"[..], b"\x1b[200~", b"\x1b[201~", b"\x1b[[A", b"\x1b[15~", b"\x1bq"]
        {
            assert_eq!(keys(&[bytes, b"x"].concat()), [Key::Char('x')], "{bytes:?}");
        }
    }

    #[test]
    fn cr_lf_is_one_enter_and_others_one_each() {
        assert_eq!(keys(b"\r\n").len(), 1);
        assert_eq!(keys(b"\r\r").len(), 2);
        assert_eq!(keys(b"\n\n").len(), 2);
        assert_eq!(keys(b"\r\n\n").len(), 2);
    }

    #[test]
    fn broken_utf8_becomes_one_replacement_and_hides_nothing() {
        let fffd = Key::Char('\u{fffd}');
        assert_eq!(keys(b"\xc3x"), [fffd, Key::Char('x')]);
        assert_eq!(keys(b"\xffx"), [fffd, Key::Char('x')]);
        assert_eq!(keys(b"\xe2\x82\r"), [fffd, Key::Enter]);
    }

    #[test]
    fn one_byte_past_the_longest_sequence_ends_it() {
        let within = [&b"\x1b["[..], &[b'1'; MAX_SEQUENCE], b"~x"].concat();
        assert_eq!(keys(&within), [Key::Char('x')]);
        let past = [&b"\x1b["[..], &[b'1'; MAX_SEQUENCE + 1], b"x"].concat();
        assert_eq!(keys(&past), [Key::Char('x')]);
    }
}
