//! People as they are named and shown: whom a name means, who is here, who was.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::commands::parse_handle;
use super::delivery::{Target, local_peer};
use super::foreign::{Foreigner, foreign_route};
use super::users::User;
use super::{Node, config_rows};
use crate::command::LOBBY;
use crate::model::history::Known;
use crate::model::limits::MAX_RECIPIENTS;
use crate::model::{
    Dialect, Handle, PeerId, PeerView, Presence, Refusal, RouteView, Trust, UserId,
};

impl Node {
    pub(super) fn who(&self, asking: UserId, gone: bool) -> Vec<PeerView> {
        let shown = self.roster.all().filter(|p| gone || p.is_here());
        let shown = shown.filter(|p| self.linked_twin(p).is_none());
        let mut found: Vec<PeerView> = shown.map(|p| self.peer_view(p)).collect();
        found.extend(self.linked_views(gone));
        let local = self.users.iter().filter(|(id, u)| *id != asking && u.joined);
        found.extend(local.map(|(id, user)| local_view(id, user)));
        found.extend(self.foreign_views());
        if gone {
            let absent = |k: &&Known| {
                self.roster.called(k.handle.as_str()).next().is_none()
                    && self.linked.called(k.handle.as_str()).next().is_none()
            };
            found.extend(self.people.all().filter(absent).map(|k| self.known_view(k)));
        }
        found.sort_by_cached_key(|p| (p.presence == Presence::Gone, p.handle.to_lowercase()));
        found
    }

    fn known_view(&self, known: &Known) -> PeerView {
        let place: SocketAddrV4 =
            known.address.parse().unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let (address, port) = (place.ip().to_string(), place.port());
        let route =
            RouteView { dialect: known.dialect, address: address.clone(), port, form: None };
        PeerView {
            id: known.peer,
            handle: known.handle.to_string(),
            name: known.handle.to_string(),
            dialect: vec![known.dialect],
            address,
            port,
            routes: vec![route],
            presence: Presence::Gone,
            trust: Trust::Plain,
            last_heard: None,
            blocked: self.is_blocked(known.handle.as_str()),
        }
    }

    fn peer_view(&self, peer: &super::roster::Peer) -> PeerView {
        let routes = self.routes_of(peer);
        let mut dialect: Vec<Dialect> = routes.iter().map(|r| r.dialect).collect();
        dialect.dedup();
        PeerView {
            id: peer.id,
            handle: peer.handle.to_string(),
            name: self.name_of(peer.id),
            dialect,
            address: peer.route().addr.ip().to_string(),
            port: peer.route().addr.port(),
            routes,
            presence: peer.presence,
            trust: Trust::Plain,
            last_heard: peer.heard.map(|(_, wall)| wall),
            blocked: self.is_blocked(peer.handle.as_str()),
        }
    }

    /// All plain ways to a peer of the roster.
    pub(super) fn routes_of(&self, peer: &super::roster::Peer) -> Vec<RouteView> {
        let form = |r: &super::roster::Route| {
            self.slcp.as_ref().and_then(|m| m.form_name(r.addr)).map(ToOwned::to_owned)
        };
        let route = |r: &super::roster::Route| RouteView {
            dialect: r.dialect,
            address: r.addr.ip().to_string(),
            port: r.addr.port(),
            form: form(r),
        };
        let mut routes: Vec<RouteView> = peer.routes().map(route).collect();
        routes.extend(self.twins_of(peer).map(foreign_route));
        routes
    }

    /// Whom these names mean; `#lobby` is everyone here, save whom we silenced.
    pub(super) fn targets(&self, asking: UserId, to: &[String]) -> Result<Vec<Target>, Refusal> {
        if to.len() > MAX_RECIPIENTS {
            let limit = MAX_RECIPIENTS as u64;
            return Err(Refusal::TooMany { what: "recipients".into(), limit });
        }
        if to.is_empty() {
            return Err(Refusal::bad("the recipient", "nobody", "a handle, as WHO lists them"));
        }
        let mut targets = Vec::new();
        for name in to {
            if name == LOBBY {
                let peers = self.roster.here().filter(|p| !self.is_blocked(p.handle.as_str()));
                let peers = peers.filter(|p| p.route().addr.port() != 0);
                let peers = peers.filter(|p| self.linked_twin(p).is_none());
                // whoever hears it in a shared chat does not get it twice
                let linked = self.linked.here().filter(|l| !self.hears_shared(l));
                let linked = linked.filter(|l| !self.is_blocked(l.far.handle.as_str()));
                targets.extend(linked.map(|l| Target::Linked(l.id)));
                let peers = peers.filter(|p| !self.twins_of(p).any(|f| f.session));
                targets.extend(peers.map(|p| Target::Peer(p.id)));
                let foreign = self.foreigners.all();
                let foreign = foreign.filter(|f| !self.is_blocked(f.handle.as_str()));
                let heard = foreign.filter(|f| f.session || self.twin(f).is_none());
                // the directory has no chat of everyone
                let heard = heard.filter(|f| f.dialect != Dialect::Directory);
                targets.extend(heard.map(|f| Target::Foreign(f.id)));
                let locals = self.users.iter().filter(|(id, u)| *id != asking && u.joined);
                targets.extend(locals.map(|(id, _)| Target::Local(id)));
            } else {
                targets.push(self.resolve(name)?);
            }
        }
        let mut once = HashSet::with_capacity(targets.len());
        targets.retain(|target| once.insert(*target));
        Ok(targets)
    }

    /// Someone known of old, by his handle and perhaps where he was.
    fn absent(&self, handle: &str, place: &str) -> Option<Target> {
        let known = self.people.called(handle)?;
        let fits = place.is_empty()
            || place.eq_ignore_ascii_case(known.dialect.name())
            || place == known.address
            || known.address.rsplit_once(':').is_some_and(|(ip, _)| ip == place);
        fits.then_some(Target::Absent(known.peer))
    }

    /// Whom one name means: a handle, `handle@dialect`, `handle@address`, or a peer's id.
    pub(super) fn resolve(&self, name: &str) -> Result<Target, Refusal> {
        if let Ok(id) = name.parse::<PeerId>() {
            if self.linked.get(id).is_some() {
                return Ok(Target::Linked(id));
            }
            if let Some(peer) = self.roster.get(id) {
                return Ok(self.linked_twin(peer).map_or(Target::Peer(id), Target::Linked));
            }
            if self.foreigners.get(id).is_some() {
                return Ok(Target::Foreign(id));
            }
            if self.people.get(id).is_some() {
                return Ok(Target::Absent(id));
            }
        }
        let (handle, place) = name.rsplit_once('@').unwrap_or((name, ""));
        let fits = |p: &&super::roster::Peer| {
            place.is_empty()
                || p.routes().any(|r| {
                    place.eq_ignore_ascii_case(r.dialect.name())
                        || place == r.addr.to_string()
                        || place.parse::<Ipv4Addr>().is_ok_and(|ip| ip == *r.addr.ip())
                })
        };
        let all: Vec<&super::roster::Peer> = self.roster.called(handle).filter(fits).collect();
        let here: Vec<&&super::roster::Peer> = all.iter().filter(|p| p.is_here()).collect();
        let local = self
            .users
            .called(handle)
            .filter(|_| place.is_empty() || place.eq_ignore_ascii_case(Dialect::Local.name()))
            .filter(|id| self.users.get(*id).is_some_and(|u| u.joined));
        // a handle that is a linked peer's is never another's, here or not
        if let Some(id) = self.linked_meant(handle, place) {
            return match local {
                None => Ok(Target::Linked(id)),
                Some(_) => {
                    let choices = vec![self.linked_name(id), format!("{handle}@local")];
                    Err(Refusal::Ambiguous { name: name.to_owned(), choices })
                }
            };
        }
        let foreign = self.foreign_called(handle, place);
        match (here.as_slice(), local) {
            (here, local) if !foreign.is_empty() => match (here, local, foreign.as_slice()) {
                ([], None, [one]) => Ok(Target::Foreign(one.id)),
                _ => {
                    let mut choices: Vec<String> =
                        here.iter().map(|p| self.name_of(p.id)).collect();
                    choices.extend(foreign.iter().map(|f| self.foreign_name(f)));
                    choices.extend(local.map(|_| format!("{handle}@local")));
                    Err(Refusal::Ambiguous { name: name.to_owned(), choices })
                }
            },
            ([], Some(id)) => Ok(Target::Local(id)),
            ([peer], None) => Ok(Target::Peer(peer.id)),
            ([], None) => {
                let last = all.iter().max_by_key(|p| p.gone_at).map(|p| Target::Peer(p.id));
                last.or_else(|| self.absent(handle, place))
                    .ok_or_else(|| Refusal::NoSuchPeer { name: config_rows::shown(name) })
            }
            (several, local) => {
                let mut choices: Vec<String> = several.iter().map(|p| self.name_of(p.id)).collect();
                choices.extend(local.map(|_| format!("{handle}@local")));
                Err(Refusal::Ambiguous { name: name.to_owned(), choices })
            }
        }
    }

    /// Those that a handle, or `handle@place`, means who are nobody of the roster.
    fn foreign_called(&self, handle: &str, place: &str) -> Vec<&Foreigner> {
        let fits = |f: &&Foreigner| {
            let at = f.contact.at;
            match place {
                "" => self.twin(f).is_none(),
                place if place.eq_ignore_ascii_case(f.dialect.name()) => true,
                place => {
                    let here = place == at.to_string() || place == at.ip().to_string();
                    here && self.twin(f).is_none()
                }
            }
        };
        self.foreigners.called(handle).filter(fits).collect()
    }

    /// The handle of whom a name means; somebody who is not here can be blocked too.
    pub(super) fn handle_meant(&self, name: &str) -> Result<Handle, Refusal> {
        match self.resolve(name) {
            Ok(Target::Peer(id)) => match self.roster.get(id) {
                Some(peer) => Ok(peer.handle.clone()),
                None => parse_handle(name),
            },
            Ok(Target::Absent(id)) => match self.people.get(id) {
                Some(known) => Ok(known.handle.clone()),
                None => parse_handle(name),
            },
            Ok(Target::Linked(id)) => match self.linked.get(id) {
                Some(linked) => Ok(linked.far.handle.clone()),
                None => parse_handle(name),
            },
            Ok(Target::Foreign(id)) => match self.foreigners.get(id) {
                Some(foreigner) => Ok(foreigner.handle.clone()),
                None => parse_handle(name),
            },
            Ok(Target::Local(_)) => {
                Err(Refusal::bad("BLOCK", name, "somebody else than this node's own users"))
            }
            // two who bear it: both are meant
            Err(Refusal::Ambiguous { .. } | Refusal::NoSuchPeer { .. }) => {
                parse_handle(name.rsplit_once('@').map_or(name, |(h, _)| h))
            }
            Err(refusal) => Err(refusal),
        }
    }
}

fn local_view(id: UserId, user: &User) -> PeerView {
    let (address, port) = (Ipv4Addr::LOCALHOST.to_string(), user.port.unwrap_or_default());
    let route = RouteView { dialect: Dialect::Local, address: address.clone(), port, form: None };
    PeerView {
        id: local_peer(id),
        handle: user.handle.to_string(),
        name: user.handle.to_string(),
        dialect: vec![Dialect::Local],
        address,
        port,
        routes: vec![route],
        presence: if user.away { Presence::Away } else { Presence::Online },
        trust: Trust::Local,
        last_heard: None,
        blocked: false,
    }
}
