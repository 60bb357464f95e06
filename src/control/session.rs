//! One client's connection: its calls in the order they came, and its stream of events.
//!
//! It holds up nobody but itself: calls wait in the hub's bounded queue, events are read from the
//! ring at its own pace, a reply that is not taken in time ends it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::given::keeps_readers_waiting;
use super::interface::DESCRIPTION;
use super::server::{About, FRAME_MS, MAX_SUBSCRIBERS, Seat, WRITE_MS};
use super::varlink::{self, Call, MAX_FRAME, Reply, SERVICE, Standard, TooLong};
use super::wire::{Caller, Wire};
use crate::api::{self, BadRequest, INTERFACE, Object, Request, Subscribe};
use crate::command::Command;
use crate::hub::Hub;
use crate::model::{Refusal, Stamped};
use crate::reactor::Timer;

/// Events are written together up to about so many bytes.
const BATCH: usize = 16 * 1024;

const SERVICE_DESCRIPTION: &str = include_str!("org.varlink.service.varlink");

/// A client's life, from its first call to its end.
pub(super) async fn run(wire: Wire, seat: Seat, hub: Rc<Hub>, about: Rc<About>) {
    let caller = match wire.caller() {
        Ok(caller) => caller,
        Err(error) => return log::debug!("control socket: a client without credentials: {error}"),
    };
    log::debug!("control socket: uid {} gid {} pid {}", caller.uid, caller.gid, caller.pid);
    let mut session = Session { wire, seat, hub, about, caller };
    if let Err(error) = session.live().await {
        log::debug!("control socket: pid {}: {error}", caller.pid);
    }
}

struct Session {
    wire: Wire,
    seat: Seat,
    hub: Rc<Hub>,
    about: Rc<About>,
    caller: Caller,
}

/// What stands at the end of a read.
enum Read {
    Call(Call),
    /// It cannot be understood: this is said, and the connection ends.
    Bad(Reply),
    End,
}

impl Session {
    async fn live(&mut self) -> io::Result<()> {
        loop {
            match self.read().await? {
                Read::Call(call) => {
                    self.seat.works();
                    self.carry_out(call).await?;
                    self.seat.rests();
                }
                Read::Bad(reply) => return self.write(&reply).await,
                Read::End => return Ok(()),
            }
            // A client that keeps its pipe full shares the thread all the same.
            futures_lite::future::yield_now().await;
        }
    }

    async fn read(&mut self) -> io::Result<Read> {
        let mut late: Option<Timer> = None;
        loop {
            match self.wire.frames.next_frame() {
                Ok(Some(frame)) => {
                    return Ok(match serde_json::from_slice(frame) {
                        Ok(call) => Read::Call(call),
                        Err(_) => Read::Bad(Standard::InvalidParameter("call".into()).into()),
                    });
                }
                Ok(None) => {}
                Err(TooLong { bytes, limit }) => {
                    let (bytes, limit) = (bytes as u64, limit as u64);
                    return Ok(Read::Bad(refused(&Refusal::TooLong { bytes, limit })));
                }
            }
            let more = if self.wire.frames.is_begun() {
                let late =
                    late.get_or_insert_with(|| Timer::after(Duration::from_millis(FRAME_MS)));
                let in_time = async {
                    late.await;
                    Err(io::Error::new(io::ErrorKind::TimedOut, "half a call"))
                };
                self.wire.fill().or(in_time).await?
            } else {
                self.wire.fill().await?
            };
            if !more {
                return Ok(Read::End);
            }
        }
    }

    async fn carry_out(&mut self, call: Call) -> io::Result<()> {
        let reply = match self.understand(&call) {
            Ok(Asked::Info(parameters)) => Reply::last(parameters),
            Ok(Asked::Node { user, command, file }) => {
                match self.hub.ask_open(user, command, file).await {
                    Ok(answer) => Reply::last(api::answer_to_json(&answer)),
                    Err(refusal) => refused(&refusal),
                }
            }
            Ok(Asked::Events(subscribe)) => return self.stream(subscribe).await,
            Err(reply) => reply,
        };
        if call.oneway { Ok(()) } else { self.write(&reply).await }
    }

    /// What a call asks for, or the error it gets.
    fn understand(&mut self, call: &Call) -> Result<Asked, Reply> {
        let (interface, method) = call.method.rsplit_once('.').unwrap_or((&call.method, ""));
        if call.upgrade {
            return Err(Standard::MethodNotImplemented(call.method.clone()).into());
        }
        match (interface, method) {
            (SERVICE, "GetInfo") => Ok(Asked::Info(self.info())),
            (SERVICE, "GetInterfaceDescription") => {
                describe(&call.parameters).map(Asked::Info).map_err(Reply::from)
            }
            (SERVICE, _) => Err(Standard::MethodNotFound(call.method.clone()).into()),
            (INTERFACE, _) => {
                let request = Request::from_json(method, call.parameters.clone());
                match request.map_err(|bad| match bad {
                    BadRequest::NoSuchMethod => Standard::MethodNotFound(call.method.clone()),
                    BadRequest::Parameter(name) => Standard::InvalidParameter(name),
                })? {
                    Request::Act { command, .. } if command.is_drastic() && !self.is_trusted() => {
                        let what = "only root and the node's own user may do that";
                        Err(refused(&Refusal::Denied { what: what.into() }))
                    }
                    Request::Act { user, command } => {
                        let file = self.file_for(&command)?;
                        Ok(Asked::Node { user, command, file })
                    }
                    Request::Subscribe(_) if !call.more || call.oneway => {
                        Err(Standard::ExpectedMore.into())
                    }
                    Request::Subscribe(subscribe) => Ok(Asked::Events(subscribe)),
                }
            }
            _ => Err(Standard::InterfaceNotFound(interface.to_owned()).into()),
        }
    }

    /// Whether the caller may do all that the node may.
    fn is_trusted(&self) -> bool {
        is_trusted(self.caller.uid, nix::unistd::geteuid().as_raw())
    }

    fn info(&self) -> Object {
        let About { vendor, product, version, url } = &*self.about;
        let interfaces = [INTERFACE, SERVICE];
        object(json!({"vendor": vendor, "product": product, "version": version, "url": url,
            "interfaces": interfaces}))
    }

    /// The descriptor that a `SendFile` or an `Update` names; or leave to have the node open its path.
    fn file_for(&mut self, command: &Command) -> Result<Option<OwnedFd>, Reply> {
        let (path, descriptor) = match command {
            Command::SendFile { path, descriptor, .. } => (Some(path), descriptor),
            Command::Update { descriptor } => (None, descriptor),
            _ => return Ok(None),
        };
        // Descriptors belong to the first call after them that takes one; what it does not name is
        // closed.
        let files = std::mem::take(&mut self.wire.files);
        if let Some(index) = descriptor {
            let file = files.into_iter().nth(*index as usize);
            let file = file.ok_or(Standard::InvalidParameter("fileDescriptor".into()))?;
            if !self.is_trusted() {
                if let Some(kind) = keeps_readers_waiting(file.as_fd()) {
                    let what = format!(
                        "a file on {kind} may keep the node waiting: copy it to a disk of this \
                         machine first"
                    );
                    return Err(refused(&Refusal::Denied { what }));
                }
            }
            return Ok(Some(file));
        }
        let Some(path) = path else {
            return Err(Standard::InvalidParameter("fileDescriptor".into()).into());
        };
        if !self.is_trusted() {
            let what = "a path is opened for the node's own user only: pass a file descriptor";
            return Err(refused(&Refusal::Denied { what: what.into() }));
        }
        if !Path::new(path).is_absolute() {
            return Err(refused(&Refusal::bad("path", path, "an absolute path")));
        }
        Ok(None)
    }

    /// Events until the client is gone.
    async fn stream(&mut self, ask: Subscribe) -> io::Result<()> {
        let hub = Rc::clone(&self.hub);
        let cursor = match &ask.since {
            Some(since) => hub.resume(since),
            None => Some(hub.tail()),
        };
        let Some(mut cursor) = cursor else {
            return self.write(&Standard::InvalidParameter("since".into()).into()).await;
        };
        if !self.seat.streams() {
            let limit = MAX_SUBSCRIBERS as u64;
            let refusal = Refusal::TooMany { what: "subscribers".into(), limit };
            return self.write(&refused(&refusal)).await;
        }
        if ask.ready {
            let event = json!({"epoch": hub.epoch(), "seq": hub.last(), "user": null,
                "at": crate::model::Wall::from_system(std::time::SystemTime::now()),
                "kind": "ready"});
            self.write(&Reply::one_of(object(json!({"event": event})))).await?;
        }
        let wanted = |event: &Stamped| match (&ask.user, &event.event.user) {
            _ if !hub.is_open(&event.event) => false,
            (Some(wanted), Some(user)) => user.is(wanted),
            _ => true,
        };
        loop {
            let next = async { Ok(Some(hub.next(&mut cursor).await)) };
            let Some(event) = next.or(self.until_gone()).await? else { return Ok(()) };
            let mut bytes = Vec::new();
            hub.batch(&mut cursor, event, |event| {
                if wanted(event) {
                    varlink::encode(&Told::from(event), &mut bytes);
                }
                bytes.len() < BATCH
            })
            .await;
            self.send(&bytes).await?;
        }
    }

    /// Ends with `None` when the client hangs up, or says more than it may meanwhile.
    async fn until_gone<T>(&mut self) -> io::Result<Option<T>> {
        while self.wire.fill().await? {
            if self.wire.frames.waiting() > MAX_FRAME {
                return Err(io::Error::other("calls without end on a stream of events"));
            }
        }
        Ok(None)
    }

    async fn write(&self, reply: &Reply) -> io::Result<()> {
        let mut bytes = Vec::new();
        varlink::encode(reply, &mut bytes);
        self.send(&bytes).await
    }

    async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.wire.send(bytes, &[], Duration::from_millis(WRITE_MS)).await
    }
}

enum Asked {
    Info(Object),
    Node { user: Option<String>, command: Command, file: Option<OwnedFd> },
    Events(Subscribe),
}

/// One event as a reply, without a copy of it.
#[derive(Serialize)]
struct Told<'a> {
    parameters: Parameters<'a>,
    continues: bool,
}

#[derive(Serialize)]
struct Parameters<'a> {
    event: &'a Stamped,
}

impl<'a> From<&'a Stamped> for Told<'a> {
    fn from(event: &'a Stamped) -> Told<'a> {
        Told { parameters: Parameters { event }, continues: true }
    }
}

/// Who may have the node open a file by its path, restart the machine or reset it: otherwise any
/// member of the socket's group could do, through us, what only the node may.
fn is_trusted(caller: u32, us: u32) -> bool {
    caller == 0 || caller == us
}

fn refused(refusal: &Refusal) -> Reply {
    let (name, parameters) = api::refusal_to_json(refusal);
    Reply::error(name, parameters)
}

fn describe(parameters: &Object) -> Result<Object, Standard> {
    let interface = parameters.get("interface").and_then(Value::as_str);
    let description = match interface {
        Some(INTERFACE) => DESCRIPTION,
        Some(SERVICE) => SERVICE_DESCRIPTION,
        Some(other) => return Err(Standard::InterfaceNotFound(other.into())),
        None => return Err(Standard::InvalidParameter("interface".into())),
    };
    Ok(object(json!({"description": description})))
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_and_power_are_for_the_nodes_own_user_and_root() {
        for (caller, us, may) in [(0, 7, true), (7, 7, true), (8, 7, false), (8, 0, false)] {
            assert_eq!(super::is_trusted(caller, us), may, "{caller} {us}");
        }
        let time = crate::model::Wall(1_795_284_000_000);
        assert!(crate::command::Command::SetTime { time }.is_drastic());
        assert!(!crate::command::Command::OfferTime { time }.is_drastic());
    }
}
