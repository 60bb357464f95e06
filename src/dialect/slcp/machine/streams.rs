//! TCP: lines and images that come in, texts and lists that go out. Images going out are in
//! `images`; their streams stand in this table too.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::super::forms::Transport;
use super::super::said::Said;
use super::super::seen::Origin;
use super::super::stream::{PortKind, Reader, StreamSaid};
use super::outgoing::Outgoing;
use super::sockets::Role;
use super::{Heard, ImageKey, Machine};
use crate::model::limits::{MAX_STREAMS, MAX_STREAMS_PER_SOURCE, STALL_MS};
use crate::model::{IoError, Map, Millis, Net, SocketId, StreamId, Trouble};

/// Marks SLCP's own streams among those of all dialects.
const TAG: u64 = 1 << 56;
/// Nothing more came for this long: an unterminated line is taken as whole, a header without a
/// body is answered READY.
const IDLE_MS: Millis = 1_000;
/// After our FIN the other end gets this long to close, so that no reset eats what it has not
/// read yet.
const LINGER_MS: Millis = 2_000;

pub(super) enum Stream {
    /// Accepted.
    In(Inbound),
    /// We connected to fetch an image that was announced with a port to connect back to.
    Fetch { key: ImageKey, left: u64, last: Millis, owed: bool },
    /// A text or a list going out.
    Out {
        tag: Option<u64>,
        to: SocketAddrV4,
        parts: VecDeque<Vec<u8>>,
        together: bool,
        /// Something of it was written.
        begun: bool,
    },
    /// An image going out.
    Image(Outgoing),
    /// All is written; waiting for the other end to close.
    Lingering { until: Millis },
}

pub(super) struct Inbound {
    pub(super) from: SocketAddrV4,
    pub(super) role: Role,
    reader: Reader,
    /// The image whose bytes come now.
    pub(super) image: Option<ImageKey>,
    last: Millis,
    idle: bool,
    /// The driver reads; else we owe it a `ReadMore`.
    reading: bool,
    /// Images of which something was given out that is not stored yet: reading waits for them.
    owed: Vec<ImageKey>,
    /// An answer to WHO or WHOIS is being written: no other meanwhile, or a stream of questions
    /// would pile up answers that nobody takes.
    answering: bool,
}

#[derive(Default)]
pub(super) struct Streams {
    next: u64,
    pub(super) open: Map<StreamId, Stream>,
}

impl Streams {
    pub(super) fn wake_at(&self) -> Option<Millis> {
        let at = |stream: &Stream| match stream {
            Stream::In(s) if !s.owed.is_empty() => None,
            Stream::Fetch { owed: true, .. } => None,
            Stream::In(s) if s.idle => Some(s.last + STALL_MS),
            Stream::In(s) => Some(s.last + IDLE_MS),
            Stream::Fetch { last, .. } => Some(last + STALL_MS),
            Stream::Image(out) => Some(out.wake_at()),
            Stream::Lingering { until } => Some(*until),
            Stream::Out { .. } => None, // the driver bounds connecting and writing
        };
        self.open.values().filter_map(at).min()
    }

    fn count_of(&self, ip: Ipv4Addr) -> usize {
        self.open.values().filter(|s| matches!(s, Stream::In(s) if *s.from.ip() == ip)).count()
    }

    fn with_image(&self, key: ImageKey) -> Option<StreamId> {
        let has = |stream: &Stream| match stream {
            Stream::In(s) => s.image == Some(key) || s.owed.contains(&key),
            Stream::Fetch { key: k, .. } => *k == key,
            _ => false,
        };
        self.open.iter().find(|(_, s)| has(s)).map(|(id, _)| *id)
    }
}

impl Machine {
    /// A listener of ours accepted a connection.
    pub fn accepted(
        &mut self,
        now: Millis,
        socket: SocketId,
        stream: StreamId,
        from: SocketAddrV4,
    ) {
        let from = self.canonical(from);
        let full = self.streams.open.len() >= MAX_STREAMS
            || self.streams.count_of(*from.ip()) >= MAX_STREAMS_PER_SOURCE;
        let Some(role @ Role::Tcp(_, kind)) = self.sockets.role(socket) else {
            return self.net(Net::Close(stream));
        };
        if full || self.link_to(*from.ip(), 0).is_none() {
            if full {
                self.complain(from, "more connections at once than are taken; this one is closed");
            }
            return self.net(Net::Close(stream));
        }
        if self.serve_offered_image(now, stream, from, kind == PortKind::ImagePlus1) {
            return;
        }
        let inbound = Inbound {
            from,
            role,
            reader: Reader::new(kind),
            image: None,
            last: now,
            idle: false,
            reading: true,
            owed: Vec::new(),
            answering: false,
        };
        self.streams.open.insert(stream, Stream::In(inbound));
    }

    /// Bytes came in.
    pub fn stream_bytes(&mut self, now: Millis, stream: StreamId, bytes: Vec<u8>) {
        match self.streams.open.get_mut(&stream) {
            Some(Stream::In(_)) => {
                let is_ours = self.is_ours();
                let Some(Stream::In(inbound)) = self.streams.open.get_mut(&stream) else { return };
                (inbound.last, inbound.idle, inbound.reading) = (now, false, false);
                let said = inbound.reader.push(&bytes, &is_ours);
                self.stream_said(now, stream, said);
                self.read_on(stream);
            }
            Some(Stream::Fetch { key, left, last, owed }) => {
                (*last, *owed) = (now, true);
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= take as u64;
                let (key, done) = (*key, *left == 0);
                let mut bytes = bytes;
                bytes.truncate(take);
                self.heard(Heard::ImageBytes(key, bytes));
                if done {
                    self.heard(Heard::ImageEnds(key, Ok(())));
                    self.streams.open.remove(&stream);
                    self.net(Net::Close(stream));
                }
            }
            Some(Stream::Image(_)) => self.outgoing_heard(now, stream, &bytes),
            Some(_) => self.net(Net::ReadMore(stream)),
            None => {}
        }
    }

    /// Has the driver read on, unless it does already or something is still to be stored.
    fn read_on(&mut self, stream: StreamId) {
        let Some(Stream::In(inbound)) = self.streams.open.get_mut(&stream) else { return };
        if inbound.owed.is_empty() && !std::mem::replace(&mut inbound.reading, true) {
            self.net(Net::ReadMore(stream));
        }
    }

    /// Notes that a piece of an image was given out.
    pub(super) fn owe(&mut self, stream: StreamId, key: ImageKey) {
        if let Some(Stream::In(inbound)) = self.streams.open.get_mut(&stream) {
            if !inbound.owed.contains(&key) {
                inbound.owed.push(key);
            }
        }
    }

    /// The other end sends no more.
    pub fn stream_end(&mut self, now: Millis, stream: StreamId) {
        match self.streams.open.get_mut(&stream) {
            Some(Stream::In(_)) => {
                let is_ours = self.is_ours();
                let Some(Stream::In(inbound)) = self.streams.open.get_mut(&stream) else { return };
                let said = inbound.reader.end(&is_ours);
                self.stream_said(now, stream, said);
                self.raw_ended(stream);
                self.streams.open.remove(&stream);
                self.net(Net::Close(stream));
            }
            Some(Stream::Fetch { key, left, .. }) => {
                let text = format!("the sender closed with {left} bytes still to come");
                let ends = Heard::ImageEnds(*key, Err(IoError::new(Trouble::Reset, text)));
                self.heard(ends);
                self.streams.open.remove(&stream);
                self.net(Net::Close(stream));
            }
            Some(Stream::Lingering { .. }) => {
                self.streams.open.remove(&stream);
                self.net(Net::Close(stream));
            }
            // a half-closed reader may still take what we write
            Some(Stream::Out { .. } | Stream::Image(_)) | None => {}
        }
    }

    /// The stream broke, or could not be made.
    pub fn stream_closed(&mut self, now: Millis, stream: StreamId, error: &IoError) {
        match self.streams.open.remove(&stream) {
            Some(Stream::In(mut inbound)) => {
                // what came before the break still counts: some programs reset instead of closing
                let said = inbound.reader.end(&self.is_ours());
                self.streams.open.insert(stream, Stream::In(inbound));
                self.stream_said(now, stream, said);
                self.raw_ended(stream);
                self.streams.open.remove(&stream);
            }
            Some(Stream::Fetch { key, .. }) => {
                self.heard(Heard::ImageEnds(key, Err(error.clone())));
            }
            Some(Stream::Out { tag: Some(tag), begun, .. }) => {
                let fate = if begun { Heard::NotSent } else { Heard::Undelivered };
                self.heard(fate(tag, error.clone()));
            }
            Some(Stream::Image(out)) => self.heard(Heard::NotSent(out.tag, error.clone())),
            Some(Stream::Out { tag: None, .. } | Stream::Lingering { .. }) | None => {}
        }
    }

    /// A stream we asked for is there.
    pub fn connected(&mut self, now: Millis, stream: StreamId) {
        match self.streams.open.get_mut(&stream) {
            Some(Stream::Out { parts, together, begun, .. }) => {
                *begun = true;
                let bytes = if *together {
                    parts.drain(..).flatten().collect()
                } else {
                    parts.pop_front().unwrap_or_default()
                };
                self.net(Net::Write(stream, bytes));
            }
            Some(Stream::Image(_)) => self.outgoing_connected(now, stream),
            _ => {}
        }
    }

    /// The kernel took what we wrote.
    pub fn wrote(&mut self, now: Millis, stream: StreamId) {
        match self.streams.open.get_mut(&stream) {
            Some(Stream::Out { tag, to, parts, .. }) => {
                let (tag, to, parts) = (*tag, *to, std::mem::take(parts));
                self.finish_stream(now, stream);
                if !parts.is_empty() {
                    self.open_out(Stream::Out { tag, to, parts, together: false, begun: true });
                } else if let Some(tag) = tag {
                    self.heard(Heard::Sent(tag));
                }
            }
            Some(Stream::Image(_)) => self.outgoing_wrote(now, stream),
            Some(Stream::In(inbound)) => inbound.answering = false,
            _ => {}
        }
    }

    /// Sends FIN and waits a little for the other end's.
    pub(super) fn finish_stream(&mut self, now: Millis, stream: StreamId) {
        self.streams.open.insert(stream, Stream::Lingering { until: now + LINGER_MS });
        self.net(Net::Finish(stream));
        self.net(Net::ReadMore(stream));
    }

    pub(super) fn new_stream(&mut self, to: SocketAddrV4, stream: Stream) -> Result<(), IoError> {
        if self.streams.open.len() >= MAX_STREAMS {
            let text = format!("{MAX_STREAMS} connections are open already: try again in a moment");
            return Err(IoError::new(Trouble::Exhausted, text));
        }
        self.streams.next += 1;
        let id = StreamId(TAG | self.streams.next);
        self.streams.open.insert(id, stream);
        self.net(Net::Connect(id, to));
        Ok(())
    }

    /// A text over TCP; programs that read one message per connection get one each.
    pub(super) fn stream_text(&mut self, tag: u64, to: SocketAddrV4, parts: Vec<Vec<u8>>) {
        let together = parts.iter().all(|p| p.ends_with(b"\n"));
        let parts = parts.into();
        self.open_out(Stream::Out { tag: Some(tag), to, parts, together, begun: false });
    }

    pub(super) fn stream_list(&mut self, now: Millis, to: SocketAddrV4, parts: Vec<Vec<u8>>) {
        let busy = |s: &Stream| matches!(s, Stream::Out { tag: None, to: t, .. } if *t == to);
        let size = parts.iter().map(Vec::len).sum();
        if !self.streams.open.values().any(busy) && self.may_answer(now, to, size) {
            let parts = parts.into_iter().take(1).collect();
            self.open_out(Stream::Out { tag: None, to, parts, together: true, begun: false });
        }
    }

    fn open_out(&mut self, out: Stream) {
        let Stream::Out { tag, to, .. } = out else { return };
        if let (Err(error), Some(tag)) = (self.new_stream(to, out), tag) {
            self.heard(Heard::NotSent(tag, error));
        }
    }

    /// What came in on a stream.
    fn stream_said(&mut self, now: Millis, stream: StreamId, said: Vec<StreamSaid>) {
        for said in said {
            let Some(Stream::In(inbound)) = self.streams.open.get_mut(&stream) else { break };
            let (from, role, image) = (inbound.from, inbound.role, inbound.image);
            match said {
                StreamSaid::Said(said) => self.line_said(now, stream, said, from, role),
                StreamSaid::ImageStart(head) => {
                    let key = self.images.new_key();
                    if let Some(Stream::In(inbound)) = self.streams.open.get_mut(&stream) {
                        inbound.image = Some(key);
                    }
                    self.image_begins(key, head, from, role, Transport::Tcp);
                }
                StreamSaid::ImageBytes(bytes) => {
                    if let Some(key) = image {
                        self.owe(stream, key);
                        self.heard(Heard::ImageBytes(key, bytes));
                    }
                }
                StreamSaid::ImageEnd => self.image_ended(stream, Ok(())),
                StreamSaid::ImageShort { have, want } => {
                    let text = match want {
                        Some(want) => format!("it ended after {have} of {want} bytes"),
                        None => format!("it broke off after {have} bytes"),
                    };
                    self.image_ended(stream, Err(IoError::new(Trouble::Reset, text)));
                }
                StreamSaid::AwaitingBody => self.say_ready(stream, from),
                StreamSaid::Raw(bytes) => self.raw_bytes(now, stream, bytes, from),
                StreamSaid::Unreadable(error) => {
                    self.complain(from, &format!("a line that is no SLCP: {error}"));
                }
            }
        }
    }

    /// Whether an answer may be written on a stream now; if so, it is noted.
    pub(super) fn stream_may_answer(
        &mut self,
        now: Millis,
        stream: StreamId,
        asker: SocketAddrV4,
        bytes: usize,
    ) -> bool {
        let free = |s: &Stream| matches!(s, Stream::In(inbound) if !inbound.answering);
        if !self.streams.open.get(&stream).is_some_and(free) || !self.may_answer(now, asker, bytes)
        {
            return false;
        }
        if let Some(Stream::In(inbound)) = self.streams.open.get_mut(&stream) {
            inbound.answering = true;
        }
        true
    }

    fn line_said(
        &mut self,
        now: Millis,
        stream: StreamId,
        said: Said,
        from: SocketAddrV4,
        role: Role,
    ) {
        match said {
            Said::Who { .. } => self.answer_on_stream(now, stream, from),
            Said::Whois { wanted, .. } => {
                let own = self.own_entries(*from.ip());
                let entry = own.into_iter().find(|e| e.handle.is(wanted.as_str()));
                if let Some(entry) = entry {
                    let iam = super::super::encode::iam(&entry.handle, entry.ip, entry.port);
                    if self.stream_may_answer(now, stream, from, iam.len()) {
                        self.net(Net::Write(stream, iam));
                    }
                }
            }
            Said::List { ref entries, .. } => {
                let here = |e: &&super::Entry| {
                    *self.canonical(SocketAddrV4::new(e.ip, e.port)).ip() == *from.ip()
                };
                let own = entries.iter().find(here).map(|e| SocketAddrV4::new(*from.ip(), e.port));
                // of somebody nobody knows nothing is noted: it would never be forgotten
                if let Some(own) = own.filter(|own| self.contacts.knows(*own)) {
                    self.contacts.note(own, |s| s.note(&said, Transport::Tcp, Origin::Other));
                }
                self.said(now, said, from, 0, role);
            }
            said => self.said(now, said, from, 0, role),
        }
    }

    fn image_ended(&mut self, stream: StreamId, result: Result<(), IoError>) {
        if let Some(Stream::In(inbound)) = self.streams.open.get_mut(&stream) {
            if let Some(key) = inbound.image.take() {
                self.heard(Heard::ImageEnds(key, result));
            }
        }
    }

    /// What was given out of an image is stored: more may come.
    pub fn image_stored(&mut self, now: Millis, key: ImageKey) {
        self.images.stored(now, key);
        let Some(stream) = self.streams.with_image(key) else { return };
        match self.streams.open.get_mut(&stream) {
            Some(Stream::In(inbound)) => {
                inbound.owed.retain(|k| *k != key);
                inbound.last = now;
                self.read_on(stream);
            }
            Some(Stream::Fetch { last, owed, .. }) => {
                (*last, *owed) = (now, false);
                self.net(Net::ReadMore(stream));
            }
            _ => {}
        }
    }

    /// The image is not wanted, or cannot be kept. A stream that is in the midst of it is closed;
    /// one that is past it goes on.
    pub fn image_refused(&mut self, key: ImageKey) {
        let raw = self.images.stream_of(key);
        self.images.drop_key(key);
        let Some(stream) = raw.or(self.streams.with_image(key)) else { return };
        match self.streams.open.get_mut(&stream) {
            Some(Stream::In(inbound)) if raw.is_none() && inbound.image != Some(key) => {
                inbound.owed.retain(|k| *k != key);
                self.read_on(stream);
            }
            _ => {
                self.streams.open.remove(&stream);
                self.net(Net::Close(stream));
            }
        }
    }

    pub(super) fn tick_streams(&mut self, now: Millis) {
        for id in self.streams.open.keys().copied().collect::<Vec<_>>() {
            match self.streams.open.get_mut(&id) {
                // the disk has its time; its answer always comes
                Some(Stream::In(s)) if !s.owed.is_empty() => {}
                Some(Stream::Fetch { owed: true, .. }) => {}
                Some(Stream::In(s)) if s.last + STALL_MS <= now => {
                    let text = format!("nothing came for {} seconds", STALL_MS / 1000);
                    self.image_ended(id, Err(IoError::new(Trouble::TimedOut, text)));
                    self.streams.open.remove(&id);
                    self.net(Net::Close(id));
                }
                Some(Stream::In(s)) if !s.idle && s.last + IDLE_MS <= now => {
                    s.idle = true;
                    let is_ours = self.is_ours();
                    let Some(Stream::In(s)) = self.streams.open.get_mut(&id) else { continue };
                    let said = s.reader.idle(&is_ours);
                    self.stream_said(now, id, said);
                }
                Some(Stream::Fetch { key, last, .. }) if *last + STALL_MS <= now => {
                    let key = *key;
                    let text = format!("nothing came for {} seconds", STALL_MS / 1000);
                    let error = IoError::new(Trouble::TimedOut, text);
                    self.heard(Heard::ImageEnds(key, Err(error)));
                    self.streams.open.remove(&id);
                    self.net(Net::Close(id));
                }
                Some(Stream::Lingering { until }) if *until <= now => {
                    self.streams.open.remove(&id);
                    self.net(Net::Close(id));
                }
                Some(Stream::Image(out)) if out.wake_at() <= now => self.outgoing_tick(now, id),
                _ => {}
            }
        }
    }

    /// The other end waits for leave to send its image: OK (mahiramd), else READY (pollo).
    fn say_ready(&mut self, stream: StreamId, from: SocketAddrV4) {
        let form = self.chat_address(from).and_then(|a| self.contacts.form(a));
        let ok = form.is_some_and(|f| f.name == "mahiramd");
        let said = if ok { &b"OK"[..] } else { b"READY" };
        self.net(Net::Write(stream, said.to_vec()));
    }

    pub(super) fn complain(&mut self, from: SocketAddrV4, text: &str) {
        self.heard(Heard::Complaint { from: *from.ip(), text: text.into() });
    }

    pub(super) fn complain_ours(&mut self, text: String) {
        self.heard(Heard::Complaint { from: Ipv4Addr::UNSPECIFIED, text });
    }
}
