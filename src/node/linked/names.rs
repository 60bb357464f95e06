//! Who is linked, as people name and see him: beside the plain dialects, and by his key.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::Linked;
use crate::dialect::link::machine::{CannotForget, Machine, Trusted};
use crate::model::event::BY_LINK_TOO;
use crate::model::{
    Answer, Dialect, Handle, Now, PeerId, PeerView, Presence, Refusal, RouteView, Set, Trust,
    VerifyView, What,
};
use crate::node::Node;
use crate::node::delivery::Target;
use crate::node::roster::Peer;

impl Node {
    /// Whom of the link's a peer of a plain dialect is, if that one is here.
    pub(in crate::node) fn linked_twin(&self, peer: &Peer) -> Option<PeerId> {
        let is_at = |l: &&Linked| {
            let ips = l.v4.iter().copied().chain(l.at.and_then(|at| match at.ip() {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            }));
            ips.into_iter().any(|ip| peer.routes().any(|r| self.same_host(*r.addr.ip(), ip)))
        };
        let mut all = self.linked.called(peer.handle.as_str()).filter(|l| l.here);
        all.find(is_at).map(|l| l.id)
    }

    /// Whether two addresses are one host's: our own has several.
    fn same_host(&self, a: Ipv4Addr, b: Ipv4Addr) -> bool {
        let ours = |ip: Ipv4Addr| ip.is_loopback() || self.links.iter().any(|l| l.address == ip);
        a == b || (ours(a) && ours(b))
    }

    /// Who is linked, and says that he is at an address where his handle is met in a plain
    /// dialect, is to prove that it is his.
    fn prove_twins(&mut self, now: Now) {
        let mut claims = Vec::new();
        for linked in self.linked.here() {
            for peer in self.roster.called(linked.far.handle.as_str()).filter(|p| p.is_here()) {
                let ips = linked.claimed.iter().filter(|ip| !linked.v4.contains(ip));
                let at = |ip: &Ipv4Addr| peer.routes().any(|r| self.same_host(*r.addr.ip(), *ip));
                claims.extend(ips.copied().find(at).map(|ip| (linked.far.of, ip)));
            }
        }
        for (of, ip) in claims {
            if let Some(machine) = self.link() {
                machine.prove(now.mono, of, ip);
            }
        }
    }

    /// What is to be said of an image to somebody who is linked, and whose box takes no files:
    /// it goes another way.
    pub(in crate::node) fn unencrypted(&self, target: Target) -> Option<Rc<str>> {
        let Target::Peer(id) = target else { return None };
        let linked = self.roster.get(id).and_then(|p| self.linked_twin(p));
        linked.map(|_| "unencrypted: its box is older and takes no files over the link".into())
    }

    /// Whose box is older and takes no files over the link, as he is met in a plain dialect.
    pub(in crate::node) fn plainly(&self, target: Target) -> Target {
        let Target::Linked(id) = target else { return target };
        let of = self.linked.get(id).map(|l| l.far.of);
        if of.zip(self.dialects.link.as_ref()).is_some_and(|(of, m)| m.takes_files(of)) {
            return target;
        }
        let plain = self.roster.here().find(|p| self.linked_twin(p) == Some(id));
        plain.map_or(target, |p| Target::Peer(p.id))
    }

    /// Whether what is said to all in a plain shared chat reaches it there.
    pub(in crate::node) fn hears_shared(&self, linked: &Linked) -> bool {
        let here = |f: &crate::node::foreign::Foreigner| linked.v4.contains(f.contact.at.ip());
        self.foreigners.called(linked.far.handle.as_str()).any(|f| f.session && here(f))
    }

    /// Who is linked is one peer with who bears its handle at its box in a plain dialect: the
    /// latter is told of as gone, and as here again when the link is.
    pub(in crate::node) fn hide_twins(&mut self, now: Now) {
        self.prove_twins(now);
        let twins = self.roster.here().filter(|p| self.linked_twin(p).is_some());
        let twins: Vec<PeerId> = twins.map(|p| p.id).collect();
        let hidden: Set<PeerId> = twins.iter().copied().collect();
        let old = std::mem::replace(&mut self.hidden, hidden);
        for id in twins.into_iter().filter(|id| !old.contains(id)) {
            let Some(peer) = self.roster.get(id) else { continue };
            let (handle, dialect) = (peer.handle.to_string(), peer.route().dialect);
            let reason = BY_LINK_TOO.to_owned();
            if !self.is_blocked(&handle) {
                self.tell(now, None, What::PeerLeft { peer: id, handle, dialect, reason });
            }
        }
        let shown = old.into_iter().filter(|id| !self.hidden.contains(id)).collect::<Vec<_>>();
        shown.into_iter().for_each(|id| self.tell_joined(now, id));
    }

    /// Our own key's name, where there is a link.
    pub(in crate::node) fn fingerprint(&self) -> Option<String> {
        self.dialects.link.as_ref().map(|m| m.fingerprint().to_string())
    }

    /// What two people compare to know that they have each other's key.
    pub(in crate::node) fn verify(&mut self, name: &str) -> Result<Answer, Refusal> {
        let handle = self.linked_handle(name)?;
        let code = self.dialects.link.as_ref().and_then(|m| m.code(&handle));
        let code = code.ok_or_else(|| no_key(name))?;
        self.linked.shown = code.claim.as_ref().map(|(of, _)| (handle.clone(), *of));
        let (claim, claim_code) = code.claim.map(|(f, c)| (f.to_string(), c)).unzip();
        Ok(Answer::Verify(VerifyView {
            handle: handle.to_string(),
            fingerprint: code.fingerprint.to_string(),
            code: code.code,
            verified: code.verified,
            claim,
            claim_code,
        }))
    }

    /// The operator compared a key, or accepts another one.
    pub(in crate::node) fn trust(&mut self, now: Now, name: &str) -> Result<Answer, Refusal> {
        let handle = self.linked_handle(name)?;
        let shown = self.linked.shown.as_ref().filter(|(who, _)| who.key() == handle.key());
        let seen = shown.map(|(_, of)| *of);
        let done = self.link().and_then(|m| m.trust(now.mono, &handle, seen));
        if done.ok_or_else(|| no_key(name))? == Trusted::Unseen {
            let what = format!("another key claims to be {handle}: VERIFY {handle} shows it first");
            return Err(Refusal::Denied { what });
        }
        self.settle_link(now);
        self.verify(name)
    }

    /// FORGET KEY: frees a handle of its key; `*`: all that were never compared or talked with.
    pub(in crate::node) fn forget_key(&mut self, now: Now, name: &str) -> Result<Answer, Refusal> {
        let idle = || self.dialects.link.as_ref().map(Machine::idle_pins).unwrap_or_default();
        let handles = match name {
            "*" => idle(),
            name => vec![crate::node::commands::parse_handle(name)?],
        };
        for handle in &handles {
            let known = self.dialects.link.as_ref().and_then(|m| m.owner(handle));
            let of = known.ok_or_else(|| no_key(handle.as_str()))?;
            if self.dialects.link.as_ref().is_some_and(|m| m.is_linked(of)) {
                let reason = format!("{handle}'s box is here, and would be known again at once");
                return Err(Refusal::Failed { reason });
            }
            let key = handle.key();
            self.cancel_linked(now, "its key was forgotten", |w| w.handle.key() == key);
            let forgotten = self.link().map(|m| m.forget_key(handle));
            if let Some(Err(CannotForget::Here)) = forgotten {
                let reason = format!("{handle}'s box is calling just now: try again");
                return Err(Refusal::Failed { reason });
            }
            self.linked.forget(handle, of);
        }
        self.settle_link(now);
        Ok(Answer::Count(handles.len() as u64))
    }

    fn linked_handle(&self, name: &str) -> Result<Handle, Refusal> {
        let (handle, place) = name.rsplit_once('@').unwrap_or((name, ""));
        let known = self.linked_meant(handle, place).and_then(|id| self.linked.get(id));
        known.map(|l| l.far.handle.clone()).ok_or_else(|| no_key(name))
    }

    /// The name to type for exactly this one.
    pub(in crate::node) fn linked_name(&self, id: PeerId) -> String {
        let Some(linked) = self.linked.get(id) else { return id.to_string() };
        let handle = &linked.far.handle;
        let several = self.linked.called(handle.as_str()).count() > 1;
        let ours = self.users.called(handle.as_str()).is_some();
        match several || ours {
            true => format!("{handle}@{}", Dialect::Link),
            false => handle.to_string(),
        }
    }

    /// Whom of the link's a name means; the one its handle is pinned to before a guest.
    pub(in crate::node) fn linked_meant(&self, handle: &str, place: &str) -> Option<PeerId> {
        let fits = |l: &&Linked| {
            place.is_empty()
                || place.eq_ignore_ascii_case(Dialect::Link.name())
                || place == l.far.of.to_string()
                || l.at.is_some_and(|at| at.ip().to_string() == place || at.to_string() == place)
                || place.parse().is_ok_and(|ip| l.v4.contains(&ip))
        };
        let all = self.linked.called(handle).filter(fits);
        all.max_by_key(|l| (l.pinned, l.here)).map(|l| l.id)
    }

    /// Those the link knows, as people and programs see them.
    pub(in crate::node) fn linked_views(&self, gone: bool) -> Vec<PeerView> {
        let shown = self.linked.by_id.values().filter(|l| gone || l.here);
        shown.map(|l| self.linked_view(l)).collect()
    }

    fn linked_view(&self, linked: &Linked) -> PeerView {
        let address = linked.at.map(|at| at.ip().to_string()).unwrap_or_default();
        let port = linked.at.map_or(0, |at| at.port());
        let own = RouteView { dialect: Dialect::Link, address: address.clone(), port, form: None };
        let mut routes = vec![own];
        for twin in self.roster.called(linked.far.handle.as_str()) {
            if twin.is_here() && self.linked_twin(twin) == Some(linked.id) {
                routes.extend(self.routes_of(twin));
            }
        }
        let mut dialect: Vec<Dialect> = routes.iter().map(|r| r.dialect).collect();
        dialect.dedup();
        PeerView {
            id: linked.id,
            handle: linked.far.handle.to_string(),
            name: self.linked_name(linked.id),
            dialect,
            address,
            port,
            routes,
            presence: match (linked.here, linked.away) {
                (false, _) => Presence::Gone,
                (true, true) => Presence::Away,
                (true, false) => Presence::Online,
            },
            trust: if linked.verified { Trust::Verified } else { Trust::Unverified },
            last_heard: linked.heard,
            blocked: self.is_blocked(linked.far.handle.as_str()),
        }
    }
}

fn no_key(name: &str) -> Refusal {
    Refusal::bad("the peer", name, "somebody whom the link knows: WHO shows who is linked")
}
