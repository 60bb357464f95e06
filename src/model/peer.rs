//! What we know of someone elsewhere, in words.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Names a peer for as long as it is in the roster; made from dialect, handle and address when
/// it is first heard, so that it is the same after a restart. Written `p` and 12 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl std::fmt::Display for PeerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p{:012x}", self.0)
    }
}

impl std::str::FromStr for PeerId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix('p').filter(|h| h.len() == 12).ok_or("not a peer's id")?;
        u64::from_str_radix(hex, 16).map(PeerId).map_err(|_| "not a peer's id")
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Names a local user for as long as the node runs. Zero is the box's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u32);

/// The chats we speak. `local` is another user of this same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// A user of this node: nothing crosses a wire.
    Local,
    /// Simple Local Chat Protocol, in all its variants.
    Slcp,
    /// JSON hello with one shared chat.
    Hello,
    /// Register and broadcast at a server, private chats beside it.
    Room,
    /// A directory server, private chats from user to user.
    Directory,
    /// Between klatsch boxes: encrypted, proven, exactly once.
    Link,
}

impl Dialect {
    /// Its name in config, events and `handle@dialect`.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Local => "local",
            Dialect::Slcp => "slcp",
            Dialect::Hello => "hello",
            Dialect::Room => "room",
            Dialect::Directory => "directory",
            Dialect::Link => "link",
        }
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Whether someone is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Here.
    Online,
    /// Here, and said to be away.
    Away,
    /// Left, or not heard of any more.
    Gone,
}

/// How far we believe that a peer is who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// A dialect without proof of identity: anyone on the LAN could say this.
    Plain,
    /// A key that was first seen on the network: the same since then, compared by nobody.
    Unverified,
    /// A key that people compared.
    Verified,
    /// A user of this node.
    Local,
}

impl std::fmt::Display for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Presence::Online => "online",
            Presence::Away => "away",
            Presence::Gone => "gone",
        })
    }
}
