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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::model::limits::{MAX_PEERS, MAX_ROUTES};
use crate::model::{Dialect, Handle, Millis, PeerId, Presence, Wall};

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
    /// Someone is here now. `new`: it may not know us yet.
    Joined {
        /// Who.
        id: PeerId,
        /// It spoke itself, and was not known before.
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
