//! The hello chat (Ječná, PROTOCOLS section 004): JSON hello by UDP broadcast, JSON messages over
//! TCP, one shared chat with its history.
//!
//! SANS-IO. [`codec`] says what one object means and writes ours, [`reader`] cuts streams into
//! objects, [`history`] keeps the chat's last messages, [`machine`] talks.

pub mod codec;
pub mod history;
pub mod machine;
pub mod reader;

pub use codec::{Bad, Message, Said};
pub use reader::Reader;

/// Messages of the shared history (the assignment's later revision: "keep last 100").
pub const HISTORY: usize = 100;
/// Bytes that the history takes in an answer, at most: it is one object, read at once.
pub const MAX_HISTORY_BYTES: usize = 64 * 1024;
/// Longest object taken, in bytes: others' histories are longer than ours.
pub const MAX_OBJECT: usize = 256 * 1024;
/// Nesting taken. A history needs 3.
pub const MAX_DEPTH: usize = 16;
/// Longest `peer_id`, in bytes.
pub const MAX_NAME: usize = 128;
/// Longest text taken, in bytes.
pub const MAX_TEXT: usize = 16 * 1024;
/// Longest `new_message` sent, in bytes: what the smallest buffer holds that a program reads TCP
/// with.
pub const MAX_LINE: usize = 4_096;
