//! Who is here: one peer per address, by its hello, its answers and its sessions.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::{Machine, Outgoing};
use crate::dialect::heard::Heard;
use crate::model::{IoError, Millis, Net, Now, StreamId, Trouble};

/// Peers at once. Others wait until some are gone: a flood of forged hellos ends by itself.
pub const MAX_PEERS: usize = 256;
/// Whoever has no session and was not heard for so long is gone: six hellos.
pub const HERE_MS: Millis = 30_000;
/// Whoever was not heard for so long while his name is heard at another address has moved.
const MOVED_MS: Millis = 10_500;
/// A second name at one address counts once the first was silent for so long.
const OTHER_MS: Millis = 15_000;
/// A lost session is told after so long without one: Kalash connects anew every 5 s.
const LOST_MS: Millis = 6_000;
/// One address is answered so often at most.
const ANSWER_MS: Millis = 400;
/// Answers to hellos in one second, to all addresses together.
pub const MAX_ANSWERS: u32 = 64;
/// With more peers than these, those who have a session with us get no answer: they know us, and
/// the chat's traffic shall not grow with the square of its peers.
const FEW: usize = 16;
/// The first pause after a failed connection; it doubles …
const BACK_OFF_MS: Millis = 5_000;
/// … up to this.
const MAX_BACK_OFF_MS: Millis = 60_000;
/// Connections being made at once.
const MAX_CONNECTING: usize = 8;

/// Someone at an address.
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) heard: Millis,
    since: Millis,
    /// It was heard twice, or by TCP: one datagram may be forged, and shall draw no connection.
    /// All programs say hello every few seconds, and answer ours.
    proven: bool,
    answered: Option<Millis>,
    /// It takes only a `new_message` that says whose it is (Kalash).
    pub(super) wants_name: bool,
    /// When we connect next, unless a connection stands.
    pub(super) connect_at: Millis,
    /// Connections that came to nothing, one after the other.
    pub(super) failures: u32,
    pub(super) queue: VecDeque<Outgoing>,
    /// A session was told of.
    told: bool,
    /// When the last session ended.
    pub(super) lost_at: Option<Millis>,
}

/// How many hellos were answered within one second.
#[derive(Default)]
pub(super) struct Answers {
    second: Millis,
    count: u32,
}

impl Machine {
    /// Somebody at an address said his name. By TCP it counts at once.
    pub(super) fn note(&mut self, now: Now, ip: Ipv4Addr, name: &str, tcp: bool) {
        let other = self
            .sessions
            .values()
            .any(|s| *s.at.ip() == ip && s.name.as_deref().is_some_and(|session| session != name));
        let full = self.peers.len() >= MAX_PEERS;
        match self.peers.get_mut(&ip) {
            Some(peer) if peer.name == name => {
                peer.heard = now.mono;
                if !std::mem::replace(&mut peer.proven, true) {
                    self.connect(now, ip);
                }
            }
            Some(peer) if !other && (tcp || now.mono >= peer.heard + OTHER_MS) => {
                peer.heard = now.mono;
                self.tell_session(ip, false);
                let Some(peer) = self.peers.get_mut(&ip) else { return };
                let old = std::mem::replace(&mut peer.name, name.to_owned());
                let gone = self.contact(ip, &old);
                self.heard(Heard::Gone(gone, format!("is {name} now")));
                let here = self.contact(ip, name);
                self.heard(Heard::Here(here));
            }
            // two programs on one host: the first is the peer
            Some(_) => {}
            None if full => {}
            None => {
                let peer = Peer {
                    name: name.to_owned(),
                    heard: now.mono,
                    since: now.mono,
                    proven: tcp,
                    answered: None,
                    wants_name: false,
                    connect_at: now.mono,
                    failures: 0,
                    queue: VecDeque::new(),
                    told: false,
                    lost_at: None,
                };
                self.peers.insert(ip, peer);
                let here = self.contact(ip, name);
                self.heard(Heard::Here(here));
                self.connect(now, ip);
            }
        }
    }

    /// Whether a hello from an address is answered now; if so, it is noted.
    pub(super) fn may_answer(&mut self, now: Millis, ip: Ipv4Addr) -> bool {
        let knows_us = self.sessions.values().any(|s| *s.at.ip() == ip && s.name.is_some());
        let few = self.peers.len() <= FEW;
        let Some(peer) = self.peers.get_mut(&ip) else { return false };
        if now >= self.answers.second + 1_000 {
            self.answers = Answers { second: now, count: 0 };
        }
        let soon = peer.answered.is_some_and(|at| now < at + ANSWER_MS);
        if soon || (knows_us && !few) || self.answers.count >= MAX_ANSWERS {
            return false;
        }
        peer.answered = Some(now);
        self.answers.count += 1;
        true
    }

    pub(super) fn peers_wake_at(&self) -> Option<Millis> {
        let at = |(ip, peer): (&Ipv4Addr, &Peer)| {
            let session = self.has_session(*ip);
            let gone = if session { None } else { Some(peer.heard + HERE_MS) };
            let lost = (peer.told && !session).then(|| peer.lost_at.map(|at| at + LOST_MS));
            let connect = self.wants_connection(*ip).then_some(peer.connect_at);
            let late = peer.queue.iter().map(|o| o.until).min();
            let pump = late.and_then(|_| self.pump_at(*ip));
            [gone, lost.flatten(), connect, late, pump].into_iter().flatten().min()
        };
        self.peers.iter().filter_map(at).min()
    }

    pub(super) fn tick_peers(&mut self, now: Now) {
        for ip in self.peers.keys().copied().collect::<Vec<_>>() {
            let session = self.has_session(ip);
            let Some(peer) = self.peers.get(&ip) else { continue };
            let silent = now.mono.saturating_sub(peer.heard);
            if !session && silent >= HERE_MS {
                self.gone(now, ip, "not heard of any more");
                continue;
            }
            let after = |p: &Peer| p.name == peer.name && p.since > peer.heard;
            let moved = silent >= MOVED_MS && !self.is_own(ip);
            let to = self.peers.iter().find(|(at, p)| **at != ip && after(p)).map(|(at, _)| *at);
            if let Some(to) = to.filter(|_| moved) {
                self.move_to(now, ip, to);
            }
        }
        // what moved may be due at its new place
        for ip in self.peers.keys().copied().collect::<Vec<_>>() {
            let session = self.has_session(ip);
            let Some(peer) = self.peers.get(&ip) else { continue };
            if peer.told && !session && peer.lost_at.is_some_and(|at| at + LOST_MS <= now.mono) {
                self.tell_session(ip, false);
            }
            self.give_up_late(now, ip);
            self.connect(now, ip);
        }
    }

    /// A session with somebody stands, or none does any more: told once.
    pub(super) fn tell_session(&mut self, ip: Ipv4Addr, stands: bool) {
        let Some(peer) = self.peers.get_mut(&ip) else { return };
        peer.lost_at = None;
        if std::mem::replace(&mut peer.told, stands) != stands {
            let name = peer.name.clone();
            let contact = self.contact(ip, &name);
            self.heard(Heard::Session(contact, stands));
        }
    }

    /// Puts a message in the queue of a peer.
    pub(super) fn give(&mut self, ip: Ipv4Addr, outgoing: Outgoing) {
        let session = self.has_session(ip);
        let Some(peer) = self.peers.get_mut(&ip) else { return };
        if !session && peer.failures > 0 {
            let text = "it takes no connections now: it gets the text when it connects itself";
            return self.not_sent(&outgoing, IoError::new(Trouble::Refused, text));
        }
        peer.queue.push_back(outgoing);
        if peer.queue.len() > super::MAX_QUEUE {
            if let Some(oldest) = peer.queue.pop_front() {
                let text = format!("more than {} messages wait for it", super::MAX_QUEUE);
                self.not_sent(&oldest, IoError::new(Trouble::Exhausted, text));
            }
        }
    }

    pub(super) fn not_sent(&mut self, outgoing: &Outgoing, error: IoError) {
        if let Some(tag) = outgoing.tag {
            self.heard(Heard::NotSent(tag, error));
        }
    }

    fn give_up_late(&mut self, now: Now, ip: Ipv4Addr) {
        let Some(peer) = self.peers.get_mut(&ip) else { return };
        let all = std::mem::take(&mut peer.queue).into_iter();
        let (late, left): (Vec<_>, Vec<_>) = all.partition(|o| o.until <= now.mono);
        peer.queue = left.into();
        for outgoing in late {
            let text = "it did not take the text in time";
            self.not_sent(&outgoing, IoError::new(Trouble::TimedOut, text));
        }
    }

    /// Somebody came back with a new address: what waits for him goes there.
    fn move_to(&mut self, now: Now, from: Ipv4Addr, to: Ipv4Addr) {
        let queue = self.peers.get_mut(&from).map(|p| std::mem::take(&mut p.queue));
        self.gone(now, from, &format!("came back at {to}"));
        for outgoing in queue.into_iter().flatten() {
            self.give(to, outgoing);
        }
        self.pump_all(now);
    }

    fn gone(&mut self, now: Now, ip: Ipv4Addr, reason: &str) {
        self.close_sessions(now, |session| *session.at.ip() == ip);
        let Some(peer) = self.peers.get_mut(&ip) else { return };
        for outgoing in std::mem::take(&mut peer.queue) {
            self.not_sent(&outgoing, IoError::new(Trouble::Unreachable, "not here any more"));
        }
        self.tell_session(ip, false);
        if let Some(peer) = self.peers.remove(&ip) {
            let contact = self.contact(ip, &peer.name);
            self.heard(Heard::Gone(contact, reason.into()));
        }
    }

    pub(super) fn forget_all(&mut self, reason: &str) {
        for ip in self.peers.keys().copied().collect::<Vec<_>>() {
            self.gone(Now::default(), ip, reason);
        }
    }

    /// Whether a connection of ours to a peer is missing. To our own address only where another
    /// program has the port.
    fn wants_connection(&self, ip: Ipv4Addr) -> bool {
        let proven = self.peers.get(&ip).is_some_and(|peer| peer.proven);
        let made = self.sessions.values().any(|s| s.made && *s.at.ip() == ip);
        proven && !made && (!self.is_own(ip) || !self.tcp.open)
    }

    fn connect(&mut self, now: Now, ip: Ipv4Addr) {
        let due = self.peers.get(&ip).is_some_and(|p| p.connect_at <= now.mono);
        if !due || !self.wants_connection(ip) {
            return;
        }
        let connecting = self.sessions.values().filter(|s| !s.open).count();
        if connecting >= MAX_CONNECTING || self.sessions.len() >= super::MAX_SESSIONS {
            if let Some(peer) = self.peers.get_mut(&ip) {
                peer.connect_at = now.mono + 1_000;
            }
            return;
        }
        self.next_stream += 1;
        let id = StreamId(super::STREAMS | self.next_stream);
        let at = std::net::SocketAddrV4::new(ip, self.setup.port);
        self.sessions.insert(id, super::Session::new(now.mono, at, true));
        self.net(Net::Connect(id, at));
    }

    /// A connection of ours came to nothing, or ended after it had stood (for some time, or only
    /// just).
    pub(super) fn connect_later(&mut self, now: Now, ip: Ipv4Addr, stood: Option<bool>) {
        let jitter = self.rng.u64(0..1_000);
        let Some(peer) = self.peers.get_mut(&ip) else { return };
        peer.connect_at = now.mono
            + match stood {
                // what waits is tried a bounded number of times
                Some(_) if !peer.queue.is_empty() => 0,
                Some(true) => jitter,
                Some(false) => BACK_OFF_MS + jitter,
                None => {
                    peer.failures = peer.failures.saturating_add(1);
                    (BACK_OFF_MS << peer.failures.min(8)).min(2 * MAX_BACK_OFF_MS) / 2 + jitter
                }
            };
    }
}
