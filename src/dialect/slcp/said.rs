//! What was said, whatever the variant: the words between the wire and the SLCP machine.
//!
//! Apart from the codec so that both readers (datagrams, streams), the learning and the machine
//! share them without knowing each other.

use std::net::Ipv4Addr;

use crate::model::{BadHandle, Handle};

/// One message, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Someone is here.
    Join {
        /// Who.
        handle: Handle,
        /// The address given in the message (002 main, milad3z); else the source's.
        ip: Option<Ipv4Addr>,
        /// Where text goes to.
        port: u16,
        /// A second port, for UDP (florandaa).
        udp_port: Option<u16>,
        /// How it was written.
        style: JoinStyle,
    },
    /// Someone goes.
    Leave {
        /// Who.
        handle: Handle,
    },
    /// Who is here?
    Who {
        /// Who asks, where it says so.
        handle: Option<Handle>,
        /// Where the answer is wanted (milad3z).
        reply_port: Option<u16>,
        /// Asked as a JSON array: answer likewise (002 main).
        json: bool,
    },
    /// Where is this one? (Rajan, Meriem)
    Whois {
        /// Who is looked for.
        wanted: Handle,
        /// The asker's port, where given (Meriem).
        port: Option<u16>,
    },
    /// The answer to WHOIS.
    Iam(Entry),
    /// A list of users: KNOWUSERS, KNOWNUSERS or SEEN.
    List {
        /// Those that could be read; a bad one is left out, the others stay.
        entries: Vec<Entry>,
        /// How it was written.
        style: ListStyle,
    },
    /// Someone is away.
    Away {
        /// Who.
        handle: Handle,
    },
    /// Someone is back.
    Back {
        /// Who.
        handle: Handle,
    },
    /// A text.
    Text {
        /// Who wrote it; else whoever is at the source address.
        from: Option<Handle>,
        /// For which local user; else the one whose port it came to.
        to: Option<Handle>,
        /// What, without quotes, escapes and autoreply mark.
        text: String,
        /// An automatic answer.
        autoreply: bool,
        /// How it was written.
        style: TextStyle,
    },
    /// An image's header, and as much of the image as came in the same datagram.
    Image(ImageHead),
    /// A piece of an image (002 main, source: `IMG_CHUNK`).
    ImageChunk {
        /// Names the image.
        id: String,
        /// Which piece, as counted by the sender.
        index: u32,
        /// How many pieces.
        total: u32,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Understood and never answered.
    Noise(Noise),
}

/// One user of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub handle: Handle,
    /// Where.
    pub ip: Ipv4Addr,
    /// Where text goes to.
    pub port: u16,
    /// Marked `[AFK]` (001).
    pub away: bool,
}

/// What an image's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHead {
    /// Who sends it, where the header says so.
    pub from: Option<Handle>,
    /// For which local user, where the header says so.
    pub to: Option<Handle>,
    /// The sender's name for it: only to be shown, never a path.
    pub name: Option<String>,
    /// Its size in bytes; unknown for base64.
    pub size: Option<u64>,
    /// Fetch it from this port of the sender (jalal).
    pub connect_back: Option<u16>,
    /// What the sender says about it (Meriem).
    pub comment: Option<String>,
    /// Bytes that followed in the same datagram (khan); always empty over TCP.
    pub body: Vec<u8>,
    /// How it was written.
    pub style: ImageStyle,
}

impl ImageHead {
    /// One that says nothing yet but how it was written.
    pub(super) fn new(style: ImageStyle) -> ImageHead {
        ImageHead {
            from: None,
            to: None,
            name: None,
            size: None,
            connect_back: None,
            comment: None,
            body: Vec::new(),
            style,
        }
    }
}

/// How a JOIN was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinStyle {
    /// Its fields.
    pub shape: JoinShape,
    /// Whether it ended in a line end.
    pub newline: bool,
}

/// The fields of a JOIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinShape {
    /// `JOIN h p`
    Plain,
    /// `JOIN h tcp udp` (florandaa)
    TwoPorts,
    /// `JOIN team h ip p` (milad3z)
    Team,
    /// `JOIN:h:p`
    Colon,
    /// `["JOIN", "h", "ip", p]` (002 main)
    Json,
}

/// How a list was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListStyle {
    /// Its first word.
    pub word: ListWord,
    /// What stood between the entries, where that can be told.
    pub separator: Option<ListSeparator>,
    /// Whether it ended in a line end.
    pub newline: bool,
}

/// The first word of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListWord {
    /// `KNOWUSERS`
    KnowUsers,
    /// `KNOWNUSERS`
    KnownUsers,
    /// `SEEN` (mahiramd)
    Seen,
}

/// How the entries of a list stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListSeparator {
    /// `a ip p, b ip p`
    CommaSpace,
    /// `a ip p,b ip p` (khan, Daniyal)
    Comma,
    /// `a ip p b ip p` (002 NO_IPC, florandaa)
    Spaces,
    /// `a:ip:p,b:ip:p` (Maximilian)
    Colons,
    /// `team a ip p b ip p` (milad3z)
    Team,
    /// `["KNOWNUSERS", "a ip p"]` (002 main)
    Json,
}

/// How a text was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// What its first argument is.
    pub first: First,
    /// How it guards blanks, where that can be told.
    pub quoting: Option<Quoted>,
    /// Whether it ended in a line end.
    pub newline: bool,
}

/// What the first argument of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// `MSG <sender> text`
    Sender,
    /// `MSG <receiver> text`
    Receiver,
    /// `MSG <sender> <receiver> text` (jalal)
    Both,
    /// `<sender>: text`
    Raw,
    /// `["MSG", "sender", "receiver", "text"]` (002 main)
    Json,
    /// `GMSG team sender text` (milad3z)
    Team,
    /// `MSG:sender text%20…`
    Colon,
}

/// How a text guards its blanks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoted {
    /// Not at all.
    No,
    /// `"in quotes"` (Artur, Tuna, Meriem)
    Quotes,
    /// `with\ backslashes` (milad3z)
    Backslash,
}

/// How an image's header was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStyle {
    /// `IMG <sender> size`
    Sender,
    /// `IMG <receiver> size` (Robin, Artur, Tuna)
    Receiver,
    /// `IMG file size` (pollo, mahiramd, 002 NO_IPC)
    Name,
    /// `IMG sender file size\n` (BYMY)
    SenderName,
    /// `IMG sender file size `: a blank ends it (001)
    SenderNameBlank,
    /// `IMG sender size|comment` (Meriem)
    Comment,
    /// `IMG sender receiver port size`: fetch it there (jalal)
    ConnectBack,
    /// `IMG:file:size:`
    Colon,
    /// `["sender", "file", "<base64>"]` (002 main)
    Json,
}

/// Understood, and never answered: two programs that do can talk for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// An empty datagram.
    Empty,
    /// `JOIN_ACK` (Daniyal).
    JoinAck,
    /// `LEAVE_ACK` (Daniyal).
    LeaveAck,
    /// `ERROR: …` (Daniyal).
    Error,
    /// `READY` or `OK`: the other end now takes an image (pollo, mahiramd).
    Ready,
    /// A JSON object: another dialect's, strayed here.
    Object,
}

/// Why a message could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Its bytes are no UTF-8.
    NotUtf8,
    /// It lacks what its first word calls for.
    Missing(&'static str),
    /// No port between 1 and 65535.
    BadPort,
    /// No IPv4 address.
    BadAddress,
    /// No size in bytes.
    BadSize,
    /// A name that is no handle.
    BadHandle(BadHandle),
    /// Longer than we take.
    TooLong {
        /// The most that is taken, in bytes.
        max: usize,
    },
    /// A JSON array that is none, or none that we know.
    BadJson,
    /// Base64 that is none.
    BadBase64,
    /// A first word that nothing known begins with; at most 24 characters of it, harmless.
    Unknown(Box<str>),
}

impl Unreadable {
    /// For a message that begins like this.
    pub(super) fn unknown(text: &str) -> Unreadable {
        let word = text.split_whitespace().next().unwrap_or_default();
        let word: String = word.chars().take(24).collect();
        Unreadable::Unknown(crate::model::text::harmless(&word).into())
    }
}

impl From<BadHandle> for Unreadable {
    fn from(bad: BadHandle) -> Unreadable {
        Unreadable::BadHandle(bad)
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreadable::NotUtf8 => f.write_str("not UTF-8 text"),
            Unreadable::Missing(what) => write!(f, "no {what} given"),
            Unreadable::BadPort => f.write_str("a port is a number from 1 to 65535"),
            Unreadable::BadAddress => f.write_str("not an IPv4 address"),
            Unreadable::BadSize => f.write_str("an image's size is a number of bytes"),
            Unreadable::BadHandle(bad) => bad.fmt(f),
            Unreadable::TooLong { max } => write!(f, "longer than {max} bytes"),
            Unreadable::BadJson => f.write_str("not a JSON message of SLCP"),
            Unreadable::BadBase64 => f.write_str("not base64"),
            Unreadable::Unknown(word) => write!(f, "unknown word `{word}`"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl Said {
    /// A text read as `MSG <sender> <receiver> text` (jalal) whose second word may just as well
    /// have been text: the same with that word put back. For a peer that is known not to name
    /// the receiver, as 001 greeting `MSG Michael Fabian ist da`.
    pub fn receiver_as_text(self) -> Said {
        match self {
            Said::Text { from, to: Some(to), text, autoreply, style }
                if style.first == First::Both =>
            {
                let text = if text.is_empty() { to.to_string() } else { format!("{to} {text}") };
                let style = TextStyle { first: First::Sender, ..style };
                Said::Text { from, to: None, text, autoreply, style }
            }
            said => said,
        }
    }
}
