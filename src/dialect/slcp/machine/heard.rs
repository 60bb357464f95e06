//! The words between the machine and the node: how it is set up, what it heard, what it asks.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::super::seen::Seen;
use super::answers::Due;
use crate::model::{Handle, IoError, Millis, Net, UserId};

/// How the machine is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Discovery port ("whoisport").
    pub port: u16,
    /// Broadcast addresses beside those of the links.
    pub broadcast: Vec<Ipv4Addr>,
    /// Time between announcements.
    pub announce: Millis,
    /// UDP port for images of 002's NO_IPC branch; 0 for none.
    pub image_port: u16,
    /// Chat ports: even ones from here to there.
    pub ports: (u16, u16),
}

/// A local user as SLCP shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Me {
    /// Its handle.
    pub handle: Handle,
    /// Whether it is in the chat.
    pub joined: bool,
    /// Whether it is away.
    pub away: bool,
    /// The chat port it must have, if any.
    pub wanted_port: Option<u16>,
    /// A port of its own for images (program 001).
    pub image_port: Option<u16>,
}

/// Names one image on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageKey(pub u64);

/// Someone to write to.
#[derive(Clone, Debug, PartialEq)]
pub struct Addressee {
    /// Its handle.
    pub handle: Handle,
    /// Its chat address.
    pub addr: SocketAddrV4,
}

/// What the wire meant, in the model's words.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// Someone said of itself that it is here (JOIN, or its own entry in its own list).
    Here {
        /// Its handle.
        handle: Handle,
        /// Its chat address.
        addr: SocketAddrV4,
        /// The interface it was heard on.
        link: u32,
        /// Whether it is away, where the form says so.
        away: Option<bool>,
        /// A JOIN (which may rename) rather than a list entry (which may not).
        join: bool,
    },
    /// Someone listed somebody else. A hint, to be verified.
    Listed {
        /// The one listed.
        handle: Handle,
        /// Its chat address.
        addr: SocketAddrV4,
        /// Whether it is away.
        away: bool,
        /// The interface the list came in on.
        link: u32,
    },
    /// Someone left, says this address.
    Left {
        /// Who.
        handle: Handle,
        /// Said from.
        from: SocketAddrV4,
    },
    /// Someone is away or back, says this address.
    Away {
        /// Who.
        handle: Handle,
        /// Said from.
        from: SocketAddrV4,
        /// Away or back.
        away: bool,
    },
    /// An answer is due: call [`Machine::answer`](super::Machine::answer) with who is known.
    Asked(Due),
    /// A text.
    Text(TextHeard),
    /// An image begins. Answer with [`Machine::image_stored`](super::Machine::image_stored) after each piece, or
    /// [`Machine::image_refused`](super::Machine::image_refused).
    ImageBegins(ImageHeard),
    /// A piece of it.
    ImageBytes(ImageKey, Vec<u8>),
    /// It is whole, or will not be.
    ImageEnds(ImageKey, Result<(), IoError>),
    /// What was sent under this tag left the machine.
    Sent(u64),
    /// What was sent under this tag will not arrive, or not whole: part of it may have.
    NotSent(u64, IoError),
    /// Nothing of the text sent under this tag arrived: it may be sent again.
    Undelivered(u64, IoError),
    /// The next bytes of the image under this tag are wanted: [`Machine::image_bytes`](super::Machine::image_bytes).
    WantBytes(u64),
    /// A local user's port is open, or none could be had.
    Port(UserId, Result<u16, IoError>),
    /// The discovery port is open, or not.
    Discovery(Result<(), IoError>),
    /// Bytes that mean nothing, or a port beside the main ones that could not be had: one line.
    Complaint {
        /// Who sent them; unspecified where it is our own trouble.
        from: Ipv4Addr,
        /// What is wrong.
        text: String,
    },
}

/// A text that came in.
#[derive(Debug, PartialEq)]
pub struct TextHeard {
    /// The sender's handle, where the form carries it.
    pub from: Option<Handle>,
    /// Where it came from.
    pub source: SocketAddrV4,
    /// Whether `source`'s port may be the sender's chat port (UDP forms).
    pub chat_port: bool,
    /// For whom.
    pub to: UserId,
    /// The text.
    pub text: String,
    /// Marked as an automatic answer.
    pub autoreply: bool,
    /// What it tells of the sender's program, once the node knows who that is.
    pub lesson: Lesson,
}

/// An image that begins to come in.
#[derive(Debug, PartialEq)]
pub struct ImageHeard {
    /// Its name from now on.
    pub key: ImageKey,
    /// The sender's handle, where the form carries it.
    pub from: Option<Handle>,
    /// Where it comes from.
    pub source: SocketAddrV4,
    /// Whether `source`'s port may be the sender's chat port (UDP forms).
    pub chat_port: bool,
    /// For whom.
    pub to: UserId,
    /// Bytes in all, where the form says so.
    pub size: Option<u64>,
    /// What it tells of the sender's program.
    pub lesson: Lesson,
}

/// What one message tells of its sender's program: for [`Machine::learn`](super::Machine::learn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson(pub(in crate::dialect::slcp) Seen);

/// What comes out.
#[derive(Debug, PartialEq)]
pub enum Out {
    /// For the network.
    Net(Net),
    /// For the node.
    Heard(Heard),
}
