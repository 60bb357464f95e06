//! Images that do not come on one stream with their header: by datagrams, by a header here and
//! bytes there, by a connection back. What goes out is in `outgoing`.

use std::net::SocketAddrV4;

use super::super::forms::Transport;
use super::super::said::{First, ImageHead, ImageStyle, Said};
use super::sockets::Role;
use super::streams::Stream;
use super::{Heard, ImageHeard, ImageKey, Machine};
use crate::model::limits::{MAX_TRANSFERS, STALL_MS};
use crate::model::{IoError, Map, Millis, StreamId, Trouble};

/// Pieces of a chunked image (002 main) that may be out of their order.
pub const MAX_EARLY_CHUNKS: usize = 64;
/// Bytes of them; real ones have at most 512 each.
pub const MAX_EARLY_BYTES: usize = 128 * 1024;

/// An image whose header came by UDP.
struct Half {
    key: ImageKey,
    /// Where its datagrams come from.
    from: SocketAddrV4,
    role: Role,
    want: Option<u64>,
    got: u64,
    last: Millis,
    /// Its bytes come on this stream.
    stream: Option<StreamId>,
    /// For 002's chunks: which image, what comes next, what came early.
    chunks: Option<Chunks>,
}

struct Chunks {
    id: String,
    next: u32,
    left: u32,
    early: Map<u32, Vec<u8>>,
}

#[derive(Default)]
pub(super) struct Images {
    next: u64,
    half: Vec<Half>,
    /// Images to be fetched once the node wants them: where, and how many bytes.
    to_fetch: Map<ImageKey, (SocketAddrV4, u64)>,
    pub(super) offered: Vec<super::outgoing::Offered>,
    pub(super) datagrams: Map<u64, super::outgoing::ByDatagram>,
}

impl Images {
    pub(super) fn new_key(&mut self) -> ImageKey {
        self.next += 1;
        ImageKey(self.next)
    }

    pub(super) fn drop_key(&mut self, key: ImageKey) {
        self.half.retain(|h| h.key != key);
        self.to_fetch.remove(&key);
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        let half = self.half.iter().map(|h| h.last + STALL_MS).min();
        let offered = self.offered.iter().map(|o| o.until).min();
        let paced = self.datagrams.values().map(|d| d.at).min();
        [half, offered, paced].into_iter().flatten().min()
    }

    /// A piece of it is on the disk: its sender's time begins anew.
    pub(super) fn stored(&mut self, now: Millis, key: ImageKey) {
        if let Some(half) = self.half.iter_mut().find(|h| h.key == key && h.stream.is_some()) {
            half.last = now;
        }
    }

    pub(super) fn stream_of(&self, key: ImageKey) -> Option<StreamId> {
        self.half.iter().find(|h| h.key == key)?.stream
    }
}

impl Machine {
    /// Tells the node that an image begins.
    pub(super) fn image_begins(
        &mut self,
        key: ImageKey,
        head: ImageHead,
        source: SocketAddrV4,
        role: Role,
        over: Transport,
    ) {
        let (from, size) = (head.from.clone(), head.size);
        let to = self.addressed(role, head.to.as_ref());
        let lesson = Machine::lesson(&Said::Image(head), over);
        let Some(to) = to else { return };
        let chat_port = matches!(role, Role::ChatUdp(_));
        let begins = ImageHeard { key, from, source, chat_port, to, size, lesson };
        self.heard(Heard::ImageBegins(begins));
    }

    /// A header by datagram: the bytes are in it, follow it, come by TCP, or are to be fetched.
    pub(super) fn image_head_by_udp(
        &mut self,
        now: Millis,
        mut head: ImageHead,
        from: SocketAddrV4,
        role: Role,
    ) {
        if self.images.half.len() >= MAX_TRANSFERS {
            return self.complain(from, "too many images at once: this one is not taken");
        }
        let key = self.images.new_key();
        let body = std::mem::take(&mut head.body);
        let (want, back) = (head.size, head.connect_back);
        if !body.is_empty() {
            head.body = vec![0]; // only whether there was one tells something of the program
        }
        self.image_begins(key, head, from, role, Transport::Udp);
        if let Some(port) = back {
            let to = SocketAddrV4::new(*from.ip(), port);
            self.images.to_fetch.insert(key, (to, want.unwrap_or(u64::MAX)));
            return;
        }
        self.images.half.push(Half {
            key,
            from,
            role,
            want,
            got: 0,
            last: now,
            stream: None,
            chunks: None,
        });
        if !body.is_empty() {
            self.half_bytes(now, key, body);
        }
    }

    /// The node takes an image that began: what is to be fetched is fetched now.
    pub fn image_wanted(&mut self, now: Millis, key: ImageKey) {
        let Some((to, left)) = self.images.to_fetch.remove(&key) else { return };
        let fetch = Stream::Fetch { key, left, last: now, owed: false };
        if let Err(error) = self.new_stream(to, fetch) {
            self.heard(Heard::ImageEnds(key, Err(error)));
        }
    }

    /// Whether a datagram is a piece of an image whose header came before. Only what reads as
    /// something else is not: image bytes are seldom text.
    pub(super) fn continues_image(
        &mut self,
        now: Millis,
        from: SocketAddrV4,
        role: Role,
        bytes: &[u8],
        said: Option<&Said>,
    ) -> bool {
        let mine = |h: &&Half| {
            h.from == from && h.role == role && h.stream.is_none() && h.chunks.is_none()
        };
        let Some(half) = self.images.half.iter().find(mine) else { return false };
        let left = half.want.map_or(u64::MAX, |want| want - half.got);
        let whole = bytes.len() as u64 == left;
        // a piece of an image may look like `name: text`, never like a word of the protocol
        let word = said.is_some_and(|said| {
            !matches!(said, Said::Noise(_))
                && !matches!(said, Said::Text { style, .. } if style.first == First::Raw)
        });
        if bytes.is_empty() || (word && !whole) {
            return false;
        }
        let key = half.key;
        self.half_bytes(now, key, bytes.to_vec());
        true
    }

    fn half_bytes(&mut self, now: Millis, key: ImageKey, mut bytes: Vec<u8>) {
        let Some(half) = self.images.half.iter_mut().find(|h| h.key == key) else { return };
        half.last = now;
        let left = half.want.map_or(u64::MAX, |want| want - half.got);
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        half.got += bytes.len() as u64;
        let whole = half.want == Some(half.got);
        self.heard(Heard::ImageBytes(key, bytes));
        if whole {
            self.images.drop_key(key);
            self.heard(Heard::ImageEnds(key, Ok(())));
        }
    }

    /// Bytes on a stream that are no words: the image that a header by UDP promised.
    pub(super) fn raw_bytes(
        &mut self,
        now: Millis,
        stream: StreamId,
        bytes: Vec<u8>,
        from: SocketAddrV4,
    ) {
        let mine = |h: &&mut Half| {
            h.stream == Some(stream)
                || (h.stream.is_none() && h.from.ip() == from.ip() && h.got == 0)
        };
        let Some(half) = self.images.half.iter_mut().find(mine) else {
            self.complain(from, "bytes over TCP that are no SLCP: closed");
            self.streams.open.remove(&stream);
            self.net(crate::model::Net::Close(stream));
            return;
        };
        half.stream = Some(stream);
        let key = half.key;
        self.owe(stream, key);
        self.half_bytes(now, key, bytes);
    }

    /// A stream that carried such an image ended.
    pub(super) fn raw_ended(&mut self, stream: StreamId) {
        let Some(at) = self.images.half.iter().position(|h| h.stream == Some(stream)) else {
            return;
        };
        let half = self.images.half.swap_remove(at);
        let result = match half.want {
            Some(want) => {
                let text = format!("it ended after {} of {want} bytes", half.got);
                Err(IoError::new(Trouble::Reset, text))
            }
            None => Ok(()),
        };
        self.heard(Heard::ImageEnds(half.key, result));
    }

    /// A piece of a chunked image (002 main, *source*).
    pub(super) fn image_chunk(
        &mut self,
        now: Millis,
        (id, index, total, data): (String, u32, u32, Vec<u8>),
        from: SocketAddrV4,
        role: Role,
    ) {
        let same =
            |h: &Half| h.from.ip() == from.ip() && h.chunks.as_ref().is_some_and(|c| c.id == id);
        if !self.images.half.iter().any(same) {
            if total == 0 || index > total || self.images.half.len() >= MAX_TRANSFERS {
                return;
            }
            let key = self.images.new_key();
            let head = ImageHead::new(ImageStyle::Json);
            self.image_begins(key, head, from, role, Transport::Udp);
            // some count from 0, some from 1: the first piece seen tells, if it is the first
            let chunks =
                Chunks { id: id.clone(), next: index.min(1), left: total, early: Map::new() };
            self.images.half.push(Half {
                key,
                from,
                role,
                want: None,
                got: 0,
                last: now,
                stream: None,
                chunks: Some(chunks),
            });
        }
        let Some(half) = self.images.half.iter_mut().find(|h| same(h)) else { return };
        let (key, Some(chunks)) = (half.key, half.chunks.as_mut()) else { return };
        half.last = now;
        let bytes = chunks.early.values().map(Vec::len).sum::<usize>() + data.len();
        let full = chunks.early.len() >= MAX_EARLY_CHUNKS || bytes > MAX_EARLY_BYTES;
        if index < chunks.next || (full && index != chunks.next) {
            return; // a double, or too far out of order: the stall will end it
        }
        chunks.early.insert(index, data);
        let mut ready = Vec::new();
        while let Some(data) = chunks.early.remove(&chunks.next) {
            chunks.next += 1;
            chunks.left -= 1;
            half.got += data.len() as u64;
            ready.push(data);
            if chunks.left == 0 {
                break;
            }
        }
        let whole = chunks.left == 0;
        for data in ready.into_iter().filter(|d| !d.is_empty()) {
            self.heard(Heard::ImageBytes(key, data));
        }
        if whole {
            self.images.drop_key(key);
            self.heard(Heard::ImageEnds(key, Ok(())));
        }
    }

    pub(super) fn tick_images(&mut self, now: Millis) {
        let stalled: Vec<ImageKey> =
            self.images.half.iter().filter(|h| h.last + STALL_MS <= now).map(|h| h.key).collect();
        for key in stalled {
            let half = self.images.half.iter().find(|h| h.key == key);
            let of = half.and_then(|h| h.want).map_or_else(String::new, |w| format!(" of {w}"));
            let got = half.map_or(0, |h| h.got);
            let text = format!(
                "it stalled after {got}{of} bytes: datagrams were lost, or its sender stopped"
            );
            self.images.drop_key(key);
            self.heard(Heard::ImageEnds(key, Err(IoError::new(Trouble::TimedOut, text))));
        }
        self.tick_outgoing(now);
    }
}
