//! What the LAN says: what a machine heard, what that changes in the roster, and who is told.

use std::net::SocketAddrV4;

use super::Node;
use super::roster::{By, Change, Route};
use crate::dialect::slcp::machine::{Heard, Machine};
use crate::dialect::slcp::said::Entry;
use crate::model::history::{Change as Keep, Known};
use crate::model::{Dialect, Handle, Now, PeerId, What};

/// Answers to one question that was put to all.
const MANY_ANSWERS: usize = 24;
/// Others that an answer to WHO names; above, each is named with falling probability.
const FULL_ANSWER: usize = 16;

impl Node {
    pub(super) fn heard(&mut self, now: Now, heard: Heard) {
        match heard {
            Heard::Here { handle, addr, link, away, join } => {
                let route = Route { dialect: Dialect::Slcp, addr, link };
                let by = if join { By::Join } else { By::List };
                let id = self.roster.hear(now, &handle, route, away, by);
                // all known programs that JOIN from their chat port answer a WHO
                if self.slcp.as_ref().is_some_and(|m| m.listens_on_chat_port(addr)) {
                    self.roster.must_answer(id);
                }
                self.restore_form(addr, &handle);
                self.outbox.touch(&handle.key());
                self.warn_taken(now, id);
            }
            Heard::Listed { handle, addr, away, link } => {
                let route = Route { dialect: Dialect::Slcp, addr, link };
                let jitter = self.rng.u64(50..1_500);
                self.roster.hint(now.mono, &handle, route, away, jitter);
            }
            Heard::Left { handle, from } => self.roster.leave(now.mono, &handle, from),
            Heard::Away { handle, from, away } => self.roster.away(now, &handle, from, away),
            Heard::Asked(due) => {
                if due.asked_all() && !self.one_of_some() {
                    return;
                }
                let others = self.known_entries();
                self.slcp_do(|m| m.answer(now.mono, &due, &others));
            }
            Heard::Text(text) => self.text_in(now, text),
            Heard::ImageBegins(begins) => self.image_begins(now, begins),
            Heard::ImageBytes(key, bytes) => self.image_bytes(now, key, bytes),
            Heard::ImageEnds(key, result) => self.image_ends(now, key, result),
            Heard::Sent(tag) => self.sent(now, tag),
            Heard::NotSent(tag, error) => self.not_sent(now, tag, &error),
            Heard::Undelivered(tag, error) => self.undelivered(now, tag, &error),
            Heard::WantBytes(tag) => self.want_bytes(tag),
            Heard::Port(id, Ok(port)) => {
                if let Some(user) = self.users.get_mut(id) {
                    user.port = Some(port);
                }
                self.outbox.touch_all();
                if self.claim_until.is_some() || !self.users.iter().any(|(_, u)| u.joined) {
                    self.slcp_do(Machine::ask_all);
                }
            }
            Heard::Port(_, Err(error)) => self.trouble(now, error.text),
            Heard::Discovery(Ok(())) => {
                if self.slcp_trouble.take().is_some() {
                    self.slcp_do(|m| m.announce_again(now.mono));
                }
            }
            Heard::Discovery(Err(error)) => {
                let port = self.settings.slcp.port;
                let text = format!(
                    "SLCP discovery port {port} cannot be opened ({error}): people will not be \
                     found; end that program (it is tried again), or set slcp.port"
                );
                if self.slcp_trouble.replace(text.clone()).as_ref() != Some(&text) {
                    self.trouble(now, text);
                }
            }
            Heard::Complaint { from, text } => self.complain(now, from, &text),
        }
    }

    pub(super) fn changed(&mut self, now: Now, change: Change) {
        match change {
            Change::Joined { id, new } => {
                let Some(peer) = self.roster.get(id) else { return };
                let addr = peer.route().addr;
                let blocked = self.is_blocked(peer.handle.as_str());
                let key = peer.handle.key();
                let heard = peer.heard.is_some();
                if self.linked_twin(peer).is_some() {
                    self.hidden.insert(id);
                } else if !blocked {
                    self.tell_joined(now, id);
                }
                self.outbox.touch(&key);
                self.offer_room(now, *addr.ip());
                if heard {
                    self.seen(now, id);
                }
                // on a large LAN some tell a newcomer of themselves, the others' next JOIN does
                if new && self.one_of_some() {
                    self.slcp_do(|m| m.welcome(now.mono, addr));
                }
            }
            Change::Left(id, handle, reason) => {
                self.warned_taken.remove(&id);
                self.outbox.touch(&handle.key());
                if self.hidden.remove(&id) || self.is_blocked(handle.as_str()) {
                    return;
                }
                let what = What::PeerLeft {
                    peer: id,
                    handle: handle.to_string(),
                    dialect: Dialect::Slcp,
                    reason,
                };
                self.tell(now, None, what);
            }
            Change::Renamed(id, old) => {
                self.outbox.touch(&old.key());
                self.seen(now, id);
                let Some(peer) = self.roster.get(id) else { return };
                self.outbox.touch(&peer.handle.key());
                // one who is heard on one side of it is told of
                if self.is_blocked(peer.handle.as_str()) && self.is_blocked(old.as_str()) {
                    return;
                }
                let what = What::PeerRenamed {
                    peer: id,
                    handle: peer.handle.to_string(),
                    old: old.to_string(),
                    dialect: peer.route().dialect,
                };
                self.tell(now, None, what);
            }
            Change::Away(id, away) => {
                let Some(peer) = self.roster.get(id) else { return };
                let (handle, dialect) = (peer.handle.to_string(), peer.route().dialect);
                if self.hidden.contains(&id) || self.is_blocked(&handle) {
                    return;
                }
                let what = if away {
                    What::PeerAway { peer: id, handle, dialect }
                } else {
                    What::PeerBack { peer: id, handle, dialect }
                };
                self.tell(now, None, what);
            }
            Change::Ask(addr) => self.slcp_do(|m| m.ask_one(addr)),
            Change::Forgot(addr) => self.slcp_do(|m| m.forget(addr)),
        }
    }

    /// Somebody of the roster is here.
    pub(super) fn tell_joined(&mut self, now: Now, id: PeerId) {
        let Some(peer) = self.roster.get(id).filter(|p| p.is_here()) else { return };
        let route = peer.route();
        let what = What::PeerJoined {
            peer: id,
            handle: peer.handle.to_string(),
            dialect: route.dialect,
            address: route.addr.ip().to_string(),
            port: route.addr.port(),
        };
        self.tell(now, None, what);
    }

    /// Somebody was talked with: he can be written to while he is not here, after a restart too.
    pub(super) fn talked_with(&mut self, now: Now, id: PeerId) {
        if let Some(known) = self.known(id) {
            if self.people.talked(&known) {
                self.keep_soon(now, Keep::Met(known));
            }
        }
    }

    /// Somebody was seen, or moved.
    pub(super) fn seen(&mut self, now: Now, id: PeerId) {
        if let Some(known) = self.known(id) {
            if self.people.seen(now.mono, &known) {
                self.keep_soon(now, Keep::Met(known));
            }
        }
    }

    fn known(&self, id: PeerId) -> Option<Known> {
        let peer = self.roster.get(id).filter(|p| p.route().addr.port() != 0)?;
        (!self.is_blocked(peer.handle.as_str())).then(|| Known {
            handle: peer.handle.clone(),
            peer: id,
            dialect: peer.route().dialect,
            address: peer.route().addr.to_string(),
        })
    }

    /// Whether we are among those who answer what everyone was asked: so many answers do, and
    /// traffic must not grow with the square of the nodes.
    fn one_of_some(&mut self) -> bool {
        let here = self.roster.here().count();
        here <= MANY_ANSWERS || self.rng.usize(..here) < MANY_ANSWERS
    }

    /// Whom we name in an answer to WHO beside ourselves: those we heard themselves. On a large
    /// LAN each of them answers too, so each is named with falling probability.
    fn known_entries(&mut self) -> Vec<Entry> {
        let known = self.roster.here().filter(|p| p.heard.is_some());
        let count = known.count();
        let rng = &mut self.rng;
        self.roster
            .here()
            .filter(|p| p.heard.is_some() && p.route().addr.port() != 0)
            .filter(|_| count <= FULL_ANSWER || rng.usize(..count) < FULL_ANSWER)
            .map(|p| Entry {
                handle: p.handle.clone(),
                ip: *p.route().addr.ip(),
                port: p.route().addr.port(),
                away: p.presence == crate::model::Presence::Away,
            })
            .collect()
    }

    /// A form that was set or learned in an earlier run.
    fn restore_form(&mut self, addr: SocketAddrV4, handle: &Handle) {
        if self.kept.forms.is_empty() {
            return;
        }
        if let Some(name) = self.kept.forms.get(&handle.key()).cloned() {
            self.slcp_do(|m| {
                m.set_form(addr, Some(&name));
            });
        }
    }

    /// Somebody else bears a handle of ours: said once per peer.
    pub(super) fn warn_taken(&mut self, now: Now, id: PeerId) {
        let Some(peer) = self.roster.get(id) else { return };
        let Some(user) = self.users.called(peer.handle.as_str()) else { return };
        if self.users.get(user).is_some_and(|u| u.joined && u.chosen) {
            return self.contest(now, user);
        }
        if !self.users.get(user).is_some_and(|u| u.joined) || self.warned_taken.contains_key(&id) {
            return;
        }
        let (handle, at) = (peer.handle.clone(), peer.route().addr);
        self.warned_taken.insert(id, ());
        let free = self.free_handle(&handle);
        let user = self.users.get(user).map(|u| u.handle.clone());
        let text = format!(
            "{handle} is also the handle of someone at {at}: HANDLE {free} gives you one of your own"
        );
        self.tell(now, user, What::Error { text });
    }
}
