//! The login directory of program 003: clients log in at a server by UDP and are answered with
//! everyone who is; two of them chat over TCP 5001, without another word.
//!
//! SANS-IO. [`codec`] reads and writes the datagrams and the texts; [`machine`] is the server, a
//! client of another's server, and the chats of our users.

pub mod codec;
pub mod machine;
#[cfg(test)]
mod tests;

pub use codec::{Said, parse};
pub use machine::{Machine, Setup, Shown};

/// Largest datagram, both ways: the real programs' receive buffer.
pub const MAX_DATAGRAM: usize = 1_000;
/// Most bytes of a chat that the real client reads at once; it decodes each read for itself.
pub const MAX_READ: usize = 100;
/// Longest user name, in bytes.
pub const MAX_NAME: usize = crate::model::limits::MAX_HANDLE;
/// Users logged in at our server; one more takes the place of whoever was not heard for longest.
pub const MAX_USERS: usize = 256;
/// Names logged in from one address; one more takes the place of its oldest.
pub const MAX_PER_SOURCE: usize = 8;
/// Who did not log in again for so long is not listed any more, in milliseconds. The real client
/// does so only when its user asks for the list.
pub const EXPIRY_MS: u64 = 2 * 3_600_000;
/// Answers to one address at once; afterwards one in [`ANSWER_MS`].
pub const ANSWER_BURST: u32 = 10;
/// See [`ANSWER_BURST`], in milliseconds.
pub const ANSWER_MS: u64 = 1_000;
/// Answers to all addresses together at once, afterwards one in [`ALL_ANSWERS_MS`]: an answer is
/// the whole list, up to [`MAX_DATAGRAM`] bytes, so that forged sources draw 64 KiB a second.
pub const ALL_ANSWERS_BURST: u32 = 64;
/// See [`ALL_ANSWERS_BURST`], in milliseconds.
pub const ALL_ANSWERS_MS: u64 = 16;
/// Users taken from another server's list: as many as a datagram may hold.
pub const MAX_LISTED: usize = 64;
/// Our users log in again so often, in milliseconds: it is how the list comes.
pub const REFRESH_MS: u64 = 30_000;
/// An answer must come within this time, in milliseconds.
pub const REPLY_MS: u64 = 5_000;
/// So many logins without an answer, and the server is gone.
pub const MAX_LOST: u32 = 3;
/// Chats, open or being made.
pub const MAX_CHATS: usize = 32;
/// Texts that wait for one chat to be made.
pub const MAX_WAITING: usize = 16;
/// Parts that a longer text may be split into: the reads of the others are short.
pub const MAX_PARTS: usize = 32;
/// Longest text taken in one piece, in bytes.
pub const MAX_TEXT: usize = 4_096;
/// Texts that one partner may send at once; afterwards one in [`TEXT_MS`].
pub const TEXT_BURST: u32 = 20;
/// See [`TEXT_BURST`], in milliseconds.
pub const TEXT_MS: u64 = 200;
/// Between two writes, in milliseconds: time enough for a read of its own.
pub const READ_PAUSE_MS: u64 = 100;
/// Whoever connects and is not accepted in this time is closed, in milliseconds.
pub const ASKED_MS: u64 = 60_000;
