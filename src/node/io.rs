//! What goes into the node and what comes out: the whole contract between the core and the world.
//!
//! The driver feeds [`Input`]s with the time they came at and performs [`Action`]s in order.
//! Sockets, streams and files are numbers here; what they stand for is the driver's business.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::command::Command;
use crate::config::Kept;
use crate::model::history::{Change, Found, Query};
use crate::model::{
    Answer, Event, Handle, Interface, IoError, Link, Net, Refusal, SocketId, StreamId,
};

/// A file, named by the node (top bit clear) or by the driver when a descriptor came with a call
/// (top bit set, as with streams).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// Ties an answer to the call that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happened in the world.
#[derive(Debug)]
pub enum Input {
    /// Time passed; sent when [`super::Node::wake_at`] is reached, harmless at any time.
    Tick,
    /// The usable addresses of this machine, whole; sent at start and after each change.
    Links(Vec<Link>),
    /// The interfaces that are up, whole; sent at start and after each change.
    Interfaces(Vec<Interface>),
    /// A datagram came in on a multicast socket.
    Beacon {
        /// On which socket.
        socket: SocketId,
        /// Who sent it.
        from: SocketAddr,
        /// Index of the interface it came in on; 0 if unknown.
        link: u32,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// A `Bind` succeeded.
    Bound(SocketId),
    /// A `Bind` failed.
    BindFailed(SocketId, IoError),
    /// A datagram came in.
    Datagram {
        /// On which socket.
        socket: SocketId,
        /// Who sent it.
        from: SocketAddrV4,
        /// The address it was sent to, if known: ours, or a broadcast address.
        to: Option<Ipv4Addr>,
        /// Index of the interface it came in on; 0 if unknown.
        link: u32,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// A datagram sent to `to` will not arrive: ICMP said so, or the send itself failed.
    Unreachable {
        /// The socket it was sent from.
        socket: SocketId,
        /// Where it should have gone.
        to: SocketAddrV4,
        /// How the datagram began, as far as the error quotes it; empty if it does not.
        bytes: Vec<u8>,
        /// Why.
        error: IoError,
    },
    /// A listener accepted a connection. The driver reads once, then waits for `ReadMore`.
    Accepted {
        /// The listener.
        socket: SocketId,
        /// The new stream.
        stream: StreamId,
        /// The other end.
        from: SocketAddrV4,
    },
    /// The same, of a listener of both families ([`crate::model::Bind::TcpBoth`]).
    AcceptedBoth {
        /// The listener.
        socket: SocketId,
        /// The new stream.
        stream: StreamId,
        /// The other end; of IPv4 as such, never as a mapped address.
        from: SocketAddr,
    },
    /// A `Connect` succeeded. The driver reads once, then waits for `ReadMore`.
    Connected(StreamId),
    /// Bytes came in, never empty, at most [`crate::model::limits::CHUNK`].
    Bytes(StreamId, Vec<u8>),
    /// The other end will send no more; we may still write.
    End(StreamId),
    /// A `Write` was taken over by the kernel whole.
    Wrote(StreamId),
    /// The stream broke, or could not be made; the driver has forgotten it.
    Closed(StreamId, IoError),
    /// A file operation ended.
    File(FileId, Result<FileDone, IoError>),
    /// All `Store` writes up to this one are durable, or this one and those before it that were
    /// not yet answered are not kept.
    Stored(u64, Result<(), IoError>),
    /// Whether the system's clock can be trusted (a battery, or a time server); sent at start and
    /// on change. Until then it cannot.
    Clock(bool),
    /// The answer to an `Action::Query`.
    Found(Ticket, Result<Found, IoError>),
    /// Somebody asks something of the node, as `user` (none: the first).
    Ask {
        /// Comes back in [`Action::Answer`].
        ticket: Ticket,
        /// Who acts.
        user: Option<String>,
        /// What is asked.
        command: Command,
        /// The descriptor that came with it, already handed to the file thread under this name.
        given: Option<FileId>,
    },
    /// The configuration was read again.
    Reload(Box<crate::config::Settings>),
    /// The process is about to end: say goodbye. The driver performs what comes out and exits.
    Goodbye,
}

/// What the driver is to do.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Something on the network.
    Net(Net),
    /// Do something with a file; answered by `Input::File`, except `Discard` and `Close`.
    File(FileId, FileOp),
    /// Keep these, together; answered by `Stored`.
    Store {
        /// Its number: from 1 up, without gaps.
        n: u64,
        /// What is to be kept.
        changes: Vec<Change>,
        /// Something waits for it to be durable. Else it may wait for more, a second or two.
        wanted: bool,
    },
    /// Ask what is kept; everything stored before is in the answer. Answered by `Found`.
    Query(Ticket, Query),
    /// Answer a call.
    Answer(Ticket, Result<Answer, Refusal>),
    /// Tell everyone who listens.
    Tell(Event),
    /// Keep what was set at run time (`state.toml`), replacing what was kept.
    Keep(Box<Kept>),
    /// Hand a received image to the desktop's standard program.
    Show {
        /// Its path.
        path: String,
        /// Whose it is.
        user: Handle,
    },
}

/// What to do with a file. At most one operation per file is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// Make a new, unnamed-as-yet file (`.part`) in the image folder.
    Create {
        /// The name it will bear, without extension; made by the node of safe characters only.
        stem: String,
    },
    /// Append.
    Append(Vec<u8>),
    /// Sync, recognise, give it its name (never replacing another).
    Finish,
    /// Remove an unfinished file. No answer.
    Discard,
    /// Open a regular file for reading.
    Open {
        /// Its path, absolute.
        path: String,
    },
    /// Read, at most [`crate::model::limits::CHUNK`] bytes.
    Read {
        /// From here.
        offset: u64,
    },
    /// Close a file that was read. No answer.
    Close,
}

/// How a file operation went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileDone {
    /// `Create`.
    Created,
    /// `Append`.
    Appended,
    /// `Finish`: the path, and what the image is.
    Finished {
        /// Absolute path of the kept file.
        path: String,
        /// What it is.
        picture: Picture,
    },
    /// `Open`, or a descriptor that came with a call: its size in bytes and what it is.
    Opened {
        /// Bytes.
        size: u64,
        /// What it is.
        picture: Picture,
    },
    /// `Read`: empty at the end.
    Read(Vec<u8>),
}

/// An image's type and size, from its header; it is never decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// `png`, `jpeg`, `gif`, `webp`, `bmp`, `tiff`, `heif`, or `unknown`.
    pub format: &'static str,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
}
