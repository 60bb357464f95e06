//! How long and how much is kept: the settings of history and of received files.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The shortest time that entries can be kept, in seconds; what is to be kept for less is
/// `nothing`.
pub const MIN_KEEP: u64 = 60;
/// The longest, in seconds: a hundred years.
pub const MAX_KEEP: u64 = 100 * 31_557_600;
/// How many entries may be kept.
pub const ENTRIES: std::ops::RangeInclusive<u64> = 100..=10_000_000;
/// How many bytes the history may take on the disk.
pub const HISTORY_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 40);
/// How many bytes received files may take on the disk.
pub const QUOTA: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 42);

/// What is kept of conversations. The first bound that is met counts; the oldest go first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// For how long.
    pub keep: Keep,
    /// At most so many entries.
    pub entries: u64,
    /// At most so many bytes of database.
    pub bytes: u64,
}

/// Received files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// At most so many bytes of them.
    pub quota: u64,
    /// What is done when they have reached it.
    pub when_full: WhenFull,
    /// Of whom images are taken over the link without being asked about …
    pub accept_images: AcceptFrom,
    /// … and files of any kind, and folders.
    pub accept_any: AcceptFrom,
    /// More bytes than these are asked about in any case.
    pub accept_size: u64,
}

/// Of whom files are taken without being asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFrom {
    /// Of nobody.
    Nobody,
    /// Of those whose key was compared (VERIFY, TRUST).
    Verified,
    /// Of those whose handle belongs to a key that was met before.
    Pinned,
    /// Of everyone who is linked, guests of other boxes too.
    Anyone,
}

/// How long entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Not at all, beyond what waits to be sent.
    Nothing,
    /// For so many seconds.
    Seconds(u64),
    /// Without end.
    Forever,
}

/// What is done when received files have reached their quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest are removed.
    Oldest,
    /// New ones are refused.
    Refuse,
}

impl Default for History {
    fn default() -> History {
        History { keep: Keep::Forever, entries: 100_000, bytes: 64 << 20 }
    }
}

impl Default for Files {
    fn default() -> Files {
        Files {
            quota: 256 << 20,
            when_full: WhenFull::Oldest,
            accept_images: AcceptFrom::Anyone,
            accept_any: AcceptFrom::Verified,
            accept_size: 64 << 20,
        }
    }
}

impl FromStr for Keep {
    type Err = ();

    fn from_str(text: &str) -> Result<Keep, ()> {
        match text.to_ascii_lowercase().as_str() {
            "nothing" => return Ok(Keep::Nothing),
            "forever" => return Ok(Keep::Forever),
            _ => {}
        }
        let seconds = humantime::parse_duration(text).map_err(|_| ())?.as_secs();
        let good = (MIN_KEEP..=MAX_KEEP).contains(&seconds);
        if good { Ok(Keep::Seconds(seconds)) } else { Err(()) }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Nothing => f.write_str("nothing"),
            Keep::Forever => f.write_str("forever"),
            Keep::Seconds(seconds) => {
                humantime::format_duration(Duration::from_secs(*seconds)).fmt(f)
            }
        }
    }
}

impl FromStr for AcceptFrom {
    type Err = ();

    fn from_str(text: &str) -> Result<AcceptFrom, ()> {
        match text.to_ascii_lowercase().as_str() {
            "nobody" => Ok(AcceptFrom::Nobody),
            "verified" => Ok(AcceptFrom::Verified),
            "pinned" => Ok(AcceptFrom::Pinned),
            "anyone" => Ok(AcceptFrom::Anyone),
            _ => Err(()),
        }
    }
}

impl fmt::Display for AcceptFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcceptFrom::Nobody => "nobody",
            AcceptFrom::Verified => "verified",
            AcceptFrom::Pinned => "pinned",
            AcceptFrom::Anyone => "anyone",
        })
    }
}

impl FromStr for WhenFull {
    type Err = ();

    fn from_str(text: &str) -> Result<WhenFull, ()> {
        match text.to_ascii_lowercase().as_str() {
            "oldest" => Ok(WhenFull::Oldest),
            "refuse" => Ok(WhenFull::Refuse),
            _ => Err(()),
        }
    }
}

impl fmt::Display for WhenFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WhenFull::Oldest => "oldest",
            WhenFull::Refuse => "refuse",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_is_written_and_one_past_its_bounds_is_not() {
        for (text, keep) in [
            ("1h", Keep::Seconds(3_600)),
            ("30 days", Keep::Seconds(30 * 86_400)),
            ("60s", Keep::Seconds(60)),
            ("Nothing", Keep::Nothing),
            ("forever", Keep::Forever),
        ] {
            assert_eq!(text.parse(), Ok(keep));
            assert_eq!(keep.to_string().parse(), Ok(keep));
        }
        assert_eq!(format!("{MAX_KEEP}s").parse(), Ok(Keep::Seconds(MAX_KEEP)));
        for bad in ["59s", "", "1", "-1h", "soon", &format!("{}s", MAX_KEEP + 1)] {
            assert_eq!(bad.parse::<Keep>(), Err(()), "{bad}");
        }
    }
}
