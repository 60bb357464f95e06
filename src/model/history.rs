//! What is kept of a conversation: entries, their recipients' states, and what is asked of them.
//!
//! An entry's place is its [`Entry::order`], a count that only grows, over all conversations and
//! restarts: boards have no clock, so time cannot order. An entry made before the clock could be
//! trusted says so, and is dated again when it first is.

use serde::{Deserialize, Serialize};

use super::{Delivery, Dialect, Direction, EntryId, Handle, Millis, PeerId, Wall};

/// One text or file as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name for ever.
    pub id: EntryId,
    /// Its place: grows by one with each entry that this node makes.
    pub order: u64,
    /// The local user whose it is; none for the lobby as all of them hear it.
    pub user: Option<Handle>,
    /// What it belongs to: a person's handle in lower case, or `#lobby`.
    pub conversation: String,
    /// Who said it.
    pub from: String,
    /// Whether it came in or went out.
    pub direction: Direction,
    /// The dialect it came in by; for what went out that of the first recipient.
    pub dialect: Dialect,
    /// When, by this node's clock.
    pub at: Wall,
    /// Whether that clock could be trusted then.
    pub dated: bool,
    /// Milliseconds of the run's steady clock, to date it again while the run lasts.
    #[serde(skip)]
    pub mono: Millis,
    /// What was said.
    pub body: Body,
    /// An automatic answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub autoreply: bool,
    /// For whom it is, with the state for each. Of what came in: empty.
    pub recipients: Vec<Recipient>,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Body {
    /// A text.
    Text {
        /// It.
        text: String,
    },
    /// An image or another file.
    File {
        /// Absolute path where it is kept, or was sent from.
        path: String,
        /// Bytes.
        size: u64,
        /// `png`, `jpeg`, …; `unknown`.
        format: String,
        /// Pixels.
        width: Option<u32>,
        /// Pixels.
        height: Option<u32>,
        /// It was removed since, to make room for newer ones.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gone: bool,
    },
}

/// One of those an entry is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipient {
    /// The peer as it was known then.
    pub peer: PeerId,
    /// Its handle.
    pub handle: String,
    /// What became of it.
    pub state: Delivery,
    /// Why, where it waits or failed, or what is not sure.
    pub reason: Option<String>,
}

/// Someone of whom something is kept: he can be written to while he is not here.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// His handle as last seen.
    pub handle: Handle,
    /// The peer he was last.
    pub peer: PeerId,
    /// How he was last reached.
    pub dialect: Dialect,
    /// Where, as `ip:port`.
    pub address: String,
}

/// A change to what is kept. Those of one write are kept together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new entry.
    Put(Box<Entry>),
    /// Another state of one recipient.
    State {
        /// The entry.
        id: EntryId,
        /// The recipient, as in the entry.
        peer: PeerId,
        /// The state.
        state: Delivery,
        /// Why.
        reason: Option<String>,
    },
    /// The clock is trusted now: entries of this run (epoch) not dated yet are moved by this.
    Date {
        /// The run.
        epoch: u64,
        /// Wall time of the run's `mono` zero, in milliseconds.
        zero: i64,
    },
    /// Someone was met or moved.
    Met(Known),
    /// What the link keeps of its own: never searched, exported or aged.
    Link(Row),
    /// A local user bears another handle now: what is his goes with him.
    Renamed {
        /// The handle he had.
        from: Handle,
        /// The one he has.
        to: Handle,
    },
}

/// A name and what is kept under it; none: it is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name, unique.
    pub key: String,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

impl Row {
    /// To be kept.
    pub fn put(key: String, value: Vec<u8>) -> Row {
        Row { key, value: Some(value) }
    }

    /// To be deleted.
    pub fn delete(key: String) -> Row {
        Row { key, value: None }
    }
}

/// Who reads or deletes: he sees what is his (after `since`) and the lobby, never another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The local user.
    pub user: Handle,
    /// Only what has a higher order is his: a guest may bear a handle that was another's before.
    pub since: u64,
}

/// What is asked of what is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// The newest entries of a conversation (none: of all), those before `before` (an order),
    /// oldest first in the answer.
    Last {
        /// Who reads.
        reader: Reader,
        /// Whose.
        conversation: Option<String>,
        /// Below this order; none: from the newest.
        before: Option<u64>,
        /// At most so many.
        limit: u32,
    },
    /// Entries from an order on, oldest first: for an export in pages.
    From {
        /// Above this order.
        after: u64,
        /// At most so many.
        limit: u32,
    },
    /// Entries that hold all these words (a word's beginning is enough), the newest last.
    Search {
        /// Who reads.
        reader: Reader,
        /// The words; diacritics and case do not matter.
        words: String,
        /// Below this order; none: from the newest.
        before: Option<u64>,
        /// At most so many.
        limit: u32,
    },
    /// Deletes for good; answered with how many entries went.
    Delete {
        /// Only what he may read; none: whatever it is.
        reader: Option<Reader>,
        /// What.
        what: Forget,
    },
    /// Takes in entries of an export, in the order the node gave them; those whose id is there
    /// already are passed over. Answered with how many were new.
    Import(Vec<Entry>),
}

/// What is to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Forget {
    /// One entry, by its order.
    Entry(u64),
    /// All of a conversation.
    Conversation(String),
    /// Everything.
    All,
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Entries, oldest first; `more`: there are more beyond the limit.
    Entries {
        /// They.
        entries: Vec<Entry>,
        /// Whether the limit cut some.
        more: bool,
    },
    /// So many entries were deleted or taken in.
    Count(u64),
}

/// What a node finds kept when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// The highest order given.
    pub last_order: u64,
    /// Entries with a recipient that is `queued`, oldest first, at most
    /// [`super::limits::MAX_OUTBOX`].
    pub outbox: Vec<Entry>,
    /// Whom we know, the last met last, at most [`super::limits::MAX_KNOWN`].
    pub known: Vec<Known>,
    /// What the link kept, by key.
    pub link: Vec<Row>,
}
