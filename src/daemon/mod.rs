//! The process: where the node's core meets sockets, files, signals and the ways in.
//!
//! `driver` is the loop; `udp`, `tcp`, `links`, `signals` and `notify` (systemd) are its thin drivers;
//! `journal` is the log, `place` says where an instance lives; this file starts and ends it all.

mod clock;
mod doctor;
mod driver;
mod heap;
mod hooks;
mod journal;
mod led;
mod links;
mod log;
mod machine;
mod multicast;
mod network;
mod notify;
pub mod place;
mod ports;
mod serial;
mod signals;
mod tcp;
mod terminal;
mod udp;
pub mod update;
mod web;

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_executor::LocalExecutor;
use nix::errno::Errno;

use crate::account;
use crate::command::Command;
use crate::config::{Kept, Settings, Sources, kept};
use crate::control;
use crate::hub::{Hub, Local, Way};
use crate::model::{Answer, Event, Handle, IoError, Status, Wall, What};
use crate::node::linked::Identity;
use crate::node::{self, Birth, Node};
use crate::reactor::spawn;
use crate::store::{Begin, Rules, Store, identity};

pub use machine::mark_for_reset;

use driver::Driver;
use place::{Claim, Held, Place, State, Surroundings};

/// How a node is to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// A console on this terminal (attached to a daemon that runs already), not a daemon.
    pub terminal: bool,
    /// The machine's node rather than a person's: `klatsch run --system`.
    pub system: bool,
    /// `--instance`.
    pub instance: Option<String>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--user`: which of `[[users]]`, by number or handle.
    pub user: Option<String>,
    /// `--as`: who the console acts as.
    pub acting: Option<String>,
}

/// Why a node does not start: one line.
type Stop = String;

/// Runs a node until it ends; in a terminal, attaches to a daemon that runs already.
pub fn start(start: Start) -> ExitCode {
    if let Some((name, value)) = heap::wants() {
        // it may fail, as without /proc: then there is more heap, and all else as ever
        let _ = begin_anew(Some((name, value)));
    }
    heap::hold_little();
    log::start(start.terminal);
    let outcome = crate::reactor::block_on(async {
        if start.terminal {
            if let Some(socket) = daemon_to_attach(&start).await {
                return attach(&start, &socket).await;
            }
        }
        run(start).await
    });
    match outcome {
        // systemd begins a service that ended anew by itself
        Ok(_) if ANEW.load(Ordering::Relaxed) && std::env::var_os("NOTIFY_SOCKET").is_none() => {
            complain(begin_anew(None));
            ExitCode::FAILURE
        }
        Ok(code) => code,
        Err(line) => {
            complain(line);
            ExitCode::FAILURE
        }
    }
}

/// One line to a person on stderr. That nobody reads it there is no reason to end otherwise.
pub fn complain(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "klatsch: {line}");
}

/// The socket of a daemon (`klatsch run`) that this terminal is to attach to: the instance that
/// is named, whatever it is; else a person's or the machine's daemon.
async fn daemon_to_attach(start: &Start) -> Option<PathBuf> {
    let around = Surroundings::of_process();
    let sockets = around.sockets(start.socket.as_deref(), start.instance.as_deref()).ok()?;
    let named = start.socket.is_some() || start.instance.is_some();
    for socket in sockets.into_iter().filter(|path| place::is_live(path)) {
        let Ok(client) = control::Client::connect(&socket).await else { continue };
        let status = Command::Status {};
        match Way::ask(&client, None, status, None).await {
            Ok(Answer::Status(status)) if named || status.mode == DAEMON => {
                return Some(socket);
            }
            _ => {}
        }
    }
    None
}

/// By then a node that starts has joined, and whoever is here has answered it.
const HEARING: Duration = Duration::from_millis(node::CLAIM_MS + 500);

/// How long a slow serial line may take to be told that the node stops.
const LAST_WORDS: Duration = Duration::from_millis(500);

const DAEMON: &str = "daemon";
const TERMINAL: &str = "terminal";

async fn attach(start: &Start, socket: &Path) -> Result<ExitCode, Stop> {
    let client =
        control::Client::attach(socket, None, None).await.map_err(|error| error.to_string())?;
    let chat = terminal::Chat { acting: start.acting.clone(), ask_handle: None, own: false };
    terminal::chat(&client, chat).await
}

/// Everything a node holds while it runs, beside its core.
struct Grounds {
    place: Place,
    held: Option<Held>,
    state: Option<State>,
    sources: Sources,
    kept: Kept,
    settings: Settings,
    /// Lines to be told once there is somebody to tell.
    notes: Vec<String>,
}

fn grounds(start: &Start) -> Result<Grounds, Stop> {
    let around = Surroundings::of_process();
    let whose = around.whose(start.system);
    let activated = control::socket::Socket::is_activated();
    let named = start.instance.is_some() || start.socket.is_some() || !start.terminal;
    let (mut place, mut held) = if named {
        let name = start.instance.as_deref().unwrap_or(place::DEFAULT);
        let place =
            around.place(whose, name, start.socket.as_deref()).map_err(|e| e.to_string())?;
        let held = claim(&place, activated)?;
        (place, held)
    } else {
        around.claim_free(whose).map_err(|e| e.to_string())?
    };
    let mut notes = Vec::new();
    let state = place.hold_state().map_err(|line| notes.push(line)).ok();
    notes.extend(state.as_ref().and_then(|state| machine::reset_if_marked(&state.path)));
    let (kept, note) = match &state {
        Some(state) => kept::read(&state.path),
        None => (Kept::default(), None),
    };
    notes.extend(note.map(|n| n.to_string()));
    let mut sources = around.sources(&place);
    sources.config = start.config.as_deref().map(absolute);
    sources.user.clone_from(&start.user);
    let loaded = sources.load(&kept);
    if let Some(line) = loaded.no_such_user {
        return Err(line);
    }
    notes.extend(loaded.notes.iter().map(ToString::to_string));
    if let (Some(socket), None) = (&loaded.settings.socket, &start.socket) {
        drop(held);
        place = around.place(whose, &place.name, Some(socket)).map_err(|e| e.to_string())?;
        held = claim(&place, activated)?;
    }
    let settings = loaded.settings;
    Ok(Grounds { place, held: Some(held), state, sources, kept, settings, notes })
}

fn claim(place: &Place, activated: bool) -> Result<Held, Stop> {
    match place.claim(activated).map_err(|e| e.to_string())? {
        Claim::Ours(held) => Ok(held),
        Claim::Live => Err(format!(
            "a node runs already as {} at {}: use it, or choose another --instance",
            place.name,
            place.socket.display()
        )),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

async fn run(start: Start) -> Result<ExitCode, Stop> {
    let caught = signals::catch();
    let mut grounds = grounds(&start)?;
    let socket = match control::socket::Socket::from_systemd() {
        Some(socket) => socket,
        None => control::socket::Socket::bind(&grounds.place.socket),
    };
    let socket =
        socket.map_err(|e| format!("{}: {}", grounds.place.socket.display(), IoError::from(e)))?;
    let page = open_page(&mut grounds);
    let epoch = fastrand::u64(..);
    let (told, store_told) = async_channel::unbounded();
    let begin = Begin {
        folder: grounds.state.as_ref().map(|s| s.path.clone()),
        rules: Rules::of(&grounds.settings),
        epoch,
        now: || driver::now(Instant::now()),
    };
    let (store, remembered) =
        Store::start(begin, told).map_err(|e| format!("the storage thread does not start: {e}"))?;
    let (hub, calls) = Hub::new(epoch);
    let asks_handle = start.terminal
        && grounds.settings.users.first().is_some_and(|u| u.handle.is_none())
        && terminal::is_one();
    let identity = match identity(grounds.state.as_ref().map(|s| s.path.as_path())) {
        Ok(identity) => Some(identity),
        Err(line) => {
            grounds.notes.push(line);
            None
        }
    };
    let node = Node::new(
        driver::now(Instant::now()),
        Birth {
            settings: grounds.settings.clone(),
            kept: grounds.kept.clone(),
            epoch,
            seed: fastrand::u64(..),
            fallback: fallback_handle(),
            join: !asks_handle,
            about: Status { page: port_of(page.as_ref()), ..about(&start, &grounds, &socket) },
            remembered,
            identity,
        },
    );
    let executor = Rc::new(LocalExecutor::new());
    let listener = socket.listener().map_err(|e| e.to_string())?;
    let serving =
        control::serve(listener, Rc::clone(&hub), Rc::clone(&executor), control::About::default());
    spawn(&executor, async move {
        // awaited first: a macro that is off evaluates none of its arguments
        let error = serving.await;
        ::log::error!("control socket: {error}");
    })
    .detach();
    for line in std::mem::take(&mut grounds.notes) {
        let at = Wall::from_system(SystemTime::now());
        let event = Event { at, user: None, what: What::Error { text: line } };
        journal::event(&event);
        hub.tell(event);
    }
    let terminal = start.terminal;
    if !terminal {
        ::log::info!(
            "klatsch {} ({}) listens at {}",
            env!("CARGO_PKG_VERSION"),
            grounds.place.name,
            socket.path().display()
        );
    }
    let page = begin_page(&grounds, page, &hub, &executor);
    // A person's node in a terminal has that one console; the lines are the daemon's.
    let lines = if terminal { &[][..] } else { &grounds.settings.serial };
    let consoles = serial::Consoles::start(&executor, &hub, lines, &grounds.settings.imagepath);
    let state = grounds.state.as_ref().map(|s| s.path.clone());
    let machine = machine::Machine::new(socket.path(), state);
    machine.ask_for_logins(&Settings { serial: lines.to_vec(), ..Settings::default() });
    let driver = Driver::new(node, Rc::clone(&executor), Rc::clone(&hub), store, machine);
    let reload = driver::Reload { sources: grounds.sources.clone() };
    let quit = async_channel::bounded::<()>(1);
    if let Some(page) = page.as_ref().filter(|_| !terminal) {
        spawn(&executor, end_when_asked(page.asked.clone(), quit.0.clone())).detach();
    }
    // Boxed: `LocalExecutor::run` holds what it is given four times over, and what is once written
    // to of the stack stays with the process.
    let running = Box::pin(driver.run(caught, calls, store_told, reload, !terminal, quit.1));
    let code = executor
        .run(Box::pin(async {
            if terminal {
                let local = Local::from_start(Rc::clone(&hub));
                let hub = Rc::clone(&hub);
                let acting = start.acting.clone();
                let chat = async {
                    let ask_handle = if asks_handle {
                        Some(free_handle(&hub).await)
                    } else {
                        if !terminal::is_one() {
                            // a script's first line is for whoever is here: they are heard first
                            crate::reactor::Timer::after(HEARING).await;
                        }
                        None
                    };
                    let chat = terminal::Chat { acting, ask_handle, own: true };
                    let code = terminal::chat(&local, chat).await;
                    let _ = quit.0.send(()).await;
                    code
                };
                let (code, ()) = futures_lite::future::zip(chat, running).await;
                code
            } else {
                running.await;
                Ok(ExitCode::SUCCESS)
            }
        }))
        .await;
    if let Some(page) = &page {
        page.site.save();
    }
    hub.close();
    let late = async {
        crate::reactor::Timer::after(LAST_WORDS).await;
    };
    executor.run(futures_lite::future::or(consoles.end(), late)).await;
    drop(socket);
    drop(grounds.held.take());
    drop(grounds.state.take());
    code
}

/// The box's key, and randomness for this run; else why there is no link.
fn identity(folder: Option<&Path>) -> Result<Identity, String> {
    let secret = identity::of(folder).map_err(|e| {
        let file = folder.map(|f| f.join(identity::FILE).display().to_string());
        format!("{}: {e}; there is no link until then", file.unwrap_or_default())
    })?;
    let seed = identity::random().map_err(|e| format!("{e}; there is no link"))?;
    Ok(Identity { secret, seed })
}

/// The page's listener, if it is wanted and can be had.
fn open_page(grounds: &mut Grounds) -> Option<TcpListener> {
    let set = &grounds.settings.web;
    if !set.enabled {
        return None;
    }
    match crate::web::listener(set) {
        Ok(listener) => Some(listener),
        Err(error) => {
            let (port, error) = (set.port, IoError::from(error));
            grounds
                .notes
                .push(format!("the page's port {port} cannot be opened ({error}): web.port"));
            None
        }
    }
}

/// The page while it is served.
struct Page {
    site: Rc<crate::web::site::Site>,
    /// Told when the operator wants the daemon to begin anew.
    asked: async_channel::Receiver<()>,
}

/// The operator wants this process to begin anew when it ends.
static ANEW: AtomicBool = AtomicBool::new(false);

async fn end_when_asked(asked: async_channel::Receiver<()>, quit: async_channel::Sender<()>) {
    if asked.recv().await.is_ok() {
        // the answer to who asked is on its way first
        crate::reactor::Timer::after(LAST_WORDS).await;
        ANEW.store(true, Ordering::Relaxed);
        let _ = quit.send(()).await;
    }
}

/// Begins this program anew in this very process; its sockets and files are opened close-on-exec.
/// `more` is put into its environment. Comes back only if that fails.
fn begin_anew(more: Option<(&str, OsString)>) -> Stop {
    let Err(error) = std::env::current_exe().and_then(|program| Ok(exec(program, more)?));
    format!("the restart failed: {}", IoError::from(error))
}

/// Where it fails nothing has changed. (`CommandExt::exec` has set SIGPIPE back to what ends a
/// process by then; and what the kernel cannot run, as under qemu-user, it gives to /bin/sh.)
fn exec(program: PathBuf, more: Option<(&str, OsString)>) -> nix::Result<Infallible> {
    let text = |text: OsString| CString::new(text.into_vec()).map_err(|_| Errno::EINVAL);
    let args = std::env::args_os().map(text).collect::<Result<Vec<_>, _>>()?;
    let more = more.map(|(name, value)| (OsString::from(name), value));
    let old = std::env::vars_os().filter(|(name, _)| more.as_ref().is_none_or(|m| m.0 != *name));
    let environment: Vec<_> = old.chain(more.clone()).collect();
    let line = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        text(name)
    };
    let environment = environment.into_iter().map(line).collect::<Result<Vec<_>, _>>()?;
    nix::unistd::execve(&text(program.into())?, &args, &environment)
}

fn port_of(listener: Option<&TcpListener>) -> String {
    let port = listener.and_then(|listener| listener.local_addr().ok()).map(|at| at.port());
    port.map_or(String::new(), |port| port.to_string())
}

fn begin_page(
    grounds: &Grounds,
    listener: Option<TcpListener>,
    hub: &Rc<Hub>,
    executor: &Rc<LocalExecutor<'static>>,
) -> Option<Page> {
    let listener = listener?;
    let port = listener.local_addr().ok()?.port();
    let (restart, asked) = async_channel::bounded(1);
    let site = crate::web::site::Site::new(crate::web::site::Ground {
        hub: Rc::clone(hub),
        folder: grounds.state.as_ref().map(|state| state.path.clone()),
        port,
        settings: grounds.settings.clone(),
        host: nix::unistd::gethostname().ok()?.into_string().unwrap_or_default(),
        restart,
    });
    ::log::info!("the page is served at port {port}");
    crate::web::serve(listener, executor, &site);
    Some(Page { site, asked })
}

/// A handle to offer that nobody on the LAN bears, as far as can be heard in a moment.
async fn free_handle(hub: &Hub) -> String {
    crate::reactor::Timer::after(Duration::from_millis(node::CLAIM_MS)).await;
    let wanted = fallback_handle().to_string();
    let command = Command::FreeHandle { handle: wanted.clone() };
    match hub.ask(None, command, None).await {
        Ok(Answer::Handle(handle)) => handle.to_string(),
        _ => wanted,
    }
}

fn about(start: &Start, grounds: &Grounds, socket: &control::socket::Socket) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        instance: grounds.place.name.clone(),
        mode: if start.terminal { TERMINAL } else { DAEMON }.into(),
        pid: std::process::id(),
        socket: socket.path().display().to_string(),
        state: grounds.state.as_ref().map(|s| s.path.display().to_string()).unwrap_or_default(),
        ..Status::default()
    }
}

/// A sensible name for whoever has set none: the login's, or for root and services the host's.
fn fallback_handle() -> Handle {
    let login = account::login(nix::unistd::geteuid().as_raw());
    let login = login.filter(|n| !matches!(n.as_str(), "root" | "klatsch"));
    let host = || {
        let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
        let first = name.split('.').next().unwrap_or_default().to_owned();
        Some(first).filter(|n| !n.is_empty() && n != "localhost" && n != "(none)")
    };
    Handle::nearest(&login.or_else(host).unwrap_or_else(|| "klatsch".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_anew_that_fails_leaves_a_broken_pipe_an_error_and_the_environment_as_it_was() {
        let ignores_pipes = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).unwrap();
            u64::from_str_radix(ignored.trim(), 16).unwrap() >> (nix::libc::SIGPIPE - 1) & 1 == 1
        };
        assert!(ignores_pipes(), "as Rust begins a program");
        let error = exec("/nowhere/klatsch".into(), Some(("KLATSCH_NOT_SET", "1".into())));
        assert_eq!(error, Err(Errno::ENOENT));
        assert!(ignores_pipes());
        assert_eq!(std::env::var_os("KLATSCH_NOT_SET"), None);
    }
}
