//! Where an instance lives: its socket, its state folder, and the lock that says it is alive.
//!
//! A system daemon lives in `/run/klatsch` and `/var/lib/klatsch`, a person's node in
//! `$XDG_RUNTIME_DIR/klatsch` and `$XDG_STATE_HOME/klatsch`. The instance `default` lives there
//! itself, another in a folder of its name. A node holds an `flock` beside its socket for as long
//! as it runs: the kernel lets go of it however the node ends, so a socket file without the lock
//! is a dead node's.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::config::Sources;
use crate::model::IoError;

/// The instance that bears no name.
pub const DEFAULT: &str = "default";
/// Instances tried and looked for: `default`, `default-2` … `default-32`.
pub const MAX_INSTANCES: usize = 32;
/// Longest instance name.
pub const MAX_NAME: usize = 32;
/// Longest socket path: `sun_path` without its end (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// Names that would collide with files of the instance `default`.
const RESERVED: [&str; 2] = ["control", "images"];

/// Whose node it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The machine's: `klatsch run --system`, or started by systemd with folders of its own.
    System,
    /// A person's, root in a terminal included.
    Person,
}

/// Why there is no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The name cannot be an instance's.
    BadName(String),
    /// A folder is not ours alone, or cannot be made.
    Folder(PathBuf, String),
    /// The socket's path is longer than a socket's can be.
    TooLong(PathBuf),
    /// Something that is no socket stands where the socket goes.
    InTheWay(PathBuf),
    /// The lock cannot be had.
    Lock(PathBuf, IoError),
    /// All [`MAX_INSTANCES`] names are taken.
    AllTaken,
}

impl std::fmt::Display for NoPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoPlace::BadName(name) => write!(
                f,
                "--instance: found {}, expected up to {MAX_NAME} letters, digits, - and _, and \
                 neither control nor images",
                crate::config::rows::shown(name)
            ),
            NoPlace::Folder(path, why) => write!(f, "{}: {why}", path.display()),
            NoPlace::TooLong(path) => write!(
                f,
                "{}: a socket's path has at most {MAX_SOCKET_PATH} bytes: give a shorter --socket",
                path.display()
            ),
            NoPlace::InTheWay(path) => {
                write!(f, "{}: is there and is no socket; it is left alone", path.display())
            }
            NoPlace::Lock(path, error) => write!(f, "{}: {error}", path.display()),
            NoPlace::AllTaken => {
                write!(f, "{MAX_INSTANCES} instances run already: name another with --instance")
            }
        }
    }
}

impl std::error::Error for NoPlace {}

/// What of the process's surroundings decides the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Effective user id.
    pub uid: u32,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub xdg_config: Option<PathBuf>,
    /// systemd's `$RUNTIME_DIRECTORY`, the first of them.
    pub unit_runtime: Option<PathBuf>,
    /// systemd's `$STATE_DIRECTORY`, the first of them.
    pub unit_state: Option<PathBuf>,
    /// `/tmp`, for a person without `$XDG_RUNTIME_DIR`.
    pub tmp: PathBuf,
    /// `/`; another folder in tests.
    pub root: PathBuf,
}

impl Surroundings {
    /// This process's.
    pub fn of_process() -> Surroundings {
        let path = |name: &str| absolute(std::env::var_os(name));
        // Several folders are joined with colons (systemd.exec(5)).
        let first = |name: &str| {
            let all = std::env::var(name).ok()?;
            absolute(all.split(':').next().map(OsString::from))
        };
        Surroundings {
            uid: nix::unistd::geteuid().as_raw(),
            home: path("HOME"),
            xdg_runtime: path("XDG_RUNTIME_DIR"),
            xdg_state: path("XDG_STATE_HOME"),
            xdg_config: path("XDG_CONFIG_HOME"),
            unit_runtime: first("RUNTIME_DIRECTORY"),
            unit_state: first("STATE_DIRECTORY"),
            tmp: "/tmp".into(),
            root: "/".into(),
        }
    }

    /// Whose node this process is to be; `system` is `--system`. A unit of a person's own
    /// systemd gets its folders below `$XDG_RUNTIME_DIR`: that is a person's node.
    pub fn whose(&self, system: bool) -> Whose {
        let persons = |dir: &PathBuf| {
            dir.starts_with("/run/user")
                || self.xdg_runtime.as_ref().is_some_and(|own| dir.starts_with(own))
                || self.home.as_ref().is_some_and(|h| h != Path::new("/") && dir.starts_with(h))
        };
        let unit = self.unit_runtime.as_ref().or(self.unit_state.as_ref());
        if system || unit.is_some_and(|dir| !persons(dir)) { Whose::System } else { Whose::Person }
    }

    /// The place of an instance. Makes the folder that its socket goes to; the state folder is
    /// [`Place::hold_state`]'s.
    pub fn place(
        &self,
        whose: Whose,
        instance: &str,
        socket: Option<&Path>,
    ) -> Result<Place, NoPlace> {
        check_name(instance)?;
        let socket = match socket {
            Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            None => {
                let base = self.runtime(whose)?;
                let mode = if whose == Whose::System { 0o755 } else { 0o700 };
                make_folder(&base, mode)?;
                let folder = within(&base, instance);
                make_folder(&folder, mode)?;
                folder.join("control")
            }
        };
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(NoPlace::TooLong(socket));
        }
        let state = self.state(whose).map(|base| within(&base, instance));
        Ok(Place { name: instance.to_owned(), whose, socket, state })
    }

    /// Claims `default`, or the first free of `default-2` … after it.
    pub fn claim_free(&self, whose: Whose) -> Result<(Place, Held), NoPlace> {
        for n in 1..=MAX_INSTANCES {
            let name = if n == 1 { DEFAULT.to_owned() } else { format!("{DEFAULT}-{n}") };
            let place = self.place(whose, &name, None)?;
            if let Claim::Ours(held) = place.claim(false)? {
                return Ok((place, held));
            }
        }
        Err(NoPlace::AllTaken)
    }

    /// The sockets that a client should try, the best first. `Err`: no such instance name, or
    /// several instances run and none is the default.
    pub fn sockets(
        &self,
        socket: Option<&Path>,
        instance: Option<&str>,
    ) -> Result<Vec<PathBuf>, NoneToTry> {
        if let Some(path) = socket {
            return Ok(vec![path.to_owned()]);
        }
        let name = instance.unwrap_or(DEFAULT);
        check_name(name).map_err(NoneToTry::Place)?;
        let mut tries = Vec::new();
        if let Ok(base) = self.runtime(Whose::Person) {
            tries.push(within(&base, name).join("control"));
            if instance.is_none() && !tries.iter().any(|path| is_live(path)) {
                let mut others = live_others(&base);
                if others.len() > 1 {
                    return Err(NoneToTry::Several(others.into_iter().map(|o| o.0).collect()));
                }
                tries.extend(others.pop().map(|other| other.1));
            }
        }
        tries.push(within(&self.root.join("run/klatsch"), name).join("control"));
        Ok(tries)
    }

    /// Where the settings of a node at `place` come from, without `--config` and `--user`.
    pub fn sources(&self, place: &Place) -> Sources {
        let mut sources = Sources::system(place.images());
        sources.root.clone_from(&self.root);
        sources.home.clone_from(&self.home);
        sources.appliance = place.whose == Whose::System;
        if place.whose == Whose::Person {
            let base = self.xdg_config.clone();
            let base = base.or_else(|| self.home.as_ref().map(|home| home.join(".config")));
            sources.person = base.map(|base| base.join("klatsch/klatsch.toml"));
        }
        sources
    }

    fn runtime(&self, whose: Whose) -> Result<PathBuf, NoPlace> {
        if whose == Whose::System {
            let unit = self.unit_runtime.clone();
            return Ok(unit.unwrap_or_else(|| self.root.join("run/klatsch")));
        }
        // The specification wants the folder owned by the user with mode 0700; su and sudo leave
        // another person's in the environment.
        if let Some(own) = &self.xdg_runtime {
            if std::fs::metadata(own).is_ok_and(|m| m.is_dir() && m.uid() == self.uid) {
                return Ok(own.join("klatsch"));
            }
        }
        let private = self.tmp.join(format!("klatsch-{}", self.uid));
        make_folder(&private, 0o700)?;
        let folder = |why: &str| Err(NoPlace::Folder(private.clone(), why.to_owned()));
        // Anyone can make this name in /tmp before us.
        match std::fs::symlink_metadata(&private) {
            Err(e) => folder(&IoError::from(e).text),
            Ok(m) if m.is_symlink() => folder("is a symbolic link; remove it"),
            Ok(m) if !m.is_dir() => folder("is no folder; remove it"),
            Ok(m) if m.uid() != self.uid => {
                folder("belongs to somebody else; set XDG_RUNTIME_DIR to a folder of your own")
            }
            Ok(m) if m.mode() & 0o077 != 0 => {
                folder("is open to others; remove it, or make it private with chmod 700")
            }
            Ok(_) => Ok(private),
        }
    }

    fn state(&self, whose: Whose) -> Option<PathBuf> {
        match whose {
            Whose::System => {
                Some(self.unit_state.clone().unwrap_or_else(|| self.root.join("var/lib/klatsch")))
            }
            Whose::Person => {
                let local = || Some(self.home.as_ref()?.join(".local/state"));
                Some(self.xdg_state.clone().or_else(local)?.join("klatsch"))
            }
        }
    }
}

/// Why a client has no socket to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoneToTry {
    /// The instance's name is none.
    Place(NoPlace),
    /// These instances run; one must be named.
    Several(Vec<String>),
}

impl std::fmt::Display for NoneToTry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoneToTry::Place(why) => why.fmt(f),
            NoneToTry::Several(names) => {
                write!(f, "several nodes run: name one with --instance: {}", names.join(", "))
            }
        }
    }
}

impl std::error::Error for NoneToTry {}

/// Where an instance lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The instance's name.
    pub name: String,
    /// Whose it is.
    pub whose: Whose,
    /// Its control socket.
    pub socket: PathBuf,
    /// Its state folder; none where there is no home to put it in.
    pub state: Option<PathBuf>,
}

/// What came of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The place is ours until the value is dropped.
    Ours(Held),
    /// A node lives there.
    Live,
}

/// A held place. Dropping it removes the socket file and lets go of the lock.
#[derive(Debug)]
pub struct Held {
    // Held, not read: the lock ends with it.
    _lock: Flock<File>,
    socket: Option<PathBuf>,
}

/// A state folder that is this node's until the value is dropped.
#[derive(Debug)]
pub struct State {
    /// The folder.
    pub path: PathBuf,
    _lock: Flock<File>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            // Best effort: the next node there removes it too.
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// What it means to have no state folder.
const ONLY_NOW: &str = "nothing is kept beyond this run";

impl Place {
    /// Claims the place: takes the lock, and removes the socket file of a dead node. With
    /// `activated`, systemd made and owns the socket file: it is left alone.
    pub fn claim(&self, activated: bool) -> Result<Claim, NoPlace> {
        let mut path = self.socket.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let lock_error = |e: IoError| NoPlace::Lock(path.clone(), e);
        let file = open_lock(&path).map_err(lock_error)?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(Claim::Live),
            Err((_, errno)) => return Err(lock_error(errno.into())),
        };
        if activated {
            return Ok(Claim::Ours(Held { _lock: lock, socket: None }));
        }
        match std::fs::symlink_metadata(&self.socket) {
            Err(_) => {}
            Ok(m) if !m.file_type().is_socket() => {
                return Err(NoPlace::InTheWay(self.socket.clone()));
            }
            // --socket may point at a socket that some other program listens on.
            Ok(_) if is_live(&self.socket) => return Ok(Claim::Live),
            Ok(_) => std::fs::remove_file(&self.socket).map_err(|e| lock_error(e.into()))?,
        }
        // For a person who looks; nothing reads it.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Claim::Ours(Held { _lock: lock, socket: Some(self.socket.clone()) }))
    }

    /// Makes the state folder, mode 0700, if it is missing, and locks it: two nodes with a
    /// `--socket` each may bear one name. The error is one line; the node goes on without
    /// keeping anything.
    pub fn hold_state(&self) -> Result<State, String> {
        let Some(path) = &self.state else {
            return Err(
                "neither XDG_STATE_HOME nor HOME is set: nothing is kept beyond this run".into()
            );
        };
        let why = |e: IoError| format!("{}: {e}: {ONLY_NOW}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| why(e.into()))?;
        nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).map_err(|e| why(e.into()))?;
        let file = open_lock(&path.join("lock")).map_err(why)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(State { path: path.clone(), _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => Err(format!(
                "{}: another node of this name uses it: {ONLY_NOW}; give this one a name with \
                 --instance",
                path.display()
            )),
            Err((_, errno)) => Err(why(errno.into())),
        }
    }

    /// Where received images go unless a file says otherwise.
    pub fn images(&self) -> PathBuf {
        match &self.state {
            Some(state) => state.join("images"),
            None => self.socket.with_file_name("images"),
        }
    }
}

fn open_lock(path: &Path) -> Result<File, IoError> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    Ok(options.open(path)?)
}

/// Whether somebody accepts connections there. Never waits: a full backlog is a live one.
pub fn is_live(path: &Path) -> bool {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let Ok(address) = UnixAddr::new(path) else { return false };
    let Ok(fd) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else { return false };
    matches!(connect(fd.as_raw_fd(), &address), Ok(()) | Err(Errno::EAGAIN | Errno::EACCES))
}

fn check_name(name: &str) -> Result<(), NoPlace> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let good = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !RESERVED.contains(&name);
    if good { Ok(()) } else { Err(NoPlace::BadName(name.to_owned())) }
}

fn within(base: &Path, instance: &str) -> PathBuf {
    if instance == DEFAULT { base.to_owned() } else { base.join(instance) }
}

fn live_others(base: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(base) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != DEFAULT && check_name(name).is_ok())
        .take(MAX_INSTANCES)
        .collect();
    names.sort();
    let socket = |name: String| {
        let path = base.join(&name).join("control");
        (name, path)
    };
    names.into_iter().map(socket).filter(|(_, path)| is_live(path)).collect()
}

fn make_folder(path: &Path, mode: u32) -> Result<(), NoPlace> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(NoPlace::Folder(path.to_owned(), IoError::from(e).text))
        }
        _ => Ok(()),
    }
}

/// The XDG specification: a relative path is to be taken as not set.
fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
