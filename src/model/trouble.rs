//! What the world refused, told to the core as a value: a socket error is an input like any other.

use serde::{Deserialize, Serialize};

/// The kinds of failure the core decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// The port is taken (EADDRINUSE).
    InUse,
    /// Nobody listens there: ECONNREFUSED, or ICMP port unreachable.
    Refused,
    /// No way to that host or net: EHOSTUNREACH, ENETUNREACH, ENETDOWN, ICMP host unreachable.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The other end broke off: ECONNRESET, EPIPE.
    Reset,
    /// Not allowed: EACCES, EPERM, EROFS.
    Denied,
    /// The disk or quota is full: ENOSPC, EDQUOT.
    Full,
    /// No such file or folder: ENOENT, ENOTDIR.
    Missing,
    /// Too large to send or to take: EMSGSIZE, EFBIG.
    TooLarge,
    /// Descriptors, memory or a table are used up: EMFILE, ENFILE, ENOBUFS, ENOMEM.
    Exhausted,
    /// Anything else.
    Other,
}

/// A failure with its kind and the words a person reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoError {
    /// What the core decides by.
    pub kind: Trouble,
    /// One line, without the address or file it concerns: the core knows that.
    pub text: String,
}

impl IoError {
    /// A failure of this kind, in these words.
    pub fn new(kind: Trouble, text: impl Into<String>) -> IoError {
        IoError { kind, text: text.into() }
    }
}

impl std::fmt::Display for IoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for IoError {}
