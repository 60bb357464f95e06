//! Every bound of the core in one place, by name. Each has a test that goes one past it.

/// Longest handle, in bytes of UTF-8. A KNOWUSERS entry with it still fits a 512-byte line.
pub const MAX_HANDLE: usize = 64;
/// Peers in the roster, present and gone together (DESIGN section 9).
pub const MAX_PEERS: usize = 10_240;
/// Peers known only from others' lists and not verified yet; further ones wait.
pub const MAX_HINTS: usize = 64;
/// Bearers of one handle that are asked whether they are still there when it turns up elsewhere;
/// where there are more, none is.
pub const MAX_NAMESAKES: usize = 2;
/// Routes kept for one peer.
pub const MAX_ROUTES: usize = 4;
/// Local users of one node: the even ports 5010 to 5072 (DESIGN section 3).
pub const MAX_USERS: usize = 32;
/// Blocked handles.
pub const MAX_BLOCKED: usize = 1_024;
/// Recipients named in one command (`MSG a,b,c text`); `ALL` is bounded by `MAX_PEERS`.
pub const MAX_RECIPIENTS: usize = 256;
/// Longest autoreply or away text, in bytes.
pub const MAX_AUTOREPLY: usize = 400;
/// Events kept in the ring for readers that resume.
pub const RING_EVENTS: usize = 1_024;
/// Bytes of event content kept in the ring.
pub const RING_BYTES: usize = 256 * 1024;
/// Image transfers under way at once, in and out together.
pub const MAX_TRANSFERS: usize = 32;
/// Image transfers under way at once with one address.
pub const MAX_TRANSFERS_PER_PEER: usize = 4;
/// Open TCP streams of all dialects.
pub const MAX_STREAMS: usize = 128;
/// Open TCP streams from one address.
pub const MAX_STREAMS_PER_SOURCE: usize = 8;
/// A stream or a transfer that moves no byte for so long is ended, in milliseconds.
pub const STALL_MS: u64 = 15_000;
/// A TCP connection must be made within this time, in milliseconds.
pub const CONNECT_MS: u64 = 5_000;
/// Deliveries whose fate is still open.
pub const MAX_PENDING: usize = 4_096;
/// Entries in the outbox: kept for somebody who is not here.
pub const MAX_OUTBOX: usize = 1_024;
/// Entries in the outbox for one handle.
pub const MAX_OUTBOX_PER_PEER: usize = 128;
/// People remembered over a restart, so that they can be written to while they are not here.
pub const MAX_KNOWN: usize = 1_024;
/// Entries in one page of history.
pub const MAX_PAGE: u32 = 200;
/// Writes to the store that wait to be durable; beyond, what is said is not kept, and that is said.
pub const MAX_UNKEPT: usize = 4_096;
/// An SLCP line, terminator included (PROTOCOLS section 1, "at most 512 bytes").
pub const SLCP_LINE: usize = 512;
/// Parts that a longer text may be split into (PROTOCOLS section 3).
pub const SLCP_PARTS: usize = 8;
/// Longest text line that is taken from a TCP stream before its terminator, in bytes.
pub const STREAM_LINE: usize = 16 * 1024;
/// Bytes read from a stream or a file in one step.
pub const CHUNK: usize = 16 * 1024;
/// A UDP datagram's largest payload over IPv4.
pub const DATAGRAM: usize = 65_507;
/// Longest beacon of the link, in bytes: fits every Ethernet frame.
pub const LINK_BEACON: usize = 1_200;
/// Longest text that the link carries, in bytes.
pub const LINK_TEXT: usize = 32 * 1024;
/// Messages that wait for one other box of the link.
pub const LINK_QUEUE: usize = 1_024;
/// Boxes whose keys are known for good: what was ever exchanged with them is remembered.
pub const LINK_KNOWN: usize = 1_024;
/// Of these, such as made themselves known over the network; the rest is the operator's.
pub const LINK_KNOWN_BY_NETWORK: usize = 768;
/// Boxes of which only a beacon was heard.
pub const LINK_HEARD: usize = 256;
/// Sessions with other boxes.
pub const LINK_SESSIONS: usize = 256;
/// Connections whose other end has not proven its key yet.
pub const LINK_HALF_OPEN: usize = 32;
/// Of these, from one address.
pub const LINK_HALF_OPEN_PER_SOURCE: usize = 4;
/// Boxes that the operator may name.
pub const MAX_LINK_PEERS: usize = 64;
/// Bytes of a file in one frame of the link; whole pages, and below a record's length.
pub const LINK_CHUNK: usize = 60 * 1024;
/// Bytes of one file that may be on their way to us, written by us to the last one.
pub const LINK_WINDOW: u64 = 4 * LINK_CHUNK as u64;
/// Bytes read in one step from a stream of the link that brings more than [`CHUNK`] at a time.
pub const LINK_READ: usize = 64 * 1024;
/// A file that comes over the link is made durable at least so often, in bytes.
pub const LINK_SYNC: u64 = 8 * 1024 * 1024;
/// Files that are offered or on their way over the link, of each direction.
pub const LINK_FILES: usize = 128;
/// Of these, with one other box.
pub const LINK_FILES_PER_BOX: usize = 16;
/// Of those that come, such as are for one guest …
pub const LINK_FILES_PER_GUEST: usize = 16;
/// … and for all guests, or of them: the rest is for the box's own users.
pub const LINK_FILES_OF_GUESTS: usize = LINK_FILES / 2;
/// Of those to one other box, such as guests send.
pub const LINK_FILES_PER_BOX_OF_GUESTS: usize = 12;
/// Files that move over the link at once, of each direction; the others wait for their turn.
pub const LINK_RUNNING: usize = 4;
/// Of these, from one other box.
pub const LINK_RUNNING_PER_BOX: usize = 2;
/// Files of one folder that is sent.
pub const LINK_FOLDER_FILES: usize = 4_096;
/// Folders within folders of what is sent.
pub const LINK_DEPTH: usize = 32;
/// Bytes of a path within a folder that is sent.
pub const LINK_PATH: usize = 1_024;
/// Bytes of the longest extension that a received file keeps of its sender's name.
pub const FILE_EXTENSION: usize = 8;
/// Longest name of a room, in bytes.
pub const MAX_ROOM_NAME: usize = 32;
/// Rooms that this node's users are in, or were and may come back to.
pub const MAX_ROOMS: usize = 16;
/// Other boxes known as members of one room.
pub const ROOM_MEMBERS: usize = 256;
/// Longest text said in a room, in bytes.
pub const ROOM_TEXT: usize = 8 * 1024;
/// Messages kept of one room for members that come back …
pub const ROOM_KEPT: usize = 1_000;
/// … and their bytes.
pub const ROOM_KEPT_BYTES: usize = 1024 * 1024;
/// Messages of one room that wait for others said before them …
pub const ROOM_WAITING: usize = 256;
/// … and their bytes.
pub const ROOM_WAITING_BYTES: usize = 512 * 1024;
/// Our own messages to one room that are not durable yet.
pub const ROOM_POSTS: usize = 64;
/// Numbered streams of messages known in one room: one for each box that wrote there.
pub const ROOM_LOGS: usize = 512;
