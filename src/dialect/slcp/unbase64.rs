//! Base64 inside a JSON string, decoded as it comes: an image is never collected
//! (captures/slcp-002-lucaatm-main-json).

/// Decodes up to the string's closing quote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unbase64 {
    bits: u32,
    /// Characters of the group under way, 0 to 3.
    count: u8,
    /// Padding seen: nothing but padding and the quote may follow.
    padded: bool,
    escaped: bool,
}

/// How far some bytes led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All are taken, the string goes on.
    More,
    /// The string ended, after so many bytes (its quote among them).
    Done(usize),
    /// No base64.
    Bad,
}

impl Unbase64 {
    /// Decodes into `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        for (at, &byte) in bytes.iter().enumerate() {
            let byte = match (std::mem::take(&mut self.escaped), byte) {
                // A line end within, escaped as JSON demands, or a needlessly escaped slash.
                (true, b'n' | b'r') => continue,
                (true, b'/') => b'/',
                (true, _) => return Progress::Bad,
                (false, b'\\') => {
                    self.escaped = true;
                    continue;
                }
                (false, b'"') => {
                    return if self.finish(out) { Progress::Done(at + 1) } else { Progress::Bad };
                }
                (false, byte) => byte,
            };
            let value = match byte {
                b'=' if self.padded || self.count >= 2 => {
                    self.padded = true;
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'A'..=b'Z' if !self.padded => byte - b'A',
                b'a'..=b'z' if !self.padded => byte - b'a' + 26,
                b'0'..=b'9' if !self.padded => byte - b'0' + 52,
                b'+' | b'-' if !self.padded => 62,
                b'/' | b'_' if !self.padded => 63,
                _ => return Progress::Bad,
            };
            self.bits = self.bits << 6 | u32::from(value);
            self.count += 1;
            if self.count == 4 {
                out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                (self.bits, self.count) = (0, 0);
            }
        }
        Progress::More
    }

    /// The last one or two bytes, of a group that padding completes (or would have).
    fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        match self.count {
            0 => {}
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend_from_slice(&((self.bits >> 2) as u16).to_be_bytes()),
            _ => return false,
        }
        (self.bits, self.count) = (0, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_and_length_decodes_alike() {
        use base64::Engine;
        for length in 0..20_u8 {
            let data: Vec<u8> = (0..length).map(|n| n.wrapping_mul(73)).collect();
            let text = base64::engine::general_purpose::STANDARD.encode(&data) + "\"]";
            for cut in 0..text.len() - 1 {
                let (mut reader, mut out) = (Unbase64::default(), Vec::new());
                let first = reader.push(&text.as_bytes()[..cut], &mut out);
                assert_eq!(first, Progress::More);
                let second = reader.push(&text.as_bytes()[cut..], &mut out);
                assert_eq!(second, Progress::Done(text.len() - 1 - cut));
                assert_eq!(out, data);
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_bad() {
        for bad in ["a\"", "ab=c\"", "=\"", "a*\"", "ab\\u\"", "\u{e4}\""] {
            let progress = Unbase64::default().push(bad.as_bytes(), &mut Vec::new());
            assert_eq!(progress, Progress::Bad, "{bad:?}");
        }
    }
}
