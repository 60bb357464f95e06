//! The words between the node and the machines of hello, room and directory. SLCP has its own
//! ([`super::slcp::machine::Heard`]): it knows of lists, forms and images, which these do not.
//!
//! Each machine is fed what happens on its sockets, told what to say, and polled for [`Out`].
//! Names are the wire's, as they came; what a [`crate::model::Handle`] cannot carry is mapped by
//! the node.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::model::{IoError, Net, UserId, Wall};

/// Someone elsewhere, as a dialect names him.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// The wire's name of him: hello's `peer_id`, room's nickname, directory's user name.
    pub name: String,
    /// Where he is: in room with the UDP port at which he is asked for a private chat, in directory
    /// with the one he logged in from.
    pub at: SocketAddrV4,
}

/// For whom a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The dialect's one shared chat: our lobby.
    Everyone,
    /// One of theirs (going out), in private.
    Contact(Contact),
}

/// Names a private chat (room, directory) for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChatId(pub u32);

/// What the wire meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Someone is here: he said so himself, or his server lists him.
    Here(Contact),
    /// Someone is not here any more, and why, for people.
    Gone(Contact, String),
    /// A text for everyone, or (with `to`) for one of our users.
    Text {
        /// Whose it is.
        from: Contact,
        /// For which of our users; none: for everyone.
        to: Option<UserId>,
        /// The text.
        text: String,
        /// When it was said, where the dialect tells (hello's ids are times): told of history
        /// that was merged, `None` for what was said just now.
        said: Option<Wall>,
    },
    /// What was sent under this tag left the machine; the dialect cannot confirm it.
    Sent(u64),
    /// The other end confirmed what was sent under this tag (hello's `ok` to `new_message`).
    Delivered(u64),
    /// What was sent under this tag will not arrive.
    NotSent(u64, IoError),
    /// A session with someone was made (`true`) or lost.
    Session(Contact, bool),
    /// A private chat: asked for, open, or over.
    Chat(ChatId, Chat),
    /// The dialect's own port is open (none), or not, and why.
    Trouble(Option<String>),
    /// Bytes that mean nothing: one line. From nobody (0.0.0.0) where it is our own trouble.
    Complaint {
        /// Who sent them.
        from: Ipv4Addr,
        /// What is wrong.
        text: String,
    },
}

/// How a private chat stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Chat {
    /// He asks for one with our user: to be accepted or refused.
    Asked(Contact, UserId),
    /// It is open, whoever asked.
    Open(Contact, UserId),
    /// It is over, or did not come about, and why.
    Over(Contact, UserId, String),
}

/// What comes out of a machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// For the network.
    Net(Net),
    /// For the node.
    Heard(Heard),
}
