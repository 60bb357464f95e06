//! A connected Unix stream that carries frames, and file descriptors beside them.
//!
//! Apart because of its `unsafe`: nix's `recvmsg` wrapper loses descriptors when the kernel had to
//! cut the control message, and a client could use up ours that way. Here the kernel is offered
//! room for [`MAX_FDS`] only and closes the rest itself (unix(7)).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_lite::FutureExt;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg, sockopt};

use super::varlink::Frames;
use crate::reactor::{Async, Timer};

/// Descriptors that may wait on a connection for the call that uses them.
pub const MAX_FDS: usize = 4;

const READ: usize = 8 * 1024;

/// Who is at the other end, as the kernel saw it when they connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process.
    pub pid: i32,
}

/// See the module.
pub struct Wire {
    stream: Async<UnixStream>,
    /// What was read and not yet taken.
    pub frames: Frames,
    /// Descriptors that came and were not yet taken, at most [`MAX_FDS`].
    pub files: Vec<OwnedFd>,
}

impl Wire {
    /// Frames of at most `limit` bytes on this stream.
    pub fn new(stream: Async<UnixStream>, limit: usize) -> Wire {
        Wire { stream, frames: Frames::new(limit), files: Vec::new() }
    }

    /// Who is at the other end.
    pub fn caller(&self) -> io::Result<Caller> {
        let caller = getsockopt(&self.stream, sockopt::PeerCredentials)?;
        Ok(Caller { uid: caller.uid(), gid: caller.gid(), pid: caller.pid() })
    }

    /// Waits until more has come; `false` at the end of the stream. Cancel-safe.
    pub async fn fill(&mut self) -> io::Result<bool> {
        loop {
            match self.try_fill() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.stream.readable().await?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map(|n| n > 0),
            }
        }
    }

    /// Takes what has come already; 0 at the end of the stream.
    pub fn try_fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; READ];
        let n = receive(self.stream.as_fd(), &mut bytes, &mut self.files)?;
        self.files.truncate(MAX_FDS);
        self.frames.push(&bytes[..n]);
        Ok(n)
    }

    /// Writes all of it, descriptors with the first byte, within `limit`.
    pub async fn send(
        &self,
        mut bytes: &[u8],
        mut files: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> io::Result<()> {
        let all = async {
            while !bytes.is_empty() {
                match try_send(self.stream.as_fd(), bytes, files) {
                    Ok(n) => (bytes, files) = (&bytes[n..], &[]),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        self.stream.writable().await?;
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        };
        let late = async {
            Timer::after(limit).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        all.or(late).await
    }

    /// Writes as much as fits without waiting: a last word to someone sent away.
    pub fn part_with(&self, bytes: &[u8]) {
        let _ = try_send(self.stream.as_fd(), bytes, &[]);
    }
}

fn try_send(to: BorrowedFd, bytes: &[u8], files: &[BorrowedFd]) -> io::Result<usize> {
    let raw: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    Ok(sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?)
}

/// recvmsg(2), with at most [`MAX_FDS`] descriptors, close-on-exec.
#[allow(unsafe_code)]
fn receive(from: BorrowedFd, bytes: &mut [u8], files: &mut Vec<OwnedFd>) -> io::Result<usize> {
    const ROOM: usize = MAX_FDS * size_of::<libc::c_int>();
    // Room for the header (at most 16 bytes) and the descriptors, aligned as a cmsghdr wants it.
    let mut control = [0u64; 2 + ROOM.div_ceil(8)];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is valid; every pointer set in it outlives the calls below, and
    // the lengths are those of the buffers (CMSG_SPACE of ROOM is at most 16 + ROOM).
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(ROOM as u32) as _;
        let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
        let n = libc::recvmsg(from.as_raw_fd(), &raw mut message, flags);
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let length = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data: *const libc::c_int = libc::CMSG_DATA(header).cast();
                for i in 0..length / size_of::<libc::c_int>() {
                    // The kernel has just given us this descriptor: nobody else owns it.
                    files.push(OwnedFd::from_raw_fd(data.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
        Ok(n as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pair() -> (Wire, Wire) {
        let (a, b) = UnixStream::pair().unwrap();
        let (a, b) = (Async::new(a).unwrap(), Async::new(b).unwrap());
        (Wire::new(a, 1000), Wire::new(b, 1000))
    }

    #[test]
    fn one_descriptor_past_the_limit_is_closed_and_none_leaks() {
        crate::reactor::block_on(async {
            let (a, mut b) = pair();
            let (mut watched, passed) = UnixStream::pair().unwrap();
            let many = vec![passed.as_fd(); MAX_FDS + 1];
            for _ in 0..100 {
                a.send(b"x", &many, Duration::from_secs(1)).await.unwrap();
                assert!(b.fill().await.unwrap());
                assert_eq!(b.files.len(), MAX_FDS);
            }
            for file in &b.files {
                let flags = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_GETFD).unwrap();
                assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
            }
            drop((many, b));
            drop(passed);
            // The end of the stream comes when the last of all those descriptors is closed.
            watched.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            assert_eq!(watched.read(&mut [0]).unwrap(), 0);
        });
    }

    #[test]
    fn a_reader_that_does_not_read_ends_a_send() {
        crate::reactor::block_on(async {
            let (a, _b) = pair();
            let big = vec![b'x'; 8 << 20];
            let error = a.send(&big, &[], Duration::from_millis(50)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn the_caller_is_known() {
        let (a, _b) = pair();
        assert_eq!(a.caller().unwrap().uid, nix::unistd::getuid().as_raw());
    }
}
