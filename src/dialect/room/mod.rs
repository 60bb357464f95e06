//! The chat room of program 000: clients register at a server over TCP, what one says the server
//! hands to all, and two of them chat in private, asked by UDP and held over TCP.
//!
//! SANS-IO. Two framings of the same commands are about (docs/protocols.md): lines (branch
//! `prototype`) and lengths (branch `main`). [`codec`] reads and writes both; [`machine`] is the
//! server, a client at another's server, and the private chats of our users.

pub mod codec;
pub mod machine;
#[cfg(test)]
mod tests;

pub use codec::{Frames, Framing, Listed, Said, parse};
pub use machine::{Machine, Setup, Shown};

/// Longest command taken, in bytes: the real server's receive buffer.
pub const MAX_FRAME: usize = 4_096;
/// Longest command sent, its framing included: the real clients read so much at once and decode
/// each read for itself.
pub const MAX_SENT: usize = 1_024;
/// Longest nickname, in bytes.
pub const MAX_NICK: usize = crate::model::limits::MAX_HANDLE;
/// Clients at our server.
pub const MAX_CLIENTS: usize = 64;
/// Registrations taken from one address within [`REGISTRATIONS_MS`].
pub const MAX_REGISTRATIONS: usize = 20;
/// See [`MAX_REGISTRATIONS`].
pub const REGISTRATIONS_MS: u64 = 60_000;
/// A connection that does not register within this time is closed, in milliseconds.
pub const REGISTER_MS: u64 = 10_000;
/// Commands that one client may send at once; afterwards one in [`COMMAND_MS`].
pub const COMMAND_BURST: u32 = 20;
/// See [`COMMAND_BURST`], in milliseconds.
pub const COMMAND_MS: u64 = 200;
/// Bytes that wait for one reader who does not take them; beyond, its connection is closed.
pub const MAX_QUEUE: usize = 64 * 1024;
/// Parts that a longer text may be split into.
pub const MAX_PARTS: usize = 8;
/// Users taken from the list of another's server.
pub const MAX_LISTED: usize = 256;
/// Private chats, open or asked for.
pub const MAX_CHATS: usize = 32;
/// Private chats that one address may ask for at a time.
pub const MAX_ASKS_PER_SOURCE: usize = 2;
/// Refusals that nobody here decided, at once: whom they go to may never have asked.
pub const REFUSALS_BURST: u32 = 16;
/// One more such refusal, in milliseconds; whoever gets none gives up by himself.
pub const REFUSALS_MS: u64 = 100;
/// Texts that wait for one private chat to open.
pub const MAX_WAITING: usize = 16;
/// Longest text taken from a private chat in one piece, in bytes.
pub const MAX_TEXT: usize = 4_096;
/// A private chat that was asked for and not answered is over after this, in milliseconds.
pub const ASK_MS: u64 = 60_000;
/// Addresses that may be tried for a server at 9000 (`discover`).
pub const MAX_CANDIDATES: usize = 64;
/// Pause between tries at a server at first, in milliseconds; it doubles.
pub const RETRY_MS: u64 = 2_000;
/// Longest pause between tries, in milliseconds.
pub const MAX_RETRY_MS: u64 = 60_000;
/// A server that does not answer REGISTER in one framing for so long is tried in the other, in
/// milliseconds.
pub const WELCOME_MS: u64 = 3_000;
