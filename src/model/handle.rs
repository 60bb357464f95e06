//! A handle: the name a person goes by. `Handle::try_from` is the only way to make one.

use serde::{Deserialize, Serialize};

use super::limits::MAX_HANDLE;

/// A name that every dialect's wire can carry as one word: no white space, comma, colon, quote,
/// backslash, `@`, brackets or control character, not starting with `#`, at most
/// [`MAX_HANDLE`] bytes. `@` is kept for `handle@dialect`, `#` for rooms.
///
/// Two handles name the same person when their [`Handle::key`] is equal: SLCP programs change
/// the case of handles (captures/slcp-Tuna-Safak).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Handle(Box<str>);

/// Why a text is no handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadHandle {
    /// Nothing was given.
    Empty,
    /// Longer than [`MAX_HANDLE`] bytes.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Holds a character that would not survive the wire.
    Character(char),
    /// A word that means something else (`lobby`).
    Reserved,
}

impl Handle {
    /// As the person wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which handles are compared.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }

    /// Whether `other` names the same person, whatever its case.
    pub fn is(&self, other: &str) -> bool {
        *self.0 == *other || self.key() == other.to_lowercase()
    }

    /// The nearest valid handle to any text: forbidden characters dropped, cut to size,
    /// `guest` when nothing is left.
    pub fn nearest(text: &str) -> Handle {
        let mut kept = String::new();
        for c in text.chars().filter(|c| allowed(*c)) {
            if kept.len() + c.len_utf8() > MAX_HANDLE {
                break;
            }
            kept.push(c);
        }
        let kept = kept.trim_start_matches('#');
        Handle::try_from(kept).unwrap_or_else(|_| Handle("guest".into()))
    }

    /// A handle for any name of another dialect: what a handle cannot carry is written as `%` and
    /// two hex digits for each byte, so that [`Handle::unescaped`] gives the name back. Of a name
    /// that is too long for that, its beginning and a number made of it all.
    pub fn escaped(name: &str) -> Handle {
        let mut kept = String::new();
        let reserved = name.eq_ignore_ascii_case("lobby");
        for (n, c) in name.chars().enumerate() {
            if allowed(c) && c != '%' && !(n == 0 && (c == '#' || reserved)) {
                kept.push(c);
            } else {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    kept += &format!("%{byte:02X}");
                }
            }
        }
        if kept.len() > MAX_HANDLE {
            let mut hash = 0xcbf2_9ce4_8422_2325_u64;
            for byte in name.bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            let tail = format!("~{:08x}", hash >> 32);
            while kept.len() + tail.len() > MAX_HANDLE {
                kept.pop();
            }
            kept += &tail;
        }
        Handle::try_from(kept).unwrap_or_else(|_| Handle("guest".into()))
    }

    /// The name that [`Handle::escaped`] was given.
    pub fn unescaped(&self) -> String {
        let mut bytes = Vec::with_capacity(self.0.len());
        let mut rest = self.0.as_bytes();
        while let [first, after @ ..] = rest {
            let hex = after.get(..2).filter(|_| *first == b'%');
            let byte = hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
            bytes.push(byte.unwrap_or(*first));
            rest = &after[if byte.is_some() { 2 } else { 0 }..];
        }
        String::from_utf8(bytes).unwrap_or_else(|_| self.0.to_string())
    }

    /// This handle with a number at its end, still within [`MAX_HANDLE`]: `anna` gives `anna2`.
    pub fn numbered(&self, n: u32) -> Handle {
        let tail = n.to_string();
        let mut stem = self.0.to_string();
        while stem.len() + tail.len() > MAX_HANDLE {
            stem.pop();
        }
        Handle((stem + &tail).into())
    }
}

fn allowed(c: char) -> bool {
    !c.is_whitespace()
        && !super::text::is_harmful(c)
        && !matches!(c, ',' | ':' | '@' | '"' | '\'' | '\\' | '[' | ']' | '{' | '}' | '|')
}

impl TryFrom<&str> for Handle {
    type Error = BadHandle;

    fn try_from(text: &str) -> Result<Self, BadHandle> {
        if text.is_empty() {
            return Err(BadHandle::Empty);
        }
        if text.len() > MAX_HANDLE {
            return Err(BadHandle::TooLong { bytes: text.len() });
        }
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(BadHandle::Character(c));
        }
        if text.starts_with('#') {
            return Err(BadHandle::Character('#'));
        }
        if text.eq_ignore_ascii_case("lobby") {
            return Err(BadHandle::Reserved);
        }
        Ok(Handle(text.into()))
    }
}

impl TryFrom<String> for Handle {
    type Error = BadHandle;

    fn try_from(text: String) -> Result<Self, BadHandle> {
        Handle::try_from(text.as_str())
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> String {
        handle.0.into()
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl BadHandle {
    /// What belongs there instead, after "expected".
    pub fn expected(&self) -> String {
        match self {
            BadHandle::Empty => "a handle of at least one character".into(),
            BadHandle::TooLong { bytes } => {
                format!("a handle of at most {MAX_HANDLE} bytes (this one has {bytes})")
            }
            BadHandle::Character(c) => {
                format!("a handle without {c:?}: letters, digits, - and _, such as anna-2")
            }
            BadHandle::Reserved => "another handle: `lobby` is the room of everyone".into(),
        }
    }
}

impl std::fmt::Display for BadHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadHandle::Empty => f.write_str("a handle needs at least one character"),
            BadHandle::TooLong { bytes } => {
                write!(f, "a handle has at most {MAX_HANDLE} bytes, this one has {bytes}")
            }
            BadHandle::Character(c) => write!(
                f,
                "a handle may not hold {c:?}: use letters, digits, - and _, for example anna-2"
            ),
            BadHandle::Reserved => f.write_str("`lobby` is the room of everyone, not a handle"),
        }
    }
}

impl std::error::Error for BadHandle {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_past_the_limit_is_refused() {
        assert!(Handle::try_from("a".repeat(MAX_HANDLE)).is_ok());
        assert_eq!(
            Handle::try_from("a".repeat(MAX_HANDLE + 1)),
            Err(BadHandle::TooLong { bytes: MAX_HANDLE + 1 })
        );
    }

    #[test]
    fn what_the_wire_cannot_carry_is_refused() {
        for bad in ["a b", "a,b", "a:b", "a@b", "a\nb", "a\u{1b}[2J", "a\u{202e}b", "#a", "\"a\""] {
            assert!(Handle::try_from(bad).is_err(), "{bad:?}");
        }
        for good in ["Anna", "žluťoučký", "müller-2", "x_1", "日本"] {
            assert!(Handle::try_from(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn nearest_is_always_a_handle() {
        for text in ["", " ", "##", "a b", "x".repeat(200).as_str(), "\u{202e}", "lobby"] {
            let handle = Handle::nearest(text);
            assert_eq!(Handle::try_from(handle.as_str()), Ok(handle.clone()), "{text:?}");
        }
    }

    #[test]
    fn any_name_becomes_a_handle_and_comes_back() {
        for (name, handle) in [
            ("anna-2", "anna-2"),
            ("Tomas Novotny, C4b", "Tomas%20Novotny%2C%20C4b"),
            ("žluť\u{1b}", "žluť%1B"),
            ("100%", "100%25"),
            ("#1", "%231"),
            ("Lobby", "%4Cobby"),
            ("a@b:c", "a%40b%3Ac"),
        ] {
            assert_eq!(Handle::escaped(name).as_str(), handle);
            assert_eq!(Handle::escaped(name).unescaped(), name);
        }
        let (long, other) = (" ".repeat(100), " ".repeat(101));
        assert!(Handle::escaped(&long).as_str().len() <= MAX_HANDLE);
        assert_ne!(Handle::escaped(&long), Handle::escaped(&other));
        assert_eq!(Handle::escaped("").as_str(), "guest");
    }

    #[test]
    fn numbered_stays_within_the_limit() {
        let long = Handle::try_from("ä".repeat(MAX_HANDLE / 2)).unwrap();
        assert!(Handle::try_from(long.numbered(4_000_000_000).as_str()).is_ok());
    }

    #[test]
    fn case_does_not_make_another_person() {
        assert!(Handle::try_from("Tuna").unwrap().is("tuna"));
        assert!(Handle::try_from("ÄNNE").unwrap().is("änne"));
    }
}
