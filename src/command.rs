//! The one table of chat commands: what each is called, takes, does and completes to.
//!
//! Console, socket and CLI all turn what they were given into a [`Command`]; the node carries it
//! out. A new command is one variant here, one row in [`table`] and its arm in `node::commands`.
//!
//! Pure: [`parse`](fn@parse) takes a line, [`complete`](fn@complete) asks its [`Names`] for what
//! only a session knows.

pub mod complete;
pub mod parse;
pub mod table;

pub use complete::{Completion, Names, complete};
pub use parse::{Mistake, Typed, parse};
pub use table::{Kind, ROWS, Row};

use serde::{Deserialize, Serialize};

use crate::model::history::Entry;
use crate::model::{Handle, Wall};

/// The target that means everyone: each peer in turn where a dialect has no room.
pub const LOBBY: &str = "#lobby";

/// What is kept of a user who was removed and may come back: his history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The name it waits under.
    pub name: Handle,
    /// The order after which it begins.
    pub since: u64,
}

/// What the node can be asked to do. In JSON the variant's name is the Varlink method
/// (`org.klatsch.Chat.Send`) and its fields are the method's parameters; the acting `user` stands
/// beside them (see `api`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Command {
    /// The node at a glance.
    Status {},
    /// Who is here; with `gone`, also who was.
    Who {
        #[serde(default)]
        gone: bool,
    },
    /// Enter the chat.
    Join {},
    /// Leave the chat; the node goes on.
    Leave {},
    /// Text to each of `to`: handles, `handle@dialect`, `handle@address`, peer ids, or `#lobby`;
    /// or to one room, `#name`.
    Send { to: Vec<String>, text: String },
    /// An image to each of `to`; to those who are linked any file, or a folder. Either a path that the node opens, or `fileDescriptor`, the
    /// index of a descriptor that came with the call (then `path` only gives its name).
    SendFile {
        to: Vec<String>,
        path: String,
        #[serde(rename = "fileDescriptor", default, skip_serializing_if = "Option::is_none")]
        descriptor: Option<u32>,
        /// What those who are linked are told that it is called, if not as its path ends: what a
        /// guest uploads lies here under a name of ours.
        #[serde(skip)]
        name: Option<String>,
    },
    /// Away (with an optional text that replaces the autoreply), or back.
    SetPresence {
        away: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Another handle.
    SetHandle { handle: String },
    /// What is answered while away; empty for nothing.
    SetAutoreply { text: String },
    /// Silence a peer: nothing of it is shown or answered.
    Block { handle: String },
    /// Hear it again.
    Unblock { handle: String },
    /// One more local user. Taken handles are refused, with a free one.
    AddUser {
        handle: String,
        /// It was here before. Never from outside: who takes a handle does not read what another
        /// said under it.
        #[serde(skip)]
        back: Option<Parked>,
    },
    /// A local user less (never the first).
    RemoveUser {
        handle: String,
        /// Under which name, that nobody can take, what is its waits for it. Never from outside.
        #[serde(skip)]
        park: Option<Handle>,
    },
    /// All settings; or one; or set one.
    Config {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// How a peer's program is to be spoken to; none: learn it again.
    SetForm {
        handle: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        form: Option<String>,
    },
    /// The code by which two people know that their boxes have each other's key.
    Verify { handle: String },
    /// The codes were compared; or another key of that handle is accepted.
    Trust { handle: String },
    /// Enter a room between linked boxes; it is made where nobody is in it.
    RoomJoin { room: String },
    /// Leave it.
    RoomLeave { room: String },
    /// The rooms that are heard of.
    Rooms {},
    /// Who is in one.
    RoomWho { room: String },
    /// The acting user has read what came from a peer.
    MarkRead { with: String },
    /// Free a handle of its key, of a box that is not here; `*`: all that were never compared or
    /// talked with.
    ForgetKey { handle: String },
    /// A private chat with a peer, in a dialect that has them.
    Chat { handle: String },
    /// Yes to what somebody asks for: the number is in its event, and in `Status`.
    Accept { number: u32 },
    /// No to it.
    Refuse { number: u32 },
    /// A file on its way over the link rests: the number as in its event, and in `Status`.
    Pause { number: u32 },
    /// It goes on.
    Resume { number: u32 },
    /// It ends, on either side.
    Cancel { number: u32 },
    /// A private chat's end, or of the asking for it; without a handle, of the newest.
    Close {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handle: Option<String>,
    },
    /// A handle nobody bears, near to the one given.
    FreeHandle { handle: String },
    /// The hello chat's shared history, for its web API alone: no method of the socket.
    #[serde(skip)]
    Shared {},
    /// The page's settings with their PINs, for the page alone: no method of the socket.
    #[serde(skip)]
    PageSettings {},
    /// What the machine sees and what is likely wrong.
    Doctor {},
    /// The machine's interfaces: addresses, links, Wi-Fi.
    Network {},
    /// The last lines of the log.
    Log {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<u32>,
    },
    /// Restart the machine.
    Reboot {},
    /// Switch it off.
    PowerOff {},
    /// Forget all that was kept and received, and restart.
    FactoryReset {},
    /// Install the update whose open file came with the call: the index of its descriptor.
    Update {
        #[serde(rename = "fileDescriptor", default, skip_serializing_if = "Option::is_none")]
        descriptor: Option<u32>,
    },
    /// Set the machine's clock. Who may do that is believed: it counts as right until the machine
    /// restarts.
    SetTime { time: Wall },
    /// What time a visitor's browser has, believed by nobody. Never from outside.
    #[serde(skip)]
    OfferTime { time: Wall },
    /// The newest of what the acting user may read: with somebody, in the lobby, or all of it.
    History {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<String>,
        /// Only what is older than this entry's order.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// The newest of it that holds all these words, or words that begin so.
    Search {
        words: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Deletes for good: one entry by its order, what was said with somebody, or everything.
    Delete {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<String>,
        #[serde(default)]
        all: bool,
    },
    /// Everything that is kept, oldest first, above an order.
    Export {
        #[serde(default)]
        after: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Takes in what was exported; what is there already is passed over.
    Import { entries: Vec<Entry> },
}

/// Whether a setting's value is told to nobody, but only whether it is set: a PIN.
pub fn is_secret(key: &str) -> bool {
    let last = key.rsplit(['.', '-']).next().unwrap_or_default();
    last.eq_ignore_ascii_case("pin")
}

impl Command {
    /// Whether it changes or shows what is the operator's: a console with a PIN asks for it, one
    /// that is not the operator's refuses.
    pub fn is_operators(&self) -> bool {
        // whether there is a PIN is shown to whoever could set it
        if let Command::Config { key, value: None } = self {
            return key.as_deref().is_none_or(is_secret);
        }
        matches!(
            self,
            Command::Config { .. }
                | Command::Trust { .. }
                | Command::ForgetKey { .. }
                | Command::AddUser { .. }
                | Command::RemoveUser { .. }
                | Command::Delete { .. }
                | Command::Export { .. }
                | Command::Import { .. }
                | Command::Network {}
                | Command::Log { .. }
        ) || self.is_drastic()
    }

    /// Whether it is about the machine around the node: the process answers it, not the node.
    pub fn is_machines(&self) -> bool {
        matches!(
            self,
            Command::Doctor {}
                | Command::Network {}
                | Command::Log { .. }
                | Command::OfferTime { .. }
        ) || self.is_drastic()
    }

    /// Whether a person does it who has the chat before him: to write, to read what was said, to
    /// be back. A program that looks how things stand does other things.
    pub fn is_act(&self) -> bool {
        matches!(
            self,
            Command::Send { .. }
                | Command::SendFile { .. }
                | Command::SetPresence { .. }
                | Command::History { .. }
                | Command::Search { .. }
                | Command::Accept { .. }
                | Command::Refuse { .. }
        )
    }

    /// Whether it ends what runs, or sets the clock that all goes by: over the socket only root and
    /// the node's own user may.
    pub fn is_drastic(&self) -> bool {
        matches!(
            self,
            Command::Reboot {}
                | Command::PowerOff {}
                | Command::FactoryReset {}
                | Command::Update { .. }
                | Command::SetTime { .. }
        )
    }
}
