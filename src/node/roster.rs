//! Who is on the LAN: peers, their routes, their presence, and when each is to be asked whether
//! it is still there.
//!
//! Plain dialects prove nothing, so: a peer is one address; what others say of it is a hint that
//! is verified; a LEAVE counts only from the address that joined; the table is bounded and what
//! is least worth is evicted first (DESIGN section 9).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::model::limits::{MAX_HINTS, MAX_NAMESAKES, MAX_PEERS, MAX_ROUTES};
use crate::model::{Dialect, Handle, Millis, Now, PeerId, Presence, Wall};

/// Two JOINs of one handle and port on two interfaces within this time are one box with two
/// interfaces: it announces itself on all of them at the same moment.
const TWIN_MS: Millis = 500;
/// A probe waits this long for its answer.
const PROBE_MS: Millis = 2_000;
/// Unanswered probes before a peer is gone.
const PROBES: u8 = 3;
/// A peer whose program never answered a probe is believed for so long after its last word.
const MUTE_MS: Millis = 30 * 60 * 1_000;
/// A peer that left is not brought back by others' lists for so long.
const GRAVE_MS: Millis = 120_000;
/// Peers asked in one sweep; the rest has its turn in the next. Whoever forges a thousand
/// peers shall not make us shout.
const MAX_PROBES: usize = 32;
/// Sweeps are so far apart.
const SWEEP_MS: Millis = 250;
/// Peers at one address beyond which lists add none: a host has so many users at most, and a
/// forged list shall not make us ask one victim for ever.
const MAX_HINTS_AT: usize = 64;
/// Peers that are gone are forgotten after so long.
const FORGET_MS: Millis = 24 * 60 * 60 * 1_000;
/// Whoever is heard again after this long is no forgery of a moment.
const CONFIRM_MS: Millis = 500;
/// When the table is full, so many leave it at once: looking through it costs time.
const EVICT: usize = MAX_PEERS / 32;

/// Someone elsewhere.
#[derive(Debug)]
pub struct Peer {
    /// Its name for programs.
    pub id: PeerId,
    /// Who it says it is.
    pub handle: Handle,
    /// The ways to it, the best first. Never empty.
    pub routes: Vec<Route>,
    /// Whether it is here.
    pub presence: Presence,
    /// When it was last heard itself.
    pub heard: Option<(Millis, Wall)>,
    /// When it went.
    pub gone_at: Millis,
    joined_at: Millis,
    first_heard: Option<Millis>,
    /// It was heard more than once, apart in time, or answered: not the forgery of a moment.
    confirmed: bool,
    probes: u8,
    probe_at: Millis,
    answers: bool,
}

/// How somebody was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A JOIN: it may rename.
    Join,
    /// Its own entry in its own list: it answers when asked.
    List,
    /// A text or an image.
    Text,
}

/// One way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The dialect spoken on it.
    pub dialect: Dialect,
    /// Its chat address.
    pub addr: SocketAddrV4,
    /// The interface it was heard on; 0 if unknown.
    pub link: u32,
}

impl Peer {
    /// The best way to it.
    pub fn route(&self) -> Route {
        self.routes[0]
    }

    /// Whether it is here.
    pub fn is_here(&self) -> bool {
        self.presence != Presence::Gone
    }

    fn has_ip(&self, ip: Ipv4Addr) -> bool {
        self.routes.iter().any(|r| *r.addr.ip() == ip)
    }
}

/// What changed, for the node to tell and do.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Someone is here now.
    Joined {
        /// Who.
        id: PeerId,
        /// It spoke itself and was not known before, other than by writing to us: it may not know
        /// us yet.
        new: bool,
    },
    /// Someone is not here any more: who it was, and why.
    Left(PeerId, Handle, String),
    /// Someone bears another handle now.
    Renamed(PeerId, Handle),
    /// Someone is away (`true`) or back.
    Away(PeerId, bool),
    /// This address is to be asked whether it is there.
    Ask(SocketAddrV4),
    /// This address is no peer's any more.
    Forgot(SocketAddrV4),
}

/// The table of peers.
#[derive(Default)]
pub struct Roster {
    /// Each in a box: a tree's nodes are a third empty.
    peers: BTreeMap<PeerId, Box<Peer>>,
    by_addr: HashMap<SocketAddrV4, PeerId>,
    by_ip: BTreeSet<(Ipv4Addr, PeerId)>,
    /// By the hash of the handle in lower case; two may have the same one.
    by_key: BTreeSet<(u64, PeerId)>,
    hasher: RandomState,
    /// Who is believed to be here because of others' lists alone.
    hints: BTreeSet<PeerId>,
    sweep_at: Option<Millis>,
    /// A peer silent for so long is asked; set from the announcement period.
    silent: Millis,
    changes: Vec<Change>,
}

impl Roster {
    /// An empty roster for a LAN whose klatsch nodes announce themselves every `announce` ms.
    pub fn new(announce: Millis) -> Roster {
        Roster { silent: announce + announce / 2, ..Roster::default() }
    }

    /// Another announcement period.
    pub fn set_announce(&mut self, announce: Millis) {
        self.silent = announce + announce / 2;
    }

    /// Takes what changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// All peers, those gone included.
    pub fn all(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().map(|p| &**p)
    }

    /// Those who are here.
    pub fn here(&self) -> impl Iterator<Item = &Peer> {
        self.all().filter(|p| p.is_here())
    }

    /// A peer by id.
    pub fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id).map(|p| &**p)
    }

    /// The peer at a chat address.
    pub fn at(&self, addr: SocketAddrV4) -> Option<&Peer> {
        self.get(*self.by_addr.get(&addr)?)
    }

    /// All who bear a handle, whatever its case.
    pub fn called(&self, handle: &str) -> impl Iterator<Item = &Peer> {
        let key = handle.to_lowercase();
        let hash = self.hash(&key);
        self.by_key
            .range((hash, PeerId(0))..=(hash, PeerId(u64::MAX)))
            .filter_map(|(_, id)| self.get(*id))
            .filter(move |p| p.handle.key() == key)
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    /// All at an address, the one heard last first.
    pub fn at_ip(&self, ip: Ipv4Addr) -> Vec<&Peer> {
        let mut found: Vec<&Peer> = self.known_at(ip).filter(|p| p.is_here()).collect();
        found.sort_by_key(|p| std::cmp::Reverse(p.heard.map(|(mono, _)| mono)));
        found
    }

    fn known_at(&self, ip: Ipv4Addr) -> impl Iterator<Item = &Peer> {
        let all = (ip, PeerId(0))..=(ip, PeerId(u64::MAX));
        self.by_ip.range(all).filter_map(|(_, id)| self.get(*id))
    }

    /// Whoever of this handle left this address last.
    pub fn gone_at_ip(&self, handle: &Handle, ip: Ipv4Addr) -> Option<(PeerId, SocketAddrV4)> {
        let gone = self.called(handle.as_str()).filter(|p| !p.is_here() && p.has_ip(ip));
        let known = gone.filter(|p| p.heard.is_some() && p.route().addr.port() != 0);
        known.max_by_key(|p| p.gone_at).map(|p| (p.id, p.route().addr))
    }

    /// Someone said of itself that it is here; a JOIN may rename.
    pub fn hear(
        &mut self,
        now: Now,
        handle: &Handle,
        route: Route,
        away: Option<bool>,
        by: By,
    ) -> PeerId {
        let join = by == By::Join;
        self.adopt(handle, route, join);
        let twin = join.then(|| self.twin(now.mono, handle, route)).flatten();
        let known = self.by_addr.get(&route.addr).copied();
        let id = match (known, twin) {
            (Some(id), Some(twin)) if id != twin => {
                self.remove(id, "the same box on another interface");
                self.add_route(twin, route);
                twin
            }
            (None, Some(twin)) => {
                self.add_route(twin, route);
                twin
            }
            (Some(id), _) => {
                self.maybe_rename(id, handle, join);
                id
            }
            (None, None) => {
                self.probe_namesakes(now.mono, handle, route);
                self.insert(now.mono, handle, route)
            }
        };
        self.refresh(now, id, by);
        if let Some(away) = away {
            self.set_away(id, away);
        }
        id
    }

    /// Its program is one that answers a WHO: silence means that it is gone.
    pub fn must_answer(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.answers = true;
        }
    }

    /// A peer said something, so it is here.
    pub fn spoke(&mut self, now: Now, id: PeerId) {
        self.refresh(now, id, By::Text);
    }

    /// Somebody listed somebody else: believed for now, and asked.
    pub fn hint(&mut self, now: Millis, handle: &Handle, route: Route, away: bool, jitter: Millis) {
        if let Some(id) = self.by_addr.get(&route.addr).copied() {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if peer.is_here() || now < peer.gone_at + GRAVE_MS || !peer.handle.is(handle.as_str()) {
                return;
            }
            if self.hints.len() >= MAX_HINTS {
                return;
            }
            self.hints.insert(id);
            peer.heard = None;
            peer.presence = Presence::Online;
            (peer.probes, peer.probe_at) = (0, now + jitter);
            self.changes.push(Change::Joined { id, new: false });
        } else {
            if self.known_at(ip_of(route)).count() >= MAX_HINTS_AT {
                return;
            }
            // it moved within its host, or its list is stale: its own word will tell
            let ip = *route.addr.ip();
            if self.called(handle.as_str()).any(|p| p.has_ip(ip) && p.is_here()) {
                return;
            }
            if self.hints.len() >= MAX_HINTS {
                return;
            }
            let id = self.insert(now, handle, route);
            self.hints.insert(id);
            self.changes.push(Change::Joined { id, new: false });
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.presence = Presence::Online;
                peer.probe_at = now + jitter;
            }
            self.set_away(id, away);
        }
        self.sweep_by(now + jitter);
    }

    /// A LEAVE from this address. It acts at once and is verified.
    pub fn leave(&mut self, now: Millis, handle: &Handle, from: SocketAddrV4) {
        for id in self.speakers(handle, from) {
            let Some(addr) = self.peers.get(&id).map(|p| p.route().addr) else { continue };
            self.go(now, id, "left");
            self.changes.push(Change::Ask(addr));
        }
    }

    /// An AWAY or BACK from this address.
    pub fn away(&mut self, now: Now, handle: &Handle, from: SocketAddrV4, away: bool) {
        for id in self.speakers(handle, from) {
            self.refresh(now, id, By::Text);
            self.set_away(id, away);
        }
    }

    /// This chat address is dead: its host said so.
    pub fn dead(&mut self, now: Millis, addr: SocketAddrV4, reason: &str) {
        let Some(id) = self.by_addr.get(&addr).copied() else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.routes.len() > 1 {
            peer.routes.retain(|r| r.addr != addr);
            if !peer.has_ip(*addr.ip()) {
                self.by_ip.remove(&(*addr.ip(), id));
            }
            self.by_addr.remove(&addr);
            self.changes.push(Change::Forgot(addr));
        } else {
            self.go(now, id, reason);
        }
    }

    /// When [`Roster::sweep`] wants to be called.
    pub fn wake_at(&self) -> Option<Millis> {
        self.sweep_at
    }

    /// Asks whoever was silent too long, gives up whoever does not answer.
    pub fn sweep(&mut self, now: Millis) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let mut next = None;
        let (mut silent, mut forgotten) = (Vec::new(), Vec::new());
        let mut asked = 0;
        for peer in self.peers.values_mut() {
            if !peer.is_here() {
                if peer.gone_at + FORGET_MS <= now {
                    forgotten.push(peer.id);
                }
                continue;
            }
            if peer.probe_at <= now {
                if peer.probes >= PROBES {
                    let last = peer.heard.map(|(mono, _)| mono);
                    // who cannot be written to either is not kept waiting for
                    let mute = !peer.answers && peer.route().addr.port() != 0;
                    if mute && last.is_some_and(|last| now < last + MUTE_MS) {
                        (peer.probes, peer.probe_at) = (0, now + self.silent);
                    } else {
                        silent.push(peer.id);
                        continue;
                    }
                } else if asked >= MAX_PROBES {
                    peer.probe_at = now + SWEEP_MS;
                } else {
                    asked += 1;
                    peer.probes += 1;
                    peer.probe_at = now + PROBE_MS;
                    self.changes.push(Change::Ask(peer.route().addr));
                }
            }
            next = Some(next.map_or(peer.probe_at, |n: Millis| n.min(peer.probe_at)));
        }
        self.sweep_at = next.map(|next| next.max(now + SWEEP_MS));
        for id in silent {
            self.go(now, id, "not heard of any more");
        }
        for id in forgotten {
            self.remove(id, "");
        }
    }

    /// Notes a word of the peer itself: a JOIN, an answer to a WHO, or another.
    fn refresh(&mut self, now: Now, id: PeerId, by: By) {
        let silent = self.silent;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let new = peer.heard.is_none();
        self.hints.remove(&id);
        let answer = by == By::List;
        peer.answers |= answer;
        peer.confirmed |= answer && peer.probes > 0
            || peer.first_heard.is_some_and(|first| first + CONFIRM_MS <= now.mono);
        peer.first_heard.get_or_insert(now.mono);
        peer.heard = Some((now.mono, now.wall));
        (peer.probes, peer.probe_at) = (0, now.mono + silent);
        if by == By::Join {
            peer.joined_at = now.mono;
        }
        let back = !peer.is_here();
        if back {
            peer.presence = Presence::Online;
        }
        // who was known from a list and now spoke itself may not know us; who writes to us does
        if back || new {
            self.changes.push(Change::Joined { id, new: by != By::Text });
        }
        self.sweep_by(now.mono + silent);
    }

    fn sweep_by(&mut self, at: Millis) {
        self.sweep_at = Some(self.sweep_at.map_or(at, |s| s.min(at)));
    }

    /// The peer that announced the same handle and port on another interface just now.
    fn twin(&self, now: Millis, handle: &Handle, route: Route) -> Option<PeerId> {
        let twin = |p: &&Peer| {
            p.is_here()
                && p.heard.is_some()
                && now <= p.joined_at + TWIN_MS
                && p.routes.len() < MAX_ROUTES
                && p.routes.iter().all(|r| {
                    r.link != route.link
                        && r.link != 0
                        && route.link != 0
                        && r.addr.port() == route.addr.port()
                        && !r.addr.ip().is_loopback()
                })
        };
        if route.addr.ip().is_loopback() {
            return None;
        }
        self.called(handle.as_str()).find(twin).map(|p| p.id)
    }

    /// Whoever bears this handle at another address on the same interface may have moved here:
    /// it is asked, and goes if it does not answer.
    fn probe_namesakes(&mut self, now: Millis, handle: &Handle, route: Route) {
        let bearers: Vec<&Peer> = self
            .called(handle.as_str())
            .filter(|p| {
                let here = |r: &Route| r.link == route.link || r.link == 0 || route.link == 0;
                p.is_here() && p.routes.iter().any(here)
            })
            .take(MAX_NAMESAKES + 1)
            .collect();
        if bearers.len() > MAX_NAMESAKES {
            return; // nobody moved: many call themselves so, or one pretends to be many
        }
        // whoever is being asked already is not asked the more
        let quiet = bearers.into_iter().filter(|p| p.probes == 0 && p.probe_at > now);
        let ids: Vec<PeerId> = quiet.map(|p| p.id).collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                // one more namesake must not shorten the time it has to answer
                if peer.probes == 0 {
                    peer.probe_at = now;
                }
                peer.answers = true; // somebody else claims to be it: silence now means gone
            }
            self.sweep_by(now);
        }
    }

    fn maybe_rename(&mut self, id: PeerId, handle: &Handle, join: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        // a list may not, unless what we know is over: its JOIN may have been lost
        if peer.handle == *handle || (!join && peer.heard.is_some() && peer.is_here()) {
            return;
        }
        let old = std::mem::replace(&mut peer.handle, handle.clone());
        if old.key() != handle.key() {
            let keys = (self.hasher.hash_one(old.key()), self.hasher.hash_one(handle.key()));
            self.by_key.remove(&(keys.0, id));
            self.by_key.insert((keys.1, id));
        }
        if peer.is_here() {
            self.changes.push(Change::Renamed(id, old));
        }
    }

    fn add_route(&mut self, id: PeerId, route: Route) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.routes.len() < MAX_ROUTES && !peer.routes.iter().any(|r| r.addr == route.addr) {
            peer.routes.push(route);
            self.by_ip.insert((*route.addr.ip(), id));
            self.by_addr.insert(route.addr, id);
        }
    }

    fn set_away(&mut self, id: PeerId, away: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let presence = if away { Presence::Away } else { Presence::Online };
        if peer.is_here() && peer.presence != presence {
            peer.presence = presence;
            self.changes.push(Change::Away(id, away));
        }
    }

    /// Those of a handle who may speak from this address: the very port, else any at that host.
    /// Whoever chats at that port speaks for itself alone, also when it just took another handle.
    fn speakers(&self, handle: &Handle, from: SocketAddrV4) -> Vec<PeerId> {
        if self.at(from).is_some_and(|p| p.is_here() && !p.handle.is(handle.as_str())) {
            return Vec::new();
        }
        let here: Vec<&Peer> =
            self.called(handle.as_str()).filter(|p| p.is_here() && p.has_ip(*from.ip())).collect();
        let exact = here.iter().find(|p| p.routes.iter().any(|r| r.addr == from)).map(|p| p.id);
        exact.map_or_else(|| here.iter().map(|p| p.id).collect(), |id| vec![id])
    }

    fn go(&mut self, now: Millis, id: PeerId, reason: &str) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.is_here() {
            peer.presence = Presence::Gone;
            peer.gone_at = now;
            self.hints.remove(&id);
            self.changes.push(Change::Left(id, peer.handle.clone(), reason.into()));
        }
    }

    fn insert(&mut self, now: Millis, handle: &Handle, route: Route) -> PeerId {
        if self.peers.len() >= MAX_PEERS {
            self.evict();
        }
        let mut id = peer_id(route.dialect, handle, *route.addr.ip());
        while self.peers.contains_key(&id) {
            id.0 = (id.0 + 1) & 0xffff_ffff_ffff;
        }
        let peer = Peer {
            id,
            handle: handle.clone(),
            routes: vec![route],
            presence: Presence::Gone, // until `refresh` or `hint` says otherwise
            heard: None,
            gone_at: now,
            joined_at: 0,
            first_heard: None,
            confirmed: false,
            probes: 0,
            probe_at: now,
            answers: false,
        };
        self.peers.insert(id, Box::new(peer));
        self.by_ip.insert((*route.addr.ip(), id));
        if route.addr.port() != 0 {
            self.by_addr.insert(route.addr, id);
        }
        self.by_key.insert((self.hash(&handle.key()), id));
        id
    }

    /// What is least worth goes first: whom nobody but a list knows, who is gone, who was heard
    /// but once (the newest first: a flood is new), who was not heard for longest. Of those heard
    /// more than once only one goes.
    fn evict(&mut self) {
        let here = |p: &Peer| p.is_here() && p.heard.is_some();
        let worth = |p: &Peer| {
            let heard = p.heard.map_or(0, |(mono, _)| mono);
            let age = if p.confirmed || !here(p) { heard } else { Millis::MAX - heard };
            (here(p), p.confirmed, age)
        };
        let mut all: Vec<_> = self.peers.values().map(|p| (worth(p), p.id)).collect();
        all.sort_unstable();
        let kept = |(n, ((here, confirmed, _), _)): &(usize, &((bool, bool, _), PeerId))| {
            *n == 0 || !(*here && *confirmed)
        };
        let out: Vec<PeerId> =
            all.iter().take(EVICT).enumerate().filter(kept).map(|(_, (_, id))| *id).collect();
        for id in out {
            self.remove(id, "forgotten: too many peers");
        }
    }

    /// Somebody of whom only a text was heard, from we know not which port, says where it
    /// listens: it is the same one.
    fn adopt(&mut self, handle: &Handle, route: Route, join: bool) {
        let ip = *route.addr.ip();
        if route.addr.port() == 0 {
            return;
        }
        let portless = |p: &&Peer| p.handle.is(handle.as_str()) && p.route().addr.port() == 0;
        let Some(id) = self.known_at(ip).find(portless).map(|p| p.id) else { return };
        if self.by_addr.contains_key(&route.addr) {
            // it is known by another handle there, and takes this one again
            if join {
                self.remove(id, "it is the one that joined");
            }
            return;
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.routes = vec![route];
            self.by_addr.insert(route.addr, id);
        }
    }

    fn remove(&mut self, id: PeerId, reason: &str) {
        let Some(peer) = self.peers.get(&id) else { return };
        if peer.is_here() {
            self.changes.push(Change::Left(id, peer.handle.clone(), reason.into()));
        }
        if let Some(peer) = self.peers.remove(&id) {
            for route in &peer.routes {
                self.by_ip.remove(&(*route.addr.ip(), id));
            }
            self.by_key.remove(&(self.hash(&peer.handle.key()), id));
            self.hints.remove(&id);
            for route in peer.routes {
                if self.by_addr.get(&route.addr) == Some(&id) {
                    self.by_addr.remove(&route.addr);
                }
                self.changes.push(Change::Forgot(route.addr));
            }
        }
    }
}

fn ip_of(route: Route) -> Ipv4Addr {
    *route.addr.ip()
}

/// 48 bits of FNV-1a over dialect, handle and address: the same after a restart.
pub(super) fn peer_id(dialect: Dialect, handle: &Handle, ip: Ipv4Addr) -> PeerId {
    let key = handle.key();
    let parts = [dialect.name().as_bytes(), key.as_bytes(), &ip.octets()];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|p| p.iter().chain(&[0])) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    PeerId(hash & 0xffff_ffff_ffff)
}
