//! The ends of a console: a terminal, pipe, file or serial line, read and written without
//! blocking, and no faster than a slow line takes.
//!
//! A terminal is opened anew by its name, so that making it non-blocking does not do the same to
//! whoever shares it (the shell that started us). Where that cannot be, readiness is awaited and
//! then one bounded read or write made. Regular files and /dev/null, which epoll refuses (EPERM),
//! never block and are read and written as they are.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use futures_lite::future::{or, yield_now};
use nix::libc;

use super::raw;
use crate::console::editor::Screen;
use crate::reactor::{Async, Timer};

/// Bytes read or written at once: what a pipe that is ready takes without blocking (PIPE_BUF).
pub(super) const CHUNK: usize = 4_096;
/// How long the last lines may take to leave.
const LINGER: Duration = Duration::from_secs(2);

/// An input and an output, and what they can do.
pub struct Terminal {
    pub(super) input: Option<End>,
    pub(super) output: End,
    pub(super) screen: Screen,
}

/// One of them.
pub(super) enum End {
    /// Readiness can be awaited.
    Polled(Async<OwnedFd>),
    /// Never blocks: a regular file, /dev/null.
    File(OwnedFd),
}

impl Terminal {
    /// Standard input and output. A terminal only where both are one.
    pub fn stdio() -> io::Result<Terminal> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        Terminal::new(input, output)
    }

    /// Any two descriptors: a pty's or a serial line's may be the same one twice.
    pub fn new(input: OwnedFd, output: OwnedFd) -> io::Result<Terminal> {
        let both = raw::is_terminal(&input) && raw::is_terminal(&output);
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb" || t.is_empty());
        let screen = match (both, dumb) {
            (false, _) => Screen::Plain,
            (true, true) => Screen::Dumb,
            (true, false) => Screen::Ansi,
        };
        Ok(Terminal { input: Some(End::new(input)?), output: End::new(output)?, screen })
    }

    /// A serial line, opened non-blocking for this alone, and raw.
    pub fn line(line: OwnedFd, screen: Screen) -> io::Result<Terminal> {
        let input = End::Polled(Async::new_nonblocking(line.try_clone()?)?);
        Ok(Terminal {
            input: Some(input),
            output: End::Polled(Async::new_nonblocking(line)?),
            screen,
        })
    }

    /// What it is.
    pub fn screen(&self) -> Screen {
        self.screen
    }
}

impl End {
    fn new(fd: OwnedFd) -> io::Result<End> {
        let own = raw::reopened(&fd);
        let polled = match own {
            Some(own) => Async::new(own),
            None => Async::new_nonblocking(fd.try_clone()?),
        };
        match polled {
            Ok(polled) => Ok(End::Polled(polled)),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(End::File(fd)),
            Err(e) => Err(e),
        }
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        match self {
            End::Polled(fd) => fd.get_ref(),
            End::File(fd) => fd,
        }
    }

    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                End::Polled(fd) => fd.readable().await?,
                End::File(_) => yield_now().await,
            }
            match nix::unistd::read(self.fd(), buffer) {
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                done => return done.map_err(io::Error::from),
            }
        }
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self {
                End::Polled(fd) => fd.writable().await?,
                End::File(_) => yield_now().await,
            }
            match nix::unistd::write(self.fd(), &bytes[..bytes.len().min(CHUNK)]) {
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                done => return done.map_err(io::Error::from),
            }
        }
    }
}

/// How fast a line takes bytes. What is handed to the kernel early waits there before an echo, for
/// seconds on a slow line; so it is handed over in pieces, each when the one before has left.
pub(super) struct Pace {
    speed: Option<u32>,
    next: Instant,
}

/// Pieces per second.
const PIECES: u32 = 20;
/// Bits on the line for a byte: 8N1.
const BITS: u32 = 10;

impl Pace {
    pub(super) fn of(speed: Option<u32>) -> Pace {
        Pace { speed: speed.map(|s| s.max(BITS)), next: Instant::now() }
    }

    /// Waits until the line is free, then says how many bytes it takes at once.
    pub(super) async fn ready(&self) -> usize {
        let Some(speed) = self.speed else { return CHUNK };
        Timer::at(self.next).await;
        usize::try_from(speed / BITS / PIECES).unwrap_or(1).clamp(1, CHUNK)
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        if let Some(speed) = self.speed {
            let bits = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_mul(BITS);
            let takes = Duration::from_secs(1) * bits / speed;
            self.next = self.next.max(Instant::now()) + takes;
        }
    }
}

/// Writes what waits, as much as the line takes; without end while nothing waits.
pub(super) async fn written(output: &End, pace: &Pace, waiting: &[u8]) -> io::Result<usize> {
    if waiting.is_empty() {
        pending::<()>().await;
    }
    let most = pace.ready().await.min(waiting.len());
    output.write(&waiting[..most]).await
}

/// Writes all that waits, as far as it can be done soon.
pub(super) async fn flush(output: &End, waiting: &mut Vec<u8>) {
    let all = async {
        while !waiting.is_empty() {
            match output.write(waiting).await {
                Ok(n) => drop(waiting.drain(..n)),
                Err(_) => waiting.clear(),
            }
        }
    };
    let late = async {
        Timer::after(LINGER).await;
    };
    or(all, late).await;
}

/// Whether an error means that nobody is at the other end any more.
pub(super) fn gone(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EIO | libc::EPIPE | libc::ENXIO | libc::ENODEV | libc::EBADF)
    )
}
