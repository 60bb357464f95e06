//! Simple Local Chat Protocol, in every variant seen on the wire (docs/protocols.md).
//!
//! SANS-IO. Inward: [`codec`] reads datagrams and lines, [`stream`] what comes over TCP, both
//! into [`said::Said`]. Outward: [`encode`] writes what [`forms`], the one table of the known
//! programs' habits, says a peer understands; [`seen`] learns which row a peer is.

pub mod codec;
pub mod encode;
pub mod forms;
mod image;
mod json;
mod lists;
pub mod machine;
pub mod plan;
pub mod said;
pub mod seen;
pub mod stream;
mod table;
#[cfg(test)]
mod tests;
mod unbase64;
mod words;

pub use codec::datagram;
pub use forms::{FORMS, Form, by_name};
pub use said::{Entry, ImageHead, Noise, Said, Unreadable};
pub use seen::{Origin, Seen, settle};
pub use stream::{PortKind, Reader, StreamSaid};

/// Entries taken from one user list; a datagram cannot hold many more.
pub const MAX_LIST: usize = 2_048;
/// Longest text taken from one message, in bytes.
pub const MAX_TEXT: usize = crate::model::limits::STREAM_LINE;
/// Longest image header, in bytes: a line of the protocol.
pub const MAX_HEAD: usize = crate::model::limits::SLCP_LINE;
/// Longest file name kept from an image header, in bytes; it is only ever shown.
pub const MAX_NAME: usize = 255;
