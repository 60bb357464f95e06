//! Commands about the machine around the node: answered here, since they need files, programs and
//! time that the node has not.
//!
//! The daemon has no rights to restart a machine. It asks root's `klatsch-request.service` for it
//! by a file in a folder beside its runtime folder, which `klatsch-request.path` watches; the
//! file's name says what is asked, its content nothing. See docs/console.md.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;

use super::{clock, doctor, log, network, update};
use crate::command::Command;
use crate::config::Settings;
use crate::hub::{Call, Hub};
use crate::model::{Answer, Event, IoError, Refusal, Wall, What};
use crate::reactor::{Timer, spawn};

/// Lines that LOG shows where none are asked for.
const LINES: u32 = 20;
/// In the state folder: it is to be emptied by the next start.
const RESET: &str = "factory-reset";
/// A request that nobody took by then is withdrawn.
pub(super) const TAKEN: Duration = Duration::from_secs(10);
/// The check-up's stack, in bytes.
const STACK: usize = 256 * 1024;

/// See the module.
pub(super) struct Machine {
    /// Where root answers.
    runtime: PathBuf,
    /// The state folder, if anything is kept.
    state: Option<PathBuf>,
    busy: Rc<Cell<bool>>,
    /// An update is under way.
    updating: Rc<Cell<bool>>,
    /// A browser's time was taken over since the start.
    offered: Cell<bool>,
}

impl Machine {
    pub(super) fn new(socket: &Path, state: Option<PathBuf>) -> Machine {
        let runtime = socket.parent().unwrap_or(Path::new("/")).to_owned();
        if let Some(state) = &state {
            update::sweep(state, &runtime);
        }
        let (busy, updating) = Default::default();
        Machine { runtime, state, busy, updating, offered: Cell::new(false) }
    }

    /// Answers a call for which [`Command::is_machines`] holds.
    pub(super) fn answer(
        &self,
        call: Call,
        settings: &Settings,
        hub: &Rc<Hub>,
        executor: &LocalExecutor<'static>,
    ) {
        let answer = match &call.command {
            Command::Network {} => Ok(Answer::Network(network::interfaces(&settings.interfaces))),
            Command::Log { lines } => {
                let lines = lines.unwrap_or(LINES);
                Ok(Answer::Log(log::last(usize::try_from(lines).unwrap_or(usize::MAX))))
            }
            Command::Update { .. } => match self.is_appliance(settings) {
                Ok(()) => return self.update(call, executor),
                Err(refusal) => Err(refusal),
            },
            Command::SetTime { time } => clock::settable(*time)
                .and_then(|seconds| self.ask(&format!("time-{seconds}"), settings, hub, executor)),
            Command::OfferTime { time } => {
                self.offer(*time, settings, hub, executor);
                Ok(Answer::Done)
            }
            Command::Doctor {} => return self.doctor(call, settings, hub, executor),
            Command::Reboot {} => self.ask("reboot", settings, hub, executor),
            Command::PowerOff {} => self.ask("poweroff", settings, hub, executor),
            Command::FactoryReset {} => self
                .is_appliance(settings)
                .and_then(|()| self.mark())
                .and_then(|()| self.ask("reboot", settings, hub, executor)),
            _ => Err(Refusal::Failed { reason: "that is nothing about the machine".into() }),
        };
        let _ = call.reply.try_send(answer); // who asked may be gone
    }

    fn doctor(
        &self,
        call: Call,
        settings: &Settings,
        hub: &Rc<Hub>,
        executor: &LocalExecutor<'static>,
    ) {
        if self.busy.replace(true) {
            let what = "check-ups at once".into();
            let _ = call.reply.try_send(Err(Refusal::TooMany { what, limit: 1 }));
            return;
        }
        let (hub, settings, busy) = (Rc::clone(hub), settings.clone(), Rc::clone(&self.busy));
        spawn(executor, async move {
            let answer = examine(&hub, settings).await;
            busy.set(false);
            let _ = call.reply.try_send(answer);
        })
        .detach();
    }

    /// Takes the bundle that came with a call to root.
    fn update(&self, call: Call, executor: &LocalExecutor<'static>) {
        let Call { reply, file, .. } = call;
        let failed = |reason: &str| Err(Refusal::Failed { reason: reason.into() });
        let (state, bundle) = match (&self.state, file) {
            (Some(state), Some(bundle)) => (state.clone(), bundle),
            (None, _) => {
                let _ = reply.try_send(failed("nothing is kept: there is no place for an update"));
                return;
            }
            (_, None) => {
                let _ = reply.try_send(failed("no update came with the call"));
                return;
            }
        };
        if self.updating.replace(true) {
            let what = "updates at once".into();
            let _ = reply.try_send(Err(Refusal::TooMany { what, limit: 1 }));
            return;
        }
        let (runtime, updating) = (self.runtime.clone(), Rc::clone(&self.updating));
        let (told, result) = async_channel::bounded(1);
        let thread = std::thread::Builder::new().name("update".into()).stack_size(STACK);
        let begun = thread.spawn(move || {
            let _ = told.send_blocking(update::install(&state, &runtime, bundle));
        });
        spawn(executor, async move {
            let answer = match (begun, result.recv().await) {
                (Ok(_), Ok(result)) => result.map(|line| Answer::Log(vec![line])),
                (Err(error), _) => Err(Refusal::Failed { reason: IoError::from(error).text }),
                _ => Err(Refusal::Failed { reason: "the update broke off".into() }),
            };
            updating.set(false);
            match &answer {
                Ok(Answer::Log(lines)) => ::log::info!("update: {}", lines.join(" ")),
                Err(refusal) => ::log::warn!("update: {refusal}"),
                _ => {}
            }
            let _ = reply.try_send(answer);
        })
        .detach();
    }

    /// A visitor's time, for a box whose clock nobody set: forward only, once, and the clock is
    /// trusted no more than before.
    fn offer(
        &self,
        time: Wall,
        settings: &Settings,
        hub: &Rc<Hub>,
        executor: &LocalExecutor<'static>,
    ) {
        let now = Wall::from_system(std::time::SystemTime::now());
        if !settings.appliance || self.offered.get() || clock::is_trusted() {
            return;
        }
        let Some(seconds) = clock::plausible(now, time) else { return };
        self.offered.set(true);
        ::log::info!("the clock is set by a visitor's browser, and not trusted: {time}");
        let _ = self.ask(&format!("offer-{seconds}"), settings, hub, executor);
    }

    fn is_appliance(&self, settings: &Settings) -> Result<(), Refusal> {
        if settings.appliance {
            return Ok(());
        }
        let what = "this machine is not klatsch's own (appliance = false): it is restarted, \
                    switched off and reset from elsewhere";
        Err(Refusal::Denied { what: what.into() })
    }

    /// Leaves word for the next start that all is to be forgotten.
    fn mark(&self) -> Result<(), Refusal> {
        let Some(state) = &self.state else {
            return Err(Refusal::Failed { reason: "nothing is kept that could be erased".into() });
        };
        mark_for_reset(state).map_err(|error| {
            let path = state.join(RESET).display().to_string();
            Refusal::File { path, reason: error.text }
        })
    }

    fn ask(
        &self,
        what: &str,
        settings: &Settings,
        hub: &Rc<Hub>,
        executor: &LocalExecutor<'static>,
    ) -> Result<Answer, Refusal> {
        self.is_appliance(settings)?;
        let path = requests(&self.runtime).join(what);
        request(&path).map_err(|error| {
            let reason = IoError::from(error).text;
            Refusal::File { path: path.display().to_string(), reason }
        })?;
        ::log::info!("{what} was asked for");
        let (hub, what) = (Rc::clone(hub), what.to_owned());
        spawn(executor, async move {
            Timer::after(TAKEN).await;
            if fs::remove_file(&path).is_ok() {
                let text = format!("{what}: nobody did it: is klatsch-request.path started?");
                ::log::warn!("{text}");
                let at = Wall::from_system(std::time::SystemTime::now());
                hub.tell(Event { at, user: None, what: What::Error { text } });
            }
        })
        .detach();
        Ok(Answer::Done)
    }

    /// Asks for a login prompt on lines that are left to one.
    pub(super) fn ask_for_logins(&self, settings: &Settings) {
        for line in settings.serial.iter().filter(|line| line.on && line.login) {
            let device = line.device.canonicalize().unwrap_or_else(|_| line.device.clone());
            let Some(name) = device.file_name().and_then(|n| n.to_str()) else { continue };
            let path = requests(&self.runtime).join(format!("login-{name}"));
            match request(&path) {
                Ok(()) => ::log::info!("{}: left to a login prompt", line.device.display()),
                Err(error) => ::log::warn!("{}: {}", path.display(), IoError::from(error)),
            }
        }
    }
}

/// The folder of requests: beside the runtime folder and not in it, so that its parent is root's
/// where root empties it, and no link can take its place.
pub(super) fn requests(runtime: &Path) -> PathBuf {
    let mut name = runtime.file_name().unwrap_or_default().to_owned();
    name.push("-request");
    runtime.with_file_name(name)
}

pub(super) fn request(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    fs::File::create(path).map(drop)
}

/// Asks the node, then has a thread look at the machine.
async fn examine(hub: &Hub, settings: Settings) -> Result<Answer, Refusal> {
    let Answer::Status(status) = hub.ask(None, Command::Status {}, None).await? else {
        return Err(Refusal::Failed { reason: "the node does not say how it is".into() });
    };
    let peers = match hub.ask(None, Command::Who { gone: true }, None).await? {
        Answer::Who(peers) => peers,
        _ => Vec::new(),
    };
    let (told, report) = async_channel::bounded(1);
    let patient = doctor::Patient { status: *status, peers, settings };
    let thread = std::thread::Builder::new().name("doctor".into()).stack_size(STACK);
    let failed = |reason: String| Refusal::Failed { reason };
    thread
        .spawn(move || {
            let _ = told.send_blocking(doctor::examine(&patient));
        })
        .map_err(|error| failed(IoError::from(error).text))?;
    match report.recv().await {
        Ok(report) => Ok(Answer::Doctor(report)),
        Err(_) => Err(failed("the check-up broke off".into())),
    }
}

/// Marks a state folder to be emptied by the next start. A link in the mark's place is replaced.
pub fn mark_for_reset(state: &Path) -> Result<(), IoError> {
    let path = state.join(RESET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).open(&path)?.sync_all()?;
    Ok(fs::File::open(state)?.sync_all()?)
}

/// Empties a state folder that was marked for it: all but its lock, the mark last, so that what was
/// interrupted is done by the next start.
pub(super) fn reset_if_marked(state: &Path) -> Option<String> {
    let mark = state.join(RESET);
    if !mark.exists() {
        return None;
    }
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name() == "lock" || path == mark {
            continue;
        }
        let folder = entry.file_type().is_ok_and(|t| t.is_dir());
        let gone = if folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = gone {
            return Some(format!("{}: not erased: {}", path.display(), IoError::from(error)));
        }
    }
    match fs::remove_file(&mark) {
        Ok(()) => Some("all that was set, kept and received was erased, as was asked for".into()),
        Err(error) => Some(format!("{}: {}", mark.display(), IoError::from(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_state_is_emptied_once_and_another_never() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        fs::create_dir(state.join("images")).unwrap();
        for file in ["lock", "state.toml", "images/a.png"] {
            fs::write(state.join(file), "x").unwrap();
        }
        let outside = folder.path().join("../outside-of-it");
        std::os::unix::fs::symlink(&outside, state.join("link")).unwrap();
        assert_eq!(reset_if_marked(state), None);
        assert!(state.join("images/a.png").exists());
        fs::write(state.join(RESET), "").unwrap();
        assert!(reset_if_marked(state).unwrap().contains("was erased"));
        let left: Vec<_> = fs::read_dir(state).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["lock"]);
        assert_eq!(reset_if_marked(state), None);
    }
}
