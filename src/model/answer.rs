//! What a command is answered with: one set of types for console, socket, page and CLI.

use serde::{Deserialize, Serialize};

use super::machine::{InterfaceView, Report};
use super::{ChatState, Delivery, Dialect, EntryId, Handle, PeerId, Presence, Trust, Wall};

/// The answer to a [`crate::command::Command`] that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Done, nothing more to say.
    Done,
    /// To `Status`.
    Status(Box<Status>),
    /// To `Who`.
    Who(Vec<PeerView>),
    /// To `Send` and `SendFile`: one receipt per recipient.
    Sent(Vec<Receipt>),
    /// To `Config`.
    Config(Vec<SettingView>),
    /// To `History`, `Search` and `Export`.
    Page(Page),
    /// To `Delete` and `Import`: so many entries.
    Count(u64),
    /// To `SetHandle`, `AddUser`, `FreeHandle` and `Join`: the handle that holds now.
    Handle(Handle),
    /// To `Verify` and `Trust`.
    Verify(VerifyView),
    /// To `Rooms` and `RoomWho`.
    Rooms(Vec<RoomView>),
    /// To `Shared`: the hello chat's shared history, oldest first.
    Shared(Vec<SharedMessage>),
    /// To `Doctor`.
    Doctor(Report),
    /// To `Network`.
    Network(Vec<InterfaceView>),
    /// To `Log`: the newest line last.
    Log(Vec<String>),
}

/// A linked peer's key, for two people to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyView {
    /// Whose.
    pub handle: String,
    /// The key's name.
    pub fingerprint: String,
    /// The same on both boxes exactly if they have each other's key.
    pub code: String,
    /// People compared it.
    pub verified: bool,
    /// Another key that claims the handle, and is refused.
    pub claim: Option<String>,
    /// The code that one would have.
    pub claim_code: Option<String>,
}

/// A room between linked boxes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomView {
    /// Its name, with the `#`.
    pub room: String,
    /// Whether the acting user is in it.
    pub joined: bool,
    /// Who is, as far as heard.
    pub members: Vec<RoomMember>,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMember {
    /// His handle.
    pub handle: String,
    /// What he is called as an author: the handle, with his box's key where it is not his alone.
    pub name: String,
    /// Whether there is a session with his box now.
    pub here: bool,
    /// How far his box's key is believed.
    pub trust: Trust,
}

/// A message of the hello chat's shared history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMessage {
    /// Its id, a time: milliseconds of 1970, with 16 digits microseconds.
    pub id: u64,
    /// Who said it.
    pub peer_id: String,
    /// What was said.
    pub text: String,
}

/// A peer as people and programs see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Stable name for programs.
    pub id: PeerId,
    /// Who it says it is.
    pub handle: String,
    /// What to type to reach exactly this one: the handle, or `handle@address` where two bear it.
    pub name: String,
    /// The dialects it is reachable in, the best first.
    pub dialect: Vec<Dialect>,
    /// Address of the best route.
    pub address: String,
    /// Port of the best route.
    pub port: u16,
    /// All ways to it, the best first.
    pub routes: Vec<RouteView>,
    /// Whether it is here.
    pub presence: Presence,
    /// How far its identity is believed.
    pub trust: Trust,
    /// When it was last heard itself; `null` while we only know it from another's list.
    pub last_heard: Option<Wall>,
    /// Whether the operator silenced it.
    pub blocked: bool,
}

/// One way to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    /// The dialect spoken on it.
    pub dialect: Dialect,
    /// IP address.
    pub address: String,
    /// The peer's chat port.
    pub port: u16,
    /// The program's form, where it was learned or set (`CONFIG`'s word: see docs/protocols.md).
    pub form: Option<String>,
}

/// What became of one recipient of a `Send`, as far as known when the answer was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The entry; `delivery` events about it bear the same.
    pub id: EntryId,
    /// The recipient's handle.
    pub recipient: String,
    /// The recipient.
    pub peer: PeerId,
    /// Its state.
    pub state: Delivery,
    /// Why, where it failed or waits.
    pub reason: Option<String>,
}

/// Entries of what is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// They, oldest first.
    pub entries: Vec<super::history::Entry>,
    /// There are more: older ones to `History` and `Search`, newer ones to `Export`.
    pub more: bool,
}

/// A local user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserView {
    /// Its handle.
    pub handle: Handle,
    /// Its chat port; `null` while none could be had.
    pub port: Option<u16>,
    /// Whether it is in the chat.
    pub joined: bool,
    /// Whether it is away.
    pub away: bool,
    /// What is answered for it while it is away; empty for nothing.
    pub autoreply: String,
    /// Whether it is a guest (added at run time) rather than the box's own.
    pub guest: bool,
    /// Its history begins after this order: its handle may have been another's before.
    pub since: u64,
}

/// One network interface's IPv4 address that we use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// The interface's name.
    pub name: String,
    /// Our address on it.
    pub address: String,
    /// Where broadcasts go.
    pub broadcast: String,
}

/// A private chat, open or asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatView {
    /// What ACCEPT and REFUSE name it by.
    pub number: u32,
    /// Whose of the node's users it is.
    pub user: Handle,
    /// With whom.
    pub peer: PeerId,
    /// His handle.
    pub handle: String,
    /// In which dialect.
    pub dialect: Dialect,
    /// How it stands.
    pub state: ChatState,
}

/// A file or folder offered or on its way over the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferView {
    /// What ACCEPT, REFUSE, PAUSE, RESUME and CANCEL name it by, in this run.
    pub number: u32,
    /// Its entry; `transfer` events about it bear the same.
    pub id: EntryId,
    /// Whose of the node's users it is.
    pub user: Handle,
    /// Which way it goes.
    pub direction: super::Direction,
    /// With whom.
    pub peer: PeerId,
    /// His handle.
    pub handle: String,
    /// What its sender calls it.
    pub name: String,
    /// Bytes that came or went.
    pub done: u64,
    /// Bytes in all.
    pub size: u64,
    /// Files in all; more than one of a folder.
    pub files: u32,
    /// Where it stands.
    pub state: super::TransferState,
    /// Why it rests, as far as is known.
    pub reason: Option<String>,
}

/// One dialect's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialectView {
    /// Which.
    pub name: Dialect,
    /// Whether it is switched on and its port open.
    pub on: bool,
    /// Its well-known port.
    pub port: u16,
    /// Why it is off, if it should be on.
    pub reason: Option<String>,
}

/// The node at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// klatsch's version.
    pub version: String,
    /// The instance's name.
    pub instance: String,
    /// `daemon` (`klatsch run`) or `terminal` (started by a person in a terminal).
    pub mode: String,
    /// The run's epoch, as in events.
    pub epoch: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime: u64,
    /// Local users, the box's own first.
    pub users: Vec<UserView>,
    /// Dialects.
    pub dialects: Vec<DialectView>,
    /// Interfaces in use.
    pub links: Vec<LinkView>,
    /// Private chats, open or asked for.
    pub chats: Vec<ChatView>,
    /// Files offered or on their way over the link.
    #[serde(default)]
    pub transfers: Vec<TransferView>,
    /// Peers present.
    pub peers: u32,
    /// Handles that were silenced here, in lower case.
    pub blocked: Vec<String>,
    /// The name of this box's key; `null` where there is no link.
    pub fingerprint: Option<String>,
    /// Path of the control socket.
    pub socket: String,
    /// The state folder; empty if the node keeps nothing.
    pub state: String,
    /// Where received images go.
    pub imagepath: String,
    /// The page's address for others on the LAN; empty where it is not served.
    pub page: String,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingView {
    /// Its key, dotted as in the file: `slcp.port`.
    pub key: String,
    /// Its value, as `CONFIG key value` would take it.
    pub value: String,
    /// Whether it can change while the node runs.
    pub live: bool,
    /// One line of help.
    pub help: String,
}

/// Why a command was not carried out. `Display` is the line a person reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Refusal {
    /// No such peer, and nobody like it.
    NoSuchPeer { name: String },
    /// Several peers bear the handle; `choices` are the names to use instead.
    Ambiguous { name: String, choices: Vec<String> },
    /// No local user of that handle.
    NoSuchUser { handle: String },
    /// Someone else bears the handle; `free` is one that nobody does.
    HandleTaken { handle: String, free: Handle },
    /// A value is not what is expected.
    BadValue { what: String, found: String, expected: String },
    /// A text that does not fit, even split.
    TooLong { bytes: u64, limit: u64 },
    /// A table or queue is at its limit.
    TooMany { what: String, limit: u64 },
    /// A file could not be read or is no use.
    File { path: String, reason: String },
    /// The user is not in the chat.
    NotJoined { handle: String },
    /// Not allowed for this caller.
    Denied { what: String },
    /// The node could not do it; the reason says why.
    Failed { reason: String },
}

/// Characters of a refused value that are repeated.
const MAX_SHOWN: usize = 120;

impl Refusal {
    /// A [`Refusal::BadValue`] in the order people read it; of a long value its beginning.
    pub fn bad(what: &str, found: impl Into<String>, expected: impl Into<String>) -> Refusal {
        let mut found: String = found.into();
        if let Some((end, _)) = found.char_indices().nth(MAX_SHOWN) {
            found.truncate(end);
            found.push('…');
        }
        Refusal::BadValue { what: what.into(), found, expected: expected.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::NoSuchPeer { name } => {
                write!(f, "nobody called {name} is here: WHO lists who is")
            }
            Refusal::Ambiguous { name, choices } => {
                write!(f, "{name} could be {}: use one of these names", choices.join(" or "))
            }
            Refusal::NoSuchUser { handle } => {
                write!(f, "{handle} is no user of this node: STATUS lists them")
            }
            Refusal::HandleTaken { handle, free } => {
                write!(f, "{handle} is taken: {free} is free")
            }
            Refusal::BadValue { what, found, expected } => {
                let found = if found.is_empty() { "nothing" } else { found };
                write!(f, "{what}: found {found}, expected {expected}")
            }
            Refusal::TooLong { bytes, limit } => {
                write!(
                    f,
                    "the text has {bytes} bytes, {limit} can be sent at once: send it in parts"
                )
            }
            Refusal::TooMany { what, limit } => {
                write!(f, "too many {what}: at most {limit}")
            }
            Refusal::File { path, reason } => write!(f, "{path}: {reason}"),
            Refusal::NotJoined { handle } => {
                write!(f, "{handle} is not in the chat: JOIN first")
            }
            Refusal::Denied { what } => write!(f, "not allowed: {what}"),
            Refusal::Failed { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for Refusal {}
