//! The listening end: made at a path, or got from systemd.
//!
//! A dead node's socket file is replaced, a live one's never; two that start at once cannot take
//! it from each other, because each holds a lock on the folder while it looks and binds.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, chown};

use crate::account;

/// Who may connect: owner and group.
pub const MODE: u32 = 0o660;
/// The group that may, where it exists.
pub const GROUP: &str = "klatsch";

const BACKLOG: i32 = 1024;

/// A listener, and the file it stands for.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// The file we made (device, inode): only that one is removed at the end.
    made: Option<(u64, u64)>,
}

impl Socket {
    /// Listens at `path`, in a folder that exists. [`io::ErrorKind::AddrInUse`]: a live node has
    /// it; [`io::ErrorKind::AlreadyExists`]: something stands there that is no socket.
    pub fn bind(path: &Path) -> io::Result<Socket> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let lock = Flock::lock(File::open(folder)?, FlockArg::LockExclusiveNonblock)
            .map_err(|_| io::Error::new(io::ErrorKind::AddrInUse, "another node starts there"))?;
        clear(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        // Before bind: Linux makes the file with the socket's own mode less the umask, so that
        // it is never open to more than these. After it: without what the umask took.
        fchmod(&fd, Mode::from_bits_truncate(MODE))?;
        socket::bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        let metadata = fs::symlink_metadata(path)?;
        let made = Some((metadata.dev(), metadata.ino()));
        let made = Socket { listener: fd.into(), path: path.into(), made };
        if let Some(group) = account::group(GROUP) {
            // Only root and members may; for the others the socket stays their own.
            let _ = chown(path, None, Some(Gid::from_raw(group)));
        }
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        socket::listen(&made.listener, socket::Backlog::new(BACKLOG)?)?;
        drop(lock);
        Ok(made)
    }

    /// The socket that systemd opened for us (sd_listen_fds(3)), if it did: the one named
    /// `control`, else the first.
    pub fn from_systemd() -> Option<io::Result<Socket>> {
        Some(adopt(from_environment()?))
    }

    /// Whether systemd opened a socket for this process.
    pub fn is_activated() -> bool {
        from_environment().is_some()
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another descriptor of the listener, for [`super::serve`]; keep the `Socket` as long.
    pub fn listener(&self) -> io::Result<crate::reactor::Async<UnixListener>> {
        crate::reactor::Async::new(self.listener.try_clone()?)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).map(|m| (m.dev(), m.ino()));
        if self.made.is_some() && now.ok() == self.made {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a dead node left.
fn clear(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.file_type().is_socket() {
        let text = format!("{} stands there and is no socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    // Without waiting: a node that is stuck, its backlog full, is alive too (EAGAIN).
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match socket::connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path),
        // It answers, or we may not ask: someone has it.
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "a live node listens there")),
    }
}

fn from_environment() -> Option<RawFd> {
    let env = |name| std::env::var(name).unwrap_or_default();
    let names = env("LISTEN_FDNAMES");
    // those that bear the name of another way in are not ours
    if names.split(':').all(|name| name == "web") && !names.is_empty() {
        return None;
    }
    activated("control", std::process::id(), &env("LISTEN_PID"), &env("LISTEN_FDS"), &names)
}

/// The descriptor of this name that systemd opened for us, for a way in that is not this one.
#[allow(unsafe_code)]
pub fn inherited(name: &str) -> Option<OwnedFd> {
    let env = |name| std::env::var(name).unwrap_or_default();
    let names = env("LISTEN_FDNAMES");
    if !names.split(':').any(|other| other == name) {
        return None;
    }
    let fd = activated(name, std::process::id(), &env("LISTEN_PID"), &env("LISTEN_FDS"), &names)?;
    // SAFETY: as in `adopt`; each name is asked for once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(fd)
}

/// Which descriptor systemd means for us.
fn activated(ours: &str, us: u32, pid: &str, count: &str, names: &str) -> Option<RawFd> {
    const FIRST: RawFd = 3;
    const MOST: RawFd = 64;
    let count: RawFd = count.parse().ok()?;
    if pid.parse() != Ok(us) || !(1..=MOST).contains(&count) {
        return None;
    }
    let named = names.split(':').position(|name| name == ours);
    let index = named.and_then(|n| RawFd::try_from(n).ok()).filter(|n| *n < count);
    Some(FIRST + index.unwrap_or(0))
}

#[allow(unsafe_code)]
fn adopt(fd: RawFd) -> io::Result<Socket> {
    // SAFETY: systemd handed this descriptor to this very process (LISTEN_PID), and nothing else
    // here takes it. Were it closed, the calls below fail with EBADF.
    let listener = unsafe { UnixListener::from_raw_fd(fd) };
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    listener.set_nonblocking(true)?;
    if !socket::getsockopt(&listener, socket::sockopt::AcceptConn)? {
        let text = "the socket from systemd does not listen: use ListenStream=";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let address = listener.local_addr()?;
    let path = address.as_pathname().unwrap_or(Path::new("")).to_path_buf();
    Ok(Socket { listener, path, made: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_dead_nodes_socket_is_replaced_and_a_live_ones_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let dead = UnixListener::bind(&path).unwrap();
        drop(dead);
        let live = Socket::bind(&path).unwrap();
        assert_eq!(Socket::bind(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        drop(live);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_or_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        fs::write(&path, "precious").unwrap();
        assert_eq!(Socket::bind(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        let first = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "another's file");
        drop(other);
    }

    #[test]
    fn a_path_too_long_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Socket::bind(&folder.path().join("x".repeat(108))).is_err());
    }

    #[test]
    fn systemds_descriptors_are_found_by_name() {
        assert_eq!(activated("control", 7, "7", "2", "web:control"), Some(4));
        assert_eq!(activated("control", 7, "7", "1", ""), Some(3));
        assert_eq!(activated("control", 7, "7", "1", "x:control"), Some(3));
        for (pid, count) in [("8", "1"), ("7", "0"), ("7", "65"), ("", ""), ("7", "-1")] {
            assert_eq!(activated("control", 7, pid, count, "control"), None, "{pid} {count}");
        }
    }
}
