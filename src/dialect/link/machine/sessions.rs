//! Connections: who may make them, what comes of them, and which of two is used.

use std::net::{IpAddr, SocketAddr};

use super::super::frame::{Frame, Hello, VERSION};
use super::super::noise::{Fingerprint, Key, Rng};
use super::super::session::{Event, HANDSHAKE_MS, PING_MS, PONG_MS, Session};
use super::super::words::Heard;
use super::{GRACE_MS, Machine};
use crate::model::limits::{
    CONNECT_MS, LINK_HALF_OPEN, LINK_HALF_OPEN_PER_SOURCE, LINK_HEARD, LINK_SESSIONS,
};
use crate::model::{IoError, Map, Millis, Net, SocketId, StreamId};

/// Connections taken from one address …
pub const MAX_TRIES: u32 = 16;
/// … within this time.
pub const TRIES_MS: Millis = 10_000;
/// A call is made and proven within this time.
pub(super) const CALL_MS: Millis = CONNECT_MS + HANDSHAKE_MS;
/// After our addresses changed, sessions answer within this time or end.
pub(super) const MOVED_MS: Millis = 5_000;
/// Of two sessions with one box, one is closed after this …
const DECIDE_MS: Millis = 3_000;
/// … by the box of the smaller fingerprint; by the other after this.
const DECIDE_LATE_MS: Millis = 12_000;
/// Sessions with one box at once, until it is decided.
const MAX_PER_BOX: usize = 3;

/// Who made how many connections lately.
#[derive(Default)]
pub(super) struct Sources(Map<IpAddr, (Millis, u32)>);

impl Sources {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn allow(&mut self, now: Millis, source: IpAddr) -> bool {
        if !self.0.contains_key(&source) && self.0.len() >= LINK_HEARD {
            self.0.retain(|_, (since, _)| now < *since + TRIES_MS);
            if self.0.len() >= LINK_HEARD {
                return false; // this many at once is no LAN
            }
        }
        let (since, count) = self.0.entry(source).or_insert((now, 0));
        if now >= *since + TRIES_MS {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MAX_TRIES
    }
}

impl Machine {
    /// A fresh generator for one connection.
    pub(super) fn fork(&mut self) -> Rng {
        Rng::new(self.rng.bytes())
    }

    /// Somebody made a connection to us.
    pub fn accepted(&mut self, now: Millis, socket: SocketId, stream: StreamId, at: SocketAddr) {
        if socket.0 != self.setup.sockets + 2 {
            return;
        }
        let source = Self::counts_as(at);
        let half = self.sessions.values().filter(|s| !s.initiator && !s.is_ready());
        let of_source = half.clone().filter(|s| Self::counts_as(s.at) == source).count();
        let full = half.count() >= LINK_HALF_OPEN
            || of_source >= LINK_HALF_OPEN_PER_SOURCE
            || self.sessions.len() >= LINK_SESSIONS + LINK_HALF_OPEN;
        if full || !self.sources.allow(now, source) {
            return self.net(Net::Close(stream));
        }
        let rng = self.fork();
        let session = Session::new(now, stream, at, false, &self.setup.secret, rng);
        self.sessions.insert(stream, session);
        self.wake_by(now + HANDSHAKE_MS);
    }

    /// A call was made.
    pub fn connected(&mut self, now: Millis, stream: StreamId) {
        if let Some(session) = self.sessions.get_mut(&stream) {
            session.since = now;
            session.connected();
            self.wake_by(now + HANDSHAKE_MS);
            self.write(stream);
        }
    }

    /// Bytes came in.
    pub fn stream_bytes(&mut self, now: Millis, stream: StreamId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        let mut events = Vec::new();
        let result = session.bytes(now, bytes, &mut events);
        for event in events {
            let over = match event {
                Event::Proved(key) => self.proved(now, stream, key),
                Event::Frame(frame) => self.frame(now, stream, frame),
            };
            if let Err(why) = over {
                return self.broken(now, stream, why);
            }
            if !self.sessions.contains_key(&stream) {
                return;
            }
        }
        if let Err(broken) = result {
            return self.broken(now, stream, broken.0);
        }
        let clogged = self.sessions.get(&stream).is_some_and(Session::is_clogged);
        if clogged {
            return self.broken(now, stream, "it asks more than it reads");
        }
        self.write(stream);
        if self.sessions.get(&stream).is_some_and(|s| !s.paused) {
            self.net(Net::ReadMore(stream));
        }
    }

    /// The other end will send no more: neither do we.
    pub fn stream_end(&mut self, now: Millis, stream: StreamId) {
        self.drop_session(now, stream, "the connection was closed", false);
    }

    /// A write was taken over.
    pub fn wrote(&mut self, now: Millis, stream: StreamId) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.wrote();
        self.pump(now, stream);
    }

    /// The connection broke.
    pub fn stream_closed(&mut self, now: Millis, stream: StreamId, error: &IoError) {
        self.forget_session(now, stream, &error.text, false);
    }

    /// Whether a stream is ours.
    pub fn has_stream(&self, stream: StreamId) -> bool {
        self.sessions.contains_key(&stream)
    }

    pub(super) fn write(&mut self, stream: StreamId) {
        let bytes = self.sessions.get_mut(&stream).and_then(Session::to_write);
        if let Some(bytes) = bytes {
            self.net(Net::Write(stream, bytes));
        }
    }

    pub(super) fn write_all(&mut self) {
        let streams: Vec<StreamId> = self.sessions.keys().copied().collect();
        for stream in streams {
            self.write(stream);
        }
    }

    /// The other end did what no honest one does.
    fn broken(&mut self, now: Millis, stream: StreamId, why: &str) {
        if let Some(at) = self.sessions.get(&stream).map(|s| s.at) {
            self.complain(at, format!("{why}: the connection is closed"));
        }
        self.drop_session(now, stream, why, false);
    }

    fn drop_session(&mut self, now: Millis, stream: StreamId, why: &str, bye: bool) {
        if self.sessions.contains_key(&stream) {
            self.net(Net::Close(stream));
            self.forget_session(now, stream, why, bye);
        }
    }

    pub(super) fn say_bye(&mut self, now: Millis, stream: StreamId, why: &str) {
        if let Some(session) = self.sessions.get_mut(&stream) {
            session.push(now, &Frame::Bye(why.into()));
            self.write(stream);
            self.net(Net::Close(stream));
            self.forget_session(now, stream, why, false);
        }
    }

    fn forget_session(&mut self, now: Millis, stream: StreamId, why: &str, bye: bool) {
        let Some(session) = self.sessions.remove(&stream) else { return };
        self.proofs.remove(&stream);
        self.call_ended(now, stream, session.is_ready());
        self.files_lost(stream);
        let Some(of) = session.of else { return };
        let Some(n) = self.neighbours.get_mut(&of) else { return };
        n.sessions.retain(|s| *s != stream);
        if n.active == Some(stream) {
            n.active = None;
            n.out.rewind();
        }
        if n.active.is_none() {
            let next = n.sessions.iter().rev().copied();
            let ready =
                next.into_iter().find(|s| self.sessions.get(s).is_some_and(Session::is_ready));
            if let Some(next) = ready {
                n.active = Some(next);
                self.run_takes(now);
                self.rooms_linked(now, of, false);
                return self.pump(now, next);
            }
            if !n.sessions.is_empty() {
                return;
            }
            self.rooms_unlinked(now, of);
            let Some(n) = self.neighbours.get_mut(&of) else { return };
            let grace = if bye { 0 } else { GRACE_MS };
            n.gone_at = Some(now + grace);
            let at = n.at.unwrap_or(session.at);
            self.wake_by(now + grace);
            if session.is_ready() {
                self.call_back(now, of, at, bye);
            }
            if bye {
                self.gone(of, why);
            }
        }
    }

    /// Its key is proven.
    fn proved(&mut self, now: Millis, stream: StreamId, key: Key) -> Result<(), &'static str> {
        let of = key.fingerprint();
        let Some(at) = self.sessions.get(&stream).map(|s| s.at) else { return Ok(()) };
        if of == self.me {
            self.heard(Heard::Twin(at));
            self.drop_session(now, stream, "it has our own key", false);
            return Ok(());
        }
        let expected = self.expected(stream);
        if let Some(expected) = expected.filter(|e| *e != of) {
            self.not_there(expected, at);
            return Err("its key is not the one it was called for");
        }
        self.call_proved(stream, of);
        if !self.neighbours.contains_key(&of) && !self.room_for_neighbour() {
            return Err("too many boxes are known already");
        }
        let n = self.neighbours.entry(of).or_default();
        n.key = Some(key);
        let (got_epoch, got) = n.come.got();
        if n.out.epoch == 0 {
            n.out.epoch = self.rng.u64().max(1);
        }
        let hello = Hello {
            version: VERSION,
            capabilities: self.setup.capabilities,
            run: self.run,
            port: self.port.unwrap_or(0),
            epoch: n.out.epoch,
            got_epoch,
            got,
        };
        let users = self.users_frame();
        if let Some(session) = self.sessions.get_mut(&stream) {
            session.push(now, &Frame::Hello(hello));
            session.push(now, &users);
        }
        Ok(())
    }

    fn frame(&mut self, now: Millis, stream: StreamId, frame: Frame) -> Result<(), &'static str> {
        let Some(session) = self.sessions.get_mut(&stream) else { return Ok(()) };
        let Some(of) = session.of else { return Ok(()) };
        if let Frame::Hello(hello) = frame {
            if session.is_ready() {
                return Err("it says hello twice");
            }
            session.hello = Some(hello.clone());
            return self.ready(now, stream, of, &hello);
        }
        if !session.is_ready() {
            return Err("it does not say hello first");
        }
        match frame {
            Frame::Users(users, v4) => self.users_came(now, of, users, Some(v4)),
            Frame::Bye(why) => {
                let why = crate::model::text::harmless(&why);
                self.drop_session(now, stream, &why, true);
            }
            Frame::Stream(epoch) => {
                if let Some(n) = self.neighbours.get_mut(&of) {
                    n.come.stream(epoch);
                }
            }
            Frame::Message(message) => self.message_came(now, stream, of, message),
            Frame::Ack(upto) => return self.acked(now, stream, of, upto),
            Frame::Refuse(seq, why) => return self.refused(now, stream, of, seq, &why),
            Frame::File(frame) => return self.file_frame(now, stream, of, frame),
            Frame::Read(entries) => self.read_came(of, entries),
            Frame::Peers(peers) => self.peers_told(now, of, peers),
            Frame::Room(part) => return self.room_part(now, of, part),
            // the session answers these itself, or they are of a later version
            _ => {}
        }
        Ok(())
    }

    /// Both ends proved their keys and said hello.
    fn ready(
        &mut self,
        now: Millis,
        stream: StreamId,
        of: Fingerprint,
        hello: &Hello,
    ) -> Result<(), &'static str> {
        if !self.neighbours.contains_key(&of) {
            // it was slow to say hello, and others took its place
            return Err("too many boxes are known already");
        }
        if hello.version == 0 {
            return Err("it speaks no version");
        }
        let Some(session) = self.sessions.get(&stream) else { return Ok(()) };
        let mut at = session.at;
        if !session.initiator && hello.port != 0 {
            at.set_port(hello.port);
        }
        let ready = self.sessions.values().filter(|s| s.is_ready()).count();
        let Some(n) = self.neighbours.get_mut(&of) else { return Ok(()) };
        if ready > LINK_SESSIONS && n.sessions.is_empty() && !n.known {
            return Err("too many sessions are open already");
        }
        n.at = Some(at);
        n.gone_at = None;
        n.proved_at(at.ip());
        n.come.stream(hello.epoch);
        let mut rows = Vec::new();
        if hello.got_epoch == n.out.epoch && hello.got >= n.out.next() {
            let epoch = self.rng.u64().max(1);
            rows = n.out.restart(of, epoch);
            if let Some(session) = self.sessions.get_mut(&stream) {
                session.push(now, &Frame::Stream(epoch));
            }
        }
        let old = std::mem::take(&mut n.sessions);
        n.sessions = old.iter().copied().chain([stream]).collect();
        let other_run = |s: &StreamId| {
            self.sessions.get(s).and_then(|s| s.hello.as_ref()).is_some_and(|h| h.run != hello.run)
        };
        let mut stale: Vec<StreamId> = old.iter().copied().filter(other_run).collect();
        if old.len() - stale.len() >= MAX_PER_BOX {
            stale.extend(old.iter().find(|s| !stale.contains(s)));
        }
        if n.active.is_none() || n.active.is_some_and(|a| stale.contains(&a)) {
            n.active = Some(stream);
            n.out.rewind();
        } else {
            let late = if self.me < of { DECIDE_MS } else { DECIDE_LATE_MS };
            n.decide = Some((now, now + late));
            for session in old.iter().filter(|s| !stale.contains(s)) {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.ping(now, PONG_MS);
                }
            }
            self.wake_by(now + late);
        }
        self.keep(rows);
        let anew = !stale.is_empty();
        for stream in stale {
            self.drop_session(now, stream, "its box started anew", false);
        }
        self.reached(of);
        self.rooms_linked(now, of, anew);
        self.say_read(now, of);
        self.tell_peers(now, of);
        self.wake_by(now + PING_MS);
        self.write_all();
        self.takes_meet(now, of);
        self.pump(now, stream);
        Ok(())
    }

    pub(super) fn tick_sessions(&mut self, now: Millis) {
        let streams: Vec<StreamId> = self.sessions.keys().copied().collect();
        for stream in streams {
            let Some(session) = self.sessions.get_mut(&stream) else { continue };
            if session.is_ready() && session.pinged.is_none() && session.due() <= now {
                session.ping(now, PONG_MS);
                self.write(stream);
            } else if !session.connected && now < session.since + CALL_MS {
                // the driver gives up before that
                let at = session.since + CALL_MS;
                self.wake_by(at);
                continue;
            } else if session.is_dead(now) {
                self.drop_session(now, stream, "it does not answer", false);
                continue;
            }
            if let Some(due) = self.sessions.get(&stream).map(Session::due) {
                self.wake_by(due.max(now + 1));
            }
        }
    }

    pub(super) fn tick_neighbours(&mut self, now: Millis) {
        let due: Vec<Fingerprint> = self
            .neighbours
            .iter()
            .filter(|(_, n)| n.gone_at.is_some() || n.decide.is_some())
            .map(|(of, _)| *of)
            .collect();
        for of in due {
            let Some(n) = self.neighbours.get_mut(&of) else { continue };
            match n.decide {
                Some((since, at)) if at <= now => {
                    n.decide = None;
                    self.decide(now, of, since);
                }
                Some((_, at)) => self.wake_by(at),
                None => {}
            }
            let Some(n) = self.neighbours.get_mut(&of) else { continue };
            match n.gone_at {
                Some(at) if at <= now => {
                    n.gone_at = None;
                    self.gone(of, "not heard of any more");
                }
                Some(at) => self.wake_by(at),
                None => {}
            }
        }
    }

    /// One of several sessions with a box stays: of those that showed life the one that the
    /// smaller fingerprint began, else the newest.
    fn decide(&mut self, now: Millis, of: Fingerprint, since: Millis) {
        let ours_first = self.me < of;
        let Some(n) = self.neighbours.get(&of) else { return };
        let rank = |s: &StreamId| {
            let session = self.sessions.get(s)?;
            Some((session.heard >= since, session.initiator == ours_first, session.since))
        };
        let Some(best) = n.sessions.iter().max_by_key(|s| rank(s)).copied() else { return };
        let rest: Vec<StreamId> = n.sessions.iter().copied().filter(|s| *s != best).collect();
        if let Some(n) = self.neighbours.get_mut(&of) {
            if n.active != Some(best) {
                n.active = Some(best);
                n.out.rewind();
            }
        }
        self.rooms_linked(now, of, false);
        for stream in rest {
            self.say_bye(now, stream, "another session is in use");
        }
        self.run_takes(now);
        self.pump(now, best);
    }

    fn room_for_neighbour(&mut self) -> bool {
        let most = crate::model::limits::LINK_KNOWN + LINK_SESSIONS;
        if self.neighbours.len() < most {
            return true;
        }
        let idle = |n: &super::Neighbour| !n.known && n.sessions.is_empty() && n.gone_at.is_none();
        let Some(of) = self.neighbours.iter().find(|(_, n)| idle(n)).map(|(of, _)| *of) else {
            return false;
        };
        self.neighbours.remove(&of);
        true
    }
}
