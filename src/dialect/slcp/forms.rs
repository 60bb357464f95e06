//! What makes a program's way of speaking: the columns of the one table (`table.rs`).
//!
//! Apart from the code that writes ([`super::encode`], [`super::plan`]) and learns
//! ([`super::seen`]), so that a program new in the wild is one new row and one capture.

use super::said::{ListSeparator, ListWord};
pub use super::table::FORMS;

/// How one program speaks, and so is to be spoken to.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// Its name in config, logs and `peer form`.
    pub name: &'static str,
    /// What text travels by.
    pub transport: Transport,
    /// What stands before a text.
    pub text: TextForm,
    /// How blanks in a text are guarded.
    pub quoting: Quoting,
    /// Whether a text ends in `\n`.
    pub newline: bool,
    /// How an image travels.
    pub image: ImageForm,
    /// How a list of users is written.
    pub list: ListForm,
    /// Where it awaits the answer to its WHO.
    pub answers: Answers,
    /// All that it was ever seen to do; see [`super::seen`].
    pub(super) shows: u64,
}

/// UDP or TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// One connection.
    Tcp,
}

/// What stands before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// `MSG <sender> `
    SenderFirst,
    /// `MSG <receiver> `
    ReceiverFirst,
    /// `MSG <sender> <receiver> `
    Both,
    /// `<sender>: `
    Raw,
    /// `["MSG", "<sender>", "<receiver>", "…"]`
    JsonArray,
}

/// How blanks in a text are guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// Not at all.
    None,
    /// In quotes, `\"` and `\\` within.
    Always,
    /// In quotes where the text holds a blank, a quote or a backslash.
    IfNeeded,
    /// In quotes only where a reader that knows quotes would else lose some of it: ours, so
    /// that programs which know no quotes almost never see one.
    IfMistaken,
    /// A backslash before each blank.
    Backslash,
}

/// How an image travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageForm {
    /// TCP to JOIN port + `plus`, `IMG <sender|receiver> size\n`, the bytes.
    Stream {
        /// Whether the receiver is named instead of the sender.
        receiver: bool,
    },
    /// TCP to JOIN port + 1, `IMG sender file size\n`, the bytes (BYMY).
    StreamNamed,
    /// TCP to a port of its own configuration, `IMG sender file size `, the bytes (001).
    StreamBlank,
    /// TCP, `IMG sender size|comment\n`, 50 ms, the bytes (Meriem).
    StreamPause,
    /// TCP, `IMG file size\n`, wait for `READY` or `OK`, the bytes (pollo, mahiramd).
    StreamAsk,
    /// TCP to JOIN port + 100, `["sender", "file", "<base64>"]` to the end (002 main).
    Json,
    /// One datagram `IMG sender size\n` and up to 60,000 bytes, the rest in further ones (khan).
    Datagram,
    /// A datagram `IMG <sender|receiver> size`, then one with all bytes (Tuna, milad3z).
    TwoDatagrams {
        /// Whether the receiver is named instead of the sender.
        receiver: bool,
        /// Whether the header ends in `\n`.
        newline: bool,
    },
    /// To UDP 6000: `IMG file size`, then datagrams of 512 bytes (002 NO_IPC).
    Chunks,
    /// A datagram `IMG sender receiver port size`; the receiver fetches it there (jalal).
    ConnectBack,
    /// A datagram `IMG sender size\n`, the bytes by TCP (001's document, section 8.1).
    HeadByDatagram,
}

/// How a list of users is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListForm {
    /// Its first word.
    pub word: ListWord,
    /// What stands between entries.
    pub separator: ListSeparator,
    /// Whether it ends in `\n`.
    pub newline: bool,
    /// What it travels by.
    pub over: Transport,
}

/// Where a program awaits the answer to its WHO; several may be set, each gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The port it asked from.
    pub source: bool,
    /// Its JOIN port, by UDP.
    pub join_port: bool,
    /// The second port of its JOIN, by UDP (florandaa).
    pub udp_port: bool,
    /// Port 4000 of its host (Maximilian).
    pub discovery: bool,
    /// Its JOIN port, by TCP (Robin).
    pub stream: bool,
}

/// The row of this name, whatever its case.
pub fn by_name(name: &str) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.name.eq_ignore_ascii_case(name))
}

/// The row for a peer of which nothing is known: what most programs understand.
pub fn default() -> &'static Form {
    &FORMS[0]
}
