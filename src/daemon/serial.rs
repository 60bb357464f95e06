//! Consoles on serial lines: opens each, runs its console on it, and opens it again when it comes
//! back. A line that is absent, unplugged or taken is tried with growing pauses and one log line.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::{LocalExecutor, Task};
use futures_lite::future::or;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::libc;
use nix::sys::stat::{Mode as FileMode, fstat};
use nix::sys::termios::{
    BaudRate, ControlFlags, FlushArg, InputFlags, SetArg, SpecialCharacterIndices, cfmakeraw,
    cfsetspeed, tcflush, tcgetattr, tcsetattr,
};

use crate::config::Serial;
use crate::config::serial::Flow;
use crate::console::lock::Lock;
use crate::console::session::Standing;
use crate::console::{Ended, Eof, Options, Screen, SessionOptions, Terminal, tty};
use crate::dialect::slcp;
use crate::hub::{Hub, Local, Way};
use crate::model::IoError;
use crate::model::text::harmless;
use crate::reactor::{Timer, spawn};

/// The pause after the first failure; each further one doubles it …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … up to this: what was plugged in again has its console so much later at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A console that lasts so long is one: it is told of, and the pauses begin anew.
const STANDS: Duration = Duration::from_secs(1);
/// How long the kernel may take to put the last words on the line.
const LEAVES: Duration = Duration::from_millis(300);
/// Bytes that may wait for a slow line. As many may be on their way in the driver, and each may be
/// passed by one line and the prompt: all together stay below what a screen of 80 columns and 24
/// rows holds, so an echo comes within one screen's time.
const QUEUE: usize = 80 * 24 / 2 - 2 * 80;

/// The consoles; dropped, they end at once.
pub(super) struct Consoles(Vec<Task<()>>);

impl Consoles {
    /// Starts one for each line that has one.
    pub(super) fn start(
        executor: &LocalExecutor<'static>,
        hub: &Rc<Hub>,
        lines: &[Serial],
        spool: &Path,
    ) -> Consoles {
        let on = lines.iter().filter(|line| line.on && !line.login);
        Consoles(
            on.map(|line| spawn(executor, keep(line.clone(), Rc::clone(hub), spool.to_owned())))
                .collect(),
        )
    }

    /// Until all have said their last word: the hub was closed.
    pub(super) async fn end(self) {
        for task in self.0 {
            task.await;
        }
    }
}

/// One line's console, for as long as the node runs.
async fn keep(line: Serial, hub: Rc<Hub>, spool: PathBuf) {
    let name = line.device.display().to_string();
    let standing = Rc::new(RefCell::new(Standing::new(Lock::of(&line))));
    let way = Local::from_now(hub);
    let options = Options { spool: Some(spool), ..options(&line, &standing) };
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        let trouble = match Line::open(&line) {
            Err(trouble) => trouble,
            Ok(open) => {
                let opened = Instant::now();
                let stands = async {
                    Timer::after(STANDS).await;
                    log::info!("{name}: console, {} bits per second", line.speed);
                    open.mind();
                    std::future::pending().await
                };
                let ended = or(talk(&way, &open, &options), stands).await;
                standing.borrow_mut().lock.shut();
                if matches!(ended, Ok(Ended::NodeGone)) {
                    // the last words leave before the line is closed, where it takes them
                    let until = Instant::now() + LEAVES;
                    while ioctl::waiting(&open.0) > 0 && Instant::now() < until {
                        Timer::after(LEAVES / 30).await;
                    }
                    return;
                }
                drop(open);
                if opened.elapsed() >= STANDS {
                    pause = FIRST_PAUSE;
                    said.clear();
                }
                match ended {
                    Err(error) => IoError::from(error).text,
                    Ok(_) => "it hung up".to_owned(),
                }
            }
        };
        if said.is_empty() {
            log::warn!("{name}: {trouble}: tried again until there is a console on it");
            said = trouble;
        } else if said != trouble {
            log::debug!("{name}: {trouble}");
        }
        if !or(wait(pause), count(&way, &standing)).await {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn wait(pause: Duration) -> bool {
    Timer::after(pause).await;
    true
}

/// Nobody is at the line: what comes is counted for the next greeting. Ends with the node.
async fn count(way: &Local, standing: &RefCell<Standing>) -> bool {
    while let Some(event) = way.event().await {
        standing.borrow_mut().missed(&event.event.what);
    }
    false
}

async fn talk(way: &Local, line: &Line, options: &Options) -> std::io::Result<Ended> {
    let terminal = Terminal::line(line.0.try_clone()?, options.session.screen)?;
    tty::run(way, terminal, options.clone()).await
}

fn options(line: &Serial, standing: &Rc<RefCell<Standing>>) -> Options {
    let session = SessionOptions {
        user: line.user.clone(),
        screen: if line.dumb { Screen::Dumb } else { Screen::Ansi },
        width: line.width,
        colour: line.colour,
        clock: tty::local_time,
        forms: slcp::FORMS.iter().map(|form| form.name.to_owned()).collect(),
        queue: QUEUE,
        operator: line.operator,
        serial: true,
        standing: Rc::clone(standing),
        ..SessionOptions::default()
    };
    Options {
        eof: Eof::Ignored,
        pace: Some(line.speed),
        mode: line.mode,
        session,
        ..Options::default()
    }
}

/// An open line: raw, locked against others, and let go of when dropped.
struct Line(Flock<OwnedFd>);

impl Line {
    /// Opens and sets it up; the error is what a person reads. Never waits: not for a carrier
    /// (`O_NONBLOCK`), not for output to leave (`TCSANOW`).
    fn open(line: &Serial) -> Result<Line, String> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = open(&line.device, flags, FileMode::empty()).map_err(|errno| match errno {
            Errno::ENOENT => "there is no such device".to_owned(),
            Errno::ENXIO | Errno::ENODEV | Errno::EIO => "nothing is plugged in there".to_owned(),
            Errno::EACCES | Errno::EPERM => {
                "not allowed: klatsch's user must be of its group (dialout)".to_owned()
            }
            Errno::EBUSY => "another program has it".to_owned(),
            errno => IoError::from(errno).text,
        })?;
        if !std::io::IsTerminal::is_terminal(&fd) {
            return Err("is no terminal".into());
        }
        if let Some(other) = session_on(&fd) {
            return Err(format!("{other} has it: stop that, or say on = false or login = true"));
        }
        // What cooperates (picocom, minicom, lrzsz) looks for this lock.
        let fd = Flock::lock(fd, FlockArg::LockExclusiveNonblock)
            .map_err(|_| "another program has it".to_owned())?;
        set_up(&fd, line).map_err(|errno| IoError::from(errno).text)?;
        // Others that are not root get EBUSY from here on.
        let _ = ioctl::exclusive(&fd, true);
        Ok(Line(fd))
    }

    /// Keeps the log off it, and says what else would write on it, as far as that can be known.
    fn mind(&self) {
        let device = |fd: std::os::fd::BorrowedFd| fstat(fd).map(|s| s.st_rdev);
        let stderr = std::io::stderr();
        if device(self.0.as_fd()).is_ok() && device(self.0.as_fd()) == device(stderr.as_fd()) {
            super::log::silence();
        }
        let Ok(name) = nix::unistd::ttyname(&*self.0) else { return };
        let Some(name) = name.file_name().and_then(|n| n.to_str()) else { return };
        let consoles = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        if consoles.split_whitespace().any(|console| console == name) {
            log::warn!(
                "{name}: the kernel writes its messages there too: take console={name} out of its \
                 command line"
            );
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // close(2) would wait half a minute for what a stopped line does not take.
        if ioctl::waiting(&self.0) > 0 {
            let _ = tcflush(&*self.0, FlushArg::TCOFLUSH);
        }
        let _ = ioctl::exclusive(&self.0, false);
    }
}

/// 8N1, raw, at this speed, no carrier needed, with this flow control.
fn set_up(fd: &OwnedFd, line: &Serial) -> nix::Result<()> {
    let mut termios = tcgetattr(fd)?;
    cfmakeraw(&mut termios);
    termios.control_flags &= !(ControlFlags::CSIZE
        | ControlFlags::CSTOPB
        | ControlFlags::PARENB
        | ControlFlags::HUPCL
        | ControlFlags::CRTSCTS);
    termios.control_flags |= ControlFlags::CS8 | ControlFlags::CREAD | ControlFlags::CLOCAL;
    // a break or a byte of the wrong speed is nothing that was typed
    termios.input_flags |= InputFlags::IGNBRK | InputFlags::IGNPAR;
    termios.input_flags &= !(InputFlags::IXON | InputFlags::IXOFF | InputFlags::IXANY);
    match line.flow {
        Flow::None => {}
        Flow::Hardware => termios.control_flags |= ControlFlags::CRTSCTS,
        Flow::Software => termios.input_flags |= InputFlags::IXON | InputFlags::IXOFF,
    }
    termios.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    termios.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    cfsetspeed(&mut termios, baud(line.speed).ok_or(Errno::EINVAL)?)?;
    tcsetattr(fd, SetArg::TCSANOW, &termios)?;
    // what was on the line before is not for us, nor are our last words for the next one
    tcflush(fd, FlushArg::TCIOFLUSH)
}

fn baud(speed: u32) -> Option<BaudRate> {
    use BaudRate::*;
    Some(match speed {
        50 => B50,
        75 => B75,
        110 => B110,
        134 => B134,
        150 => B150,
        200 => B200,
        300 => B300,
        600 => B600,
        1_200 => B1200,
        1_800 => B1800,
        2_400 => B2400,
        4_800 => B4800,
        9_600 => B9600,
        19_200 => B19200,
        38_400 => B38400,
        57_600 => B57600,
        115_200 => B115200,
        230_400 => B230400,
        460_800 => B460800,
        500_000 => B500000,
        576_000 => B576000,
        921_600 => B921600,
        1_000_000 => B1000000,
        1_152_000 => B1152000,
        1_500_000 => B1500000,
        2_000_000 => B2000000,
        2_500_000 => B2500000,
        3_000_000 => B3000000,
        3_500_000 => B3500000,
        4_000_000 => B4000000,
        _ => return None,
    })
}

/// The program whose session has this terminal (agetty, a shell), as `agetty (123)`.
fn session_on(fd: &OwnedFd) -> Option<String> {
    let device = fstat(fd).ok()?.st_rdev;
    let (major, minor) = (libc::major(device), libc::minor(device));
    // proc(5): tty_nr has the minor number in bits 31 to 20 and 7 to 0, the major in 15 to 8
    let number = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name().into_string().unwrap_or_default();
        if !pid.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        if terminal_of(&stat) == Some(number) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} ({pid})", harmless(name.trim())));
        }
    }
    None
}

/// `tty_nr` of a line of /proc/PID/stat: the name before it may hold anything.
fn terminal_of(stat: &str) -> Option<u32> {
    let rest = stat.rsplit_once(')')?.1;
    let number: i32 = rest.split_whitespace().nth(4)?.parse().ok()?;
    Some(number as u32)
}

mod ioctl {
    use super::{AsRawFd, OwnedFd, libc};

    nix::ioctl_read_bad!(tiocoutq, libc::TIOCOUTQ, libc::c_int);
    nix::ioctl_none_bad!(tiocexcl, libc::TIOCEXCL);
    nix::ioctl_none_bad!(tiocnxcl, libc::TIOCNXCL);

    /// Bytes that the kernel has not yet put on the line; 0 where that is not known (ioctl_tty(2)).
    #[allow(unsafe_code)]
    pub(super) fn waiting(fd: &OwnedFd) -> i32 {
        let mut bytes = 0;
        // SAFETY: TIOCOUTQ writes one int to a place that outlives the call.
        match unsafe { tiocoutq(fd.as_raw_fd(), &mut bytes) } {
            Ok(_) => bytes,
            Err(_) => 0,
        }
    }

    /// Whether others may open the terminal (ioctl_tty(2)).
    #[allow(unsafe_code)]
    pub(super) fn exclusive(fd: &OwnedFd, on: bool) -> nix::Result<()> {
        // SAFETY: both take no argument and act on a descriptor that outlives the call.
        unsafe { if on { tiocexcl(fd.as_raw_fd()) } else { tiocnxcl(fd.as_raw_fd()) } }.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_speed_that_can_be_set_is_one_of_the_systems() {
        assert!(crate::config::serial::SPEEDS.iter().all(|speed| baud(*speed).is_some()));
    }

    #[test]
    fn a_line_is_set_up_as_said_and_raw() {
        use nix::sys::termios::{LocalFlags, cfgetospeed};
        let pty = nix::pty::openpty(None, None).unwrap();
        let usual = Serial::on(Path::new("/dev/x"));
        for (speed, flow, hardware, software) in [
            (9_600, Flow::None, false, false),
            (115_200, Flow::Hardware, true, false),
            (1_000_000, Flow::Software, false, true),
        ] {
            set_up(&pty.slave, &Serial { speed, flow, ..usual.clone() }).unwrap();
            let termios = tcgetattr(&pty.slave).unwrap();
            assert_eq!(Some(cfgetospeed(&termios)), baud(speed));
            assert_eq!(termios.control_flags.contains(ControlFlags::CRTSCTS), hardware);
            assert_eq!(termios.input_flags.contains(InputFlags::IXON), software);
            let eight = ControlFlags::CS8 | ControlFlags::CREAD | ControlFlags::CLOCAL;
            assert!(termios.control_flags.contains(eight));
            let other = ControlFlags::PARENB | ControlFlags::CSTOPB | ControlFlags::HUPCL;
            assert!(!termios.control_flags.intersects(other));
            let cooked = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
            assert!(!termios.local_flags.intersects(cooked));
        }
    }

    #[test]
    fn a_line_that_another_program_locked_or_that_is_none_is_not_taken() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let name = nix::unistd::ttyname(&pty.slave).unwrap();
        let line = Serial::on(&name);
        let ours = Line::open(&line).unwrap();
        assert_eq!(Line::open(&line).err().as_deref(), Some("another program has it"));
        drop(ours);
        assert!(Line::open(&line).is_ok(), "let go of");
        let none = Serial::on(Path::new("/dev/null"));
        assert_eq!(Line::open(&none).err().as_deref(), Some("is no terminal"));
        let gone = Serial::on(Path::new("/dev/no-such-line"));
        assert_eq!(Line::open(&gone).err().as_deref(), Some("there is no such device"));
    }

    #[test]
    fn a_process_and_its_terminal_are_read_whatever_its_name() {
        let stat = "123 (a) b (c) S 1 123 123 1088 123 4194560 115";
        assert_eq!(terminal_of(stat), Some(1_088)); // /dev/ttyS0: 4, 64
        assert_eq!(terminal_of("junk"), None);
    }
}
