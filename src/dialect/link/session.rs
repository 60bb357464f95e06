//! One connection: its handshake, its records, its life. It knows frames, not what they are for.

use std::net::SocketAddr;

use super::frame::{Frame, Hello, MAX_FRAME, MAX_RECORD};
use super::noise::{Fingerprint, Handshake, Key, Rng, Secret, TAG, Transport};
use crate::model::{Millis, StreamId};

/// A connection must have proven its key and said hello within this time.
pub const HANDSHAKE_MS: Millis = 5_000;
/// The longest handshake message: XX's second has 96 bytes.
const MAX_HANDSHAKE: usize = 128;
/// After so long without a word the other end is asked …
pub const PING_MS: Millis = 20_000;
/// … and must answer within this time.
pub const PONG_MS: Millis = 10_000;
/// Sealed bytes that may wait to be written before nothing optional is added.
pub const ROOM: usize = 32 * 1024;
/// Sealed bytes beyond which the session is ended: the other end asks more than it reads.
pub const MAX_UNWRITTEN: usize = 512 * 1024;
/// A key seals so many records, then comes the next.
pub const REKEY_RECORDS: u32 = 65_536;
/// A key seals for so long.
pub const REKEY_MS: Millis = 60 * 60 * 1_000;

/// What came of bytes.
#[derive(Debug)]
pub enum Event {
    /// The other end proved its key.
    Proved(Key),
    /// It said something.
    Frame(Frame),
}

/// Why a session is over: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

enum State {
    Shaking(Box<Handshake>),
    /// The handshake is over and gave no session.
    Between,
    Open(Box<Transport>),
}

/// See the module.
pub struct Session {
    /// The connection.
    pub stream: StreamId,
    /// The other end's address.
    pub at: SocketAddr,
    /// Whether we made the connection.
    pub initiator: bool,
    /// When it began.
    pub since: Millis,
    /// When the other end was last heard.
    pub heard: Millis,
    /// Whom it belongs to, once proven.
    pub of: Option<Fingerprint>,
    /// What it said first.
    pub hello: Option<Hello>,
    /// A ping is out since then, to be answered by then.
    pub pinged: Option<(Millis, Millis)>,
    /// The highest number of a message that came on it.
    pub seen: u64,
    /// Reading waits until what came is durable.
    pub paused: bool,
    /// The connection is made.
    pub connected: bool,
    state: State,
    unread: Vec<u8>,
    unwritten: Vec<u8>,
    writing: bool,
    sealed: u32,
    keyed: Millis,
    pings: u64,
}

impl Session {
    /// A connection that is being made (`initiator`) or was accepted.
    pub fn new(
        now: Millis,
        stream: StreamId,
        at: SocketAddr,
        initiator: bool,
        secret: &Secret,
        rng: Rng,
    ) -> Session {
        Session {
            stream,
            at,
            initiator,
            since: now,
            heard: now,
            of: None,
            hello: None,
            pinged: None,
            seen: 0,
            paused: false,
            connected: !initiator,
            state: State::Shaking(Box::new(Handshake::new(initiator, secret, rng))),
            unread: Vec::new(),
            unwritten: Vec::new(),
            writing: false,
            sealed: 0,
            keyed: now,
            pings: 0,
        }
    }

    /// The connection is made: the initiator speaks first.
    pub fn connected(&mut self) {
        self.connected = true;
        if let State::Shaking(shake) = &mut self.state {
            if shake.is_ours() {
                let message = shake.write();
                self.record(&message);
            }
        }
    }

    /// Whether the other end proved its key and said hello.
    pub fn is_ready(&self) -> bool {
        self.hello.is_some()
    }

    /// Bytes came in; what they say is appended to `events`, up to where they are broken.
    ///
    /// # Errors
    /// They are not what an honest other end sends: the connection is to be closed.
    pub fn bytes(
        &mut self,
        now: Millis,
        bytes: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Broken> {
        let mut unread = std::mem::take(&mut self.unread);
        let mut rest = bytes;
        loop {
            if !unread.is_empty() {
                // what was begun is made whole first, with room for all of it, not by doubling
                let whole = unread.first_chunk().map_or(2, |head| 2 + length(head));
                let wanted = whole - unread.len();
                let (part, after) = rest.split_at(rest.len().min(wanted));
                unread.reserve_exact(wanted);
                unread.extend_from_slice(part);
                rest = after;
            }
            let from = if unread.is_empty() { rest } else { &unread[..] };
            let Some(head) = from.first_chunk() else { break };
            let len = self.checked(length(head))?;
            match from.get(2..2 + len) {
                Some(record) => self.take(now, record, events)?,
                None if unread.is_empty() || rest.is_empty() => break,
                None => continue,
            }
            match unread.is_empty() {
                true => rest = &rest[2 + len..],
                false => unread.clear(),
            }
        }
        if !rest.is_empty() {
            self.unread = rest.to_vec();
        } else if !unread.is_empty() {
            self.unread = unread; // an idle session holds no buffer
        }
        Ok(())
    }

    /// A record's length, if it can be one now.
    fn checked(&self, len: usize) -> Result<usize, Broken> {
        let (least, most) = match self.state {
            State::Shaking(_) => (1, MAX_HANDSHAKE),
            State::Open(_) => (1 + TAG, MAX_RECORD),
            State::Between => return Err(Broken("the handshake did not end")),
        };
        if len < least || len > most {
            return Err(Broken("a record has a length that cannot be"));
        }
        Ok(len)
    }

    fn take(&mut self, now: Millis, record: &[u8], events: &mut Vec<Event>) -> Result<(), Broken> {
        match &mut self.state {
            State::Between => Err(Broken("the handshake did not end")),
            State::Shaking(shake) => {
                shake.read(record).map_err(|_| Broken("the handshake is forged or broken"))?;
                if !shake.is_finished() {
                    let message = shake.write();
                    self.record(&message);
                }
                self.open(now, events)
            }
            State::Open(transport) => {
                let plain =
                    transport.open(record).map_err(|_| Broken("a record is forged or broken"))?;
                self.heard = now;
                let frame = Frame::decode(&plain).map_err(|_| Broken("a frame cannot be read"))?;
                match frame {
                    Frame::Rekey => transport.rekey_in(),
                    Frame::Ping(n) => self.push(now, &Frame::Pong(n)),
                    Frame::Pong(n) => {
                        if n == self.pings {
                            self.pinged = None;
                        }
                    }
                    frame => events.push(Event::Frame(frame)),
                }
                Ok(())
            }
        }
    }

    fn open(&mut self, now: Millis, events: &mut Vec<Event>) -> Result<(), Broken> {
        let State::Shaking(shake) = &self.state else { return Ok(()) };
        if !shake.is_finished() {
            return Ok(());
        }
        let State::Shaking(done) = std::mem::replace(&mut self.state, State::Between) else {
            return Ok(());
        };
        let (key, transport) = done.finish().ok_or(Broken("the handshake did not end"))?;
        self.state = State::Open(Box::new(transport));
        (self.heard, self.keyed) = (now, now);
        self.of = Some(key.fingerprint());
        events.push(Event::Proved(key));
        Ok(())
    }

    /// Says something, once the key is proven; before, it is dropped.
    pub fn push(&mut self, now: Millis, frame: &Frame) {
        let due = self.sealed >= REKEY_RECORDS || now >= self.keyed + REKEY_MS;
        if due && self.is_ready() {
            self.seal(&Frame::Rekey);
            if let State::Open(transport) = &mut self.state {
                transport.rekey_out();
            }
            (self.sealed, self.keyed) = (0, now);
        }
        self.seal(frame);
    }

    fn seal(&mut self, frame: &Frame) {
        let State::Open(transport) = &mut self.state else { return };
        let plain = frame.encode();
        debug_assert!(plain.len() <= MAX_FRAME);
        let Ok(len) = u16::try_from(plain.len() + TAG) else { return };
        let before = self.unwritten.len();
        self.unwritten.reserve_exact(2 + usize::from(len));
        self.unwritten.extend(len.to_be_bytes());
        match transport.seal(&plain, &mut self.unwritten) {
            Ok(()) => self.sealed += 1,
            Err(_) => self.unwritten.truncate(before),
        }
    }

    fn record(&mut self, bytes: &[u8]) {
        let Ok(len) = u16::try_from(bytes.len()) else { return };
        self.unwritten.extend(len.to_be_bytes());
        self.unwritten.extend(bytes);
    }

    /// Asks whether the other end is there; it must answer within `within`.
    pub fn ping(&mut self, now: Millis, within: Millis) {
        let by = now + within;
        if let Some((_, already)) = &mut self.pinged {
            *already = by.min(*already);
            return;
        }
        self.pings += 1;
        self.pinged = Some((now, by));
        self.push(now, &Frame::Ping(self.pings));
    }

    /// What is to be written now, if the last was.
    pub fn to_write(&mut self) -> Option<Vec<u8>> {
        if self.writing || self.unwritten.is_empty() || !self.connected {
            return None;
        }
        self.writing = true;
        Some(std::mem::take(&mut self.unwritten))
    }

    /// It was.
    pub fn wrote(&mut self) {
        self.writing = false;
    }

    /// Whether something optional may be added.
    pub fn has_room(&self) -> bool {
        self.unwritten.len() < ROOM
    }

    /// Whether all that was said is with the kernel, or on its way there.
    pub fn is_drained(&self) -> bool {
        self.is_ready() && self.unwritten.is_empty()
    }

    /// Whether the other end lets too much wait.
    pub fn is_clogged(&self) -> bool {
        self.unwritten.len() > MAX_UNWRITTEN
    }

    /// When it wants [`Session::is_dead`] or a ping.
    pub fn due(&self) -> Millis {
        match (&self.pinged, self.is_ready()) {
            (_, false) => self.since + HANDSHAKE_MS,
            (Some((_, by)), _) => *by,
            (None, _) => self.heard + PING_MS,
        }
    }

    /// Whether it missed what was due.
    pub fn is_dead(&self, now: Millis) -> bool {
        let due = !self.is_ready() || self.pinged.is_some();
        due && self.due() <= now
    }
}

fn length(head: &[u8; 2]) -> usize {
    u16::from_be_bytes(*head).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryId;

    fn session(n: u8, initiator: bool) -> Session {
        let at = "192.0.2.1:5009".parse().unwrap();
        let (secret, rng) = (Secret::new([n; 32]), Rng::new([n + 100; 32]));
        Session::new(0, StreamId(u64::from(n)), at, initiator, &secret, rng)
    }

    fn carry(from: &mut Session, to: &mut Session) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(bytes) = from.to_write() {
            from.wrote();
            // one byte at a time: no piece of a record is a record
            for byte in bytes {
                to.bytes(1, &[byte], &mut events).unwrap();
            }
        }
        events
    }

    fn hello() -> Hello {
        Hello { version: 1, capabilities: 0, run: 1, port: 1, epoch: 1, got_epoch: 0, got: 0 }
    }

    fn open() -> (Session, Session) {
        let (mut a, mut b) = (session(1, true), session(2, false));
        a.connected();
        carry(&mut a, &mut b);
        let of_b = carry(&mut b, &mut a);
        let of_a = carry(&mut a, &mut b);
        assert!(matches!(of_b[..], [Event::Proved(key)] if Some(key.fingerprint()) == a.of));
        assert!(matches!(of_a[..], [Event::Proved(key)] if Some(key.fingerprint()) == b.of));
        (a.hello, b.hello) = (Some(hello()), Some(hello()));
        (a, b)
    }

    #[test]
    fn a_session_opens_and_carries_frames_both_ways() {
        let (mut a, mut b) = open();
        a.push(1, &Frame::Ack(1));
        b.push(1, &Frame::Ack(2));
        assert!(matches!(carry(&mut a, &mut b)[..], [Event::Frame(Frame::Ack(1))]));
        assert!(matches!(carry(&mut b, &mut a)[..], [Event::Frame(Frame::Ack(2))]));
    }

    #[test]
    fn records_are_read_however_they_are_cut_and_nothing_is_held_after_the_last() {
        for size in [1, 2, 3, 17, 18, 19, 40, 1_000, 70_000] {
            let (mut a, mut b) = open();
            let sent: Vec<u64> = (1..=9).collect();
            sent.iter().for_each(|n| a.push(1, &Frame::Ack(*n)));
            let bytes = a.to_write().unwrap();
            let (mut events, mut got) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                b.bytes(1, piece, &mut events).unwrap();
            }
            for event in events {
                let Event::Frame(Frame::Ack(n)) = event else { panic!("{event:?}") };
                got.push(n);
            }
            assert_eq!((got, b.unread.capacity()), (sent, 0), "in pieces of {size}");
        }
    }

    #[test]
    fn a_ping_is_answered_and_an_unanswered_one_ends_it() {
        let (mut a, mut b) = open();
        assert_eq!(a.due(), 1 + PING_MS);
        a.ping(5, PONG_MS);
        assert!(!a.is_dead(5 + PONG_MS - 1) && a.is_dead(5 + PONG_MS));
        carry(&mut a, &mut b);
        carry(&mut b, &mut a);
        assert!(!a.is_dead(5 + PONG_MS));
    }

    #[test]
    fn keys_change_after_so_many_records_and_after_so_long() {
        let (mut a, mut b) = open();
        for n in 0..u64::from(REKEY_RECORDS) + 10 {
            a.push(1, &Frame::Ack(n));
            assert_eq!(carry(&mut a, &mut b).len(), 1);
        }
        assert!(a.sealed < 20);
        a.push(1 + REKEY_MS, &Frame::Ack(1));
        assert_eq!((a.sealed, carry(&mut a, &mut b).len()), (1, 1));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_at_once() {
        let mut events = Vec::new();
        for len in [0, MAX_HANDSHAKE + 1, MAX_RECORD] {
            let head = u16::try_from(len).unwrap().to_be_bytes();
            let result = session(2, false).bytes(0, &head, &mut events);
            assert_eq!(result, Err(Broken("a record has a length that cannot be")), "{len}");
        }
        let (_, mut b) = open();
        let head = u16::try_from(TAG).unwrap().to_be_bytes();
        assert!(b.bytes(0, &head, &mut events).is_err());
    }

    #[test]
    fn a_replayed_handshake_proves_nothing() {
        let (mut a, mut b) = (session(1, true), session(2, false));
        a.connected();
        let first = a.to_write().unwrap();
        let mut events = Vec::new();
        b.bytes(0, &first, &mut events).unwrap();
        let second = b.to_write().unwrap();
        a.bytes(0, &second, &mut events).unwrap();
        a.wrote();
        let third = a.to_write().unwrap();
        events.clear();
        // another responder run has another ephemeral key
        let mut later = session(2, false);
        later.state = State::Shaking(Box::new(Handshake::new(
            false,
            &Secret::new([2; 32]),
            Rng::new([9; 32]),
        )));
        later.bytes(0, &first, &mut events).unwrap();
        let result = later.bytes(0, &third, &mut events);
        assert_eq!(result, Err(Broken("the handshake is forged or broken")));
        assert!(events.is_empty());
    }

    #[test]
    fn whoever_never_reads_is_clogged() {
        let (mut a, _) = open();
        let text = "x".repeat(crate::model::limits::LINK_TEXT);
        let message = super::super::frame::Message {
            seq: 1,
            entry: EntryId { epoch: 1, n: 1 },
            from: "a".try_into().unwrap(),
            to: "b".try_into().unwrap(),
            said: crate::model::Wall(0),
            content: super::super::frame::Content::Text { text, autoreply: false, lobby: false },
        };
        while a.has_room() {
            a.push(0, &Frame::Message(message.clone()));
        }
        assert!(!a.is_clogged());
        for _ in 0..MAX_UNWRITTEN / crate::model::limits::LINK_TEXT {
            a.push(0, &Frame::Message(message.clone()));
        }
        assert!(a.is_clogged());
    }
}
