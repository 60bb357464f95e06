//! What goes into the node and what comes out: the whole contract between the core and the world.
//!
//! The driver feeds [`Input`]s with the time they came at and performs [`Action`]s in order.
//! Sockets, streams and files are numbers here; what they stand for is the driver's business.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::command::Command;
use crate::config::Kept;
use crate::model::history::{Body, Change, Found, Query};
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
    /// Remove what was received whole, a file or a folder with all that is in it; entries say then
    /// that it is gone. No answer.
    Remove {
        /// Its path, absolute, as the storage thread gave it.
        path: String,
    },
    /// What files that go over the link need beyond that.
    Link(LinkOp),
}

impl FileOp {
    /// Whether it ends the file, and has no answer.
    pub fn is_final(&self) -> bool {
        use FileOp::{Close, Discard, Link, Remove};
        matches!(self, Discard | Close | Remove { .. } | Link(LinkOp::Drop { .. }))
    }
}

/// Operations with files and folders that go over the link. Each is one bounded step: a file is
/// hashed from its beginning over as many as it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOp {
    /// Look at a file or a folder that is to be sent; the error says what cannot be. Answered by
    /// `Surveyed`.
    Survey {
        /// Its path, absolute.
        path: String,
        /// It came as a descriptor, open under this name: that one stays as it is.
        given: Option<FileId>,
    },
    /// Open one of its files; survey it again if it is not open. Answered by `Sought`.
    Seek {
        /// As it was surveyed.
        path: String,
        /// What it was then: the error says that it changed.
        stamp: u64,
        /// Which file, from 0.
        index: u32,
    },
    /// Hash on, a step, at most up to here. Answered by `Hashed`.
    Hash {
        /// The byte.
        upto: u64,
    },
    /// Read and hash on. Answered by `Piece`.
    Piece {
        /// From here.
        offset: u64,
        /// At most so many bytes.
        len: usize,
    },
    /// Open the unfinished file of what is received, or begin it. Answered by `Parted`, or by
    /// `Finished` where it has its name already.
    Part(Box<PartOf>),
    /// Append. Answered by `Appended`.
    Add(Vec<u8>),
    /// Make durable what was added and placed. Answered by `Appended`.
    Sync,
    /// See that it hashes to this, and give it its place. Answered by `Appended`; the last by
    /// `Finished`.
    Place {
        /// Its place in the folder, checked; of a single file empty.
        path: String,
        /// The hash.
        sum: [u8; 32],
        /// No other follows.
        last: bool,
    },
    /// Remove what is unfinished under this name, open or not. No answer.
    Drop {
        /// The name.
        name: String,
    },
}

/// What [`LinkOp::Part`] opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOf {
    /// Names what is unfinished; safe characters only.
    pub name: String,
    /// What the whole will be called, without extension.
    pub stem: String,
    /// The extension, where the bytes are no image that is known.
    pub extension: String,
    /// It is a folder.
    pub folder: bool,
    /// It is kept only if it is an image that is known.
    pub image: bool,
    /// Bytes of the whole.
    pub bytes: u64,
    /// Bytes of the current file that are there: what lies behind is cut off.
    pub offset: u64,
    /// Bytes of the files before it.
    pub before: u64,
}

/// What is to be sent over the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// A folder.
    pub folder: bool,
    /// How many files.
    pub files: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Tells it from what it may become: paths, sizes and times of change.
    pub stamp: u64,
    /// What a single file is.
    pub picture: Picture,
    /// Of a folder: what was passed over, since it is neither file nor folder.
    pub passed: u32,
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
    /// `Survey`.
    Surveyed(Survey),
    /// `Seek`: the file's bytes, its place in the folder (empty for a single file), and the bytes
    /// of those before it. Nothing of it is hashed yet.
    Sought {
        /// Its bytes.
        size: u64,
        /// Its place.
        path: String,
        /// Bytes of the files before it.
        before: u64,
    },
    /// `Hash`: up to here.
    Hashed(u64),
    /// `Piece`: the bytes, and with the last of them the hash of all.
    Piece(Vec<u8>, Option<[u8; 32]>),
    /// `Part`: bytes that are there, none of them hashed yet.
    Parted(u64),
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

impl Picture {
    /// What the history has of a file with such a beginning.
    pub(super) fn body(&self, path: String, size: u64) -> Body {
        let (format, width, height) = (self.format.into(), self.width, self.height);
        Body::File { path, size, format, width, height, gone: false }
    }
}
