//! A room's name. `RoomName::try_from` is the only way to make one.

use super::Handle;
use super::limits::MAX_ROOM_NAME;

/// The name of a room between klatsch boxes, without the `#` before it: what a handle may be,
/// at most [`MAX_ROOM_NAME`] bytes, and no `/`. Compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomName(Handle);

impl RoomName {
    /// As a person wrote it, without `#`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The form in which names are compared.
    pub fn key(&self) -> String {
        self.0.key()
    }

    /// What its conversation is called, for people and in what is kept: `#name`.
    pub fn conversation(&self) -> String {
        format!("#{}", self.key())
    }
}

/// What a room's name is, for whoever wrote another thing.
pub const EXPECTED: &str = "a room's name: a word of at most 32 bytes without / , : @ or quotes";

impl TryFrom<&str> for RoomName {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<RoomName, &'static str> {
        let name = text.strip_prefix('#').unwrap_or(text);
        if name.len() > MAX_ROOM_NAME || name.contains('/') {
            return Err(EXPECTED);
        }
        Handle::try_from(name).map(RoomName).map_err(|_| EXPECTED)
    }
}

impl std::fmt::Display for RoomName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_and_one_byte_past_its_limit_is_refused() {
        let of = |text: &str| RoomName::try_from(text).map(|name| name.conversation());
        assert_eq!(of("Kaffee"), Ok("#kaffee".into()));
        assert_eq!(of("#Kaffee"), Ok("#kaffee".into()));
        assert!(of(&"x".repeat(MAX_ROOM_NAME)).is_ok());
        for bad in ["", "#", "##x", "a b", "a/b", "a@b", "a,b", "lobby", "#Lobby"] {
            assert_eq!(of(bad), Err(EXPECTED), "{bad}");
        }
        assert_eq!(of(&"x".repeat(MAX_ROOM_NAME + 1)), Err(EXPECTED));
    }
}
