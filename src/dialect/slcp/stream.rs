//! stub
use super::said::*;
/// What kind of port of ours a stream came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A local user's JOIN port; also for streams that we made.
    Chat,
    /// JOIN port + 1: images of BYMY.
    ImagePlus1,
    /// JOIN port + 100: images of 002 main.
    ImagePlus100,
    /// A port of 001's configuration: images only.
    ImageOnly,
}
/// What came over a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamSaid {
    /// A line, or an array that is none of an image.
    Said(Said),
    /// An image begins.
    ImageStart(ImageHead),
    /// Some of its bytes.
    ImageBytes(Vec<u8>),
    /// It is whole.
    ImageEnd,
    /// The header came and nothing followed: the other end waits for `READY` or `OK`.
    AwaitingBody,
    /// The stream ended, or broke, within the image.
    ImageShort {
        /// Bytes that came.
        have: u64,
        /// Bytes that the header promised; unknown for base64.
        want: Option<u64>,
    },
    /// Bytes that no word begins: an image promised elsewhere. Once begun, all that follows.
    Raw(Vec<u8>),
    /// A line that could not be understood.
    Unreadable(Unreadable),
}
/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    port: PortKind,
}
impl Reader {
    /// For a stream to this port.
    pub fn new(port: PortKind) -> Reader {
        Reader { port }
    }
    /// Bytes came.
    pub fn push(&mut self, bytes: &[u8], is_ours: &dyn Fn(&str) -> bool) -> Vec<StreamSaid> {
        let _ = (bytes, is_ours, self.port);
        Vec::new()
    }
    /// Nothing came for a while.
    pub fn idle(&mut self, is_ours: &dyn Fn(&str) -> bool) -> Vec<StreamSaid> {
        let _ = is_ours;
        Vec::new()
    }
    /// The other end sends no more.
    pub fn end(&mut self, is_ours: &dyn Fn(&str) -> bool) -> Vec<StreamSaid> {
        let _ = is_ours;
        Vec::new()
    }
}
/// Whether the other end says that it takes the image: `READY` (pollo) or `OK` (mahiramd).
pub fn is_ready(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii(), b"READY" | b"OK")
}
