//! The words between the link's machine and the node.

use std::net::{Ipv4Addr, SocketAddr};

pub use super::files::{Offer, Outcome, Verdict};
pub use super::frame::{Content, Far};
use super::noise::{Fingerprint, Secret};
pub use super::queue::Row;
use crate::model::{EntryId, Handle, Millis, Net, Wall};

/// What the machine is told at birth.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The box's key.
    pub secret: Secret,
    /// 32 bytes of the kernel's randomness, never used before.
    pub seed: [u8; 32],
    /// The first port tried for sessions; where it is taken, others.
    pub port: u16,
    /// The port of the beacons.
    pub beacon_port: u16,
    /// Whether beacons are sent and heard.
    pub beacon: bool,
    /// Milliseconds between beacons.
    pub announce: Millis,
    /// Boxes named by the operator.
    pub named: Vec<Named>,
    /// What this box says it can: [`super::machine::CAPABILITIES`], and what the operator allows.
    pub capabilities: u32,
    /// Linked boxes are told of each other, and believed to be where others say: as a beacon is.
    pub tell: bool,
    /// How long messages of rooms are kept for members that are not here.
    pub keep: Millis,
    /// The first number for our sockets; four are used.
    pub sockets: u32,
    /// The first number for our streams.
    pub streams: u64,
}

/// A box that the operator named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it is.
    pub at: SocketAddr,
    /// Its key; none: whatever it proves there at first is pinned.
    pub fingerprint: Option<Fingerprint>,
}

/// One of our users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its handle.
    pub handle: Handle,
    /// A guest, whose handle others do not pin.
    pub guest: bool,
    /// In the chat: else it is not told of, and still written to.
    pub joined: bool,
    /// Away, with what it said.
    pub away: Option<String>,
}

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// What the node calls it; comes back in [`Settled`].
    pub entry: EntryId,
    /// Which of our users.
    pub from: Handle,
    /// For whom.
    pub to: Far,
    /// When, by our clock.
    pub said: Wall,
    /// What.
    pub content: Content,
}

/// What is to be kept before something goes on: the node says [`super::machine::Machine::kept`]
/// with the token, unless that is 0: then nothing waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Names it.
    pub token: u64,
    /// What.
    pub rows: Vec<Row>,
}

/// What became of something sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// As it was given.
    pub entry: EntryId,
    /// Whose it is.
    pub from: Handle,
    /// For whom it was.
    pub to: Far,
    /// None: it is durable there. Else it was refused for good, and why.
    pub refused: Option<String>,
    /// It was an offer of a file: it is offered now, or it is over.
    pub offer: bool,
}

/// What the node is to do with a transfer's file; one after the other, and one at a time: each is
/// answered before the next comes, save `Close` and `Discard`, which have no answer and may come
/// at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileDo {
    /// Giving: open file `index` of what was offered, and hash it up to `offset`. Answered by
    /// [`super::machine::Machine::file_opened`].
    Open {
        /// What was offered, on this machine.
        path: String,
        /// What it was then.
        stamp: u64,
        /// Which of its files.
        index: u32,
        /// From where it is wanted.
        offset: u64,
    },
    /// Giving: read on from here, at most so much. Answered by
    /// [`super::machine::Machine::file_read`].
    Read {
        /// From here.
        offset: u64,
        /// Bytes.
        len: usize,
    },
    /// Taking: open the unfinished file with so many bytes of it, and hash those. Answered by
    /// [`super::machine::Machine::file_ready`].
    Part {
        /// Names the unfinished file.
        name: String,
        /// What it will be called.
        stem: String,
        /// What is taken.
        offer: Offer,
        /// It is kept only if it is an image that is known.
        image: bool,
        /// Which of its files.
        index: u32,
        /// Bytes of that file that are there.
        offset: u64,
        /// Bytes of the files before it.
        before: u64,
    },
    /// Taking: add these. Answered by [`super::machine::Machine::file_done`].
    Append(Vec<u8>),
    /// Taking: make durable what was added. Answered by
    /// [`super::machine::Machine::file_done`].
    Sync,
    /// Taking: it is whole; see that it is what was sent, and give it its name. Answered by
    /// [`super::machine::Machine::file_done`]; the last of them by
    /// [`super::machine::Machine::take_done`].
    Place {
        /// Its place in the folder; of a single file empty.
        path: String,
        /// Its hash.
        sum: [u8; 32],
        /// No other follows: the whole gets its name.
        last: bool,
    },
    /// Let go of it; what is unfinished stays.
    Close,
    /// Let go of it, and remove what is unfinished.
    Discard {
        /// Names the unfinished file.
        name: String,
    },
}

/// How far a transfer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileNews {
    /// It begins or goes on; bytes moved.
    Moved,
    /// It rests; why, as the other side says.
    Rests(String),
    /// It is over, by word of the other side or because it cannot be.
    Over(Outcome, String),
}

/// Where a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Offered, not accepted yet.
    Offered,
    /// Accepted, and waits for its turn or for the other box.
    Waits,
    /// Under way.
    Runs,
    /// Rests, by our word.
    Paused,
    /// Rests, by the other side's.
    PausedThere,
}

/// A transfer, as the node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView<'a> {
    /// The machine's number of it, in this run.
    pub no: u64,
    /// We give; else we take.
    pub giver: bool,
    /// With whom.
    pub far: Far,
    /// Which of our users.
    pub user: &'a Handle,
    /// Our entry of it.
    pub entry: EntryId,
    /// What.
    pub offer: &'a Offer,
    /// What it is on this machine: the path it is read from, or the stem of the name it will get.
    pub path: &'a str,
    /// Bytes that came or went.
    pub done: u64,
    /// We take it, and nobody was asked.
    pub unasked: bool,
    /// Where it stands.
    pub state: FileState,
}

/// What the wire meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Someone is here, or is here in another way than before.
    Here {
        /// Who.
        who: Far,
        /// From where.
        at: SocketAddr,
        /// The IPv4 addresses of that box, as it says, at which it proved its key.
        v4: Vec<Ipv4Addr>,
        /// All that it says.
        claimed: Vec<Ipv4Addr>,
        /// A guest of that box.
        guest: bool,
        /// Away, with what he said.
        away: Option<String>,
        /// His key was compared by people.
        verified: bool,
    },
    /// Someone is not here any more, and why.
    Gone {
        /// Who.
        who: Far,
        /// Why.
        why: String,
    },
    /// A message for one of our users: to be answered at once by `take` or `refuse`.
    Message {
        /// Names it.
        token: u64,
        /// Whose.
        from: Far,
        /// What its author calls it.
        entry: EntryId,
        /// For whom.
        to: Handle,
        /// When he said it, by his clock.
        said: Wall,
        /// What.
        content: Content,
    },
    /// Something about a file on its way.
    File {
        /// The machine's number of it.
        no: u64,
        /// What.
        news: FileNews,
    },
    /// Things sent before have their fate; the rows are to be kept with that.
    Settled {
        /// They.
        done: Vec<Settled>,
        /// What is to be kept.
        rows: Vec<Row>,
    },
    /// Messages of a room, ours and others': to be kept, then told, in this order; answered by
    /// [`super::machine::Machine::room_kept`].
    Room(Box<super::rooms::Write>),
    /// A message of ours to a room is durable at the box of these.
    RoomDelivered {
        /// As it was given.
        entry: EntryId,
        /// Whose it is.
        from: Handle,
        /// They.
        to: Vec<Far>,
    },
    /// Messages of ours to a room that will not be said: their author left it.
    Unsaid(Vec<EntryId>),
    /// People there have read these messages of ours.
    Read {
        /// Whose box says so.
        of: Fingerprint,
        /// As they were given.
        entries: Vec<EntryId>,
    },
    /// A handle was heard for the first time: its key is pinned from now on.
    Pinned(Far),
    /// Somebody claims a handle that another key is pinned to: refused.
    Changed {
        /// The handle, and the key that claims it.
        claim: Far,
        /// The key that is pinned.
        pinned: Fingerprint,
        /// From where.
        at: SocketAddr,
    },
    /// Another process holds our key: the operator copied the state folder.
    Twin(SocketAddr),
    /// Sessions can be made to us (none), or not, and why.
    Trouble(Option<String>),
    /// What somebody did that no honest box does: one line.
    Complaint {
        /// From where.
        from: SocketAddr,
        /// What.
        text: String,
    },
}

/// What comes out of the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// For the network.
    Net(Net),
    /// To be kept.
    Keep(Keep),
    /// To be done with the file of this transfer.
    File(u64, FileDo),
    /// For the node.
    Heard(Heard),
}
