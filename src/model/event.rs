//! What happened, as every way in hears of it.

use serde::{Deserialize, Serialize};

use super::{Delivery, Dialect, EntryId, Handle, PeerId, Wall};

/// One event. In JSON all its fields stand on one level, `kind` names what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the system's clock.
    pub at: Wall,
    /// The local user it concerns; `null` where it concerns the node.
    pub user: Option<Handle>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs)] // field by field in docs/control.md; their names are the wire's
pub enum What {
    /// A text came in or went out.
    Message {
        id: EntryId,
        conversation: String,
        from: String,
        to: String,
        peer: PeerId,
        dialect: Dialect,
        direction: Direction,
        text: String,
        /// An automatic answer of someone who is away.
        autoreply: bool,
    },
    /// An image came in whole (its path), or went out.
    Image {
        id: EntryId,
        conversation: String,
        from: String,
        to: String,
        peer: PeerId,
        dialect: Dialect,
        direction: Direction,
        path: String,
        size: u64,
        /// `png`, `jpeg`, …; `unknown` where the bytes are no image we can name.
        format: String,
        width: Option<u32>,
        height: Option<u32>,
    },
    /// The fate of something sent is known, or better known.
    Delivery {
        id: EntryId,
        recipient: String,
        peer: PeerId,
        state: Delivery,
        reason: Option<String>,
    },
    /// Someone is here.
    PeerJoined {
        peer: PeerId,
        handle: String,
        dialect: Dialect,
        address: String,
        port: u16,
    },
    /// Someone left, or is not heard of any more (the reason says which).
    PeerLeft {
        peer: PeerId,
        handle: String,
        dialect: Dialect,
        reason: String,
    },
    PeerAway {
        peer: PeerId,
        handle: String,
        dialect: Dialect,
    },
    PeerBack {
        peer: PeerId,
        handle: String,
        dialect: Dialect,
    },
    PeerRenamed {
        peer: PeerId,
        handle: String,
        old: String,
        dialect: Dialect,
    },
    /// A session with somebody was made, or (`stands` is false) lost: in dialects that have them.
    Session {
        peer: PeerId,
        handle: String,
        dialect: Dialect,
        stands: bool,
    },
    /// A private chat: asked for, open, or over; in dialects that have them.
    Chat {
        number: u32,
        peer: PeerId,
        handle: String,
        dialect: Dialect,
        state: ChatState,
        reason: Option<String>,
    },
    /// An image is on its way; the last one of a transfer has state `done` or `failed`.
    Transfer {
        id: EntryId,
        /// What ACCEPT, PAUSE … name it by; `null` where it cannot be named (plain dialects).
        number: Option<u32>,
        direction: Direction,
        peer: PeerId,
        handle: String,
        name: String,
        done: u64,
        /// Bytes in all; `null` where the sender did not say.
        size: Option<u64>,
        state: TransferState,
        reason: Option<String>,
    },
    /// Events were missed.
    Gap(super::Gap),
    /// A setting has another value now.
    Config {
        key: String,
        value: String,
    },
    /// Something went wrong; one line that says what and what to do.
    Error {
        text: String,
    },
}

/// The reason of a [`What::PeerLeft`] for somebody who goes on being here: the link is the way
/// to him now, and a [`What::PeerJoined`] says so.
pub const BY_LINK_TOO: &str = "met by the link too: it is one peer";

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To a local user.
    In,
    /// From a local user.
    Out,
}

/// How a private chat stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChatState {
    /// We asked for it, and wait.
    Asking,
    /// We are asked: to be accepted or refused.
    Asked,
    /// Both can write.
    Open,
    /// It is over, or did not come about.
    Over,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferState {
    /// Offered: ACCEPT or REFUSE decides.
    Offered,
    /// Accepted; it waits for its turn, or for the other box.
    Waiting,
    /// It rests: RESUME goes on.
    Paused,
    /// Under way.
    Running,
    /// Whole at the other end (out: all bytes handed over; SLCP has no confirmation).
    Done,
    /// Ended without being whole.
    Failed,
}

impl What {
    /// Whether it is a text or an image that came in.
    pub fn is_content_in(&self) -> bool {
        matches!(
            self,
            What::Message { direction: Direction::In, .. }
                | What::Image { direction: Direction::In, .. }
        )
    }
}
