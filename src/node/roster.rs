//! Who is on the LAN: peers, their routes, their presence, and when each is to be asked whether
//! it is still there.
//!
//! Plain dialects prove nothing, so: a peer is one address; what others say of it is a hint that
//! is verified; a LEAVE counts only from the address that joined; the table is bounded and what
//! is least worth is evicted first (DESIGN section 9).
//!
//! This file is the table and how it is looked into; `heard` is what enters it by whose word,
//! `probes` who is asked and given up.

mod heard;
mod probes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::model::limits::{MAX_PEERS, MAX_ROUTES};
use crate::model::{Dialect, Handle, Millis, PeerId, Presence, Set, Wall};

/// When the table is full, so many leave it at once: looking through it costs time.
const EVICT: usize = MAX_PEERS / 32;
/// A peer's number is within these bits.
const ID_BITS: u64 = 0xffff_ffff_ffff;

/// Someone elsewhere. There may be [`MAX_PEERS`], forged or not: what each takes of the heap is
/// held to by `tests/peer_memory.rs`.
#[derive(Debug)]
pub struct Peer {
    /// Its name for programs.
    pub id: PeerId,
    /// Who it says it is.
    pub handle: Handle,
    /// The best way to it.
    route: Route,
    /// The other ways, of the few who have several: the better first, then nothing.
    others: Option<Box<[Option<Route>; MAX_ROUTES - 1]>>,
    /// Whether it is here.
    pub presence: Presence,
    /// When it was last heard itself.
    pub heard: Option<(Millis, Wall)>,
    /// When it went.
    pub gone_at: Millis,
    joined_at: Millis,
    /// Heard again from then on it is confirmed.
    confirm_at: Millis,
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
        self.route
    }

    /// All ways to it, the best first.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        std::iter::once(&self.route).chain(self.others.iter().flat_map(|o| o.iter().flatten()))
    }

    /// Whether it is here.
    pub fn is_here(&self) -> bool {
        self.presence != Presence::Gone
    }

    fn has_ip(&self, ip: Ipv4Addr) -> bool {
        self.routes().any(|r| *r.addr.ip() == ip)
    }

    /// Adds a way, unless it is there or there are [`MAX_ROUTES`]; whether it did.
    fn add(&mut self, route: Route) -> bool {
        if self.routes().any(|r| r.addr == route.addr) {
            return false;
        }
        let others = self.others.get_or_insert_default();
        let free = others.iter_mut().find(|o| o.is_none());
        free.map(|free| *free = Some(route)).is_some()
    }

    /// Takes a way away, unless it is the only one; whether it did.
    fn lose(&mut self, addr: SocketAddrV4) -> bool {
        let left: Vec<Route> = self.routes().filter(|r| r.addr != addr).copied().collect();
        let Some((best, others)) = left.split_first() else { return false };
        (self.route, self.others) = (*best, None);
        for route in others {
            self.add(*route);
        }
        true
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
    /// By each way to it, those of one host together. At most one has an address, save with port
    /// 0, which stands for a port that is not known.
    by_addr: BTreeSet<(SocketAddrV4, PeerId)>,
    /// Who bears a handle: 16 bits of the hash of its key, then the peer's number. Other handles
    /// may have the same 16.
    by_key: BTreeSet<u64>,
    hasher: RandomState,
    /// Who is believed to be here because of others' lists alone.
    hints: Set<PeerId>,
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
        self.get(self.id_at(addr)?)
    }

    /// Whose chat address it is; nobody's where the port is 0.
    fn id_at(&self, addr: SocketAddrV4) -> Option<PeerId> {
        self.ids_at(addr, addr).next().filter(|_| addr.port() != 0)
    }

    fn ids_at(&self, from: SocketAddrV4, to: SocketAddrV4) -> impl Iterator<Item = PeerId> {
        self.by_addr.range((from, PeerId(0))..=(to, PeerId(u64::MAX))).map(|(_, id)| *id)
    }

    /// All who bear a handle, whatever its case.
    pub fn called(&self, handle: &str) -> impl Iterator<Item = &Peer> {
        let key = handle.to_lowercase();
        let first = self.key_of(&key, PeerId(0));
        self.by_key
            .range(first..=first | ID_BITS)
            .filter_map(|found| self.get(PeerId(found & ID_BITS)))
            .filter(move |p| p.handle.key() == key)
    }

    /// What stands in `by_key` for a peer whose handle has this key.
    fn key_of(&self, key: &str, id: PeerId) -> u64 {
        self.hasher.hash_one(key) & !ID_BITS | id.0
    }

    /// All at an address, the one heard last first.
    pub fn at_ip(&self, ip: Ipv4Addr) -> Vec<&Peer> {
        let mut found: Vec<&Peer> = self.known_at(ip).filter(|p| p.is_here()).collect();
        found.sort_by_key(|p| std::cmp::Reverse(p.heard.map(|(mono, _)| mono)));
        found
    }

    fn known_at(&self, ip: Ipv4Addr) -> impl Iterator<Item = &Peer> {
        let (first, last) = (SocketAddrV4::new(ip, 0), SocketAddrV4::new(ip, u16::MAX));
        self.ids_at(first, last).filter_map(|id| self.get(id))
    }

    /// Whoever of this handle left this address last.
    pub fn gone_at_ip(&self, handle: &Handle, ip: Ipv4Addr) -> Option<(PeerId, SocketAddrV4)> {
        let gone = self.called(handle.as_str()).filter(|p| !p.is_here() && p.has_ip(ip));
        let known = gone.filter(|p| p.heard.is_some() && p.route().addr.port() != 0);
        known.max_by_key(|p| p.gone_at).map(|p| (p.id, p.route().addr))
    }

    /// This chat address is dead: its host said so.
    pub fn dead(&mut self, now: Millis, addr: SocketAddrV4, reason: &str) {
        let Some(id) = self.id_at(addr) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.lose(addr) {
            self.by_addr.remove(&(addr, id));
            self.changes.push(Change::Forgot(addr));
        } else {
            self.go(now, id, reason);
        }
    }

    fn maybe_rename(&mut self, id: PeerId, handle: &Handle, join: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        // a list may not, unless what we know is over: its JOIN may have been lost
        if peer.handle == *handle || (!join && peer.heard.is_some() && peer.is_here()) {
            return;
        }
        let here = peer.is_here();
        let old = std::mem::replace(&mut peer.handle, handle.clone());
        if old.key() != handle.key() {
            let (gone, now) = (self.key_of(&old.key(), id), self.key_of(&handle.key(), id));
            self.by_key.remove(&gone);
            self.by_key.insert(now);
        }
        if here {
            self.changes.push(Change::Renamed(id, old));
        }
    }

    fn add_route(&mut self, id: PeerId, route: Route) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.add(route) {
            self.by_addr.insert((route.addr, id));
        }
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
            id.0 = (id.0 + 1) & ID_BITS;
        }
        let peer = Peer {
            id,
            handle: handle.clone(),
            route,
            others: None,
            presence: Presence::Gone, // until `refresh` or `hint` says otherwise
            heard: None,
            gone_at: now,
            joined_at: 0,
            confirm_at: Millis::MAX,
            confirmed: false,
            probes: 0,
            probe_at: now,
            answers: false,
        };
        self.peers.insert(id, Box::new(peer));
        self.by_addr.insert((route.addr, id));
        self.by_key.insert(self.key_of(&handle.key(), id));
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

    fn remove(&mut self, id: PeerId, reason: &str) {
        let Some(peer) = self.peers.get(&id) else { return };
        if peer.is_here() {
            self.changes.push(Change::Left(id, peer.handle.clone(), reason.into()));
        }
        if let Some(peer) = self.peers.remove(&id) {
            self.by_key.remove(&self.key_of(&peer.handle.key(), id));
            self.hints.remove(&id);
            for route in peer.routes() {
                self.by_addr.remove(&(route.addr, id));
                self.changes.push(Change::Forgot(route.addr));
            }
        }
    }
}

/// 48 bits of FNV-1a over dialect, handle and address: the same after a restart.
pub(super) fn peer_id(dialect: Dialect, handle: &Handle, ip: Ipv4Addr) -> PeerId {
    let key = handle.key();
    let parts = [dialect.name().as_bytes(), key.as_bytes(), &ip.octets()];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|p| p.iter().chain(&[0])) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    PeerId(hash & ID_BITS)
}
