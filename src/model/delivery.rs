//! What became of something we sent. We never show more certainty than we have.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// One recipient's state of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Kept, not yet sent.
    Queued,
    /// It left; the dialect cannot confirm that it arrived.
    Sent,
    /// Confirmed by the other end.
    Delivered,
    /// Somebody there has read it: said only where both boxes allow that.
    Read,
    /// It will not arrive; the reason stands beside it.
    Failed,
}

impl Delivery {
    /// Whether nothing more is to be expected, save a late failure of something `sent`.
    pub fn is_settled(self) -> bool {
        self != Delivery::Queued
    }
}

impl std::fmt::Display for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Delivery::Queued => "queued",
            Delivery::Sent => "sent",
            Delivery::Delivered => "delivered",
            Delivery::Read => "read",
            Delivery::Failed => "failed",
        })
    }
}

/// Names one entry (text, image, file) for ever: the node's epoch, random per start, and a
/// count. Written `epoch-count` in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The epoch of the node that made it.
    pub epoch: u64,
    /// Counts from 1 within the epoch.
    pub n: u64,
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:x}", self.epoch, self.n)
    }
}

impl std::str::FromStr for EntryId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, n) = text.split_once('-').ok_or("not an entry's id")?;
        match (u64::from_str_radix(epoch, 16), u64::from_str_radix(n, 16)) {
            (Ok(epoch), Ok(n)) => Ok(EntryId { epoch, n }),
            _ => Err("not an entry's id"),
        }
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
