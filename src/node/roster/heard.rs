//! What is heard of peers, and whom it is believed of: their own word, others' lists.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{By, Change, Peer, Roster, Route};
use crate::model::limits::{MAX_HINTS, MAX_ROUTES};
use crate::model::{Handle, Millis, Now, PeerId, Presence};

/// Two JOINs of one handle and port on two interfaces within this time are one box with two
/// interfaces: it announces itself on all of them at the same moment.
const TWIN_MS: Millis = 500;
/// A peer that left is not brought back by others' lists for so long.
const GRAVE_MS: Millis = 120_000;
/// Peers at one address beyond which lists add none: a host has so many users at most, and a
/// forged list shall not make us ask one victim for ever.
const MAX_HINTS_AT: usize = 64;
/// Whoever is heard again after this long is no forgery of a moment.
const CONFIRM_MS: Millis = 500;

impl Roster {
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
        let known = self.id_at(route.addr);
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

    /// A peer said something, so it is here.
    pub fn spoke(&mut self, now: Now, id: PeerId) {
        self.refresh(now, id, By::Text);
    }

    /// Somebody listed somebody else: believed for now, and asked.
    pub fn hint(&mut self, now: Millis, handle: &Handle, route: Route, away: bool, jitter: Millis) {
        if let Some(id) = self.id_at(route.addr) {
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

    /// Notes a word of the peer itself: a JOIN, an answer to a WHO, or another.
    fn refresh(&mut self, now: Now, id: PeerId, by: By) {
        let silent = self.silent;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let new = peer.heard.is_none();
        self.hints.remove(&id);
        let answer = by == By::List;
        peer.answers |= answer;
        peer.confirmed |= answer && peer.probes > 0 || peer.confirm_at <= now.mono;
        peer.confirm_at = peer.confirm_at.min(now.mono + CONFIRM_MS);
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

    /// The peer that announced the same handle and port on another interface just now.
    fn twin(&self, now: Millis, handle: &Handle, route: Route) -> Option<PeerId> {
        let twin = |p: &&Peer| {
            p.is_here()
                && p.heard.is_some()
                && now <= p.joined_at + TWIN_MS
                && p.routes().count() < MAX_ROUTES
                && p.routes().all(|r| {
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
        let exact = here.iter().find(|p| p.routes().any(|r| r.addr == from)).map(|p| p.id);
        exact.map_or_else(|| here.iter().map(|p| p.id).collect(), |id| vec![id])
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
        if self.id_at(route.addr).is_some() {
            // it is known by another handle there, and takes this one again
            if join {
                self.remove(id, "it is the one that joined");
            }
            return;
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            let portless = std::mem::replace(&mut peer.route, route);
            self.by_addr.remove(&(portless.addr, id));
            self.by_addr.insert((route.addr, id));
        }
    }
}

fn ip_of(route: Route) -> Ipv4Addr {
    *route.addr.ip()
}
