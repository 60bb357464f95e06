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

/// Classified by errno, in plain words. The one place where the system's numbers become ours.
impl From<&std::io::Error> for IoError {
    fn from(error: &std::io::Error) -> IoError {
        use nix::errno::Errno as E;
        let Some(raw) = error.raw_os_error() else {
            let kind = match error.kind() {
                std::io::ErrorKind::TimedOut => Trouble::TimedOut,
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::BrokenPipe => {
                    Trouble::Reset
                }
                _ => Trouble::Other,
            };
            return IoError::new(kind, error.to_string());
        };
        let errno = E::from_raw(raw);
        let (kind, text) = match errno {
            E::EADDRINUSE => (Trouble::InUse, "the port is in use by another program"),
            E::ECONNREFUSED => (Trouble::Refused, "nobody listens there"),
            E::EHOSTUNREACH | E::EHOSTDOWN => (Trouble::Unreachable, "the host cannot be reached"),
            E::ENETUNREACH => (Trouble::Unreachable, "there is no way to that network"),
            E::ENETDOWN => (Trouble::Unreachable, "the network is down"),
            E::ETIMEDOUT => (Trouble::TimedOut, "no answer in time"),
            E::ECONNRESET | E::EPIPE | E::ECONNABORTED => {
                (Trouble::Reset, "the other end broke the connection off")
            }
            E::EACCES | E::EPERM => (Trouble::Denied, "not allowed"),
            E::EROFS => (Trouble::Denied, "the file system is read-only"),
            E::ENOSPC => (Trouble::Full, "the disk is full"),
            E::EDQUOT => (Trouble::Full, "the disk quota is used up"),
            E::ENOENT | E::ENOTDIR => (Trouble::Missing, "no such file or folder"),
            E::EMSGSIZE => (Trouble::TooLarge, "too large for one packet"),
            E::EFBIG => (Trouble::TooLarge, "larger than a file may be here"),
            E::EMFILE | E::ENFILE => (Trouble::Exhausted, "too many open files"),
            E::ENOBUFS | E::ENOMEM => (Trouble::Exhausted, "out of memory"),
            E::EISDIR => (Trouble::Other, "is a folder, not a file"),
            E::ELOOP => (
                Trouble::Other,
                "is a symbolic link that leads in a circle or is not followed here",
            ),
            E::EADDRNOTAVAIL => (Trouble::Other, "this machine does not have that address"),
            errno => (Trouble::Other, errno.desc()),
        };
        IoError::new(kind, text)
    }
}

impl From<std::io::Error> for IoError {
    fn from(error: std::io::Error) -> IoError {
        IoError::from(&error)
    }
}

impl From<nix::errno::Errno> for IoError {
    fn from(errno: nix::errno::Errno) -> IoError {
        IoError::from(&std::io::Error::from(errno))
    }
}

impl std::fmt::Display for IoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for IoError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_becomes_a_kind_and_plain_words() {
        for (errno, kind, text) in [
            (nix::errno::Errno::ENOSPC, Trouble::Full, "the disk is full"),
            (
                nix::errno::Errno::EADDRINUSE,
                Trouble::InUse,
                "the port is in use by another program",
            ),
            (nix::errno::Errno::EACCES, Trouble::Denied, "not allowed"),
            (nix::errno::Errno::ENOENT, Trouble::Missing, "no such file or folder"),
        ] {
            assert_eq!(IoError::from(errno), IoError::new(kind, text));
        }
        let plain = std::io::Error::other("odd");
        assert_eq!(IoError::from(plain), IoError::new(Trouble::Other, "odd"));
    }
}
