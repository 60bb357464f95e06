//! TCP: one connection each way with each peer. Whoever made it says hello, gets the history, and
//! then writes one message at a time, each after the answer to the last: several programs read
//! one object per segment (PROTOCOLS section 2, "Jecna").

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::super::codec::{self, Bad, Message, Said};
use super::super::reader::Reader;
use super::{Machine, Outgoing};
use crate::dialect::heard::{Contact, Heard};
use crate::model::{IoError, Millis, Net, Now, SocketId, StreamId, Trouble};

/// Sessions at once, of both directions.
pub const MAX_SESSIONS: usize = 64;
/// Sessions that one address makes; of more the oldest ends: it may be one that broke unseen.
pub const MAX_SESSIONS_PER_SOURCE: usize = 4;
/// An answer must come within this time (the assignment's 30 s).
pub const WAIT_MS: Millis = 30_000;
/// Nothing was heard of a peer for so long: its session is tried with another hello, or ends.
pub const SILENT_MS: Millis = 30_000;
/// Objects without meaning that one session may send.
pub const MAX_BAD: u8 = 8;
/// Bytes of begun objects held back, of all sessions together.
pub const MAX_BUFFERED: usize = 1024 * 1024;
/// A session that lasted so long counts as one that stood.
const STOOD_MS: Millis = 10_000;
/// A message is written so often at most, with the same id.
const MAX_TRIES: u8 = 3;
/// After an answer of ours, no message of ours is written for so long: both would come in one
/// segment.
const APART_MS: Millis = 100;
/// After a refusal none is written for so long: Kalash closes then.
const REFUSED_MS: Millis = 500;

/// A connection.
pub(super) struct Session {
    /// The other end's address; its port where we made it.
    pub(super) at: SocketAddrV4,
    /// We made it.
    pub(super) made: bool,
    pub(super) open: bool,
    /// Who is there: known after the hello.
    pub(super) name: Option<String>,
    since: Millis,
    last: Millis,
    reader: Reader,
    writes: VecDeque<Vec<u8>>,
    writing: bool,
    /// The driver reads; else we owe it a `ReadMore`.
    reading: bool,
    waiting: Option<(Waiting, Millis)>,
    /// Not before this a message of ours is written: two objects would come in one segment.
    apart: Millis,
    bad: u8,
    /// The other end sends no more.
    ended: bool,
}

/// What the next `status` answers.
enum Waiting {
    Hello,
    Message(Outgoing),
}

impl Session {
    pub(super) fn new(now: Millis, at: SocketAddrV4, made: bool) -> Session {
        Session {
            at,
            made,
            open: !made,
            name: None,
            since: now,
            last: now,
            reader: Reader::default(),
            writes: VecDeque::new(),
            writing: false,
            reading: true,
            waiting: None,
            apart: now,
            bad: 0,
            ended: false,
        }
    }

    /// Bytes of what has begun to come.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.reader.held()
    }

    /// Bytes that wait to be written.
    #[cfg(test)]
    pub(super) fn unwritten(&self) -> usize {
        self.writes.iter().map(Vec::len).sum()
    }

    fn is_free(&self) -> bool {
        self.open && self.name.is_some() && self.waiting.is_none() && !self.writing
    }
}

impl Machine {
    /// A listener accepted a connection.
    pub fn accepted(&mut self, now: Now, socket: SocketId, stream: StreamId, from: SocketAddrV4) {
        let ip = *from.ip();
        if self.tcp.socket != Some(socket) || !self.setup.present || !self.reaches(ip) {
            return self.net(Net::Close(stream));
        }
        let theirs = |s: &&Session| !s.made && *s.at.ip() == ip;
        if self.sessions.values().filter(theirs).count() >= MAX_SESSIONS_PER_SOURCE {
            let all = self.sessions.iter().filter(|(_, s)| theirs(s));
            if let Some(oldest) = all.min_by_key(|(_, s)| s.since).map(|(id, _)| *id) {
                self.close(now, oldest);
            }
        }
        if self.sessions.len() >= MAX_SESSIONS {
            self.net(Net::Close(stream));
            let text = format!("more than {MAX_SESSIONS} sessions at once: this one is closed");
            return self.complain(ip, text);
        }
        self.sessions.insert(stream, Session::new(now.mono, from, false));
    }

    /// A connection of ours is there.
    pub fn connected(&mut self, now: Now, stream: StreamId) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        (session.open, session.since, session.last) = (true, now.mono, now.mono);
        self.say_hello_on(now, stream);
    }

    /// Bytes came in.
    pub fn stream_bytes(&mut self, now: Now, stream: StreamId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        (session.last, session.reading) = (now.mono, false);
        let ip = *session.at.ip();
        for said in session.reader.push(bytes) {
            match said {
                Ok(said) => self.said(now, stream, said),
                Err(bad) => self.bad(now, stream, &bad),
            }
        }
        if self.sessions.values().map(|s| s.reader.held()).sum::<usize>() > MAX_BUFFERED {
            self.close(now, stream);
            self.complain(ip, "too much that does not end: its session is closed".into());
        }
        self.go_on(now, stream);
    }

    /// The other end sends no more: what it asked is still answered.
    pub fn stream_end(&mut self, now: Now, stream: StreamId) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.ended = true;
        if let Some(bad) = session.reader.end() {
            self.bad(now, stream, &bad);
        }
        self.go_on(now, stream);
    }

    /// The kernel took what we wrote.
    pub fn wrote(&mut self, now: Now, stream: StreamId) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.writing = false;
        self.go_on(now, stream);
    }

    /// The stream broke, or could not be made.
    pub fn stream_closed(&mut self, now: Now, stream: StreamId, _error: &IoError) {
        self.ended(now, stream);
    }

    pub(super) fn has_session(&self, ip: Ipv4Addr) -> bool {
        self.sessions.values().any(|s| *s.at.ip() == ip && s.name.is_some())
    }

    pub(super) fn sessions_wake_at(&self) -> Option<Millis> {
        let at = |s: &Session| match &s.waiting {
            Some((_, until)) => *until,
            None => self.silent_at(s),
        };
        self.sessions.values().filter(|s| s.open).map(at).min()
    }

    /// When the next message for a peer may be written, where only time is waited for.
    pub(super) fn pump_at(&self, ip: Ipv4Addr) -> Option<Millis> {
        let (_, session) = self.speaks_on(ip)?;
        session.is_free().then_some(session.apart)
    }

    /// Where messages for a peer go: our own connection; his newest where he takes none (cesar).
    fn speaks_on(&self, ip: Ipv4Addr) -> Option<(StreamId, &Session)> {
        let of_peer = || self.sessions.iter().filter(|(_, s)| *s.at.ip() == ip);
        let ours = of_peer().find(|(_, s)| s.made);
        let named = || of_peer().filter(|(_, s)| s.name.is_some());
        ours.or_else(|| named().max_by_key(|(_, s)| s.since)).map(|(id, s)| (*id, s))
    }

    /// When a session is too silent.
    fn silent_at(&self, session: &Session) -> Millis {
        let heard = self.peers.get(session.at.ip()).map_or(0, |p| p.heard);
        match &session.name {
            None => session.since + WAIT_MS,
            // the hello on a connection of ours brings an answer; on theirs we can but wait
            Some(_) if session.made => heard.max(session.last) + SILENT_MS,
            Some(_) => heard.max(session.last) + 3 * SILENT_MS,
        }
    }

    pub(super) fn tick_sessions(&mut self, now: Now) {
        for id in self.sessions.keys().copied().collect::<Vec<_>>() {
            let Some(session) = self.sessions.get(&id).filter(|s| s.open) else { continue };
            let late = session.waiting.as_ref().is_some_and(|(_, until)| *until <= now.mono);
            let silent = self.silent_at(session) <= now.mono;
            let (made, waits) = (session.made, session.waiting.is_some());
            if late || (silent && !made) || (silent && session.name.is_none()) {
                self.close(now, id);
            } else if silent && !waits {
                self.say_hello_on(now, id);
            }
        }
        self.pump_all(now);
    }

    pub(super) fn close_sessions(&mut self, now: Now, which: impl Fn(&Session) -> bool) {
        let ids = self.sessions.iter().filter(|(_, s)| which(s)).map(|(id, _)| *id);
        for id in ids.collect::<Vec<_>>() {
            self.close(now, id);
        }
    }

    fn close(&mut self, now: Now, stream: StreamId) {
        if self.sessions.contains_key(&stream) {
            self.net(Net::Close(stream));
            self.ended(now, stream);
        }
    }

    /// A session is over.
    fn ended(&mut self, now: Now, stream: StreamId) {
        let Some(session) = self.sessions.remove(&stream) else { return };
        let (ip, named) = (*session.at.ip(), session.name.is_some());
        if let Some((Waiting::Message(outgoing), _)) = session.waiting {
            self.again(ip, outgoing);
        }
        if session.made {
            let stood = session.name.map(|_| now.mono >= session.since + STOOD_MS);
            self.connect_later(now, ip, stood);
        }
        if named && !self.has_session(ip) {
            if let Some(peer) = self.peers.get_mut(&ip) {
                peer.lost_at = Some(now.mono);
            }
        }
    }

    /// A message was written, and no answer came before the session ended: once more, with the
    /// same id.
    fn again(&mut self, ip: Ipv4Addr, outgoing: Outgoing) {
        match self.peers.get_mut(&ip) {
            Some(peer) if outgoing.tries < MAX_TRIES => peer.queue.push_front(outgoing),
            _ => {
                let text = "it ended the session instead of confirming the text";
                self.not_sent(&outgoing, IoError::new(Trouble::Reset, text));
            }
        }
    }

    fn say_hello_on(&mut self, now: Now, stream: StreamId) {
        let hello = codec::hello(&self.setup.peer_id);
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.waiting = Some((Waiting::Hello, now.mono + WAIT_MS));
        self.write(stream, hello);
    }

    fn write(&mut self, stream: StreamId, bytes: Vec<u8>) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.writes.push_back(bytes);
        self.flush(stream);
    }

    /// One object per write.
    fn flush(&mut self, stream: StreamId) {
        let Some(session) = self.sessions.get_mut(&stream).filter(|s| !s.writing) else { return };
        if let Some(bytes) = session.writes.pop_front() {
            session.writing = true;
            self.net(Net::Write(stream, bytes));
        }
    }

    /// Writes, reads and ends as it is due. What is asked is read no faster than it is answered.
    fn go_on(&mut self, now: Now, stream: StreamId) {
        self.flush(stream);
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        if session.writing {
            return;
        }
        if session.ended {
            return self.close(now, stream);
        }
        if !std::mem::replace(&mut session.reading, true) {
            self.net(Net::ReadMore(stream));
        }
        self.pump_all(now);
    }

    fn bad(&mut self, now: Now, stream: StreamId, bad: &Bad) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.bad = session.bad.saturating_add(1);
        let (ip, made, count) = (*session.at.ip(), session.made, session.bad);
        if count == 1 {
            self.complain(ip, format!("in the hello chat: {bad}"));
        }
        if count > MAX_BAD {
            self.complain(ip, format!("more than {MAX_BAD} such: its session is closed"));
            return self.close(now, stream);
        }
        if !made {
            // the words are vanis's (captures/004-vanis-x2), spelling included
            let text = match bad {
                Bad::Json | Bad::TooLong | Bad::TooDeep => "Invalid JSON".to_owned(),
                Bad::Command => "Invalid comand".to_owned(),
                Bad::Key(key) => format!("Missing {key}"),
            };
            self.write(stream, codec::error(&text));
        }
    }

    fn said(&mut self, now: Now, stream: StreamId, said: Said) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        let ip = *session.at.ip();
        if let Some(peer) = self.peers.get_mut(&ip) {
            peer.heard = now.mono;
        }
        match said {
            Said::Hello { peer_id } => self.greeted(now, stream, ip, &peer_id),
            Said::NewMessage { id, text, peer_id } => {
                let Some(name) = session.name.clone() else {
                    let text = "Make TCP handshake before this command";
                    return self.write(stream, codec::error(text));
                };
                session.apart = now.mono + APART_MS;
                let mut from = self.contact(ip, &name);
                if let Some(author) = peer_id {
                    if let Some(peer) = self.peers.get_mut(&ip) {
                        peer.wants_name = true;
                    }
                    if author != name {
                        from = self.author(&author);
                    }
                }
                if self.history.hear(now, id, &from.name, &text) {
                    self.heard(Heard::Text { from, to: None, text, said: None });
                }
                self.write(stream, codec::ok());
            }
            Said::Ok { messages, peer_id } => {
                let hello = matches!(session.waiting, Some((Waiting::Hello, _)));
                let message = matches!(session.waiting, Some((Waiting::Message(_), _)));
                if hello {
                    session.waiting = None;
                    let known = self.peers.get(&ip).map(|p| p.name.clone());
                    let name = peer_id.or(known).unwrap_or_else(|| ip.to_string());
                    self.stands(now, stream, ip, &name);
                } else if message && messages.is_none() {
                    self.delivered(stream);
                }
                self.merge(now, stream, messages.unwrap_or_default());
            }
            Said::Refused(why) => self.refused(now, stream, ip, &why),
        }
    }

    /// A hello on a connection that somebody else made.
    fn greeted(&mut self, now: Now, stream: StreamId, ip: Ipv4Addr, peer_id: &str) {
        if self.is_ours(now.mono, ip, peer_id) {
            return self.close(now, stream);
        }
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.apart = now.mono + APART_MS;
        // the whole history once; who asks again before it has gone gets an empty one
        let empty = !session.writes.is_empty() || session.writing;
        let answer = match empty {
            true => codec::ok_with(std::iter::empty()),
            false => codec::ok_with(self.history.iter()),
        };
        self.note(now, ip, peer_id, true);
        self.write(stream, answer);
        self.stands(now, stream, ip, peer_id);
    }

    fn stands(&mut self, now: Now, stream: StreamId, ip: Ipv4Addr, name: &str) {
        if let Some(session) = self.sessions.get_mut(&stream) {
            session.name = Some(name.to_owned());
        }
        if let Some(peer) = self.peers.get_mut(&ip) {
            if self.sessions.get(&stream).is_some_and(|s| s.made) {
                peer.failures = 0;
            }
        }
        self.note(now, ip, name, true);
        self.tell_session(ip, true);
    }

    fn delivered(&mut self, stream: StreamId) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        if let Some((Waiting::Message(Outgoing { tag: Some(tag), .. }), _)) = session.waiting.take()
        {
            self.heard(Heard::Delivered(tag));
        }
    }

    fn refused(&mut self, now: Now, stream: StreamId, ip: Ipv4Addr, why: &str) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.apart = now.mono + REFUSED_MS;
        match session.waiting.take() {
            Some((Waiting::Message(outgoing), _)) => {
                let Some(peer) = self.peers.get_mut(&ip) else { return };
                if why.contains("peer_id") && !peer.wants_name && outgoing.tries < MAX_TRIES {
                    // Kalash: then it closes, and takes it over the next connection
                    peer.wants_name = true;
                    peer.queue.push_front(outgoing);
                    return;
                }
                let mut why = crate::model::text::harmless(why);
                why.truncate(why.char_indices().nth(80).map_or(why.len(), |(at, _)| at));
                let text = format!("it refused the text: {why}");
                self.not_sent(&outgoing, IoError::new(Trouble::Denied, text));
            }
            Some((Waiting::Hello, _)) => self.close(now, stream),
            None => {}
        }
    }

    /// Somebody's history: what is new of it is told, with its time.
    fn merge(&mut self, now: Now, stream: StreamId, messages: Vec<Message>) {
        if self.sessions.get(&stream).is_none_or(|s| s.name.is_none()) {
            return;
        }
        for message in messages {
            let own = message.peer_id == self.setup.peer_id;
            if self.history.told(now, &message) && !own {
                let from = self.author(&message.peer_id);
                let said = codec::time_of(message.id);
                self.heard(Heard::Text { from, to: None, text: message.text, said });
            }
        }
    }

    /// Somebody of whom another tells: at his address if he is here, else at none.
    fn author(&self, name: &str) -> Contact {
        let at = self.peers.iter().find(|(_, p)| p.name == name).map(|(ip, _)| *ip);
        match at {
            Some(ip) => self.contact(ip, name),
            None => {
                Contact { name: name.to_owned(), at: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0) }
            }
        }
    }

    /// Writes to each peer the next message that waits for it, where nothing else is under way.
    pub(super) fn pump_all(&mut self, now: Now) {
        let waiting: Vec<Ipv4Addr> =
            self.peers.iter().filter(|(_, p)| !p.queue.is_empty()).map(|(ip, _)| *ip).collect();
        for ip in waiting {
            let free = |(_, s): &(StreamId, &Session)| s.is_free() && s.apart <= now.mono;
            let stream = self.speaks_on(ip).filter(free).map(|(id, _)| id);
            let Some(stream) = stream else { continue };
            let own = self.setup.peer_id.clone();
            let Some(peer) = self.peers.get_mut(&ip) else { continue };
            let Some(mut outgoing) = peer.queue.pop_front() else { continue };
            outgoing.tries += 1;
            let name = peer.wants_name.then_some(own.as_str());
            let bytes = codec::new_message(outgoing.id, &outgoing.text, name);
            if let Some(session) = self.sessions.get_mut(&stream) {
                session.waiting = Some((Waiting::Message(outgoing), now.mono + WAIT_MS));
            }
            self.write(stream, bytes);
        }
    }
}
