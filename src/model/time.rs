//! Time as an argument: the core never asks a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Milliseconds of a clock that never steps, from an arbitrary start.
pub type Millis = u64;

/// The time handed to every entry point of the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For intervals and deadlines. Never goes back.
    pub mono: Millis,
    /// For showing to people. May jump by years on a board without a battery clock.
    pub wall: Wall,
}

/// Milliseconds since 1970-01-01 UTC as the system says; written as RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub u64);

impl Wall {
    /// The last instant RFC 3339 can write with a four-digit year (9999-12-31T23:59:59.999Z).
    pub const MAX: Wall = Wall(253_402_300_799_999);

    /// From the system's clock; times before 1970 count as 1970, after 9999 as its last instant.
    pub fn from_system(time: SystemTime) -> Wall {
        let ms = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        Wall(u64::try_from(ms).unwrap_or(u64::MAX)).min(Wall::MAX)
    }

    fn system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.min(Wall::MAX).0)
    }
}

impl std::fmt::Display for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_rfc3339_millis(self.system()).fmt(f)
    }
}

impl Serialize for Wall {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wall {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339_weak(&text).map(Wall::from_system).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_is_rfc3339_and_reads_back() {
        let wall = Wall(1_795_228_536_764);
        let json = serde_json::to_string(&wall).unwrap();
        assert_eq!(json, "\"2026-11-21T02:35:36.764Z\"");
        assert_eq!(serde_json::from_str::<Wall>(&json).unwrap(), wall);
    }

    #[test]
    fn a_clock_past_year_9999_does_not_panic() {
        assert_eq!(Wall(u64::MAX).to_string(), Wall::MAX.to_string());
    }
}
