//! What only the system can do for a terminal: raw mode and back whatever happens, signals,
//! width, the time where the reader is. All `unsafe` of the console is here.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;
use nix::sys::termios::{
    InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use signal_hook::SigId;

use crate::console::past::Moment;
use crate::fault;
use crate::model::Wall;
use crate::reactor::Async;

/// The terminal that a panic or a trap must give back: nothing is dropped then.
static TAKEN: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// For whoever ends without dropping anything.
fn give_back() {
    if let Ok(taken) = TAKEN.try_lock() {
        if let Some((fd, before)) = &*taken {
            let _ = tcsetattr(fd, SetArg::TCSANOW, before);
        }
    }
}

/// A terminal in raw mode; dropped, it is as it was.
pub struct Raw {
    fd: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Takes the terminal.
    pub fn new(fd: &OwnedFd) -> io::Result<Raw> {
        let before = tcgetattr(fd)?;
        let mut raw = Raw { fd: fd.try_clone()?, before: before.clone() };
        let taken = Some((fd.try_clone()?, before));
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        fault::first(give_back);
        raw.set();
        Ok(raw)
    }

    /// Makes it raw. Output processing stays on, so that what others write (a log) looks right.
    pub fn set(&mut self) {
        let mut raw = self.before.clone();
        raw.input_flags &= !(InputFlags::IGNBRK
            | InputFlags::BRKINT
            | InputFlags::PARMRK
            | InputFlags::ISTRIP
            | InputFlags::INLCR
            | InputFlags::IGNCR
            | InputFlags::ICRNL
            | InputFlags::IXON);
        raw.local_flags &= !(LocalFlags::ECHO
            | LocalFlags::ECHONL
            | LocalFlags::ICANON
            | LocalFlags::ISIG
            | LocalFlags::IEXTEN);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        if let Err(e) = tcsetattr(&self.fd, SetArg::TCSADRAIN, &raw) {
            log::debug!("console: cannot make the terminal raw: {e}");
        }
    }

    /// Gives it back for a while.
    pub fn restore(&mut self) {
        // A terminal that is gone cannot and need not be restored.
        let _ = tcsetattr(&self.fd, SetArg::TCSADRAIN, &self.before);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.restore();
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Signals that came.
#[derive(Debug, Default)]
pub struct Came {
    /// SIGWINCH.
    pub resized: bool,
    /// SIGTSTP.
    pub stop: bool,
    /// SIGCONT.
    pub resumed: bool,
    /// SIGTERM, SIGINT, SIGHUP.
    pub end: bool,
}

/// Signals as something to wait for: a flag each, and one pipe for all (signal-hook's
/// `low_level::pipe`: the flag is registered first).
pub struct Signals {
    pipe: Async<UnixStream>,
    flags: [Arc<AtomicBool>; 4],
    ids: Vec<SigId>,
}

impl Signals {
    /// Listens; to those of a terminal only where there is one.
    pub fn new(terminal: bool) -> io::Result<Signals> {
        let (pipe, wake) = UnixStream::pair()?;
        let mut signals = Signals {
            pipe: Async::new(pipe)?,
            flags: std::array::from_fn(|_| Arc::new(AtomicBool::new(false))),
            ids: Vec::new(),
        };
        let all = [
            (libc::SIGWINCH, 0),
            (libc::SIGTSTP, 1),
            (libc::SIGCONT, 2),
            (libc::SIGTERM, 3),
            (libc::SIGINT, 3),
            (libc::SIGHUP, 3),
        ];
        for (signal, flag) in all {
            if terminal || flag == 3 {
                let flag = Arc::clone(&signals.flags[flag]);
                signals.ids.push(signal_hook::flag::register(signal, flag)?);
                let wake = wake.try_clone()?;
                signals.ids.push(signal_hook::low_level::pipe::register(signal, wake)?);
            }
        }
        Ok(signals)
    }

    /// Until one came.
    pub async fn wait(&self) {
        if self.pipe.readable().await.is_err() {
            std::future::pending().await
        }
    }

    /// Which came since the last call.
    pub fn take(&self) -> Came {
        let mut sink = [0; 64];
        while matches!(nix::unistd::read(self.pipe.get_ref(), &mut sink), Ok(1..)) {}
        let [resized, stop, resumed, end] =
            std::array::from_fn(|i| self.flags[i].swap(false, Ordering::SeqCst));
        Came { resized, stop, resumed, end }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// Whether it is a terminal.
pub fn is_terminal(fd: &OwnedFd) -> bool {
    std::io::IsTerminal::is_terminal(fd)
}

/// The same terminal as an open file of our own, non-blocking without anybody else noticing.
pub fn reopened(fd: &OwnedFd) -> Option<OwnedFd> {
    let name = nix::unistd::ttyname(fd).ok()?;
    open(&name, OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()).ok()
}

mod ioctl {
    use nix::libc;
    nix::ioctl_read_bad!(winsize, libc::TIOCGWINSZ, libc::winsize);
}

/// A terminal's columns; 0 where it does not say.
pub fn columns(fd: &OwnedFd) -> u16 {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize` to a place that outlives the call.
    match unsafe { ioctl::winsize(fd.as_raw_fd(), &mut size) } {
        Ok(_) => size.ws_col,
        Err(_) => 0,
    }
}

/// An instant in the system's time zone.
pub fn local_time(at: Wall) -> Moment {
    let seconds = libc::time_t::try_from(at.0 / 1_000).unwrap_or(0);
    // SAFETY: `tm` is plain integers and a pointer that may be null; localtime_r fills it and
    // keeps neither pointer. A time it cannot say leaves midnight.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut tm);
        tm
    };
    let small = |n: libc::c_int| u8::try_from(n).unwrap_or(0);
    Moment {
        year: u16::try_from(tm.tm_year.saturating_add(1900)).unwrap_or(0),
        month: small(tm.tm_mon + 1),
        day: small(tm.tm_mday),
        hour: small(tm.tm_hour),
        minute: small(tm.tm_min),
    }
}
