//! The driver: a real terminal, pipe or file on one side, a [`Way`] to a node on the other, the
//! pure [`Session`] between. One loop, no thread.

#[path = "tty/ends.rs"]
mod ends;
#[path = "tty/json.rs"]
mod json;
#[path = "tty/raw.rs"]
mod raw;
#[path = "tty/spool.rs"]
mod spool;

use std::future::{Future, pending};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::or;

pub use self::ends::Terminal;
use self::ends::{CHUNK, End, Pace, flush, gone, written};
use self::raw::{Raw, Signals};
pub use self::raw::{columns, local_time};
use self::spool::{Sending, Spooled};
use super::editor::Screen;
use super::session::{Session, SessionOptions};
use crate::command::Command;
use crate::config::serial::Mode;
use crate::hub::Way;
use crate::model::{Answer, IoError, Millis, Refusal, Stamped};
use crate::reactor::Timer;
use crate::store::files::open_source;

/// Paths offered for Tab.
const MAX_PATHS: usize = 200;

/// What the end of the input means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eof {
    /// The console ends when all its commands are answered.
    Ends,
    /// Nothing: a node started with its input closed or from /dev/null goes on.
    Ignored,
}

/// How a console is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the end of the input means. A terminal's hang-up ends the console all the same.
    pub eof: Eof,
    /// The first start: ask for a handle, and offer this one.
    pub ask_handle: Option<String>,
    /// A serial line: how fast it takes bytes, in bits per second. Its terminal is raw already,
    /// signals are not its business, and what is typed is always read.
    pub pace: Option<u32>,
    /// The folder for what comes over the line until it is sent on; none: the system's for such.
    pub spool: Option<PathBuf>,
    /// What is spoken at first.
    pub mode: Mode,
    /// Where the session's clock begins.
    pub started: Instant,
    /// The rest; screen and width are set by the terminal, save on a serial line.
    pub session: SessionOptions,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            eof: Eof::Ends,
            ask_handle: None,
            pace: None,
            spool: None,
            mode: Mode::Text,
            started: Instant::now(),
            session: SessionOptions::default(),
        }
    }
}

impl Options {
    /// From the environment: TERM, NO_COLOR, HOME, the current folder.
    pub fn from_env() -> Options {
        let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let session = SessionOptions {
            colour: set("NO_COLOR").is_none(),
            home: set("HOME"),
            base: std::env::current_dir().ok().and_then(|d| d.into_os_string().into_string().ok()),
            clock: local_time,
            paths,
            ..SessionOptions::default()
        };
        Options { session, ..Options::default() }
    }
}

/// How a console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The person said so, or the input ended where that ends it.
    Quit,
    /// The terminal is gone.
    HungUp,
    /// SIGTERM, SIGINT or SIGHUP came.
    Signalled,
    /// The node is gone.
    NodeGone,
    /// The other mode was asked for.
    Mode,
}

/// An answer on its way.
type Asking<'a> = Pin<Box<dyn Future<Output = (u32, Result<Answer, Refusal>)> + 'a>>;

enum Woke {
    Answer(u32, Result<Answer, Refusal>),
    Written(io::Result<usize>),
    Signal,
    Read(io::Result<usize>),
    Event(Option<Rc<Stamped>>),
    Tick,
}

/// Runs a console until it ends. The terminal is raw meanwhile, and as it was afterwards.
pub async fn run<W: Way>(way: &W, terminal: Terminal, options: Options) -> io::Result<Ended> {
    let mut terminal = terminal;
    let mut mode = options.mode;
    let mut rest = Vec::new();
    loop {
        let ended = match mode {
            Mode::Text => text(way, &mut terminal, &options, &mut rest).await?,
            Mode::Json => json::run(way, &mut terminal, &options, &mut rest).await?,
        };
        mode = match (ended, mode) {
            (Ended::Mode, Mode::Text) => Mode::Json,
            (Ended::Mode, Mode::Json) => Mode::Text,
            (ended, _) => return Ok(ended),
        };
    }
}

/// The console for people. `rest`: what the mode before had read already, and what is left of it.
async fn text<W: Way>(
    way: &W,
    terminal: &mut Terminal,
    options: &Options,
    rest: &mut Vec<u8>,
) -> io::Result<Ended> {
    let Terminal { input, output, screen } = terminal;
    let screen = *screen;
    let line = options.pace.is_some();
    let mut raw = match raw(input.as_ref().filter(|_| !line), screen) {
        Err(e) if gone(&e) => return Ok(Ended::HungUp),
        raw => raw?,
    };
    let signals = if line { None } else { Some(Signals::new(raw.is_some())?) };
    let colour = options.session.colour && screen == Screen::Ansi;
    let width = if line { options.session.width } else { columns(output.fd()) };
    let mut pace = Pace::of(options.pace);
    let mut session =
        Session::new(SessionOptions { screen, width, colour, ..options.session.clone() });
    let started = options.started;
    session.set_now(millis(started));
    match &options.ask_handle {
        Some(suggestion) if screen != Screen::Plain => session.ask_handle(suggestion),
        _ => session.start(),
    }

    let mut buffer = [0; CHUNK];
    let mut waiting: Vec<u8> = Vec::new();
    let mut asking: Option<Asking<'_>> = None;
    let mut spool = Spooled::default();
    let mut sending: Option<Sending> = None;
    if !rest.is_empty() {
        session.feed(&std::mem::take(rest));
    }
    let ended = loop {
        while let Some(piece) = session.take_spool() {
            if let Err(error) = spool.take(piece, options.spool.as_deref()) {
                session.spool_failed(&IoError::from(error).text);
            }
        }
        if let Some(path) = session.wants_file() {
            match Sending::open(&path) {
                Ok((head, file)) => {
                    waiting.extend(session.hide());
                    waiting.extend(head);
                    sending = Some(file);
                }
                Err(error) => session.file_sent(Err(&error.text)),
            }
        }
        if let Some(left) = session.wants_json() {
            waiting.extend(session.hide());
            *rest = left;
            break Ended::Mode;
        }
        if asking.is_none() {
            if let Some((ticket, user, command)) = session.next_ask() {
                let spooled = spool.for_command(&command);
                asking =
                    Some(Box::pin(async move { (ticket, ask(way, user, command, spooled).await) }));
            }
        }
        if let Some(file) = sending.take_if(|_| waiting.is_empty()) {
            sending = file.go_on(&mut session, &mut waiting);
        }
        if waiting.is_empty() && sending.is_none() {
            waiting = session.take_output();
        }
        if session.ended() {
            waiting.extend(session.take_output());
            break Ended::Quit;
        }

        let answer = async {
            match &mut asking {
                Some(asking) => {
                    let (ticket, result) = asking.await;
                    Woke::Answer(ticket, result)
                }
                None => pending().await,
            }
        };
        let written = async { Woke::Written(written(output, &pace, &waiting).await) };
        let signal = async {
            signalled(signals.as_ref()).await;
            Woke::Signal
        };
        let read = async {
            match &*input {
                Some(input) if line || !session.busy() => Woke::Read(input.read(&mut buffer).await),
                _ => pending().await,
            }
        };
        let event = async { Woke::Event(way.event().await) };
        let tick = async {
            woken(started, session.wake()).await;
            Woke::Tick
        };
        let woke = or(or(or(answer, written), or(signal, read)), or(event, tick)).await;

        let now = millis(started);
        session.set_now(now);
        match woke {
            Woke::Answer(ticket, result) => {
                asking = None;
                session.answer(ticket, result);
            }
            Woke::Written(Ok(n)) => {
                pace.wrote(n);
                drop(waiting.drain(..n));
            }
            Woke::Written(Err(e)) if gone(&e) => break Ended::HungUp,
            Woke::Written(Err(e)) => return Err(e),
            Woke::Read(Ok(0)) if screen != Screen::Plain => break Ended::HungUp,
            Woke::Read(Ok(0)) => {
                *input = None;
                if options.eof == Eof::Ends {
                    session.end_of_input();
                }
            }
            Woke::Read(Ok(n)) => session.feed(&buffer[..n]),
            Woke::Read(Err(e)) if gone(&e) => break Ended::HungUp,
            Woke::Read(Err(e)) => return Err(e),
            Woke::Event(Some(event)) => session.event(now, &event),
            Woke::Event(None) => {
                session.note("the node is gone");
                waiting.extend(session.hide());
                break Ended::NodeGone;
            }
            Woke::Tick => session.tick(now),
            Woke::Signal => {
                let came = signals.as_ref().map(Signals::take).unwrap_or_default();
                if came.end {
                    waiting.extend(session.hide());
                    break Ended::Signalled;
                }
                if came.resized {
                    session.set_width(columns(output.fd()));
                }
                if came.stop {
                    stop(&mut session, output, &mut waiting, raw.as_mut()).await;
                }
                if came.resumed {
                    if let Some(raw) = &mut raw {
                        raw.set();
                    }
                    session.redraw();
                }
            }
        }
        if session.wants_suspend() && raw.is_some() {
            stop(&mut session, output, &mut waiting, raw.as_mut()).await;
        }
    };
    if ended != Ended::HungUp {
        flush(output, &mut waiting).await;
    }
    Ok(ended)
}

fn millis(since: Instant) -> Millis {
    Millis::try_from(since.elapsed().as_millis()).unwrap_or(Millis::MAX)
}

/// Opens what `SendFile` names here: the person's rights count, not the daemon's. `spooled`: the
/// file itself, which came over the line.
async fn ask<W: Way>(
    way: &W,
    user: Option<String>,
    command: Command,
    spooled: Option<OwnedFd>,
) -> Result<Answer, Refusal> {
    let (to, path) = match command {
        Command::SendFile { to, path, descriptor: None, .. } => (to, path),
        command => return way.ask(user, command, spooled).await,
    };
    if Path::new(&path).is_dir() {
        // the node goes through it itself
        return way
            .ask(user, Command::SendFile { to, path, descriptor: None, name: None }, None)
            .await;
    }
    let file = open_source(Path::new(&path))
        .map_err(|e| Refusal::File { path: path.clone(), reason: e.text })?;
    way.ask(
        user,
        Command::SendFile { to, path, descriptor: Some(0), name: None },
        Some(file.into()),
    )
    .await
}

/// Gives the terminal back, stops this process as Ctrl-Z would, and takes it again.
async fn stop(session: &mut Session, output: &End, waiting: &mut Vec<u8>, raw: Option<&mut Raw>) {
    waiting.extend(session.hide());
    flush(output, waiting).await;
    let Some(raw) = raw else { return };
    raw.restore();
    // SIGSTOP, since our own handler has SIGTSTP.
    if let Err(e) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP) {
        log::debug!("console: cannot stop: {e}");
    }
    raw.set();
    session.set_width(columns(output.fd()));
    session.redraw();
}

/// The terminal made raw, where there is one to type at.
fn raw(input: Option<&End>, screen: Screen) -> io::Result<Option<Raw>> {
    match (input, screen) {
        (Some(input), Screen::Ansi | Screen::Dumb) => Raw::new(input.fd()).map(Some),
        _ => Ok(None),
    }
}

async fn signalled(signals: Option<&Signals>) {
    match signals {
        Some(signals) => signals.wait().await,
        None => pending().await,
    }
}

/// Until so many milliseconds after `started`; without end where there is nothing to wait for.
async fn woken(started: Instant, wake: Option<Millis>) {
    match wake {
        Some(at) => Timer::at(started + Duration::from_millis(at)).await,
        None => pending().await,
    }
}

/// Files and folders that begin so, for Tab.
pub fn paths(begun: &str) -> Vec<String> {
    let (folder, name) = match begun.rsplit_once('/') {
        Some((folder, name)) => (format!("{folder}/"), name),
        None => (String::new(), begun),
    };
    let place = if folder.is_empty() { "." } else { folder.as_str() };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let own = entry.file_name().into_string().ok()?;
            let hidden = own.starts_with('.') && !name.starts_with('.');
            if hidden || !own.starts_with(name) {
                return None;
            }
            let end =
                if std::fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()) { "/" } else { "" };
            Some(format!("{folder}{own}{end}"))
        })
        .take(MAX_PATHS)
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
#[path = "tty_tests.rs"]
mod tests;
