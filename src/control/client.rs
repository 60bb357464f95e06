//! The other end of the control socket: for the CLI, and for a console attached to a daemon.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_lock::Mutex;
use futures_lite::FutureExt;

use super::varlink::{self, Call, MAX_REPLY, Reply, SERVICE};
use super::wire::Wire;
use crate::api::{self, INTERFACE, Request, Subscribe};
use crate::command::Command;
use crate::hub::Way;
use crate::model::{Answer, Refusal, Stamped};
use crate::reactor::{Async, Timer};

/// A node answers within this time, in milliseconds, or counts as stuck.
pub const ANSWER_MS: u64 = 10_000;

/// Why there is no connection to a node.
#[derive(Debug)]
pub enum Unreachable {
    /// Nobody listens at any of the places looked at.
    NoNode {
        /// Those places.
        looked: Vec<PathBuf>,
    },
    /// There is a socket, but not for us.
    Denied {
        /// Its path.
        path: PathBuf,
    },
    /// There is something, but it does not answer as a node does.
    Strange {
        /// Its path.
        path: PathBuf,
        /// What it did.
        reason: String,
    },
}

/// A connection to a node. Calls go one after the other; events, where attached, come on a
/// connection of their own.
pub struct Client {
    path: PathBuf,
    /// Taken out while a call is under way: one that is given up leaves none behind, and the next
    /// call makes a new connection instead of reading the old call's reply.
    calls: Mutex<Option<Wire>>,
    events: Option<Mutex<Wire>>,
}

impl Client {
    /// A connection for calls to the node at `path`.
    pub async fn connect(path: &Path) -> Result<Client, Unreachable> {
        let wire = connect(path).await.map_err(|e| Unreachable::from_io(path, &e))?;
        Ok(Client { path: path.into(), calls: Mutex::new(Some(wire)), events: None })
    }

    /// The same at the first of these places where a node is.
    pub async fn connect_any(paths: &[PathBuf]) -> Result<Client, Unreachable> {
        let mut other = None;
        for path in paths {
            match Client::connect(path).await {
                Ok(client) => return Ok(client),
                Err(Unreachable::NoNode { .. }) => {}
                Err(error) => other = other.or(Some(error)),
            }
        }
        Err(other.unwrap_or(Unreachable::NoNode { looked: paths.to_vec() }))
    }

    /// Calls, and every event from now on or after `since`. When it returns, the stream stands.
    pub async fn attach(
        path: &Path,
        since: Option<String>,
        user: Option<String>,
    ) -> Result<Client, Unreachable> {
        let mut client = Client::connect(path).await?;
        match client.subscribe(since, user).await {
            Ok(()) => Ok(client),
            Err(refusal) => {
                Err(Unreachable::Strange { path: path.into(), reason: refusal.to_string() })
            }
        }
    }

    /// Starts the stream of events that [`Way::event`] gives.
    pub async fn subscribe(
        &mut self,
        since: Option<String>,
        user: Option<String>,
    ) -> Result<(), Refusal> {
        let mut wire = connect(&self.path).await.map_err(lost)?;
        let request = Request::Subscribe(Subscribe { since, user, ready: true });
        let first = exchange(&mut wire, &request, None).await?;
        if !first.continues {
            return Err(refusal(first, "Subscribe").unwrap_or_else(strange));
        }
        self.events = Some(Mutex::new(wire));
        Ok(())
    }

    /// Where the node listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection for the next call: the one there is, if the node has not closed it since.
    async fn ready(&self) -> io::Result<Wire> {
        if let Some(mut wire) = self.calls.lock().await.take() {
            let nothing = |e: &io::Error| e.kind() == io::ErrorKind::WouldBlock;
            if wire.try_fill().is_err_and(|e| nothing(&e)) {
                return Ok(wire);
            }
        }
        connect(&self.path).await
    }
}

impl Way for Client {
    async fn ask(
        &self,
        user: Option<String>,
        mut command: Command,
        file: Option<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        if let Command::SendFile { descriptor, .. } | Command::Update { descriptor } = &mut command
        {
            *descriptor = file.as_ref().map(|_| 0);
        }
        let request = Request::Act { user, command };
        let mut wire = self.ready().await.map_err(lost)?;
        let reply = exchange(&mut wire, &request, file).await?;
        *self.calls.lock().await = Some(wire);
        match refusal(reply.clone(), &request.to_json().0) {
            Some(refusal) => Err(refusal),
            None => api::answer_from_json(reply.parameters).ok_or_else(strange),
        }
    }

    async fn event(&self) -> Option<Rc<Stamped>> {
        let mut wire = self.events.as_ref()?.lock().await;
        loop {
            let reply = reply(&mut wire).await.ok()?;
            let mut parameters = reply.parameters;
            let event = parameters.remove("event").filter(|_| reply.error.is_none())?;
            // A kind that we do not know is a newer node's: we can do without.
            if let Ok(event) = serde_json::from_value(event) {
                return Some(Rc::new(event));
            }
        }
    }
}

async fn connect(path: &Path) -> io::Result<Wire> {
    // While the node's backlog is full, connecting fails at once (EAGAIN, unix(7)).
    const TRIES: u32 = 20;
    let mut tries = 1;
    loop {
        match Async::<UnixStream>::connect(path) {
            Ok(stream) => return Ok(Wire::new(stream, MAX_REPLY)),
            Err(e) if tries < TRIES && e.kind() == io::ErrorKind::WouldBlock => {
                tries += 1;
                Timer::after(Duration::from_millis(50)).await;
            }
            Err(e) => return Err(e),
        }
    }
}

/// How long an answer may take: that of an update is there when it is installed, which the daemon
/// itself gives up after 35 minutes.
fn patience(request: &Request) -> Duration {
    match request {
        Request::Act { command: Command::Update { .. }, .. } => Duration::from_secs(36 * 60),
        _ => Duration::from_millis(ANSWER_MS),
    }
}

/// One call and its (first) reply.
async fn exchange(
    wire: &mut Wire,
    request: &Request,
    file: Option<OwnedFd>,
) -> Result<Reply, Refusal> {
    let (method, parameters) = request.to_json();
    let more = matches!(request, Request::Subscribe(_));
    let method = format!("{INTERFACE}.{method}");
    let mut bytes = Vec::new();
    varlink::encode(&Call { method, parameters, more, ..Call::default() }, &mut bytes);
    if bytes.len() > varlink::MAX_FRAME {
        let (bytes, limit) = (bytes.len() as u64, varlink::MAX_FRAME as u64);
        return Err(Refusal::TooLong { bytes, limit });
    }
    let limit = Duration::from_millis(ANSWER_MS);
    let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
    wire.send(&bytes, &files, limit).await.map_err(lost)?;
    let late = async {
        Timer::after(patience(request)).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    reply(wire).or(late).await.map_err(lost)
}

/// The next reply. Cancel-safe: what has come stays in the wire.
async fn reply(wire: &mut Wire) -> io::Result<Reply> {
    loop {
        match wire.frames.next_frame() {
            Ok(Some(frame)) => return serde_json::from_slice(frame).map_err(io::Error::from),
            Ok(None) => {}
            Err(_) => return Err(io::Error::other("a reply without end")),
        }
        if !wire.fill().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The refusal in a reply, if it is one.
fn refusal(reply: Reply, method: &str) -> Option<Refusal> {
    let name = reply.error?;
    if let Some(refusal) = api::refusal_from_json(&name, reply.parameters.clone()) {
        return Some(refusal);
    }
    let standard = name.strip_prefix(SERVICE).unwrap_or(&name).trim_start_matches('.');
    let what = reply.parameters.values().find_map(|v| v.as_str()).unwrap_or_default();
    Some(match standard {
        "InvalidParameter" => Refusal::bad(what, "what was given", "another value"),
        "MethodNotFound" => {
            Refusal::Failed { reason: format!("the running node is older and has no {method}") }
        }
        other => Refusal::Failed { reason: format!("the node answered {other} {what}") },
    })
}

fn lost(error: io::Error) -> Refusal {
    let reason = match error.kind() {
        io::ErrorKind::TimedOut => "the node does not answer".into(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NotFound => "the node is gone".into(),
        _ => format!("the control socket: {error}"),
    };
    Refusal::Failed { reason }
}

fn strange() -> Refusal {
    Refusal::Failed { reason: "the node's answer is not one we know".into() }
}

impl Unreachable {
    fn from_io(path: &Path, error: &io::Error) -> Unreachable {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotADirectory => Unreachable::NoNode { looked: vec![path] },
            io::ErrorKind::PermissionDenied => Unreachable::Denied { path },
            _ => Unreachable::Strange { path, reason: error.to_string() },
        }
    }
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreachable::NoNode { looked } => {
                let looked: Vec<_> = looked.iter().map(|p| p.display().to_string()).collect();
                write!(
                    f,
                    "no node is running (looked at {}): start one with `klatsch run`, or give \
                     --socket PATH",
                    looked.join(", ")
                )
            }
            Unreachable::Denied { path } => write!(
                f,
                "{}: not allowed: ask to be added to the group `{}`",
                path.display(),
                super::socket::GROUP
            ),
            Unreachable::Strange { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for Unreachable {}
