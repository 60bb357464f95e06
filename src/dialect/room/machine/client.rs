//! Our users at another's server: each registers by a connection of its own, and the first of
//! them listens for all. A server that went, or is not there yet, is tried again, ever more
//! seldom.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Kind, Machine, TO_LINES};
use crate::dialect::heard::{Contact, Heard};
use crate::dialect::room::codec::{self, Frames, Framing, Listed, Said};
use crate::dialect::room::{MAX_CANDIDATES, MAX_LISTED, MAX_RETRY_MS, RETRY_MS, WELCOME_MS};
use crate::model::{Map, Millis, StreamId, UserId};

/// Users of a server's list remembered after they left: the real server says USER_LEFT of who is
/// still there when his nickname was asked for twice (captures/000-prototype).
const MAX_FORMER: usize = 64;
/// An address without a server is not tried again within this time (`discover`).
const AGAIN_MS: Millis = 10 * 60_000;
/// A server that was found and then lost is tried so often, in both framings.
const GIVE_UP_TRIES: u32 = 12;
/// So long in the room, and the next loss is met with a first short pause again.
const STEADY_MS: Millis = 30_000;

/// The server of others, and ours at it.
pub(super) struct Remote {
    /// Where it is: set, or found.
    at: Option<SocketAddrV4>,
    /// It was found, not set: given up when it does not answer.
    found: bool,
    /// The framing it answered in.
    pub(super) framing: Option<Framing>,
    sessions: Map<UserId, Session>,
    listed: Map<String, Contact>,
    former: VecDeque<Contact>,
    /// It was told that the server is reached.
    told: Option<bool>,
    /// Addresses still to be tried, and those tried and when (`discover`).
    candidates: VecDeque<Ipv4Addr>,
    tried: Map<Ipv4Addr, Millis>,
}

struct Session {
    state: State,
    frames: Frames,
    /// Tries since it was last in the room.
    tries: u32,
    nick: String,
    /// The last refusal that was told.
    refused: Option<String>,
}

enum State {
    /// To be tried then.
    Off {
        at: Millis,
    },
    /// Waits until the first of ours is in.
    Waiting,
    Connecting {
        stream: StreamId,
    },
    /// REGISTER is said, in this framing.
    Registering {
        stream: StreamId,
        framing: Framing,
        until: Millis,
    },
    In {
        stream: StreamId,
        since: Millis,
    },
}

impl Remote {
    pub(super) fn new(at: Option<SocketAddrV4>) -> Remote {
        Remote {
            at,
            found: false,
            framing: None,
            sessions: Map::new(),
            listed: Map::new(),
            former: VecDeque::new(),
            told: None,
            candidates: VecDeque::new(),
            tried: Map::new(),
        }
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.at?;
        let at = |session: &Session| match session.state {
            State::Off { at } => Some(at),
            State::Registering { until, .. } => Some(until),
            State::Waiting | State::Connecting { .. } | State::In { .. } => None,
        };
        self.sessions.values().filter_map(at).min()
    }

    /// The first of ours that is in the room: what it hears counts.
    fn ear(&self) -> Option<UserId> {
        let is_in = |s: &Session| matches!(s.state, State::In { .. });
        self.sessions.iter().find(|(_, s)| is_in(s)).map(|(id, _)| *id)
    }

    /// Others at this server.
    pub(super) fn others(&self) -> usize {
        self.listed.len()
    }

    fn is_ours(&self, nick: &str) -> bool {
        self.sessions.values().any(|s| s.nick == nick)
    }

    /// The one that others list under this nickname.
    pub(super) fn contact(&self, nick: &str) -> Option<&Contact> {
        self.listed.get(nick)
    }
}

impl Machine {
    /// Registers our users at a server, or with `None` at none.
    ///
    /// # Errors
    /// In words: it is our own, or we are connected to it already.
    pub fn connect(&mut self, now: Millis, at: Option<SocketAddrV4>) -> Result<(), String> {
        if let Some(at) = at {
            if self.remote.at == Some(at) && !self.remote.found {
                return Err(format!("connected to the room at {at} already: not a second time"));
            }
            if self.is_own_server(at) {
                return Err(own_server(at));
            }
        }
        for user in self.users.keys().copied().collect::<Vec<_>>() {
            self.leave_server(now, user);
        }
        self.server_lost(now, "we left this room");
        self.remote = Remote::new(at);
        self.register_all(now);
        Ok(())
    }

    fn is_own_server(&self, at: SocketAddrV4) -> bool {
        self.setup.serve && at.port() == self.setup.port && self.lan.is_own(*at.ip())
    }

    /// The server that our users are at, or try to be.
    pub fn server(&self) -> Option<SocketAddrV4> {
        self.remote.at
    }

    /// Whether at least one of our users is registered there.
    pub fn is_in(&self) -> bool {
        self.remote.ear().is_some()
    }

    /// Somebody is at this address: perhaps a server too (`discover`).
    pub fn offer(&mut self, now: Millis, ip: Ipv4Addr) {
        if !self.setup.discover || !self.lan.reaches(ip) || self.lan.is_own(ip) {
            return;
        }
        let r = &mut self.remote;
        r.tried.retain(|_, at| *at + AGAIN_MS > now);
        let known = r.candidates.contains(&ip) || r.tried.contains_key(&ip);
        if known || r.candidates.len() + r.tried.len() >= MAX_CANDIDATES {
            return;
        }
        r.candidates.push_back(ip);
        self.next_candidate(now);
    }

    fn next_candidate(&mut self, now: Millis) {
        if self.remote.at.is_some() {
            return;
        }
        let Some(ip) = self.remote.candidates.pop_front() else { return };
        self.remote.tried.insert(ip, now);
        self.remote.at = Some(SocketAddrV4::new(ip, self.setup.port));
        (self.remote.found, self.remote.framing, self.remote.told) = (true, None, None);
        self.register_all(now);
    }

    /// A server that was found and does not answer is none: on to the next.
    fn give_up_candidate(&mut self, now: Millis) {
        for user in self.users.keys().copied().collect::<Vec<_>>() {
            self.leave_server(now, user);
        }
        self.remote.sessions.clear();
        (self.remote.at, self.remote.found) = (None, false);
        self.next_candidate(now);
    }

    fn register_all(&mut self, now: Millis) {
        for user in self.users.keys().copied().collect::<Vec<_>>() {
            self.register_soon(now, user);
        }
    }

    /// A user of ours is to be at the server.
    pub(super) fn register_soon(&mut self, now: Millis, user: UserId) {
        let Some(me) = self.users.get(&user) else { return };
        if self.remote.at.is_none() || me.port.is_none() {
            return;
        }
        let nick = me.name.clone();
        self.remote.sessions.entry(user).or_insert(Session {
            state: State::Off { at: now },
            frames: Frames::default(),
            tries: 0,
            nick,
            refused: None,
        });
        self.tick_remote(now);
    }

    pub(super) fn tick_remote(&mut self, now: Millis) {
        let Some(at) = self.remote.at else { return };
        let first = self.remote.sessions.keys().next().copied();
        for user in self.remote.sessions.keys().copied().collect::<Vec<_>>() {
            let in_room = self.remote.ear().is_some();
            let Some(session) = self.remote.sessions.get_mut(&user) else { continue };
            match session.state {
                State::Off { at: due } if due <= now => {
                    // one finds out, the others follow
                    if !in_room && Some(user) != first {
                        session.state = State::Waiting;
                        continue;
                    }
                    self.start(now, user, at);
                }
                State::Waiting if in_room || Some(user) == first => self.start(now, user, at),
                State::Registering { until, .. } if until <= now => {
                    self.unanswered(now, user);
                }
                _ => {}
            }
        }
    }

    fn start(&mut self, now: Millis, user: UserId, at: SocketAddrV4) {
        if self.is_own_server(at) {
            self.told.complain_ours(own_server(at));
            self.remote = Remote::new(None);
            return;
        }
        let stream = self.open_stream(now, at, Kind::Session(user), TO_LINES);
        if let Some(session) = self.remote.sessions.get_mut(&user) {
            session.state = State::Connecting { stream };
        }
    }

    pub(super) fn session_connected(&mut self, now: Millis, user: UserId) {
        let Some(port) = self.users.get(&user).and_then(|me| me.port) else { return };
        let known = self.remote.framing;
        let Some(session) = self.remote.sessions.get_mut(&user) else { return };
        let State::Connecting { stream } = session.state else { return };
        // lines first: a server of lengths takes them for a length and waits for ever
        let guess = if session.tries % 2 == 0 { Framing::Lines } else { Framing::Lengths };
        let framing = known.unwrap_or(guess);
        session.frames = Frames::of(framing);
        session.state = State::Registering { stream, framing, until: now + WELCOME_MS };
        let register = format!("REGISTER {} {port}", session.nick);
        self.say(now, stream, codec::frame(framing, &register), None);
    }

    /// The server is there and says nothing: perhaps it speaks the other framing.
    fn unanswered(&mut self, now: Millis, user: UserId) {
        self.remote.framing = None;
        let Some(session) = self.remote.sessions.get_mut(&user) else { return };
        let State::Registering { stream, .. } = session.state else { return };
        session.tries += 1;
        if session.tries % 2 == 1 {
            session.state = State::Off { at: now };
            self.close_stream(stream);
            self.tick_remote(now);
        } else {
            self.session_lost(now, user, "it does not answer REGISTER in either framing");
        }
    }

    pub(super) fn session_bytes(&mut self, user: UserId, bytes: &[u8]) {
        if let Some(session) = self.remote.sessions.get_mut(&user) {
            session.frames.feed(bytes);
        }
    }

    /// The next command of the server; `false`: there is none.
    pub(super) fn session_next(&mut self, now: Millis, user: UserId) -> bool {
        let Some(at) = self.remote.at else { return false };
        let Some(session) = self.remote.sessions.get_mut(&user) else { return false };
        let Some(frame) = session.frames.take() else { return false };
        let broken = session.frames.broken();
        match frame.and_then(|frame| codec::parse(&frame)) {
            Ok(said) => self.server_said(now, user, at, said),
            Err(bad) => {
                self.told.complain(*at.ip(), &bad.to_string());
                if broken {
                    self.session_lost(now, user, "it said what no server says");
                }
            }
        }
        true
    }

    fn server_said(&mut self, now: Millis, user: UserId, at: SocketAddrV4, said: Said) {
        let listens = self.remote.ear() == Some(user);
        match said {
            Said::Welcome(_) => self.welcome(now, user, at),
            Said::Error(text) => self.server_error(now, user, at, &text),
            // the others of ours hear the same
            _ if !listens => {}
            Said::UserList(users) => self.whole_list(at, users),
            Said::Joined(user) => self.listed(at, user),
            Said::Left(nick) => {
                if let Some(contact) = self.remote.listed.remove(&nick) {
                    if self.remote.former.len() >= MAX_FORMER {
                        self.remote.former.pop_front();
                    }
                    self.remote.former.push_back(contact.clone());
                    self.told.gone(contact, "left");
                }
            }
            Said::Broadcast(nick, text) | Said::BroadcastMsg(nick, text) => {
                if self.remote.is_ours(&nick) {
                    return; // our own, in lengths
                }
                let Some(from) = self.speaker(at, &nick) else { return };
                self.told.heard(Heard::Text { from, to: None, text, said: None });
            }
            other => self.told.complain(*at.ip(), &format!("a server does not say {other:?}")),
        }
    }

    /// Who spoke: listed, or listed once, or at least at this server.
    fn speaker(&mut self, at: SocketAddrV4, nick: &str) -> Option<Contact> {
        if let Some(contact) = self.remote.listed.get(nick) {
            return Some(contact.clone());
        }
        let nick = codec::nickname(nick).ok()?;
        let former = self.remote.former.iter().find(|c| c.name == nick).cloned();
        let contact = former.unwrap_or(Contact { name: nick, at: self.lan.canonical(at) });
        self.list(contact.clone());
        Some(contact)
    }

    /// The one at this address of whom the server said that he left, listed again.
    pub(super) fn back_again(&mut self, ip: Ipv4Addr) -> Option<Contact> {
        let contact = self.remote.former.iter().rev().find(|c| *c.at.ip() == ip).cloned()?;
        self.list(contact.clone());
        Some(contact)
    }

    fn welcome(&mut self, now: Millis, user: UserId, at: SocketAddrV4) {
        let first = self.remote.ear().is_none();
        let Some(session) = self.remote.sessions.get_mut(&user) else { return };
        let State::Registering { stream, framing, .. } = session.state else { return };
        session.state = State::In { stream, since: now };
        session.refused = None;
        self.remote.framing = Some(framing);
        if first {
            self.remote.told = Some(true);
            self.told.heard(Heard::Session(server_contact(at), true));
        }
        self.tick_remote(now);
    }

    fn server_error(&mut self, now: Millis, user: UserId, at: SocketAddrV4, text: &str) {
        let Some(session) = self.remote.sessions.get_mut(&user) else { return };
        let State::Registering { framing, .. } = session.state else {
            return self.told.complain(*at.ip(), &format!("the server says: {text}"));
        };
        let nick = session.nick.clone();
        let new = session.refused.as_deref() != Some(text);
        session.refused = Some(text.into());
        session.tries = session.tries.max(6); // no hurry: a person must choose another
        self.remote.framing = Some(framing);
        if new {
            let text: String = text.chars().take(200).collect();
            self.told.complain_ours(format!(
                "the room at {at} does not take {nick} in: {text}; HANDLE chooses another"
            ));
        }
        self.session_lost(now, user, "it does not take us in");
    }

    fn whole_list(&mut self, at: SocketAddrV4, users: Vec<Listed>) {
        let listed: Vec<String> = users.iter().map(|u| u.nick.clone()).collect();
        let gone: Vec<String> =
            self.remote.listed.keys().filter(|n| !listed.contains(n)).cloned().collect();
        for nick in gone {
            if let Some(contact) = self.remote.listed.remove(&nick) {
                self.told.gone(contact, "the server lists him no more");
            }
        }
        for user in users {
            self.listed(at, user);
        }
    }

    fn listed(&mut self, server: SocketAddrV4, user: Listed) {
        // who is on the server's own machine may be listed as there
        let ip = if user.at.ip().is_loopback() { *server.ip() } else { *user.at.ip() };
        let at = self.lan.canonical(SocketAddrV4::new(ip, user.at.port()));
        if !self.remote.is_ours(&user.nick) {
            self.list(Contact { name: user.nick, at });
        }
    }

    fn list(&mut self, contact: Contact) {
        self.remote.former.retain(|c| c.name != contact.name);
        match self.remote.listed.get(&contact.name) {
            Some(old) if *old == contact => return,
            Some(old) => {
                let old = old.clone();
                self.remote.listed.remove(&old.name);
                self.told.gone(old, "at another address now");
            }
            None if self.remote.listed.len() >= MAX_LISTED => return,
            None => {}
        }
        self.remote.listed.insert(contact.name.clone(), contact.clone());
        self.told.here(contact);
    }

    /// One of ours lost the server.
    pub(super) fn session_lost(&mut self, now: Millis, user: UserId, why: &str) {
        let jitter = self.rng.u64(0..RETRY_MS / 2);
        let Some(at) = self.remote.at else { return };
        let Some(session) = self.remote.sessions.get_mut(&user) else { return };
        let stream = match session.state {
            State::Connecting { stream } | State::Registering { stream, .. } => Some(stream),
            State::In { stream, since } => {
                if since + STEADY_MS <= now {
                    session.tries = 0;
                }
                Some(stream)
            }
            State::Off { .. } | State::Waiting => None,
        };
        // even, so that lines come first again
        session.tries = (session.tries + 2) & !1;
        let tries = session.tries;
        let pause = (RETRY_MS << (session.tries / 2 - 1).min(6)).min(MAX_RETRY_MS);
        session.state = State::Off { at: now + pause + jitter };
        if let Some(stream) = stream {
            self.close_stream(stream);
        }
        if self.remote.ear().is_some() {
            return;
        }
        if self.remote.found && (self.remote.told.is_none() || tries >= GIVE_UP_TRIES) {
            return self.give_up_candidate(now);
        }
        if self.remote.told != Some(false) {
            self.told
                .complain_ours(format!("the room at {at} is not reached: {why}; trying again"));
        }
        self.server_lost(now, why);
        self.remote.told = Some(false);
    }

    /// None of ours is in the room any more.
    fn server_lost(&mut self, _now: Millis, why: &str) {
        let was_in = self.remote.told == Some(true);
        for (_, contact) in std::mem::take(&mut self.remote.listed) {
            self.told.gone(contact, why);
        }
        self.remote.former.clear();
        if let (true, Some(at)) = (was_in, self.remote.at) {
            self.remote.told = None;
            self.told.heard(Heard::Session(server_contact(at), false));
        }
    }

    /// One of ours goes.
    pub(super) fn leave_server(&mut self, now: Millis, user: UserId) {
        let was_in = self.remote.ear().is_some();
        let Some(session) = self.remote.sessions.remove(&user) else { return };
        match session.state {
            State::In { stream, .. } => {
                let framing = self.remote.framing.unwrap_or(Framing::Lines);
                self.say(now, stream, codec::frame(framing, "QUIT "), None);
                self.end_stream(now, stream);
            }
            State::Connecting { stream } | State::Registering { stream, .. } => {
                self.close_stream(stream);
            }
            State::Off { .. } | State::Waiting => {}
        }
        if was_in && self.remote.ear().is_none() {
            self.server_lost(now, "we left this room");
        }
    }

    /// By which connection a user speaks at the server, and as whom.
    pub(super) fn session_for(&self, user: Option<UserId>) -> Option<(StreamId, String)> {
        let of = |id: UserId| {
            let session = self.remote.sessions.get(&id)?;
            let State::In { stream, .. } = session.state else { return None };
            Some((stream, session.nick.clone()))
        };
        user.and_then(of).or_else(|| of(self.remote.ear()?))
    }
}

fn own_server(at: SocketAddrV4) -> String {
    format!("{at} is this node's own room: its users are in it already")
}

/// How a server stands in [`Heard::Session`].
fn server_contact(at: SocketAddrV4) -> Contact {
    Contact { name: "room".into(), at }
}
